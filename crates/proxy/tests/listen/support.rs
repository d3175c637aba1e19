//! A desk for tests, and a door around it on a thread of its own, over real sockets on loopback.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use guichet_core::Reason;
use guichet_proxy::body::{Body, BodyError};
use guichet_proxy::config::{Limits, Listener, Protocol, ProxyProtocol};
use guichet_proxy::connection::{Connection, TlsInfo};
use guichet_proxy::desk::Desk;
use guichet_proxy::listen::caps::ConnectionCaps;
use guichet_proxy::listen::client_hello::ClientHelloInfo;
use guichet_proxy::listen::tls::CertificateStore;
use guichet_proxy::listen::{WorkerContext, bind, run_listener};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// One request as the desk saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) violation: Option<Reason>,
    pub(crate) connection: u64,
    pub(crate) client: SocketAddr,
    pub(crate) tls: Option<TlsInfo>,
    pub(crate) h2_fingerprint: Option<String>,
    pub(crate) body: Option<Result<Vec<u8>, Option<Reason>>>,
}

/// What happened at the door.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) refused: Mutex<Vec<(SocketAddr, Reason)>>,
    pub(crate) opened: AtomicU32,
    pub(crate) closed: AtomicU32,
    pub(crate) streams_max: AtomicU32,
}

impl Log {
    /// Requests without violation.
    pub(crate) fn good(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().iter().filter(|s| s.violation.is_none()).cloned().collect()
    }

    pub(crate) fn reasons(&self) -> Vec<Reason> {
        self.refused.lock().unwrap().iter().map(|(_, reason)| *reason).collect()
    }

    /// Waits, bounded, until `condition` holds.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < until, "waited in vain for {what}: {self:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, reason: Reason) {
        self.wait(reason.label(), |log| log.reasons().contains(&reason));
    }
}

struct TestDesk(Arc<Log>);

impl Desk for TestDesk {
    async fn handle(self: Rc<Self>, connection: Rc<Connection>, mut request: Request<Incoming>) -> Response<Body> {
        let mut seen = Seen {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            violation: connection.violation.get(),
            connection: connection.id,
            client: connection.client,
            tls: connection.tls.clone(),
            h2_fingerprint: connection.h2_fingerprint.get().cloned(),
            body: None,
        };
        if let Some(reason) = seen.violation {
            self.0.seen.lock().unwrap().push(seen);
            return refusal(reason);
        }
        let path = request.uri().path().to_owned();
        if path == "/ws" && request.headers().contains_key(http::header::UPGRADE) {
            self.0.seen.lock().unwrap().push(seen);
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::task::spawn_local(async move {
                let mut io = TokioIo::new(upgrade.await.unwrap());
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = io.read(&mut bytes).await {
                    io.write_all(&bytes[..count]).await.unwrap();
                }
            });
            let builder = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            return builder.header("connection", "upgrade").header("upgrade", "test").body(Body::Empty).unwrap();
        }
        if path == "/hang" {
            self.0.seen.lock().unwrap().push(seen);
            std::future::pending::<()>().await;
            unreachable!()
        }
        if path == "/wait" {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        if path == "/large" {
            self.0.seen.lock().unwrap().push(seen);
            return Response::new(large());
        }
        let body = request.into_body().collect().await;
        let answer = match &body {
            Ok(_) => Response::new(Body::full(format!("seen {path}\n"))),
            Err(_) => refusal(connection.violation.get().unwrap_or(Reason::ClientGone)),
        };
        seen.body = Some(body.map(|b| b.to_bytes().to_vec()).map_err(|_| connection.violation.get()));
        self.0.seen.lock().unwrap().push(seen);
        answer
    }

    fn connection_refused(
        &self,
        source: SocketAddr,
        listener: &str,
        reason: Reason,
        _looks: Option<&guichet_proxy::signs::ConnectionLooks>,
    ) {
        assert_eq!(listener, "test");
        self.0.refused.lock().unwrap().push((source, reason));
    }

    /// Nobody may ask for this name.
    fn may_connect(
        &self,
        hello: Option<&ClientHelloInfo>,
        _looks: Option<&guichet_proxy::signs::ConnectionLooks>,
    ) -> Result<(), Reason> {
        let bad = hello.is_some_and(|hello| hello.sni.as_deref() == Some("bad.localhost"));
        if bad { Err(Reason::Suspect) } else { Ok(()) }
    }

    fn connection_opened(&self, _connection: &Connection) {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
    }

    fn connection_closed(&self, _connection: &Connection) {
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }

    fn streams_max(&self) -> u32 {
        self.0.streams_max.load(Ordering::SeqCst)
    }
}

fn refusal(reason: Reason) -> Response<Body> {
    let status = StatusCode::from_u16(reason.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Response::builder().status(status).body(Body::full(format!("refused {}\n", reason.label()))).unwrap()
}

/// 64 MiB in pieces.
fn large() -> Body {
    let pieces = futures_util::stream::iter(
        (0..1024).map(|_| Ok::<_, BodyError>(http_body::Frame::data(Bytes::from_static(&[b'x'; 64 * 1024])))),
    );
    Body::stream(http_body_util::StreamBody::new(pieces))
}

/// How a door is set up.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) listener: Listener,
    pub(crate) certificates: Option<Arc<CertificateStore>>,
    pub(crate) connections_max: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            listener: Listener {
                name: "test".into(),
                address: "127.0.0.1:0".parse().unwrap(),
                protocol: Protocol::Http,
                redirect_to_https_port: None,
                proxy_protocol: ProxyProtocol::Off,
                trusted_proxies: vec![],
                trusted_hops: 0,
                partner_ca: None,
                http2: true,
                backlog: 128,
            },
            certificates: None,
            connections_max: 1000,
        }
    }
}

/// A door on a thread of its own; ends when dropped.
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<Log>,
    pub(crate) caps: Arc<ConnectionCaps>,
    shutdown: Option<tokio::sync::watch::Sender<bool>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Setup {
    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn listener(mut self, change: impl FnOnce(&mut Listener)) -> Self {
        change(&mut self.listener);
        self
    }

    pub(crate) fn start(self) -> Door {
        let socket = bind(&self.listener).unwrap();
        let address = socket.local_addr().unwrap();
        let log = Arc::new(Log::default());
        log.streams_max.store(100, Ordering::SeqCst);
        let caps = ConnectionCaps::new(self.connections_max);
        let (shutdown, down) = tokio::sync::watch::channel(false);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (thread_log, thread_caps) = (Arc::clone(&log), Arc::clone(&caps));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let listener = Arc::new(self.listener);
                let tls = self.certificates.map(|store| store.listener(&listener).unwrap());
                let worker = WorkerContext::new(Rc::new(TestDesk(thread_log)), 0, Arc::new(self.limits), thread_caps);
                run_listener(Rc::new(worker), listener, socket, tls, down).await.unwrap();
                // What is under way goes on until the test ends.
                let _ = stopped.await;
            });
        });
        Door { address, log, caps, shutdown: Some(shutdown), stop: Some(stop), thread: Some(thread) }
    }
}

impl Door {
    pub(crate) fn drain(&self) {
        self.shutdown.as_ref().unwrap().send(true).unwrap();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop((self.shutdown.take(), self.stop.take()));
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}
