//! Certificates for the bench, and clients that trust them.

use crate::front::TlsFiles;
use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::sync::Arc;

/// The host that is asked for.
pub(crate) const HOST: &str = "bench.localhost";
/// The host of Guichet's service for partners, which refuses the load.
pub(crate) const REFUSED_HOST: &str = "refused.localhost";

/// Makes P-256 certificates in `dir`.
///
/// # Errors
/// When a file can't be written.
pub(crate) fn certificates(dir: &Path) -> anyhow::Result<TlsFiles> {
    let write = |name: &str, text: String| -> anyhow::Result<_> {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    let ca = authority("bench")?;
    let partner_ca = authority("bench partners")?;
    let (key, partner_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let hosts = [HOST.to_owned(), REFUSED_HOST.to_owned()];
    let cert = leaf(&hosts, ExtendedKeyUsagePurpose::ServerAuth)?.signed_by(&key, &ca)?;
    let partner = leaf(&[], ExtendedKeyUsagePurpose::ClientAuth)?.signed_by(&partner_key, &partner_ca)?;
    Ok(TlsFiles {
        ca: write("ca.pem", ca.pem())?,
        cert: write("cert.pem", cert.pem())?,
        key: write("key.pem", key.serialize_pem())?,
        partner_ca: write("partner-ca.pem", partner_ca.pem())?,
        partner_cert: write("partner-cert.pem", partner.pem())?,
        partner_key: write("partner-key.pem", partner_key.serialize_pem())?,
    })
}

fn authority(name: &str) -> anyhow::Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn leaf(hosts: &[String], usage: ExtendedKeyUsagePurpose) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, "bench");
    params.extended_key_usages = vec![usage];
    Ok(params)
}

/// A client of TLS 1.3 with X25519, without resumption: every proxy does the same work for it.
///
/// # Errors
/// When the certificate can't be read.
pub(crate) fn client(files: &TlsFiles, alpn: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.ca).context("certificate of the bench")?)?;
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}
