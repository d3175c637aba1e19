//! TLS: names, resumption, partners, reload, fingerprints, refusal before cryptography.

use std::io::Read as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use guichet_core::Reason;
use guichet_proxy::config::{CertificateFiles, Protocol};
use guichet_proxy::listen::tls::{CertificateStore, Changed, DemoCertificates, client_certificate, self_signed};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::http1::connect;
use crate::support::{Door, Setup};

/// A folder of certificates.
struct Folder {
    dir: tempfile::TempDir,
    roots: rustls::RootCertStore,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), roots: rustls::RootCertStore::empty() }
    }

    fn write(&mut self, name: &str, made: &DemoCertificates) -> CertificateFiles {
        let files = self.files(name);
        std::fs::write(&files.cert, &made.cert).unwrap();
        std::fs::write(&files.key, &made.key).unwrap();
        self.roots.add(CertificateDer::from_pem_slice(made.ca.as_bytes()).unwrap()).unwrap();
        files
    }

    fn files(&self, name: &str) -> CertificateFiles {
        let path = |end: &str| self.dir.path().join(format!("{name}.{end}"));
        CertificateFiles { cert: path("pem"), key: path("key") }
    }

    fn client(&self) -> rustls::ClientConfig {
        self.client_with(&[&rustls::version::TLS13, &rustls::version::TLS12])
    }

    fn client_with(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> rustls::ClientConfig {
        builder(versions).with_root_certificates(self.roots.clone()).with_no_client_auth()
    }
}

fn builder(
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap()
}

fn door(store: &Arc<CertificateStore>) -> Setup {
    let mut setup = Setup::default().listener(|l| l.protocol = Protocol::Https);
    setup.certificates = Some(Arc::clone(store));
    setup
}

/// One request over TLS; what the server's certificate was, how the handshake went, and the answer.
struct Talk {
    certificate: Vec<u8>,
    kind: rustls::HandshakeKind,
    answer: String,
}

fn talk(door: &Door, config: &Arc<rustls::ClientConfig>, name: &str) -> std::io::Result<Talk> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(door.address).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let mut stream = connector.connect(ServerName::try_from(name.to_owned()).unwrap(), socket).await?;
        let request = format!("GET /tls HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let session = stream.get_ref().1;
        let certificate = session.peer_certificates().unwrap()[0].to_vec();
        Ok(Talk { certificate, kind: session.handshake_kind().unwrap(), answer })
    })
}

fn der(made: &DemoCertificates) -> Vec<u8> {
    CertificateDer::from_pem_slice(made.cert.as_bytes()).unwrap().to_vec()
}

#[test]
fn certificates_are_chosen_by_name_and_reloaded() {
    let mut folder = Folder::new();
    let portal = self_signed(&["portal.localhost", "localhost"]).unwrap();
    let bank = self_signed(&["*.bank.localhost", "Bank.localhost"]).unwrap();
    let files = [folder.write("portal", &portal), folder.write("bank", &bank)];
    let store = CertificateStore::load(&files).unwrap();
    let door = door(&store).start();
    let client = Arc::new(folder.client());
    for (name, expected) in [
        ("portal.localhost", &portal),
        ("bank.localhost", &bank),
        ("www.bank.localhost", &bank),
        ("localhost", &portal),
    ] {
        let talk = talk(&door, &client, name).unwrap();
        assert_eq!(talk.certificate, der(expected), "{name}");
        assert!(talk.answer.ends_with("seen /tls\n"), "{}", talk.answer);
    }
    // No certificate has this name: the first is given, and the client refuses it.
    assert!(talk(&door, &client, "a.b.bank.localhost").is_err());
    let tls = door.log.good()[1].tls.clone().unwrap();
    assert_eq!((tls.version, tls.sni.as_deref(), tls.h2), ("TLSv1.3", Some("bank.localhost"), false));
    assert!(tls.cipher.starts_with("TLS13_AES_"), "{}", tls.cipher);
    assert!(tls.ja4.starts_with("t13d") && tls.ja4.len() == 36, "{}", tls.ja4);

    assert_eq!(store.reload().unwrap(), Changed::Nothing);
    // A broken new file: named, and the old one stays in use.
    std::fs::write(&files[1].key, &portal.key).unwrap();
    let error = store.reload().unwrap_err().to_string();
    assert!(error.contains("bank.key") && error.contains("bank.pem"), "{error}");
    assert_eq!(talk(&door, &Arc::new(folder.client()), "bank.localhost").unwrap().certificate, der(&bank));
    // A good one: in use from the next connection on.
    let renewed = self_signed(&["bank.localhost"]).unwrap();
    folder.write("bank", &renewed);
    assert_eq!(store.reload().unwrap(), Changed::Reloaded);
    assert_eq!(store.reload().unwrap(), Changed::Nothing);
    assert_eq!(talk(&door, &Arc::new(folder.client()), "bank.localhost").unwrap().certificate, der(&renewed));
}

#[test]
fn sessions_are_resumed_in_both_versions() {
    let mut folder = Folder::new();
    let files = folder.write("a", &self_signed(&["portal.localhost"]).unwrap());
    let store = CertificateStore::load(&[files]).unwrap();
    let door = door(&store).start();
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let client = Arc::new(folder.client_with(&[version]));
        let kinds = [(); 2].map(|()| talk(&door, &client, "portal.localhost").unwrap().kind);
        assert_ne!(kinds[0], rustls::HandshakeKind::Resumed, "{version:?}");
        assert_eq!(kinds[1], rustls::HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn partners_are_recognised_and_strangers_let_in() {
    let mut folder = Folder::new();
    let made = self_signed(&["rails.localhost"]).unwrap();
    let files = folder.write("a", &made);
    let partners = self_signed(&["unused"]).unwrap();
    let ca = folder.dir.path().join("partners.pem");
    std::fs::write(&ca, &partners.ca).unwrap();
    let store = CertificateStore::load(&[files]).unwrap();
    let door = door(&store).listener(|l| l.partner_ca = Some(ca.clone())).start();
    let with = |authority: &DemoCertificates| {
        let (cert, key) = client_certificate(&authority.ca, &authority.ca_key, "cash-machines").unwrap();
        let der = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = builder(&[&rustls::version::TLS13])
            .with_root_certificates(folder.roots.clone())
            .with_client_auth_cert(vec![der.clone()], key)
            .unwrap();
        (Arc::new(config), der)
    };
    let (partner, der) = with(&partners);
    // Twice: the resumed session carries the identity too.
    for _ in 0..2 {
        talk(&door, &partner, "rails.localhost").unwrap();
        let tls = door.log.good().pop().unwrap().tls.unwrap();
        assert_eq!(tls.client_common_name.as_deref(), Some("cash-machines"));
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
        assert_eq!(tls.client_certificate_sha256.unwrap(), *sum.as_ref());
    }
    talk(&door, &Arc::new(folder.client()), "rails.localhost").unwrap();
    let tls = door.log.good().pop().unwrap().tls.unwrap();
    assert_eq!((tls.client_common_name, tls.client_certificate_sha256), (None, None));
    // A certificate of another authority is no partner's, and no stranger's either.
    let (impostor, _) = with(&made);
    assert!(talk(&door, &impostor, "rails.localhost").is_err());
    door.log.wait_for(Reason::HandshakeFailed);
    // The authority changes: what it vouched for before is not resumed.
    let others = self_signed(&["unused"]).unwrap();
    std::fs::write(&ca, format!("{}\n", others.ca)).unwrap();
    assert_eq!(store.reload().unwrap(), Changed::Reloaded);
    assert!(talk(&door, &partner, "rails.localhost").is_err());
}

#[test]
fn http2_by_alpn() {
    let mut folder = Folder::new();
    let files = folder.write("a", &self_signed(&["portal.localhost"]).unwrap());
    let door = door(&CertificateStore::load(&[files]).unwrap()).start();
    let mut config = folder.client();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(door.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("portal.localhost").unwrap();
        let stream = connector.connect(name, socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("https://portal.localhost/").body(()).unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    let seen = door.log.good().pop().unwrap();
    let tls = seen.tls.unwrap();
    assert!(tls.h2);
    assert!(tls.ja4.contains("h2_"), "{}", tls.ja4);
    assert!(seen.h2_fingerprint.unwrap().contains("|m,s,a,p"));
}

#[test]
fn errors_name_the_file_and_the_mend() {
    let mut folder = Folder::new();
    let made = self_signed(&["a"]).unwrap();
    let good = folder.write("good", &made);
    let check = |name: &str, cert: Option<&str>, key: Option<&str>, file: &str, expected: &str| {
        let files = folder.files(name);
        for (path, content) in [(&files.cert, cert), (&files.key, key)] {
            if let Some(content) = content {
                std::fs::write(path, content).unwrap();
            }
        }
        let error = CertificateStore::load(&[good.clone(), files]).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(expected), "{name}: {error}");
    };
    let other = self_signed(&["b"]).unwrap();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let large = "x".repeat(2 << 20);
    check("none", None, None, "none.pem", "cannot be read");
    check("no-key", Some(&made.cert), None, "no-key.key", "cannot be read");
    check("empty", Some(""), Some(&made.key), "empty.pem", "holds no certificate");
    check("empty-key", Some(&made.cert), Some(""), "empty-key.key", "holds no private key");
    check("swapped", Some(&made.key), Some(&made.cert), "swapped.pem", "holds no certificate");
    check("mismatch", Some(&made.cert), Some(&other.key), "mismatch.key", "does not belong");
    check("encrypted", Some(&made.cert), Some(encrypted), "encrypted.key", "openssl pkey");
    check("old", Some(&made.cert), Some(old), "old.key", "openssl pkey");
    check("large", Some(&large), Some(&made.key), "large.pem", "over");
    check("torn", Some(&made.cert[..200]), Some(&made.key), "torn.pem", "PEM");
    assert!(CertificateStore::load(&[]).unwrap_err().to_string().contains("[[certificate]]"));
}

#[test]
fn the_hello_is_judged_before_any_cryptography() {
    let mut folder = Folder::new();
    let files = folder.write("a", &self_signed(&["portal.localhost", "bad.localhost"]).unwrap());
    let store = CertificateStore::load(&[files]).unwrap();
    let setup = door(&store).limits(|l| {
        l.client_hello = Duration::from_millis(200);
        l.handshake = Duration::from_millis(200);
        l.handshakes_per_source = 1;
    });
    let door = setup.start();
    let client = Arc::new(folder.client());
    assert!(talk(&door, &client, "bad.localhost").is_err());
    door.log.wait_for(Reason::Suspect);
    // Cleartext, and silence, and half a hello.
    let closed = |bytes: &[u8]| {
        let mut stream = connect(&door);
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    };
    closed(b"GET / HTTP/1.1\r\n\r\n");
    door.log.wait_for(Reason::NotTls);
    closed(b"");
    closed(&[22, 3, 1, 1, 0, 1, 0]);
    door.log.wait("timeouts", |log| log.reasons().iter().filter(|r| **r == Reason::HandshakeTimeout).count() == 2);
    // A hello, and then silence: one handshake is under way, a second one from there is refused, and the first ends.
    let mut hello = Vec::new();
    let name = ServerName::try_from("portal.localhost").unwrap();
    rustls::ClientConnection::new(Arc::clone(&client), name).unwrap().write_tls(&mut hello).unwrap();
    let mut first = connect(&door);
    first.write_all(&hello).unwrap();
    let mut begun = [0; 1];
    first.read_exact(&mut begun).unwrap();
    assert!(talk(&door, &client, "portal.localhost").is_err());
    door.log.wait_for(Reason::HandshakesPerSource);
    door.log.wait("the third", |log| log.reasons().iter().filter(|r| **r == Reason::HandshakeTimeout).count() == 3);
    assert!(talk(&door, &client, "portal.localhost").is_ok());
    assert_eq!(door.log.opened.load(Ordering::SeqCst), 1);
}
