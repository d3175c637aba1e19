//! Secrets that stand in files of their own: closed to others, whole or not there, on the disk before they are used.

use crate::bounds::KEY_FILE_BYTES_MAX;
use anyhow::{Context as _, ensure};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// 256 random bits.
///
/// # Errors
/// When the system gives none.
pub(crate) fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(bytes)
}

/// Reads a secret; `what` names it, `loss` says what its absence means, for who reads the error.
///
/// # Errors
/// When the file is absent, open to others, or not text of a key's size.
pub(crate) fn read(path: &Path, what: &str, loss: &str) -> anyhow::Result<String> {
    let place = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("{place}: can't read {what}{loss}"))?;
    let mode = file.metadata()?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{place}: others may read {what}; chmod 600 it");
    let mut text = String::new();
    file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).with_context(|| format!("{place}: is no key"))?;
    Ok(text.trim().to_owned())
}

/// Writes a secret where there is none. It is written beside its place and linked there: it appears whole, and of several makers
/// the first wins.
///
/// # Errors
/// When it can't be written.
pub(crate) fn make(path: &Path, what: &str, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension(format!("key.{}", uuid::Uuid::new_v4().simple()));
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    let removed = std::fs::remove_file(&draft);
    let kept = path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all());
    written.and(removed).and(kept).with_context(|| format!("{}: can't write {what}", path.display()))
}

/// The Ed25519 key in a file (PKCS#8 PEM), made where there is none.
///
/// # Errors
/// When it can't be read or written, or is no such key.
pub(crate) fn signing_key(path: &Path, what: &str) -> anyhow::Result<SigningKey> {
    if !path.exists() {
        let key = SigningKey::from_bytes(&random()?);
        let text = key.to_pkcs8_pem(LineEnding::LF).context("the key can't be written as PEM")?;
        make(path, what, text.trim_end())?;
    }
    let text = read(path, what, "")?;
    SigningKey::from_pkcs8_pem(&text).with_context(|| format!("{}: is no Ed25519 key in PKCS#8 PEM", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signing_key_is_made_once_and_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.key");
        let made = signing_key(&path, "the key").unwrap();
        assert_eq!(signing_key(&path, "the key").unwrap(), made);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
        make(&path, "the key", "another").unwrap();
        assert_eq!(signing_key(&path, "the key").unwrap(), made, "the first wins");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(signing_key(&path, "the key").unwrap_err().to_string().contains("chmod 600"));
        std::fs::remove_file(&path).unwrap();
        make(&path, "the key", "abc").unwrap();
        assert!(signing_key(&path, "the key").unwrap_err().to_string().contains("PKCS#8"));
        assert!(
            read(&dir.path().join("none"), "the key", ": restore it").unwrap_err().to_string().contains("restore it")
        );
    }
}
