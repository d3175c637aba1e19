//! Reading certificate and key files, with errors that name the file and the mend.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use guichet_core::bounds::CERTIFICATE_FILE_BYTES_MAX;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::CertificateFiles;

/// Why certificates could not be used. Each message names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}. Check the path and its permissions.", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is larger than any such file is.
    #[error("{}: over {CERTIFICATE_FILE_BYTES_MAX} bytes; this is not a certificate or key.", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
    },
    /// There is no certificate in the file.
    #[error("{}: holds no certificate. It must have a part `-----BEGIN CERTIFICATE-----`, the leaf first.", path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// There is no key in the file.
    #[error("{}: holds no private key. It must have a part `-----BEGIN PRIVATE KEY-----`.", path.display())]
    NoKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key is protected by a passphrase.
    #[error("{}: the private key is encrypted. Decrypt it: openssl pkey -in {} -out plain.key", path.display(), path.display())]
    EncryptedKey {
        /// Which file.
        path: PathBuf,
    },
    /// The key is of another certificate.
    #[error("{}: this key does not belong to the certificate in {}. Give the key with which it was requested.", key.display(), cert.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// Anything else that is wrong with the content.
    #[error("{}: {cause}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A TLS listener has no certificate.
    #[error("no certificate is configured. Add a [[certificate]] section with cert and key.")]
    NoneConfigured,
    /// Something in the door itself.
    #[error("TLS could not be set up: {0}")]
    Internal(String),
}

/// Modification time and size: what tells that a file changed.
pub(super) type Stamp = Option<(SystemTime, u64)>;

pub(super) fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |cause| TlsError::Unreadable { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().as_ref().map_or(0, Metadata::len);
    let bound = CERTIFICATE_FILE_BYTES_MAX as u64;
    let mut bytes = Vec::with_capacity(size.min(bound) as usize);
    file.take(bound + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bound { Err(TlsError::TooLarge { path: path.to_owned() }) } else { Ok(bytes) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Content { path: path.to_owned(), cause: format!("not valid PEM: {error}") })?;
    if chain.is_empty() { Err(TlsError::NoCertificate { path: path.to_owned() }) } else { Ok(chain) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    let contains = |text: &[u8]| memchr::memmem::find(&bytes, text).is_some();
    if contains(b"BEGIN ENCRYPTED PRIVATE KEY") || contains(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey { path: path.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => TlsError::NoKey { path: path.to_owned() },
        other => TlsError::Content { path: path.to_owned(), cause: format!("not valid PEM: {other}") },
    })
}

/// A chain with its key, and the names that it is good for (lower case; `*.` for wildcards).
pub(super) fn certified(files: &CertificateFiles) -> Result<(Arc<CertifiedKey>, Vec<String>), TlsError> {
    let chain = certificates(&files.cert)?;
    let names = names(&files.cert, &chain[0])?;
    let key = key(&files.key)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::KeyMismatch { key: files.key.clone(), cert: files.cert.clone() }
        }
        other => TlsError::Content { path: files.key.clone(), cause: format!("this key cannot be used: {other}") },
    })?;
    Ok((Arc::new(certified), names))
}

fn names(path: &Path, leaf: &CertificateDer<'_>) -> Result<Vec<String>, TlsError> {
    let wrong = |cause: String| TlsError::Content { path: path.to_owned(), cause };
    let (_, parsed) =
        x509_parser::parse_x509_certificate(leaf).map_err(|e| wrong(format!("not an X.509 certificate: {e}")))?;
    let alternative = parsed
        .subject_alternative_name()
        .map_err(|e| wrong(format!("its subject alternative names cannot be read: {e}")))?;
    let names = alternative.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            x509_parser::extensions::GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect())
}

/// The authorities in a file.
pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|e| TlsError::Content { path: path.to_owned(), cause: format!("not a usable authority: {e}") })?;
    }
    Ok(Arc::new(roots))
}
