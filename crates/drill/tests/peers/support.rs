//! Small real services, certificates and clients for the tests of fronts.

use guichet_core::Criticality;
use guichet_drill::front::{Contracts, FrontContext, Ports, ServiceTarget, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The field with which tests mark requests that no service of partners may see.
pub(crate) const STRANGER: &str = "x-test-stranger";

/// How long a service takes for `/slow`: long enough that all requests of a test are under way together.
const SLOW: Duration = Duration::from_millis(300);

/// Services, certificates and a scratch folder.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    tls: TlsFiles,
    pub(crate) services: Vec<ServiceTarget>,
    pub(crate) ports: Ports,
    seen: Arc<Seen>,
}

/// What all services of a test saw together.
#[derive(Debug, Default)]
struct Seen {
    strangers: AtomicUsize,
    slow_now: AtomicUsize,
    slow_most: AtomicUsize,
}

impl Bench {
    pub(crate) fn new() -> Self {
        // Two providers may be linked in by the tests' dependencies; the second call of a process finds it installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let seen = Arc::new(Seen::default());
        let table = [
            ("portal", Criticality::Ordinary, false),
            ("bank", Criticality::Important, false),
            ("parcels", Criticality::Ordinary, false),
            ("rails", Criticality::Critical, true),
            ("counter", Criticality::Critical, true),
        ];
        let services = table.map(|(name, criticality, partner_only)| ServiceTarget {
            name: name.to_owned(),
            host: format!("{name}.localhost"),
            upstream: upstream(name, Arc::clone(&seen)),
            criticality,
            partner_only,
            session_cookie: (!partner_only && name != "parcels").then(|| format!("{name}_session")),
            workers: 8,
            capacity_rps: 800.0,
        });
        let tls = certificates(dir.path(), &services.each_ref().map(|s| s.host.clone()));
        Self { dir, tls, services: services.to_vec(), ports: free_ports(), seen }
    }

    pub(crate) fn context(&self) -> FrontContext<'_> {
        FrontContext {
            dir: self.dir.path(),
            tls: &self.tls,
            services: &self.services,
            ports: self.ports,
            workers: 1,
            guichet_exe: Path::new("/nonexistent"),
            contracts: Contracts::None,
            status_port: 0,
        }
    }

    pub(crate) fn served_without_partner(&self) -> usize {
        self.seen.strangers.load(Ordering::Relaxed)
    }

    /// Most slow requests that services worked on at once.
    pub(crate) fn slow_most(&self) -> usize {
        self.seen.slow_most.load(Ordering::Relaxed)
    }
}

/// Where the next look for free ports starts, so that tests of one process don't look at the same ones.
static NEXT_PORT: AtomicUsize = AtomicUsize::new(0);

/// Ports that were free a moment ago, below the range that connections of clients are given theirs from.
fn free_ports() -> Ports {
    let mut held = Vec::new();
    for _ in 0..1000 {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() as usize * 37 + step) % 10_000;
        held.extend(TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())));
        if let [http, https, admin] = &held[..] {
            let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
            return Ports { http: port(http), https: port(https), admin: port(admin) };
        }
    }
    panic!("no free ports between 10000 and 20000");
}

fn certificates(dir: &Path, hosts: &[String]) -> TlsFiles {
    let write = |name: &str, text: String| -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let (ca, partner_ca) = (authority("test"), authority("partners"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let cert = params.signed_by(&key, &ca).unwrap();
    let partner_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "cash-machines");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let partner_cert = params.signed_by(&partner_key, &partner_ca).unwrap();
    TlsFiles {
        ca: write("ca.pem", ca.pem()),
        cert: write("cert.pem", cert.pem()),
        key: write("key.pem", key.serialize_pem()),
        partner_ca: write("partner-ca.pem", partner_ca.pem()),
        partner_cert: write("partner-cert.pem", partner_cert.pem()),
        partner_key: write("partner-key.pem", partner_key.serialize_pem()),
    }
}

/// A service that says who it is and what it was told, one thread a connection. Ends with the test's process.
fn upstream(name: &'static str, seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                if let Ok(stream) = stream {
                    // A front that hangs up in between is no failure of the service.
                    let _ = serve(name, &stream, &seen);
                }
            });
        }
    });
    at
}

fn serve(name: &str, stream: &TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some((line, fields)) = read_head(&mut reader)? {
        let field = |wanted: &str| fields.iter().find(|(n, _)| n == wanted).map_or("", |(_, v)| v.as_str());
        if !field(STRANGER).is_empty() {
            seen.strangers.fetch_add(1, Ordering::Relaxed);
        }
        if line.contains("/slow") {
            let now = seen.slow_now.fetch_add(1, Ordering::Relaxed) + 1;
            seen.slow_most.fetch_max(now, Ordering::Relaxed);
            std::thread::sleep(SLOW);
            seen.slow_now.fetch_sub(1, Ordering::Relaxed);
        }
        let cookie = field("cookie");
        let set = if line.contains("/session") {
            format!("set-cookie: {cookie}; Path=/; HttpOnly\r\n")
        } else {
            String::new()
        };
        let told = format!("x-test-forwarded: {}\r\nx-test-cookie: {cookie}\r\n", field("x-forwarded-for"));
        let length = name.len();
        // In one piece: several small writes would wait for each other's acknowledgement.
        let answer =
            format!("HTTP/1.1 200 OK\r\nx-estate-op: test\r\n{set}{told}content-length: {length}\r\n\r\n{name}");
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}

type Head = (String, Vec<(String, String)>);

fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut fields = Vec::new();
    for _ in 0..100 {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some((first, fields)))
}

/// Where and how a client connects.
pub(crate) struct Client {
    pub(crate) to: SocketAddr,
    pub(crate) source: Ipv4Addr,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// The name in the handshake; empty: the host asked for.
    pub(crate) sni: String,
}

impl Client {
    pub(crate) fn plain(to: SocketAddr, source: Ipv4Addr) -> Self {
        Self { to, source, tls: None, sni: String::new() }
    }

    pub(crate) fn tls(to: SocketAddr, source: Ipv4Addr, bench: &Bench, partner: bool) -> Self {
        Self { to, source, tls: Some(Arc::new(tls_config(bench, partner))), sni: String::new() }
    }

    fn connect(&self, host: &str) -> std::io::Result<Box<dyn ReadWrite>> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((self.source, 0)).into())?;
        socket.connect(&self.to.into())?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let name = if self.sni.is_empty() { host } else { &self.sni };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
        Ok(Box::new(rustls::StreamOwned::new(connection, stream)))
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn tls_config(bench: &Bench, partner: bool) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&bench.tls.ca).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder().with_root_certificates(roots);
    if partner {
        let cert = CertificateDer::from_pem_file(&bench.tls.partner_cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&bench.tls.partner_key).unwrap();
        builder.with_client_auth_cert(vec![cert], key).unwrap()
    } else {
        builder.with_no_client_auth()
    }
}

/// What came back; status 0 where the connection was refused or closed instead.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) forwarded_for: String,
    pub(crate) cookie: String,
    pub(crate) set_cookie: String,
}

/// One request on a connection of its own.
pub(crate) fn get(client: &Client, host: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
    let ask = || -> std::io::Result<Answer> {
        let mut stream = BufReader::new(client.connect(host)?);
        ask(&mut stream, host, path, fields)
    };
    ask().unwrap_or_default()
}

fn ask(
    stream: &mut BufReader<Box<dyn ReadWrite>>,
    host: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> std::io::Result<Answer> {
    let fields: String = fields.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    stream.get_mut().flush()?;
    let Some((line, fields)) = read_head(stream)? else { return Ok(Answer::default()) };
    let field = |wanted: &str| fields.iter().find(|(n, _)| n == wanted).map_or_else(String::new, |(_, v)| v.clone());
    let length = field("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Answer {
        status: line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0),
        service: String::from_utf8_lossy(&body).into_owned(),
        operation: field("x-estate-op"),
        forwarded_for: field("x-test-forwarded"),
        cookie: field("x-test-cookie"),
        set_cookie: field("set-cookie"),
    })
}

/// `count` requests as fast as they are answered, reconnecting where the front hangs up.
pub(crate) fn flood(client: &Client, host: &str, path: &str, fields: &[(&str, &str)], count: usize) -> Vec<u16> {
    let mut statuses = Vec::with_capacity(count);
    let mut stream: Option<BufReader<Box<dyn ReadWrite>>> = None;
    for _ in 0..count {
        if stream.is_none() {
            stream = client.connect(host).ok().map(BufReader::new);
        }
        let answer = stream.as_mut().map(|s| ask(s, host, path, fields));
        let status = answer.and_then(Result::ok).map_or(0, |a| a.status);
        if status != 200 {
            // Many fronts close after a refusal; a new connection each keeps what is counted the same for all.
            stream = None;
        }
        statuses.push(status);
    }
    statuses
}

/// One request over HTTP/2, agreed on by ALPN: status and body.
pub(crate) fn get_h2(to: SocketAddr, bench: &Bench, host: &str, path: &str) -> (u16, String) {
    let mut config = tls_config(bench, false);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exchange = async {
        let stream = tokio::net::TcpStream::connect(to).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = connector.connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::get(format!("https://{host}{path}")).body(()).unwrap();
        let (response, _) = sender.ready().await.unwrap().send_request(request, true).unwrap();
        let response = response.await.unwrap();
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        driver.abort();
        (status, String::from_utf8(bytes).unwrap())
    };
    let bounded = async { tokio::time::timeout(Duration::from_secs(10), exchange).await };
    runtime.block_on(bounded).expect("an answer within ten seconds")
}

/// These processes and all below them.
pub(crate) fn process_tree(roots: &[u32]) -> Vec<u32> {
    let mut tree = roots.to_vec();
    let mut index = 0;
    while index < tree.len() {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", tree[index])).unwrap_or_default();
        tree.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        index += 1;
    }
    tree
}

/// Whether a process exists and isn't a zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next()).is_some_and(|state| state != "Z")
}
