//! Certificates of one drill: an authority for the front's certificate, another for partners', made afresh each time.

use crate::front::TlsFiles;
use crate::services::{SERVICES, host_of};
use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::path::{Path, PathBuf};

/// Makes all files of a drill in a directory that exists.
///
/// # Errors
/// When a file can't be written.
pub fn make(dir: &Path) -> anyhow::Result<TlsFiles> {
    let write = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}: can't write", path.display()))?;
        Ok(path)
    };
    let (ca, issuer) = authority("Guichet drill authority")?;
    let (partner_ca, partner_issuer) = authority("Guichet drill partners")?;

    let mut names: Vec<String> = SERVICES.iter().map(|s| host_of(s.name)).collect();
    names.push("localhost".to_owned());
    let (cert, key) = leaf(names, "Guichet drill front", ExtendedKeyUsagePurpose::ServerAuth, &issuer)?;
    let partner = vec!["partner.localhost".to_owned()];
    let (partner_cert, partner_key) =
        leaf(partner, "drill-partner", ExtendedKeyUsagePurpose::ClientAuth, &partner_issuer)?;

    Ok(TlsFiles {
        ca: write("ca.pem", &ca)?,
        cert: write("cert.pem", &cert)?,
        key: write("key.pem", &key)?,
        partner_ca: write("partner-ca.pem", &partner_ca)?,
        partner_cert: write("partner.pem", &partner_cert)?,
        partner_key: write("partner-key.pem", &partner_key)?,
    })
}

fn authority(name: &str) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((pem, Issuer::new(params, key)))
}

fn leaf(
    names: Vec<String>,
    common_name: &str,
    usage: ExtendedKeyUsagePurpose,
    issuer: &Issuer<'static, KeyPair>,
) -> anyhow::Result<(String, String)> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, issuer)?;
    Ok((cert.pem(), key.serialize_pem()))
}
