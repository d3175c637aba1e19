//! A connection to a server: socket, TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use guichet_core::Reason;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;

use super::stream::{Io, Stream};
use crate::config::{Upstream, UpstreamProtocol};

/// Why a pool's TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file cannot be read or holds no certificate.
    #[error("upstream {upstream}: ca {path}: {cause}; give a PEM file with at least one certificate")]
    Ca {
        /// Name of the pool.
        upstream: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No CA was given and the system has none.
    #[error("upstream {upstream}: the system has no CA certificates; install them or set ca")]
    NoSystemRoots {
        /// Name of the pool.
        upstream: String,
    },
    /// The name to verify is neither a host name nor an address.
    #[error("upstream {upstream}: {name} is no name that TLS can verify; set server_name")]
    Name {
        /// Name of the pool.
        upstream: String,
        /// The name.
        name: String,
    },
    /// rustls refused the set-up.
    #[error("upstream {upstream}: {cause}")]
    Setup {
        /// Name of the pool.
        upstream: String,
        /// What rustls said.
        cause: String,
    },
}

/// How TLS is spoken to a pool.
pub(super) struct UpstreamTls {
    connector: tokio_rustls::TlsConnector,
    /// By position of the server.
    names: Vec<ServerName<'static>>,
    h2: bool,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTls").field("names", &self.names).field("h2", &self.h2).finish_non_exhaustive()
    }
}

impl UpstreamTls {
    /// `None` for a pool that speaks cleartext.
    pub(super) fn for_upstream(upstream: &Upstream) -> Result<Option<Self>, TlsError> {
        let h2 = match upstream.protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::H2c => return Ok(None),
            UpstreamProtocol::Https => false,
            UpstreamProtocol::H2 => true,
        };
        let name = || upstream.name.clone();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Setup { upstream: name(), cause: e.to_string() })?
            .with_root_certificates(roots(upstream)?)
            .with_no_client_auth();
        config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let names = upstream
            .servers
            .iter()
            .map(|server| {
                let text = upstream.server_name.as_deref().unwrap_or_else(|| host_of(&server.address));
                ServerName::try_from(text.to_owned())
                    .map_err(|_| TlsError::Name { upstream: name(), name: text.to_owned() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { connector: tokio_rustls::TlsConnector::from(Arc::new(config)), names, h2 }))
    }
}

fn roots(upstream: &Upstream) -> Result<rustls::RootCertStore, TlsError> {
    let mut roots = rustls::RootCertStore::empty();
    let Some(path) = &upstream.ca else {
        // Single certificates of the system that rustls cannot use are left out; what they signed will not verify.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemRoots { upstream: upstream.name.clone() });
        }
        return Ok(roots);
    };
    let wrong =
        |cause: String| TlsError::Ca { upstream: upstream.name.clone(), path: path.display().to_string(), cause };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        roots.add(certificate).map_err(|e| wrong(e.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("no certificate in it".into())) } else { Ok(roots) }
}

/// The host part of `host:port`, without brackets.
pub(super) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

/// A connection failed before anything was sent on it.
#[derive(Debug)]
pub(super) struct ConnectFailure {
    pub(super) reason: Reason,
    pub(super) detail: String,
}

/// Connects to the first address that accepts, and speaks TLS where the pool does. The caller sets the deadline.
pub(super) async fn open(
    addresses: &[SocketAddr],
    server: usize,
    tls: Option<&UpstreamTls>,
) -> Result<Stream, ConnectFailure> {
    let mut last = String::from("no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // Answers must not wait for an acknowledgement; a socket that refuses this still works.
                let _ = socket.set_nodelay(true);
                return match tls {
                    None => Ok(Stream::new(Io::Plain(socket))),
                    Some(tls) => tls.handshake(socket, server).await,
                };
            }
            Err(e) => last = format!("connect to {address}: {e}"),
        }
    }
    Err(ConnectFailure { reason: Reason::UpstreamConnect, detail: last })
}

impl UpstreamTls {
    async fn handshake(&self, socket: TcpStream, server: usize) -> Result<Stream, ConnectFailure> {
        let failed = |detail: String| ConnectFailure { reason: Reason::UpstreamTls, detail };
        let name = self.names[server].clone();
        let stream = self
            .connector
            .connect(name, socket)
            .await
            .map_err(|e| failed(format!("TLS handshake as {:?}: {e}", self.names[server])))?;
        if self.h2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(failed("the server does not offer h2 by ALPN; set protocol = \"https\"".into()));
        }
        Ok(Stream::new(Io::Tls(Box::new(stream))))
    }
}
