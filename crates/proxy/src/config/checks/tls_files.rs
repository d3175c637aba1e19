//! Certificates, keys and authorities: that the files are there, hold what they should, and belong together.

use guichet_core::bounds;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;

use super::super::checked::CertificateFiles;
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::Checker;

/// The files as they are named.
pub(super) fn files(raw: &raw::Config, c: &Checker<'_>) -> Vec<CertificateFiles> {
    raw.certificate.iter().map(|f| CertificateFiles { cert: c.path(&f.cert), key: c.path(&f.key) }).collect()
}

/// Checks all certificates; gives the names that they cover, or `None` where that is not known or not needed.
pub(super) fn certificates(raw: &raw::Config, c: &mut Checker<'_>) -> Option<Vec<String>> {
    let https = raw.listener.iter().position(|l| l.protocol == raw::ListenerProtocol::Https);
    if let (Some(i), true) = (https, raw.certificate.is_empty()) {
        if !c.found.is_given("certificate") {
            let mend = "add [[certificate]] with cert = \"\u{2026}\" and key = \"\u{2026}\"";
            c.error(&format!("listener[{i}].protocol"), "https needs a certificate, and there is none", mend);
        }
        return None;
    }
    let mut names = Vec::new();
    let mut known = https.is_some();
    for (i, files) in raw.certificate.iter().enumerate() {
        match certificate(&format!("certificate[{i}]"), files, c) {
            Some(more) => names.extend(more),
            None => known = false,
        }
    }
    known.then_some(names)
}

/// One certificate with its key; the names that it covers.
fn certificate(at: &str, files: &raw::Certificate, c: &mut Checker<'_>) -> Option<Vec<String>> {
    let (cert_key, key_key) = (format!("{at}.cert"), format!("{at}.key"));
    let chain = chain(&cert_key, &files.cert, "a certificate", c);
    let key = private_key(&key_key, &files.key, c);
    let (chain, key) = (chain?, key?);
    let names = leaf(&cert_key, &chain[0], c)?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Some(names),
        Err(rustls::Error::InconsistentKeys(_)) => {
            let cause = "the key does not belong to the certificate".to_owned();
            c.found.error_with(On::Value, &key_key, &cert_key, cause, "name the key that the certificate was made for");
            None
        }
        Err(error) => {
            let mend = "use a key of a kind that TLS knows: ECDSA P-256, Ed25519 or RSA of 2048 bits or more";
            c.error(&key_key, format!("the key cannot be used: {error}"), mend);
            None
        }
    }
}

/// Looks at the leaf: whether it is valid now, and which names it covers.
fn leaf(key: &str, der: &CertificateDer<'_>, c: &mut Checker<'_>) -> Option<Vec<String>> {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(der) else {
        c.error(
            key,
            "the first certificate of the file cannot be read",
            "put the leaf first, as the authority gave it",
        );
        return None;
    };
    let now = c.world.now_unix_s();
    if now > leaf.validity().not_after.timestamp() {
        let cause = format!("the certificate has expired ({})", leaf.validity().not_after);
        c.warn(key, cause, "renew it: clients refuse it");
    } else if now < leaf.validity().not_before.timestamp() {
        let cause = format!("the certificate is not valid yet ({})", leaf.validity().not_before);
        c.warn(key, cause, "look at the clock of this machine, or wait");
    }
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let names = alternatives.into_iter().flat_map(|names| &names.value.general_names);
    Some(
        names
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect(),
    )
}

/// Checks a file of certificate authorities.
pub(super) fn authorities(key: &str, given: &str, c: &mut Checker<'_>) {
    let Some(chain) = chain(key, given, "a certificate of an authority", c) else { return };
    let mut roots = rustls::RootCertStore::empty();
    for authority in chain {
        if let Err(error) = roots.add(authority) {
            let cause = format!("{} holds a certificate that cannot be an authority: {error}", quoted(given));
            c.error(key, cause, "name the authority's own certificate, in PEM");
            return;
        }
    }
}

/// The certificates of a PEM file, at least one.
fn chain(key: &str, given: &str, what: &str, c: &mut Checker<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let bytes = read(key, given, c)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Some(chain),
        Ok(_) => {
            let mend = "name a PEM file: it has a line -----BEGIN CERTIFICATE-----";
            c.error(key, format!("{} does not hold {what}", quoted(given)), mend);
            None
        }
        Err(error) => {
            c.error(key, format!("{} is broken PEM: {error}", quoted(given)), "copy the file again, whole");
            None
        }
    }
}

fn private_key(key: &str, given: &str, c: &mut Checker<'_>) -> Option<PrivateKeyDer<'static>> {
    let bytes = read(key, given, c)?;
    let path = c.path(given);
    if c.world.readable_by_others(&path) == Some(true) {
        let mend = format!("chmod 600 {}", path.display());
        c.warn(key, "others than its owner can read the private key", mend);
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(found) => Some(found),
        Err(_) => {
            let mend = "name a PEM file without a passphrase: it has a line -----BEGIN PRIVATE KEY-----";
            c.error(key, format!("{} does not hold a private key", quoted(given)), mend);
            None
        }
    }
}

fn read(key: &str, given: &str, c: &mut Checker<'_>) -> Option<Vec<u8>> {
    if given.is_empty() {
        c.error(key, "a file must be named", "write the path of a PEM file");
        return None;
    }
    let path = c.path(given);
    match c.world.read(&path, bounds::PEM_BYTES_MAX) {
        Ok(bytes) if bytes.len() > bounds::PEM_BYTES_MAX => {
            let cause = format!("{} has more than {} bytes", quoted(given), bounds::PEM_BYTES_MAX);
            c.error(key, cause, "name a PEM file");
            None
        }
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let mend = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    format!(
                        "put it at {}, or name another",
                        super::super::problem::printable(&path.display().to_string())
                    )
                }
                std::io::ErrorKind::PermissionDenied => "make it readable for the user that runs guichet".to_owned(),
                _ => "look at the file".to_owned(),
            };
            c.error(key, format!("cannot read {}: {error}", quoted(given)), mend);
            None
        }
    }
}
