//! Sealing: a key a document version, wrapped by a key a user, wrapped by the master key, each by AES-256-GCM.
//!
//! What is sealed is bound to its owner, document, version and SHA-256: moved to another place in the store, it does not
//! open. Destroying the key of a version makes its content unreadable in every copy, backups too.

use crate::key_file;
use crate::once::hash;
use crate::problem::Problem;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

const NONCE_BYTES: usize = 12;
const KEY_BYTES: usize = 32;
/// Bytes of a wrapped key: nonce, key, tag.
pub(super) const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + 16;
/// Names the file of the master key, where it is not the one in the data folder.
/// What it is called in errors.
const WHAT: &str = "the vault's key";
const KEY_FILE_VARIABLE: &str = "GUICHET_VAULT_KEY_FILE";

/// A key of 256 bits; never shown.
#[derive(Clone)]
pub(super) struct Key([u8; KEY_BYTES]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// It does not open: another key, or altered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unopened;

impl Key {
    pub(super) fn random() -> Result<Self, Problem> {
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|error| Problem::internal(&error))?;
        Ok(Self(key))
    }

    /// Says which key it is without telling it.
    pub(super) fn name(&self) -> String {
        let mut named = b"guichet vault key name".to_vec();
        named.extend_from_slice(&self.0);
        hex::encode(&hash(&named)[..8])
    }

    /// Seals bytes, bound to `place`: a random nonce, then the ciphertext with its tag.
    pub(super) fn seal(&self, place: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Problem> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| Problem::internal(&error))?;
        let cipher = Aes256Gcm::new(&self.0.into());
        let sealed = cipher.encrypt(&Nonce::from(nonce), Payload { msg: bytes, aad: place });
        let sealed = sealed.map_err(|_| Problem::internal(&"the cipher refused"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Key::seal`] made for the same place.
    pub(super) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Unopened)?;
        let cipher = Aes256Gcm::new(&self.0.into());
        cipher.decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: place }).map_err(|_| Unopened)
    }

    pub(super) fn wrap(&self, place: &[u8], key: &Self) -> Result<Vec<u8>, Problem> {
        self.seal(place, &key.0)
    }

    pub(super) fn unwrap(&self, place: &[u8], wrapped: &[u8]) -> Result<Self, Unopened> {
        let key = self.open(place, wrapped)?;
        Ok(Self(key.try_into().map_err(|_| Unopened)?))
    }
}

/// What the key of a user is bound to.
pub(super) fn user_place(owner: &str) -> Vec<u8> {
    format!("guichet vault 1 user\n{owner}").into_bytes()
}

/// What a version of a document is bound to. No part can hold a line break, so that no two places read alike.
pub(super) fn version_place(owner: &str, document: &str, number: i64, sha256: &str) -> Vec<u8> {
    format!("guichet vault 1 version\n{owner}\n{document}\n{number}\n{sha256}").into_bytes()
}

fn key_path(dir: &Path) -> PathBuf {
    std::env::var_os(KEY_FILE_VARIABLE).map_or_else(|| dir.join("vault.key"), PathBuf::from)
}

/// Reads the master key: 64 hexadecimal digits in a file that only its owner may read.
///
/// # Errors
/// When the file is absent, open to others, or no key; the message names it and says what to do.
pub(super) fn load(dir: &Path) -> anyhow::Result<Key> {
    let path = key_path(dir);
    let text = key_file::read(&path, WHAT, "; without it no document opens: restore it")?;
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    Ok(Key(bytes.with_context(|| format!("{}: a key is 64 hexadecimal digits", path.display()))?))
}

/// Reads the master key, and makes it where there is none in the data folder; then it is on the disk before this returns.
///
/// # Errors
/// As [`load`]; a key file named by the environment is never made.
pub(super) fn load_or_make(dir: &Path) -> anyhow::Result<Key> {
    let path = key_path(dir);
    if !path.exists() && std::env::var_os(KEY_FILE_VARIABLE).is_none() {
        key_file::make(&path, WHAT, &hex::encode(key_file::random()?))?;
    }
    load(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn opens_only_whole_in_its_place_and_with_its_key() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        let place = version_place("user0001", "doc-1", 1, "00");
        let sealed = key.seal(&place, b"mine").unwrap();
        assert_eq!(key.open(&place, &sealed).unwrap(), b"mine");
        assert_eq!(other.open(&place, &sealed), Err(Unopened));
        for moved in [
            ("user0002", "doc-1", 1, "00"),
            ("user0001", "doc-2", 1, "00"),
            ("user0001", "doc-1", 2, "00"),
            ("user0001", "doc-1", 1, "01"),
        ] {
            assert_eq!(
                key.open(&version_place(moved.0, moved.1, moved.2, moved.3), &sealed),
                Err(Unopened),
                "{moved:?}"
            );
        }
        for n in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[n] ^= 1;
            assert_eq!(key.open(&place, &altered), Err(Unopened), "byte {n}");
            assert_eq!(key.open(&place, &sealed[..n]), Err(Unopened), "cut at {n}");
        }
        let wrapped = key.wrap(&place, &other).unwrap();
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert_eq!(key.unwrap(&place, &wrapped).unwrap().0, other.0);
    }

    #[test]
    fn the_key_file_is_made_once_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap_err().to_string().contains("restore it"));
        let made = load_or_make(dir.path()).unwrap();
        assert_eq!(load_or_make(dir.path()).unwrap().0, made.0);
        let path = dir.path().join("vault.key");
        for (mode, text, words) in
            [(0o640, hex::encode(made.0), "chmod 600"), (0o600, "abc".to_owned(), "64 hexadecimal")]
        {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let told = load(dir.path()).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }
}
