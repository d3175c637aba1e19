//! Connections that switch protocols.

use super::*;

const HANDSHAKE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Accepts the handshake and echoes.
async fn echoing() -> (SocketAddr, Rc<RefCell<String>>) {
    let head = Rc::new(RefCell::new(String::new()));
    let saw = head.clone();
    let (server, _) = scripted(move |mut socket, _| {
        let saw = saw.clone();
        async move {
            *saw.borrow_mut() = read_head(&mut socket).await;
            // The first bytes of the new protocol come with the answer.
            let _ = socket
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
                )
                .await;
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = socket.read(&mut buffer).await {
                if socket.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (server, head)
}

#[test]
fn a_websocket_echoes_and_holds_its_permit() {
    local(async {
        let (server, saw) = echoing().await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let mut client = connect(door.address).await;
        client.write_all(HANDSHAKE).await.unwrap();
        let head = read_head(&mut client).await;
        assert_eq!(status(&head), "101");
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        assert_eq!(field(&head, "sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        {
            let saw = saw.borrow();
            assert_eq!((field(&saw, "connection"), field(&saw, "upgrade")), (Some("upgrade"), Some("websocket")));
            assert_eq!(field(&saw, "sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
        }
        assert_eq!(read_n(&mut client, 5).await, b"hello");
        for _ in 0..3 {
            client.write_all(b"\x81\x02hi raw bytes \x00\xff").await.unwrap();
            assert_eq!(read_n(&mut client, 17).await, b"\x81\x02hi raw bytes \x00\xff");
        }
        assert!(door.seen(0).released.get().is_none());
        assert_eq!((door.shared.in_flight(), door.count(Count::Tunnels)), (1, 1));
        drop(client);
        door.settled().await;
        assert_ne!(door.facts(0).ended.get(), Ended::Not);
        assert_eq!((door.facts(0).request_bytes.get(), door.facts(0).answer_bytes.get()), (51, 56));
    });
}

#[test]
fn a_silent_tunnel_ends() {
    local(async {
        let (server, _) = echoing().await;
        let mut pool = upstream(&[server]);
        pool.idle = Duration::from_millis(150);
        let door = Door::http1(pool, job()).await;
        let mut client = connect(door.address).await;
        client.write_all(HANDSHAKE).await.unwrap();
        read_head(&mut client).await;
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert_eq!(rest, b"hello");
        door.settled().await;
        assert_eq!(door.facts(0).ended.get(), Ended::Broken(Reason::UpstreamIdle));
        assert_eq!(door.seen(0).released.get().unwrap().failure, None, "silence is nobody's failure");
    });
}

#[test]
fn an_upgrade_that_is_refused_is_an_ordinary_answer() {
    local(async {
        let (server, connections) = answering("plain").await;
        let door = Door::http1(upstream(&[server]), job()).await;
        for _ in 0..2 {
            let mut client = connect(door.address).await;
            client.write_all(HANDSHAKE).await.unwrap();
            assert_eq!(status(&read_head(&mut client).await), "200");
            assert_eq!(read_n(&mut client, 5).await, b"plain");
        }
        door.settled().await;
        assert_eq!(connections.get(), 1, "the connection is used again");
    });
}

#[test]
fn a_switch_that_nobody_asked_for_is_a_failure() {
    local(async {
        let (server, _) = echoing().await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let got = get(door.address).await;
        assert_eq!((status(&got), body(&got)), ("502", "upstream_protocol"));
        door.settled().await;
    });
}

#[test]
fn a_plain_connect_is_refused() {
    local(async {
        let (server, connections) = answering("a").await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let got = exchange(door.address, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n").await;
        assert_eq!((status(&got), body(&got)), ("405", "connect_refused"));
        assert_eq!(connections.get(), 0);
    });
}

#[test]
fn a_websocket_over_http2_reaches_an_http1_server() {
    local(async {
        let (server, saw) = echoing().await;
        let door = Door::http2(upstream(&[server]), job()).await;
        let mut sender = super::h2::client(door.address).await;
        let mut request = Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        *request.method_mut() = http::Method::CONNECT;
        *request.uri_mut() = "http://a/chat".parse().unwrap();
        request.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
        request.extensions_mut().insert(hyper::ext::Protocol::from_static("websocket"));
        let mut answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().get("sec-websocket-accept").is_none() && answer.headers().get("upgrade").is_none());
        {
            let saw = saw.borrow();
            assert!(saw.starts_with("GET /chat HTTP/1.1\r\n"), "{saw}");
            assert_eq!((field(&saw, "upgrade"), field(&saw, "host")), (Some("websocket"), Some("a")));
            assert_eq!(field(&saw, "sec-websocket-key").map(str::len), Some(24));
        }
        let mut tunnel = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
        tunnel.write_all(b"ping").await.unwrap();
        let mut bytes = [0; 9];
        tunnel.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"helloping");
        drop(tunnel);
        door.settled().await;
    });
}
