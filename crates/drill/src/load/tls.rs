//! TLS of clients: what their ClientHello looks like, as far as rustls lets one choose.

use crate::front::TlsFiles;
use crate::scenario::TlsProfile;
use anyhow::Context;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use std::sync::Arc;

/// Everything needed to make client configurations in one drill.
pub(crate) struct ClientTls {
    roots: Arc<RootCertStore>,
    partner_chain: Vec<CertificateDer<'static>>,
    partner_key: PrivateKeyDer<'static>,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// A real client: checks the front's certificate.
    Public,
    /// A real client that shows a certificate.
    Partner,
    /// An attacker: checks nothing.
    Attacker,
}

impl ClientTls {
    /// Reads the files of the drill.
    pub(crate) fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for cert in certs(&files.ca)? {
            roots.add(cert)?;
        }
        let partner_key = PrivateKeyDer::from_pem_file(&files.partner_key)
            .with_context(|| format!("{}: no private key", files.partner_key.display()))?;
        Ok(Self { roots: Arc::new(roots), partner_chain: certs(&files.partner_cert)?, partner_key })
    }

    /// A configuration of this profile, with a session store of its own.
    pub(crate) fn config(&self, profile: TlsProfile, h2: bool, who: Who) -> anyhow::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider(profile)))
            .with_protocol_versions(&versions(profile))?;
        let builder = match who {
            Who::Public | Who::Partner => builder.with_root_certificates(Arc::clone(&self.roots)),
            Who::Attacker => builder.dangerous().with_custom_certificate_verifier(Arc::new(Careless)),
        };
        let mut config = match who {
            Who::Partner => builder.with_client_auth_cert(self.partner_chain.clone(), self.partner_key.clone_key())?,
            Who::Public | Who::Attacker => builder.with_no_client_auth(),
        };
        config.alpn_protocols =
            if h2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// The same configuration for one more person: browsers resume their own sessions, never another's.
    pub(crate) fn for_person(config: &Arc<ClientConfig>, profile: TlsProfile) -> Arc<ClientConfig> {
        if profile != TlsProfile::Browser {
            return Arc::clone(config);
        }
        let mut own = ClientConfig::clone(config);
        own.resumption = Resumption::in_memory_sessions(4);
        Arc::new(own)
    }
}

fn certs(path: &std::path::Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    read().with_context(|| format!("{}: no certificates", path.display()))
}

fn versions(profile: TlsProfile) -> Vec<&'static SupportedProtocolVersion> {
    match profile {
        TlsProfile::Browser | TlsProfile::Go => vec![&version::TLS13, &version::TLS12],
        TlsProfile::Tls12 => vec![&version::TLS12],
        TlsProfile::Minimal | TlsProfile::Reversed => vec![&version::TLS13],
    }
}

fn provider(profile: TlsProfile) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    match profile {
        TlsProfile::Browser => {}
        TlsProfile::Go => {
            // AES-128 first, elliptic curves only: a fingerprint of its own.
            provider.cipher_suites.sort_by_key(|s| !format!("{:?}", s.suite()).contains("AES_128"));
            provider.kx_groups = vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1];
        }
        TlsProfile::Tls12 => provider.kx_groups = vec![aws_lc_rs::kx_group::SECP256R1],
        TlsProfile::Minimal => {
            provider.cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
            provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        }
        TlsProfile::Reversed => {
            provider.cipher_suites.reverse();
            provider.kx_groups = vec![aws_lc_rs::kx_group::SECP256R1, aws_lc_rs::kx_group::X25519];
        }
    }
    provider
}

/// Believes every certificate: attackers do not care whom they talk to, and the guard of `target` decides whom they reach.
#[derive(Debug)]
struct Careless;

impl ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
