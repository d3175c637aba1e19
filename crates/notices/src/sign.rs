//! The manifest of the page's files, and its signature: whoever hosts the page cannot change it unnoticed.
//!
//! The signature is that of minisign (Ed25519 over BLAKE2b-512), so that others can verify it with a tool of their own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::render::Drawn;

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// The signature's file.
pub const SIGNATURE: &str = "manifest.json.minisig";

/// Prehashed Ed25519, as minisign names it; and the name in keys.
const PREHASHED: [u8; 2] = *b"ED";
const OF_KEYS: [u8; 2] = *b"Ed";

/// What stands in the page's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When it was drawn.
    pub drawn_at: Timestamp,
    /// Until when it may be believed.
    pub valid_until: Timestamp,
    /// SHA-256 of each file, hexadecimal.
    pub files: BTreeMap<String, String>,
}

/// The key with which the page is signed.
pub struct Key {
    key: SigningKey,
    id: [u8; 8],
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: [u8; 8],
}

/// Why something is not signed as it should be.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(String, io::Error),
    /// The key or the signature has another form.
    #[error("{0}")]
    Form(String),
    /// The signature is of another key, or of another manifest.
    #[error("the manifest was not signed with this key, or was changed since")]
    Signature,
    /// A file is not what was signed.
    #[error("{0} is not what was signed")]
    Changed(String),
}

fn form<T>(why: &str) -> Result<T, VerifyError> {
    Err(VerifyError::Form(why.to_owned()))
}

impl Key {
    /// Reads the key from its file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// The file cannot be read, written, or holds no key.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let line = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
                let seed = STANDARD.decode(line.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                seed.map(Self::from_seed).ok_or_else(|| {
                    let why =
                        format!("{}: a key is 32 bytes in base64; move the file away to have one made", path.display());
                    io::Error::new(io::ErrorKind::InvalidData, why)
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).map_err(io::Error::other)?;
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
                writeln!(file, "# Signs the status page; whoever has it can speak in your name.")?;
                writeln!(file, "{}", STANDARD.encode(seed))?;
                file.sync_all()?;
                Ok(Self::from_seed(seed))
            }
            Err(error) => Err(error),
        }
    }

    /// The key of this seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let key = SigningKey::from_bytes(&seed);
        let digest = Sha256::digest(key.verifying_key().as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Self { key, id }
    }

    /// The key that verifies.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { key: self.key.verifying_key(), id: self.id }
    }

    /// The text of minisign's signature of `bytes`; `trusted` is signed with it.
    #[must_use]
    pub fn sign(&self, bytes: &[u8], trusted: &str) -> String {
        let signature = self.key.sign(&Blake2b512::digest(bytes)).to_bytes();
        let all = [signature.as_slice(), trusted.as_bytes()].concat();
        let global = self.key.sign(&all).to_bytes();
        let first = [&PREHASHED[..], &self.id, &signature].concat();
        format!(
            "untrusted comment: signature of a Guichet status page\n{}\ntrusted comment: {trusted}\n{}\n",
            STANDARD.encode(first),
            STANDARD.encode(global)
        )
    }
}

impl PublicKey {
    /// As minisign writes it: two lines, of which the second is the key.
    #[must_use]
    pub fn text(&self) -> String {
        format!("untrusted comment: key of a Guichet status page\n{}\n", self.line())
    }

    /// The key alone.
    #[must_use]
    pub fn line(&self) -> String {
        STANDARD.encode([&OF_KEYS[..], &self.id, self.key.as_bytes()].concat())
    }

    /// Reads the key, with or without the line of comment.
    ///
    /// # Errors
    /// It is no key of minisign's.
    pub fn parse(text: &str) -> Result<Self, VerifyError> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let Ok(bytes) = STANDARD.decode(line) else { return form("the key is not base64: give minisign's public key") };
        let Ok(bytes) = <[u8; 42]>::try_from(bytes) else { return form("the key has another length than minisign's") };
        if bytes[..2] != OF_KEYS {
            return form("the key is not an Ed25519 key of minisign's");
        }
        let mut id = [0; 8];
        id.copy_from_slice(&bytes[2..10]);
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[10..]);
        let Ok(key) = VerifyingKey::from_bytes(&key) else { return form("the key is no point of the curve") };
        Ok(Self { key, id })
    }

    /// Whether `signature`, in minisign's form, is of `bytes`.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, bytes: &[u8], signature: &str) -> Result<(), VerifyError> {
        let lines: Vec<&str> = signature.lines().collect();
        let [_, first, trusted, global] = lines[..] else {
            return form("the signature has not the form of minisign's");
        };
        let Some(trusted) = trusted.strip_prefix("trusted comment: ") else {
            return form("the signature has no trusted comment");
        };
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| VerifyError::Form("it is not base64".into()));
        let first = decode(first)?;
        let Ok(first) = <[u8; 74]>::try_from(first) else { return form("the signature has another length") };
        let Ok(global) = <[u8; 64]>::try_from(decode(global)?) else { return form("the signature has another length") };
        if first[..2] != PREHASHED || first[2..10] != self.id {
            return Err(VerifyError::Signature);
        }
        let mut of_bytes = [0; 64];
        of_bytes.copy_from_slice(&first[10..]);
        let holds = |message: &[u8], signature: &[u8; 64]| {
            self.key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| VerifyError::Signature)
        };
        holds(&Blake2b512::digest(bytes), &of_bytes)?;
        holds(&[of_bytes.as_slice(), trusted.as_bytes()].concat(), &global)
    }
}

/// The manifest and its signature, for files that were drawn.
#[must_use]
pub fn seal(files: &[Drawn], drawn_at: Timestamp, valid_until: Timestamp, key: &Key) -> [Drawn; 2] {
    let hash = |file: &Drawn| (file.path.clone(), hex::encode(Sha256::digest(&file.bytes)));
    let manifest = Manifest { drawn_at, valid_until, files: files.iter().map(hash).collect() };
    let text = serde_json::to_string_pretty(&manifest)
        .unwrap_or_else(|error| unreachable!("a manifest is plain data: {error}"));
    let bytes = format!("{text}\n").into_bytes();
    let signature = key.sign(&bytes, &format!("drawn at {drawn_at}, valid until {valid_until}"));
    [
        Drawn { path: MANIFEST.into(), media_type: "application/json", bytes },
        Drawn { path: SIGNATURE.into(), media_type: "text/plain; charset=utf-8", bytes: signature.into_bytes() },
    ]
}

/// Verifies a folder that was published: its manifest, and each file of it.
///
/// # Errors
/// What is not as it was signed.
pub fn verify_folder(folder: &Path, key: &PublicKey) -> Result<Manifest, VerifyError> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).map_err(|error| VerifyError::Unreadable(path.display().to_string(), error))
    };
    let bytes = read(MANIFEST)?;
    let signature =
        String::from_utf8(read(SIGNATURE)?).map_err(|_| VerifyError::Form("the signature is no text".into()))?;
    key.verify(&bytes, &signature)?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| VerifyError::Form(error.to_string()))?;
    for (name, hash) in &manifest.files {
        // The manifest is signed; still, a name must not lead out of the folder.
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return form("the manifest names a file outside its folder");
        }
        if hex::encode(Sha256::digest(read(name)?)) != *hash {
            return Err(VerifyError::Changed(name.clone()));
        }
    }
    Ok(manifest)
}
