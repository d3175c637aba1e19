//! The key by which services of the estate know each other on interfaces that are for them alone.
//!
//! It stands in the data folder, since who can read that can read the stores too. Services that run apart need the same file.

use crate::bounds::KEY_FILE_BYTES_MAX;
use crate::once::hash;
use anyhow::{Context as _, ensure};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use sha2::Sha256;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The header that bears it.
pub(crate) const HEADER: &str = "x-estate-key";
const FILE: &str = "estate.key";

/// The key, as text for a header; never shown.
#[derive(Clone)]
pub(crate) struct EstateKey(String);

impl std::fmt::Debug for EstateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EstateKey(..)")
    }
}

impl EstateKey {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// A secret for one purpose, drawn from the key: who has it has not the key.
    pub(crate) fn derive(&self, purpose: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else { return String::new() };
        mac.update(purpose.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// Whether a request bears the key and came from within: the front adds a header that tells whom it speaks for.
    pub(crate) fn opens(&self, headers: &HeaderMap) -> bool {
        let outside = ["x-forwarded-for", "forwarded", "via"].iter().any(|name| headers.contains_key(*name));
        // Hashes are compared, so that the time it takes tells nothing of the key.
        !outside && headers.get(HEADER).is_some_and(|told| hash(told.as_bytes()) == hash(self.0.as_bytes()))
    }

    /// Reads the key of a data folder, and makes it where there is none. Several services may do so at once.
    ///
    /// # Errors
    /// When the file can't be written, others may read it, or it is no key.
    pub(crate) fn load_or_make(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(FILE);
        let place = path.display();
        if !path.exists() {
            make(dir).with_context(|| format!("{place}: can't write the estate's key"))?;
        }
        let file = std::fs::File::open(&path).with_context(|| format!("{place}: can't read the estate's key"))?;
        let mode = file.metadata()?.permissions().mode();
        ensure!(mode & 0o077 == 0, "{place}: others may read the estate's key; chmod 600 it");
        let mut text = String::new();
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("{place}: is no key"))?;
        let text = text.trim();
        let whole = text.len() == 64 && hex::decode(text).is_ok();
        ensure!(whole, "{place}: a key is 64 hexadecimal digits; remove the file, and a new one is made");
        Ok(Self(text.to_owned()))
    }
}

/// Writes a key beside its place and links it there: it appears whole, and the first of several makers wins.
fn make(dir: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
    let draft = dir.join(format!("{FILE}.{}", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{}", hex::encode(key))?;
        file.sync_all()?;
        match std::fs::hard_link(&draft, dir.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    let removed = std::fs::remove_file(&draft);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_whoever_asks_first_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let makers: Vec<_> = (0..8)
            .map(|_| {
                let dir = dir.path().to_owned();
                std::thread::spawn(move || EstateKey::load_or_make(&dir).unwrap().0)
            })
            .collect();
        let keys: Vec<String> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "one key");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        let path = dir.path().join(FILE);
        for (mode, text, words) in [(0o640, keys[0].as_str(), "chmod 600"), (0o600, "abc", "64 hexadecimal")] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let told = EstateKey::load_or_make(dir.path()).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn opens_with_the_key_from_within_only() {
        let key = EstateKey("ab".repeat(32));
        let check = |headers: &[(&'static str, String)], expected: bool| {
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            assert_eq!(key.opens(&headers), expected, "{headers:?}");
        };
        check(&[(HEADER, key.0.clone())], true);
        check(&[(HEADER, key.0.to_uppercase())], false);
        check(&[(HEADER, String::new())], false);
        check(&[], false);
        check(&[(HEADER, key.0.clone()), ("x-forwarded-for", "192.0.2.1".into())], false);
    }
}
