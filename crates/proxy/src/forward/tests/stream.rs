//! Bodies both ways: back-pressure, lengths, trailers, 100 (Continue), early and broken answers.

use super::*;

const BIG: usize = 50 * 1024 * 1024;
/// What the kernel may hold in the four socket buffers between the ends, generously.
const IN_SOCKETS_MAX: usize = 40 * 1024 * 1024;

/// Writes `BIG` bytes and counts them.
async fn write_big(socket: &mut (impl tokio::io::AsyncWrite + Unpin), written: &Cell<usize>) {
    let chunk: Vec<u8> = (0..64 * 1024).map(|i| (i % 251) as u8).collect();
    while written.get() < BIG {
        socket.write_all(&chunk).await.unwrap();
        written.set(written.get() + chunk.len());
    }
}

/// Reads `BIG` bytes and checks the pattern.
async fn read_big(socket: &mut (impl tokio::io::AsyncRead + Unpin)) {
    let mut chunk = vec![0; 64 * 1024];
    let mut read = 0;
    while read < BIG {
        let n = socket.read(&mut chunk).await.unwrap();
        assert!(n > 0, "ended after {read} bytes");
        for (i, byte) in chunk[..n].iter().enumerate() {
            assert_eq!(*byte, ((read + i) % (64 * 1024) % 251) as u8);
        }
        read += n;
    }
    assert_eq!(read, BIG);
}

/// Waits until a writer makes no progress any more, and checks that it stopped well before the end.
async fn stalls(written: &Cell<usize>) {
    let mut last = usize::MAX;
    for _ in 0..50 {
        if written.get() == last {
            break;
        }
        last = written.get();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(written.get(), last, "the writer never stopped");
    assert!(last < IN_SOCKETS_MAX, "{last} bytes went somewhere");
}

#[test]
fn a_slow_reader_stops_the_upstream() {
    local(async {
        let written = Rc::new(Cell::new(0));
        let counted = written.clone();
        let (server, _) = scripted(move |mut socket, _| {
            let counted = counted.clone();
            async move {
                read_head(&mut socket).await;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n");
                socket.write_all(head.as_bytes()).await.unwrap();
                write_big(&mut socket, &counted).await;
            }
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let mut client = connect(door.address).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let head = read_head(&mut client).await;
        assert_eq!(field(&head, "content-length"), Some(BIG.to_string().as_str()));
        stalls(&written).await;
        assert!(door.seen(0).released.get().is_none(), "the permit is held while the answer streams");
        read_big(&mut client).await;
        door.settled().await;
        assert_eq!(door.facts(0).answer_bytes.get(), BIG as u64);
        assert_eq!(door.facts(0).ended.get(), Ended::Complete);
    });
}

#[test]
fn a_slow_upstream_stops_the_client() {
    local(async {
        let go = Rc::new(tokio::sync::Notify::new());
        let gate = go.clone();
        let (server, _) = scripted(move |mut socket, _| {
            let gate = gate.clone();
            async move {
                let head = read_head(&mut socket).await;
                assert_eq!(field(&head, "content-length"), Some(BIG.to_string().as_str()));
                assert_eq!(field(&head, "transfer-encoding"), None);
                gate.notified().await;
                read_big(&mut socket).await;
                socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            }
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let written = Rc::new(Cell::new(0));
        let counted = written.clone();
        let (mut reader, mut writer) = connect(door.address).await.into_split();
        let writing = tokio::task::spawn_local(async move {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {BIG}\r\n\r\n");
            writer.write_all(head.as_bytes()).await.unwrap();
            write_big(&mut writer, &counted).await;
            writer
        });
        stalls(&written).await;
        go.notify_one();
        let _writer = writing.await.unwrap();
        let mut answer = String::new();
        reader.read_to_string(&mut answer).await.unwrap();
        assert_eq!((status(&answer), body(&answer)), ("200", "ok"));
        door.settled().await;
        assert_eq!(door.facts(0).request_bytes.get(), BIG as u64);
    });
}

/// Sends `request`, answers `answer`; returns what the upstream and the client saw.
async fn through(request: &str, answer: &'static str) -> (String, String) {
    let heads = Rc::new(RefCell::new(String::new()));
    let saw = heads.clone();
    let (server, _) = scripted(move |mut socket, _| {
        let saw = saw.clone();
        async move {
            let head = read_head(&mut socket).await;
            *saw.borrow_mut() = head;
            let mut rest = vec![0; 4096];
            while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(50), socket.read(&mut rest)).await {
                saw.borrow_mut().push_str(std::str::from_utf8(&rest[..n]).unwrap());
                if n == 0 {
                    break;
                }
            }
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let door = Door::http1(upstream(&[server]), job()).await;
    let got = exchange(door.address, request).await;
    door.settled().await;
    let saw = heads.borrow().clone();
    (saw, got)
}

#[test]
fn framing_is_kept_both_ways() {
    local(async {
        // Chunked stays chunked, with trailers that were announced.
        let (saw, got) = through(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTE: trailers, gzip\r\nTrailer: x-sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\nx-forwarded-for: 6.6.6.6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTrailer: x-end\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: yes\r\n\r\n",
        )
        .await;
        assert_eq!((field(&saw, "te"), field(&saw, "connection")), (Some("trailers"), Some("te")));
        assert_eq!(field(&saw, "transfer-encoding"), Some("chunked"));
        assert!(saw.contains("3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "{saw}");
        assert!(!saw.contains("6.6.6.6"));
        assert!(body(&got).contains("2\r\nhi\r\n0\r\nx-end: yes\r\n"), "{got}");

        // No trailers for a client that did not ask for them.
        let (_, got) = through(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTrailer: x-end\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-end: yes\r\n\r\n",
        )
        .await;
        assert!(body(&got).starts_with("2\r\nhi\r\n0\r\n") && !got.contains("x-end: yes"), "{got}");

        // What parsers could disagree on is settled, should `listen` ever let it through.
        for request in [
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        ] {
            let (saw, _) = through(request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            let lines = saw.to_ascii_lowercase();
            let count = |name: &str| lines.matches(&format!("\r\n{name}:")).count();
            assert_eq!((count("content-length") + count("transfer-encoding"), count("host")), (1, 1), "{saw}");
            assert!(saw.contains("abc"));
        }

        // A GET without a body stays without.
        let (saw, _) = through(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        assert_eq!((field(&saw, "content-length"), field(&saw, "transfer-encoding")), (None, None));

        // An HTTP/1.0 client gets no chunks, but all of the body and then the end.
        let (saw, got) = through(
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3\r\n me\r\n0\r\n\r\n",
        )
        .await;
        assert!(saw.starts_with("GET / HTTP/1.1\r\n"));
        assert_eq!((body(&got), field(&got, "transfer-encoding")), ("hi me", None));
    });
}

#[test]
fn answers_without_a_body_keep_their_length() {
    local(async {
        for (request, answer, code, length) in [
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n", "200", Some("1234")),
            // hyper's server leaves the length of a 304 out, as it may (RFC 9110, 8.6).
            ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\nETag: \"e\"\r\n\r\n", "304", None),
        ] {
            let request = format!("{request} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let (_, got) = through(&request, answer).await;
            assert_eq!((status(&got), body(&got), field(&got, "content-length")), (code, "", length), "{got}");
            assert_eq!(field(&got, "etag"), Some("\"e\""));
        }
        let (_, got) =
            through("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!((status(&got), body(&got), field(&got, "transfer-encoding")), ("204", "", None), "{got}");
    });
}

#[test]
fn a_hundred_comes_from_the_upstream_or_not_at_all() {
    local(async {
        let request =
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
        // The upstream wants the body.
        let (server, _) = scripted(|mut socket, _| async move {
            let head = read_head(&mut socket).await;
            assert_eq!(field(&head, "expect"), Some("100-continue"));
            let early = tokio::time::timeout(Duration::from_millis(100), read_n(&mut socket, 1)).await;
            assert!(early.is_err(), "the body came before it was asked for");
            socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
            assert_eq!(read_n(&mut socket, 3).await, b"abc");
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let mut client = connect(door.address).await;
        client.write_all(request).await.unwrap();
        assert_eq!(status(&read_head(&mut client).await), "100");
        client.write_all(b"abc").await.unwrap();
        assert_eq!(status(&read_head(&mut client).await), "200");

        // The upstream refuses it, and there is no upstream: no 100 in either case.
        let (server, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        })
        .await;
        for (server, code) in [(server, "417"), (refusing().await, "502")] {
            let door = Door::http1(upstream(&[server]), job()).await;
            let mut client = connect(door.address).await;
            client.write_all(request).await.unwrap();
            assert_eq!(status(&read_head(&mut client).await), code);
            door.settled().await;
        }
    });
}

#[test]
fn an_upstream_that_never_says_a_hundred_gets_the_body_all_the_same() {
    local(async {
        let (server, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            assert_eq!(read_n(&mut socket, 3).await, b"abc");
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let request =
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
        assert!(exchange(door.address, request).await.contains("HTTP/1.1 200"));
    });
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    local(async {
        let (server, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            socket
                .write_all(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
                .await
                .unwrap();
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let mut client = connect(door.address).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n").await.unwrap();
        // A client that reads only after it has sent all: more than any socket buffer holds.
        for _ in 0..100 {
            client.write_all(&[b'x'; 100_000]).await.expect("cut off while sending");
        }
        let head = read_head(&mut client).await;
        assert_eq!((status(&head), read_n(&mut client, 3).await.as_slice()), ("413", &b"big"[..]));
        door.settled().await;
    });
}

#[test]
fn a_body_that_nobody_wants_any_more_holds_no_connection() {
    local(async {
        // The answer is complete, both connections could stay open, and the client sends no more.
        for (answer, expect) in [("417 No", "Expect: 100-continue\r\n"), ("403 No", "")] {
            let ended = Rc::new(Cell::new(false));
            let state = ended.clone();
            let (server, _) = scripted(move |mut socket, _| {
                let state = state.clone();
                async move {
                    read_head(&mut socket).await;
                    let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
                    socket.write_all(answer.as_bytes()).await.unwrap();
                    let mut rest = Vec::new();
                    let _ = socket.read_to_end(&mut rest).await;
                    state.set(true);
                }
            })
            .await;
            let door = Door::http1(upstream(&[server]), job()).await;
            let mut client = connect(door.address).await;
            let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{expect}Content-Length: 9\r\n\r\n");
            client.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(status(&read_head(&mut client).await), &answer[..3]);
            door.settled().await;
            eventually("the upstream's connection ends", || ended.get()).await;
            assert_eq!(door.forwarder.pools[0].idle_count(0), 0);
        }
    });
}

#[test]
fn a_broken_answer_is_broken_for_the_client_too() {
    local(async {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
        ] {
            let (server, _) = scripted(move |mut socket, _| async move {
                read_head(&mut socket).await;
                socket.write_all(answer.as_bytes()).await.unwrap();
            })
            .await;
            let door = Door::http1(upstream(&[server]), job()).await;
            let got = get(door.address).await;
            assert_eq!(status(&got), "200");
            assert!(body(&got).contains("half") && !got.ends_with("0\r\n\r\n"), "looks complete: {got}");
            door.settled().await;
            assert_eq!(door.facts(0).ended.get(), Ended::Broken(Reason::UpstreamProtocol));
            let served = door.seen(0).released.get().unwrap();
            assert_eq!(served.failure, Some(Reason::UpstreamProtocol));
            assert!(served.first_byte_us.is_some());
        }
    });
}

#[test]
fn bodies_keep_to_their_bounds() {
    local(async {
        let (server, connections) = scripted(|mut socket, _| async move {
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        })
        .await;
        let mut small = job();
        small.body = BodyBounds { bytes_max: 10, rate_bytes_s_min: 1000, grace: Duration::from_millis(100) };
        let door = Door::http1(upstream(&[server]), small).await;
        let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        let announced = exchange(door.address, &format!("{head}Content-Length: 11\r\n\r\n")).await;
        assert_eq!((status(&announced), body(&announced)), ("413", "body_too_large"));
        assert_eq!(connections.get(), 0, "refused before anything was opened");
        for (rest, reason) in [
            ("Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n", "body_too_large"),
            ("Content-Length: 10\r\n\r\n012", "body_too_slow"),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n", "bad_chunk"),
        ] {
            let got = exchange(door.address, &format!("{head}{rest}")).await;
            assert_eq!(body(&got), reason, "{got}");
        }
        door.settled().await;
        for seen in door.seen.borrow().iter() {
            assert_eq!(seen.released.get().unwrap().failure, None, "not the upstream's fault");
        }
    });
}

#[test]
fn the_protocol_guards_say_why_a_body_broke() {
    local(async {
        let (server, _) = scripted(|mut socket, _| async move {
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        })
        .await;
        let listener = crate::config::Listener {
            name: "test".into(),
            address: server,
            protocol: crate::config::Protocol::Http,
            redirect_to_https_port: None,
            proxy_protocol: crate::config::ProxyProtocol::Off,
            trusted_proxies: Vec::new(),
            trusted_hops: 0,
            partner_ca: None,
            http2: false,
            backlog: 16,
        };
        let connection = Connection {
            id: 1,
            client: server,
            socket_peer: server,
            local: server,
            listener: Arc::new(listener),
            opened: clock::now(),
            tls: None,
            h2_fingerprint: std::cell::OnceCell::new(),
            looks: None,
            signs: std::cell::OnceCell::new(),
            violation: Cell::new(Some(Reason::BareLineFeed)),
            requests: Cell::new(1),
            in_flight: Cell::new(1),
        };
        let guarded = Job { connection: Some(Rc::new(connection)), ..job() };
        let door = Door::http1(upstream(&[server]), guarded).await;
        let request = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
        assert_eq!(body(&exchange(door.address, request).await), "bare_line_feed");
        door.settled().await;
    });
}
