//! Kept answers on disk, so that they outlive a restart. A thread of its own reads and writes; the hot path only hands
//! answers over, and loses them here (never in memory) when too many wait.
//!
//! One file an answer: a mark with the version, the SHA-256 of the rest, the length of what describes it (JSON), that, and
//! the body. A file is written under another name and then moved, so that it is there whole or not at all; one whose sum is
//! wrong is removed. A folder that cannot be written degrades, is reported, and is tried again with the next answer.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use guichet_core::bounds::{CACHE_ANSWER_BYTES_MAX, CACHE_FILES_MAX, CACHE_WRITES_WAITING_MAX};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_cache_semantics::CachePolicy;
use serde::{Deserialize, Serialize};

use super::{CacheCounts, Kept, Key, Store};

const MARK: &[u8; 8] = b"guichet1";
const SUM_BYTES: usize = 32;
/// Bytes of a file beside the body: its description has the headers twice.
const DESCRIPTION_BYTES_MAX: usize = 1024 * 1024;

/// The folder.
pub(super) struct Disk {
    jobs: SyncSender<(Key, Arc<Kept>)>,
    counts: Arc<CacheCounts>,
    store: Arc<OnceLock<Weak<Store>>>,
}

#[derive(Serialize, Deserialize)]
struct Description {
    key: String,
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    policy: CachePolicy,
    stale_if_error_s: u64,
    stale_while_revalidate_s: u64,
}

/// The thread's own: what is in the folder, oldest first.
struct Folder {
    path: PathBuf,
    bytes_max: u64,
    bytes: u64,
    files: std::collections::VecDeque<(String, u64)>,
    counts: Arc<CacheCounts>,
}

impl Disk {
    /// Starts the thread. `None` where that is not possible: then answers are kept in memory only.
    pub(super) fn open(path: PathBuf, bytes_max: u64, counts: Arc<CacheCounts>) -> Option<Self> {
        let (jobs, inbox) = sync_channel(CACHE_WRITES_WAITING_MAX);
        let store = Arc::<OnceLock<Weak<Store>>>::default();
        let (seen, folder_counts) = (store.clone(), counts.clone());
        let started = std::thread::Builder::new().name("guichet-cache".into()).spawn(move || {
            let folder = Folder { path, bytes_max, bytes: 0, files: Default::default(), counts: folder_counts };
            folder.run(&inbox, &seen);
        });
        if let Err(error) = started {
            eprintln!("guichet: warning: answers are kept in memory only: {error}");
            counts.disk_failing.store(true, Ordering::Relaxed);
            return None;
        }
        Some(Self { jobs, counts, store })
    }

    /// Says where answers that are read belong: reading begins.
    pub(super) fn load_into(&self, store: &Arc<Store>) {
        let _ = self.store.set(Arc::downgrade(store));
    }

    /// Hands an answer over; one too many is not written.
    pub(super) fn write(&self, key: Key, kept: Arc<Kept>) {
        if self.jobs.try_send((key, kept)).is_err() {
            CacheCounts::add(&self.counts.disk_lost);
        }
    }
}

impl Folder {
    fn run(mut self, inbox: &Receiver<(Key, Arc<Kept>)>, store: &OnceLock<Weak<Store>>) {
        let made = fs::create_dir_all(&self.path).and_then(|()| self.read_all(store));
        self.report(made);
        // Ends with the store, which holds the sender.
        while let Ok((key, kept)) = inbox.recv() {
            let written = self.write(&key, &kept);
            if written.is_err() {
                CacheCounts::add(&self.counts.disk_lost);
            }
            self.report(written);
        }
    }

    /// Says it once when the folder begins or ceases to fail.
    fn report(&self, outcome: io::Result<()>) {
        let failed = self.counts.disk_failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !failed => {
                eprintln!("guichet: warning: kept answers cannot be written to {}: {error}", self.path.display());
            }
            Ok(()) if failed => eprintln!("guichet: kept answers are written to {} again", self.path.display()),
            Ok(()) | Err(_) => {}
        }
    }

    fn read_all(&mut self, store: &OnceLock<Weak<Store>>) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)?.take(2 * CACHE_FILES_MAX) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".new") {
                // Left behind by an end in the middle of writing.
                let _ = fs::remove_file(entry.path());
            } else if name.ends_with(".kept") {
                let about = entry.metadata()?;
                found.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), name, about.len()));
            }
        }
        found.sort();
        // The store is told right after the thread is started.
        let store = (0..500).find_map(|_| {
            let store = store.get().cloned();
            if store.is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
            store
        });
        for (_, name, bytes) in found {
            match read(&self.path.join(&name)) {
                Ok((key, kept)) => {
                    self.bytes += bytes;
                    self.files.push_back((name, bytes));
                    if let Some(store) = store.as_ref().and_then(Weak::upgrade) {
                        store.restore(key.into(), kept);
                    }
                }
                Err(error) => {
                    CacheCounts::add(&self.counts.disk_corrupt);
                    eprintln!("guichet: a kept answer was removed: {name}: {error}");
                    let _ = fs::remove_file(self.path.join(&name));
                }
            }
        }
        self.make_room(0);
        Ok(())
    }

    fn write(&mut self, key: &Key, kept: &Kept) -> io::Result<()> {
        let bytes = encode(key, kept)?;
        let name = format!("{}.kept", hex(digest(&SHA256, key.as_bytes()).as_ref()));
        let length = bytes.len() as u64;
        if length > self.bytes_max {
            return Ok(());
        }
        if let Some(at) = self.files.iter().position(|(known, _)| *known == name)
            && let Some((_, former)) = self.files.remove(at)
        {
            self.bytes -= former;
        }
        self.make_room(length);
        fs::create_dir_all(&self.path)?;
        let (temporary, path) = (self.path.join(format!("{name}.new")), self.path.join(&name));
        let written = fs::File::create(&temporary)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
            let _ = fs::remove_file(&path);
            return written;
        }
        self.bytes += length;
        self.files.push_back((name, length));
        CacheCounts::add(&self.counts.disk_written);
        Ok(())
    }

    /// Removes the oldest until `length` more bytes, and one more file, keep to the bounds.
    fn make_room(&mut self, length: u64) {
        while self.bytes + length > self.bytes_max || self.files.len() >= CACHE_FILES_MAX {
            let Some((name, bytes)) = self.files.pop_front() else { return };
            self.bytes -= bytes;
            let _ = fs::remove_file(self.path.join(name));
        }
    }
}

pub(super) fn encode(key: &Key, kept: &Kept) -> io::Result<Vec<u8>> {
    let description = Description {
        key: key.to_string(),
        status: kept.status.as_u16(),
        headers: kept.headers.iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect(),
        policy: kept.policy.clone(),
        stale_if_error_s: kept.stale_if_error.as_secs(),
        stale_while_revalidate_s: kept.stale_while_revalidate.as_secs(),
    };
    let description = serde_json::to_vec(&description).map_err(io::Error::other)?;
    let mut rest = Vec::with_capacity(4 + description.len() + kept.body.len());
    rest.extend_from_slice(&(description.len() as u32).to_be_bytes());
    rest.extend_from_slice(&description);
    rest.extend_from_slice(&kept.body);
    let mut bytes = MARK.to_vec();
    bytes.extend_from_slice(digest(&SHA256, &rest).as_ref());
    bytes.append(&mut rest);
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<(String, Kept)> {
    use std::io::Read as _;
    let most = (MARK.len() + SUM_BYTES + 4 + DESCRIPTION_BYTES_MAX + CACHE_ANSWER_BYTES_MAX) as u64;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not what was written"))
}

/// What a file says; `None` for anything that was not written by [`encode`].
pub(super) fn decode(bytes: &[u8]) -> Option<(String, Kept)> {
    let bytes = bytes.strip_prefix(MARK.as_slice())?;
    let (sum, rest) = bytes.split_at_checked(SUM_BYTES)?;
    if digest(&SHA256, rest).as_ref() != sum {
        return None;
    }
    let (length, rest) = rest.split_at_checked(4)?;
    let (description, body) = rest.split_at_checked(u32::from_be_bytes(length.try_into().ok()?) as usize)?;
    let told: Description = serde_json::from_slice(description).ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in told.headers {
        headers.append(name.parse::<HeaderName>().ok()?, HeaderValue::from_bytes(&value).ok()?);
    }
    let kept = Kept {
        status: StatusCode::from_u16(told.status).ok()?,
        headers,
        body: bytes::Bytes::copy_from_slice(body),
        policy: told.policy,
        stale_if_error: Duration::from_secs(told.stale_if_error_s),
        stale_while_revalidate: Duration::from_secs(told.stale_while_revalidate_s),
    };
    Some((told.key, kept))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
