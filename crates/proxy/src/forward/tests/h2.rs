//! HTTP/2 to upstreams: gRPC, sharing of connections, GOAWAY; and from HTTP/2 to HTTP/1.1.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;

use super::*;

/// An HTTP/2 client on a connection of its own.
pub(super) async fn client<B>(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<B>
where
    B: http_body::Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(connect(address).await);
    let (sender, connection) = hyper::client::conn::http2::handshake(LocalExecutor, io).await.unwrap();
    tokio::task::spawn_local(connection);
    // The server's SETTINGS decide whether extended CONNECT may be used.
    tokio::time::sleep(Duration::from_millis(20)).await;
    sender
}

type ServerBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// An HTTP/2 upstream; `streams_max` is what it allows.
async fn serving<F, S>(streams_max: u32, service: S) -> (SocketAddr, Rc<Cell<usize>>)
where
    S: Fn(Request<Incoming>) -> F + Clone + 'static,
    F: Future<Output = Response<ServerBody>> + 'static,
{
    scripted(move |socket, _| {
        let service = service.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = service(request);
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            let mut builder = hyper::server::conn::http2::Builder::new(LocalExecutor);
            let _ = builder.max_concurrent_streams(streams_max).serve_connection(TokioIo::new(socket), service).await;
        }
    })
    .await
}

fn h2c(server: SocketAddr) -> Upstream {
    Upstream { protocol: UpstreamProtocol::H2c, ..upstream(&[server]) }
}

#[test]
fn grpc_streams_both_ways_and_ends_with_trailers() {
    local(async {
        let (server, _) = serving(100, |request: Request<Incoming>| async move {
            assert_eq!(request.headers()["te"], "trailers");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.uri().authority().unwrap().as_str(), "rails.localhost");
            assert!(request.headers().get("host").is_none());
            let frames = futures_util::stream::unfold(Some(request.into_body()), |state| async {
                let mut incoming = state?;
                // Each message comes back at once: the stream goes both ways at the same time.
                match incoming.frame().await {
                    Some(Ok(frame)) if frame.is_data() => Some((Ok(frame), Some(incoming))),
                    _ => {
                        let mut trailers = http::HeaderMap::new();
                        trailers.insert("grpc-status", HeaderValue::from_static("0"));
                        Some((Ok(Frame::trailers(trailers)), None))
                    }
                }
            });
            Response::builder()
                .header("content-type", "application/grpc")
                .body(StreamBody::new(Box::pin(frames)).boxed_unsync())
                .unwrap()
        })
        .await;
        let door = Door::http2(h2c(server), job()).await;
        let mut sender = client(door.address).await;
        let (messages, queue) = tokio::sync::mpsc::channel::<Bytes>(1);
        let outgoing = futures_util::stream::unfold(queue, |mut queue| async {
            let message = queue.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(message)), queue))
        });
        let request = Request::post("http://rails.localhost/rails.Cards/Authorise")
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .body(StreamBody::new(Box::pin(outgoing)))
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        let mut incoming = answer.into_body();
        for message in ["one", "two", "three"] {
            messages.send(Bytes::from(message)).await.unwrap();
            let frame = incoming.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), message);
        }
        drop(messages);
        let trailers = incoming.frame().await.unwrap().unwrap().into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "0");
        assert!(incoming.frame().await.is_none());
        door.settled().await;
        assert_eq!((door.facts(0).request_bytes.get(), door.facts(0).answer_bytes.get()), (11, 11));
    });
}

fn answer_with(bytes: impl Into<Bytes>) -> Response<ServerBody> {
    Response::new(Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

#[test]
fn requests_share_connections_within_what_the_server_allows() {
    local(async {
        let now = Rc::new(Cell::new(0));
        let most = Rc::new(Cell::new(0));
        let (now2, most2) = (now.clone(), most.clone());
        let (server, connections) = serving(4, move |_| {
            let (now, most) = (now2.clone(), most2.clone());
            async move {
                now.set(now.get() + 1);
                most.set(most.get().max(now.get()));
                tokio::time::sleep(Duration::from_millis(30)).await;
                now.set(now.get() - 1);
                answer_with("ok")
            }
        })
        .await;
        let door = Door::http1(h2c(server), job()).await;
        assert_eq!(status(&get(door.address).await), "200");
        assert_eq!(connections.get(), 1);
        // A burst within the limit makes no new connection; one beyond all limits still ends well.
        futures_util::future::join_all((0..4).map(|_| get(door.address))).await;
        assert_eq!(connections.get(), 1);
        let answers = futures_util::future::join_all((0..40).map(|_| get(door.address))).await;
        assert!(answers.iter().all(|a| status(a) == "200"), "{answers:?}");
        assert!(connections.get() <= guichet_core::bounds::UPSTREAM_H2_CONNECTIONS_MAX, "{}", connections.get());
        assert!(most.get() > 4 && most.get() <= 16, "{}", most.get());
        door.settled().await;
    });
}

#[test]
fn after_goaway_requests_take_another_connection() {
    local(async {
        // The first connection answers once, then says GOAWAY with the next request under way.
        let (server, connections) = scripted(|socket, number| async move {
            let mut connection = ::h2::server::handshake(socket).await.unwrap();
            let mut served = 0;
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                if number == 0 && served == 1 {
                    respond.send_reset(::h2::Reason::REFUSED_STREAM);
                    connection.graceful_shutdown();
                    continue;
                }
                served += 1;
                let mut stream = respond.send_response(Response::new(()), false).unwrap();
                stream.send_data(Bytes::from_static(b"ok"), true).unwrap();
            }
        })
        .await;
        let mut pool = h2c(server);
        pool.retry_budget_min_per_s = 0.0;
        let door = Door::http1(pool, job()).await;
        let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for _ in 0..5 {
            let got = exchange(door.address, post).await;
            assert_eq!(status(&got), "200", "a POST that was refused unseen is sent again: {got}");
        }
        assert_eq!((connections.get(), door.count(Count::StaleRetries)), (2, 1));
        door.settled().await;
    });
}

#[test]
fn a_stream_that_is_reset_fails_alone() {
    local(async {
        let (server, connections) = scripted(|socket, _| async move {
            let mut connection = ::h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if request.uri().path() == "/bad" {
                    respond.send_reset(::h2::Reason::INTERNAL_ERROR);
                } else {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        })
        .await;
        let door = Door::http1(h2c(server), job()).await;
        for (path, code) in [("/good", "200"), ("/bad", "502"), ("/good", "200")] {
            let got =
                exchange(door.address, &format!("POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")).await;
            assert_eq!(status(&got), code);
        }
        assert_eq!(connections.get(), 1);
        door.settled().await;
    });
}

#[test]
fn http2_clients_reach_http1_servers() {
    local(async {
        let head = Rc::new(RefCell::new(String::new()));
        let saw = head.clone();
        let (server, _) = scripted(move |mut socket, _| {
            let saw = saw.clone();
            async move {
                *saw.borrow_mut() = read_head(&mut socket).await;
                let _ = socket
                    .write_all(
                        b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nConnection: x-mine\r\nx-mine: 1\r\n\
                          Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: yes\r\n\r\n",
                    )
                    .await;
            }
        })
        .await;
        let door = Door::http2(upstream(&[server]), job()).await;
        let mut sender = client(door.address).await;
        let request = Request::get("http://portal.localhost/a?b=c")
            .header("cookie", "a=1")
            .header("cookie", "guichet-x=2")
            .header("cookie", "b=3")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.headers().len(), 1, "only the date: {:?}", answer.headers());
        let collected = answer.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-end"], "yes");
        assert_eq!(collected.to_bytes(), "hi");
        let head = head.borrow().clone();
        assert!(head.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{head}");
        assert_eq!((field(&head, "host"), field(&head, "cookie")), (Some("portal.localhost"), Some("a=1; b=3")));
        assert_eq!((field(&head, "via"), field(&head, "x-forwarded-proto")), (Some("2.0 guichet"), Some("https")));
        assert_eq!((field(&head, "content-length"), field(&head, "transfer-encoding")), (None, None));
        door.settled().await;
    });
}
