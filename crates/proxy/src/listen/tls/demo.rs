//! Certificates for the demo, drills and tests: an authority of their own, and leaves under it. Not for production.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// An authority and a server certificate under it, as PEM.
#[derive(Debug, Clone)]
pub struct DemoCertificates {
    /// The authority's certificate: what a client has to trust.
    pub ca: String,
    /// The authority's key.
    pub ca_key: String,
    /// The server's chain, leaf first.
    pub cert: String,
    /// The server's key.
    pub key: String,
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn leaf(
    names: &[&str],
    common_name: &str,
    usage: ExtendedKeyUsagePurpose,
    issuer: &rcgen::Issuer<'_, impl rcgen::SigningKey>,
) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// A fresh authority (P-256) and a certificate for these host names or addresses; wildcards are allowed.
///
/// # Errors
/// A name that cannot stand in a certificate.
pub fn self_signed(names: &[&str]) -> Result<DemoCertificates, rcgen::Error> {
    let issuer = authority("Guichet demo authority")?;
    let common_name = names.first().copied().unwrap_or("guichet");
    let (cert, key) = leaf(names, common_name, ExtendedKeyUsagePurpose::ServerAuth, &issuer)?;
    Ok(DemoCertificates { ca: issuer.pem(), ca_key: issuer.key().serialize_pem(), cert, key })
}

/// A client certificate with this common name under an authority made by [`self_signed`]: certificate and key.
///
/// # Errors
/// An authority that cannot be read, or a name that cannot stand in a certificate.
pub fn client_certificate(ca: &str, ca_key: &str, common_name: &str) -> Result<(String, String), rcgen::Error> {
    let issuer = rcgen::Issuer::from_ca_cert_pem(ca, KeyPair::from_pem(ca_key)?)?;
    leaf(&[], common_name, ExtendedKeyUsagePurpose::ClientAuth, &issuer)
}
