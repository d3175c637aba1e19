//! The certificates of a node, swapped as a whole when files change; a broken new file keeps the old ones.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use guichet_core::bounds::TLS_SESSIONS_MAX;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{
    ClientHello, ProducesTickets, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;

use super::files::{self, Stamp, TlsError};
use crate::config::{CertificateFiles, Listener};

/// Certificates by name.
#[derive(Debug)]
struct Table {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// Keys are what follows the `*`, with its dot.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl Table {
    fn load(files: &[CertificateFiles]) -> Result<Self, TlsError> {
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        let mut first = None;
        for one in files {
            let (certified, names) = files::certified(one)?;
            first.get_or_insert_with(|| Arc::clone(&certified));
            for name in names {
                // Where two certificates have a name, the one configured first is given.
                match name.strip_prefix('*') {
                    Some(suffix) => wildcard.entry(suffix.to_owned()).or_insert_with(|| Arc::clone(&certified)),
                    None => exact.entry(name).or_insert_with(|| Arc::clone(&certified)),
                };
            }
        }
        Ok(Self { first: first.ok_or(TlsError::NoneConfigured)?, exact, wildcard })
    }

    /// Each name and when its certificate expires (seconds since 1970).
    fn expiries(&self) -> Vec<(String, i64)> {
        let all = self.exact.iter().map(|(name, certified)| (name.clone(), certified));
        let wildcards = self.wildcard.iter().map(|(suffix, certified)| (format!("*{suffix}"), certified));
        all.chain(wildcards)
            .filter_map(|(name, certified)| {
                let leaf = certified.cert.first()?;
                let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
                Some((name, parsed.validity().not_after.timestamp()))
            })
            .collect()
    }

    fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.first };
        let name = name.to_ascii_lowercase();
        // A wildcard stands for exactly one label.
        let by_wildcard = || name.find('.').and_then(|dot| self.wildcard.get(&name[dot..]));
        self.exact.get(&name).or_else(by_wildcard).unwrap_or(&self.first)
    }
}

#[derive(Debug)]
struct Resolver(Arc<ArcSwap<Table>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.load().choose(hello.server_name())))
    }
}

/// TLS of one listener; cheap to take from for each connection.
#[derive(Debug)]
pub struct ListenerTls {
    config: ArcSwap<ServerConfig>,
    http2: bool,
    partner_ca: Option<PathBuf>,
}

impl ListenerTls {
    /// The configuration for a new connection.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }
}

/// Whether a reload changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// No file changed.
    Nothing,
    /// New certificates or authorities are in use for new connections.
    Reloaded,
}

#[derive(Debug, Default)]
struct Watched {
    files: Vec<CertificateFiles>,
    listeners: Vec<Arc<ListenerTls>>,
    stamps: HashMap<PathBuf, Stamp>,
}

/// The certificates of a node.
#[derive(Debug)]
pub struct CertificateStore {
    table: Arc<ArcSwap<Table>>,
    /// Taken at start and by the one task that reloads; never on the way of a connection.
    watched: Mutex<Watched>,
}

fn stamps_of(files: &[CertificateFiles]) -> impl Iterator<Item = (PathBuf, Stamp)> + '_ {
    files.iter().flat_map(|f| [&f.cert, &f.key]).map(|path| (path.clone(), files::stamp(path)))
}

impl CertificateStore {
    /// Reads all certificates.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(files: &[CertificateFiles]) -> Result<Arc<Self>, TlsError> {
        // Stamps are taken before reading: a file replaced in between is read again.
        let stamps = stamps_of(files).collect();
        let table = Arc::new(ArcSwap::from_pointee(Table::load(files)?));
        let watched = Watched { files: files.to_vec(), listeners: vec![], stamps };
        Ok(Arc::new(Self { table, watched: Mutex::new(watched) }))
    }

    /// The names served and when their certificates expire (seconds since 1970), for the metrics.
    #[must_use]
    pub fn expiries(&self) -> Vec<(String, i64)> {
        self.table.load().expiries()
    }

    /// Serves other certificates from now on (a reload of the configuration).
    ///
    /// # Errors
    /// The first file that cannot be used, and why; everything old then stays in use.
    pub fn replace(&self, files: &[CertificateFiles]) -> Result<(), TlsError> {
        let mut watched = self.watched.lock();
        let mut stamps: HashMap<PathBuf, Stamp> = stamps_of(files).collect();
        for authority in watched.listeners.iter().filter_map(|tls| tls.partner_ca.as_ref()) {
            stamps.insert(authority.clone(), files::stamp(authority));
        }
        self.table.store(Arc::new(Table::load(files)?));
        watched.files = files.to_vec();
        watched.stamps = stamps;
        Ok(())
    }

    /// TLS for a listener: TLS 1.2 and 1.3, HTTP/2 by ALPN where the listener offers it, sessions resumed by tickets
    /// (keys rotate) or by id (bounded), client certificates optional and verified against the partners' authority.
    ///
    /// # Errors
    /// Where the authority's file cannot be used.
    pub fn listener(&self, listener: &Listener) -> Result<Arc<ListenerTls>, TlsError> {
        let mut watched = self.watched.lock();
        if let Some(path) = &listener.partner_ca {
            watched.stamps.insert(path.clone(), files::stamp(path));
        }
        let config = self.server_config(listener.http2, listener.partner_ca.as_ref())?;
        let tls = Arc::new(ListenerTls {
            config: ArcSwap::from_pointee(config),
            http2: listener.http2,
            partner_ca: listener.partner_ca.clone(),
        });
        watched.listeners.push(Arc::clone(&tls));
        Ok(tls)
    }

    fn server_config(&self, http2: bool, partner_ca: Option<&PathBuf>) -> Result<ServerConfig, TlsError> {
        let internal = |error: &dyn std::fmt::Display| TlsError::Internal(error.to_string());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| internal(&e))?;
        let builder = match partner_ca {
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(files::authorities(path)?, provider)
                    .allow_unauthenticated()
                    .build()
                    .map_err(|e| TlsError::Content { path: path.clone(), cause: e.to_string() })?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(Resolver(Arc::clone(&self.table))));
        config.alpn_protocols =
            if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
        config.session_storage = ServerSessionMemoryCache::new(TLS_SESSIONS_MAX);
        // Fresh keys with each configuration: a session of a partner ends with the authority that vouched for it.
        let ticketer: Arc<dyn ProducesTickets> =
            rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|e| internal(&e))?;
        config.ticketer = ticketer;
        config.send_tls13_tickets = 2;
        Ok(config)
    }

    /// Looks whether files changed and, if so, reads all anew. Meant to be called every two seconds by one task, or on
    /// HUP. It reads files, so it must not be called from a worker.
    ///
    /// # Errors
    /// What is wrong with a new file; everything old then stays in use, and the next change is tried again.
    pub fn reload(&self) -> Result<Changed, TlsError> {
        let mut watched = self.watched.lock();
        let fresh: HashMap<PathBuf, Stamp> =
            watched.stamps.keys().map(|path| (path.clone(), files::stamp(path))).collect();
        if fresh == watched.stamps {
            return Ok(Changed::Nothing);
        }
        let changed = |path: &PathBuf| fresh.get(path) != watched.stamps.get(path);
        let table = Table::load(&watched.files)?;
        let mut configs = Vec::new();
        for tls in &watched.listeners {
            if tls.partner_ca.as_ref().is_some_and(changed) {
                configs.push((Arc::clone(tls), self.server_config(tls.http2, tls.partner_ca.as_ref())?));
            }
        }
        // All of it was good: now, and only now, it is put to use.
        self.table.store(Arc::new(table));
        for (tls, config) in configs {
            tls.config.store(Arc::new(config));
        }
        watched.stamps = fresh;
        Ok(Changed::Reloaded)
    }
}
