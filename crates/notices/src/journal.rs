//! The file in which all that was said stands, one entry a line, each sealed with the hash of all before it.
//!
//! A line is the hash (hexadecimal SHA-256 of the former hash, a line feed, and the entry's JSON), a space, the JSON. It
//! is on the disk before anything is published of it. A last line that was torn by the end of the process is taken off;
//! anything else that does not fit is damage, and is named.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::bounds::{ENTRY_BYTES_MAX, JOURNAL_BYTES_MAX};
use crate::model::{Notice, Revision};

/// The hash before the first entry.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A notice, with its first revision.
    Opened(Notice),
    /// One more revision of a notice.
    Revised {
        /// Its number.
        id: u32,
        /// What is said.
        revision: Revision,
    },
    /// The beginning of a journal that goes on from another: `hash` is the last of that one.
    Continued {
        /// Where the other ended.
        hash: String,
        /// The next number of a notice.
        next_id: u32,
    },
    /// A notice of the journal before, as it was then.
    Carried(Notice),
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process writes it.
    #[error("{} is in use by another process: a running node takes orders by its admin listener instead", .0.display())]
    InUse(PathBuf),
    /// What stands there was not written so.
    #[error("{}, line {line}, byte {byte}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Where the line begins.
        byte: usize,
        /// What does not fit.
        what: String,
    },
    /// There is no room for it.
    #[error("{0}")]
    Full(String),
}

/// A journal that was opened for writing.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    hash: String,
    bytes: usize,
    /// Bytes with which it began, where it goes on from another.
    bytes_begun: usize,
    /// Why nothing can be written any more: a write failed half-way, and could not be taken back.
    broken: Option<String>,
}

/// What stood in a journal.
#[derive(Debug)]
pub struct Read {
    /// Entries, oldest first.
    pub entries: Vec<Entry>,
    /// Bytes of a torn last line that were taken off.
    pub torn: usize,
    /// The hash of the last entry.
    pub hash: String,
    /// Bytes of the whole entries.
    pub bytes: usize,
}

fn seal(former: &str, json: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(former.as_bytes());
    hash.update(b"\n");
    hash.update(json.as_bytes());
    hex::encode(hash.finalize())
}

/// Reads what stands in `bytes`, which came from `path`; damage gives also what stood before it.
///
/// # Errors
/// What is damaged, with the entries before it.
pub fn parse(path: &Path, bytes: &[u8]) -> Result<Read, Box<(JournalError, Read)>> {
    let mut read = Read { entries: Vec::new(), torn: 0, hash: START.to_owned(), bytes: 0 };
    let mut rest = bytes;
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            // Only a line that was being written when the process ended has no end.
            read.torn = rest.len();
            return Ok(read);
        };
        match entry(&read.hash, &rest[..end]) {
            Ok((entry, hash)) => {
                read.entries.push(entry);
                read.hash = hash;
                read.bytes += end + 1;
            }
            Err(what) => {
                let damaged = JournalError::Damaged { path: path.to_owned(), line, byte: read.bytes, what };
                return Err(Box::new((damaged, read)));
            }
        }
        rest = &rest[end + 1..];
    }
    Ok(read)
}

fn entry(former: &str, line: &[u8]) -> Result<(Entry, String), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is no text".to_owned())?;
    let (hash, json) = text.split_once(' ').ok_or("there is no hash before the entry")?;
    if seal(former, json) != hash {
        return Err("its hash does not follow from what stands there: it, or something before it, was changed".into());
    }
    let entry = serde_json::from_str(json).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok((entry, hash.to_owned()))
}

impl Journal {
    /// Opens a journal for writing, or begins it; takes off a torn last line.
    ///
    /// # Errors
    /// It cannot be read, is in use, or is damaged.
    pub fn open(path: &Path) -> Result<(Self, Read), JournalError> {
        let (mut file, bytes) = take(path)?;
        let read = parse(path, &bytes).map_err(|damage| damage.0)?;
        if read.torn > 0 {
            file.set_len(read.bytes as u64).and_then(|()| file.sync_all()).map_err(io_at(path))?;
        }
        file.seek(SeekFrom::End(0)).map_err(io_at(path))?;
        let journal = Self {
            path: path.to_owned(),
            file,
            hash: read.hash.clone(),
            bytes: read.bytes,
            bytes_begun: 0,
            broken: None,
        };
        Ok((journal, read))
    }

    /// As [`Self::open`]; a damaged journal is set aside under another name, and its good part goes on. Damage must not
    /// keep the page from people; it is told in the third part.
    ///
    /// # Errors
    /// It cannot be read or written, or is in use.
    pub fn open_or_mend(path: &Path) -> Result<(Self, Read, Option<String>), JournalError> {
        let damaged = match Self::open(path) {
            Ok((journal, read)) => return Ok((journal, read, None)),
            Err(error @ JournalError::Damaged { .. }) => error,
            Err(error) => return Err(error),
        };
        let (file, bytes) = take(path)?;
        let good = match parse(path, &bytes) {
            Ok(read) => read,
            Err(damage) => damage.1,
        };
        let aside = (1..1000)
            .map(|n| PathBuf::from(format!("{}.damaged-{n}", path.display())))
            .find(|aside| !aside.exists())
            .unwrap_or_else(|| PathBuf::from(format!("{}.damaged", path.display())));
        write_whole(&aside, &bytes)?;
        replace(path, &bytes[..good.bytes])?;
        drop(file);
        let (journal, read) = Self::open(path)?;
        let told = format!("{damaged}; it was set aside as {}, and what stood before goes on", aside.display());
        Ok((journal, read, Some(told)))
    }

    /// Writes an entry, and returns when it is on the disk.
    ///
    /// # Errors
    /// The entry is too large, or the disk does not take it; then nothing was written.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        if let Some(why) = &self.broken {
            return Err(JournalError::Full(why.clone()));
        }
        let (line, hash) = line(&self.hash, entry);
        if line.len() > ENTRY_BYTES_MAX {
            return Err(JournalError::Full(format!("an entry has at most {ENTRY_BYTES_MAX} bytes")));
        }
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line in the middle of the journal would be damage: it is taken back.
            let back = self.file.set_len(self.bytes as u64).and_then(|()| self.file.seek(SeekFrom::End(0)));
            if let Err(worse) = back {
                self.broken =
                    Some(format!("{}: {error}; and it could not be taken back: {worse}", self.path.display()));
            }
            return Err(io_at(&self.path)(error));
        }
        self.bytes += line.len();
        self.hash = hash;
        Ok(())
    }

    /// Whether it is time to go on in a new file.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.bytes > JOURNAL_BYTES_MAX.max(2 * self.bytes_begun)
    }

    /// Goes on in a new file that begins with `notices`; the old one is kept beside it as `.before`.
    ///
    /// # Errors
    /// The disk does not take it; then the old one goes on.
    pub fn go_on(&mut self, next_id: u32, notices: &[Notice]) -> Result<(), JournalError> {
        let mut text = String::new();
        let mut hash = START.to_owned();
        let first = Entry::Continued { hash: self.hash.clone(), next_id };
        for entry in std::iter::once(first).chain(notices.iter().cloned().map(Entry::Carried)) {
            let (line, sealed) = line(&hash, &entry);
            text += &line;
            hash = sealed;
        }
        let before = PathBuf::from(format!("{}.before", self.path.display()));
        let whole = std::fs::read(&self.path).map_err(io_at(&self.path))?;
        write_whole(&before, &whole)?;
        replace(&self.path, text.as_bytes())?;
        let (file, _) = take(&self.path)?;
        self.file = file;
        self.file.seek(SeekFrom::End(0)).map_err(io_at(&self.path))?;
        self.bytes = text.len();
        self.bytes_begun = text.len();
        self.hash = hash;
        Ok(())
    }

    /// The hash that seals all that was said.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

fn line(former: &str, entry: &Entry) -> (String, String) {
    let json = serde_json::to_string(entry).unwrap_or_else(|error| unreachable!("entries are plain data: {error}"));
    let hash = seal(former, &json);
    (format!("{hash} {json}\n"), hash)
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
    let path = path.to_owned();
    move |error| JournalError::Io { path, error }
}

/// Opens the file for this process alone, and reads it.
fn take(path: &Path) -> Result<(File, Vec<u8>), JournalError> {
    let is_new = !path.exists();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = file.map_err(io_at(path))?;
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => JournalError::InUse(path.to_owned()),
        std::fs::TryLockError::Error(error) => JournalError::Io { path: path.to_owned(), error },
    })?;
    if is_new {
        sync_folder(path)?;
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(io_at(path))?;
    Ok((file, bytes))
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let written = File::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(io_at(path))?;
    sync_folder(path)
}

/// Puts a whole file in the place of another.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let new = PathBuf::from(format!("{}.new", path.display()));
    write_whole(&new, bytes)?;
    std::fs::rename(&new, path).map_err(io_at(path))?;
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), JournalError> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_at(folder))
}
