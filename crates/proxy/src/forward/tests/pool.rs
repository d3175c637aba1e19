//! Connections that are used again, that have died meanwhile, and that expire.

use super::*;

#[test]
fn connections_are_used_again() {
    local(async {
        let (server, connections) = answering("a").await;
        let door = Door::http1(upstream(&[server]), job()).await;
        for n in 0..10 {
            assert_eq!(body(&get(door.address).await), "a");
            assert_eq!(door.facts(n).reused.get(), n > 0);
            assert_eq!(door.facts(n).connect.get().is_some(), n == 0);
        }
        assert_eq!((connections.get(), door.count(Count::Connects), door.count(Count::Reuses)), (1, 1, 9));
        door.settled().await;
    });
}

#[test]
fn no_more_connections_are_kept_than_allowed_and_idle_ones_end() {
    local(async {
        let (server, connections) = scripted(|mut socket, _| async move {
            while !read_head(&mut socket).await.is_empty() {
                // Slow enough that all requests are in flight together.
                tokio::time::sleep(Duration::from_millis(100)).await;
                if socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        })
        .await;
        let mut pool = upstream(&[server]);
        pool.keepalive_per_worker_max = 3;
        pool.keepalive_idle = Duration::from_millis(300);
        let door = Door::http1(pool, job()).await;
        futures_util::future::join_all((0..6).map(|_| get(door.address))).await;
        door.settled().await;
        assert_eq!(connections.get(), 6);
        assert_eq!(door.forwarder.pools[0].idle_count(0), 3);
        eventually("idle connections end", || door.forwarder.pools[0].idle_count(0) == 0).await;
    });
}

#[test]
fn a_connection_closed_while_idle_is_not_used() {
    local(async {
        let (server, connections) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await;
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        for n in 0..5 {
            assert_eq!(
                body(&exchange(door.address, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await),
                "a"
            );
            assert!(!door.facts(n).reused.get());
            // Time for the worker to see the close.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!((connections.get(), door.count(Count::StaleRetries)), (5, 0));
    });
}

#[test]
fn a_connection_that_dies_under_a_request_costs_nothing_but_time() {
    local(async {
        // Answers once, then closes on the second head: as a server does whose idle time ran out just now.
        let (server, connections) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na").await;
            read_head(&mut socket).await;
        })
        .await;
        let mut pool = upstream(&[server]);
        pool.retry_budget_min_per_s = 0.0;
        let door = Door::http1(pool, job()).await;
        assert_eq!(body(&get(door.address).await), "a");
        assert_eq!(body(&get(door.address).await), "a", "repeated on a new connection");
        assert_eq!((connections.get(), door.count(Count::StaleRetries), door.count(Count::Retries)), (2, 1, 0));
        assert_eq!(door.shared.counters().failures().count(), 0, "nothing against the server");
        // The second connection is idle now. The server may have acted on a POST: it is not repeated.
        let post = exchange(door.address, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert_eq!((status(&post), connections.get()), ("502", 2));
        door.settled().await;
    });
}

#[test]
fn names_are_looked_up() {
    local(async {
        let (server, _) = answering("a").await;
        let mut pool = upstream(&[server]);
        pool.servers[0].address = format!("localhost:{}", server.port());
        let door = Door::http1(pool, job()).await;
        assert_eq!(body(&get(door.address).await), "a");
        let mut pool = upstream(&[server]);
        pool.servers[0].address = "no-such-name.invalid:80".into();
        let door = Door::http1(pool, job()).await;
        let got = get(door.address).await;
        // A resolver that is slow to say no is stopped by the deadline.
        assert!(["upstream_connect", "upstream_connect_timeout"].contains(&body(&got)), "{got}");
    });
}

#[test]
fn tls_upstreams_are_verified() {
    local(async {
        let made = rcgen::generate_simple_self_signed(vec!["bank.test".into()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca.pem");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let (server, _) = scripted(move |socket, _| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut tls) = acceptor.accept(socket).await else { return };
                let mut buffer = [0; 4096];
                while tls.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                    tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntls").await.unwrap();
                }
            }
        })
        .await;
        for (name, protocol, expected) in [
            ("bank.test", UpstreamProtocol::Https, "tls"),
            ("other.test", UpstreamProtocol::Https, "upstream_tls"),
            // This server offers no h2.
            ("bank.test", UpstreamProtocol::H2, "upstream_tls"),
        ] {
            let mut pool = upstream(&[server]);
            pool.protocol = protocol;
            pool.server_name = Some(name.into());
            pool.ca = Some(ca.clone());
            pool.connect = Duration::from_secs(5);
            let door = Door::http1(pool, job()).await;
            assert_eq!(body(&get(door.address).await), expected, "{name} {:?}", door.failure(0));
        }
        // The system's roots do not know it.
        let mut pool = upstream(&[server]);
        pool.protocol = UpstreamProtocol::Https;
        pool.server_name = Some("bank.test".into());
        if PoolShared::new(Arc::new(pool.clone()), clock::now()).is_ok() {
            let door = Door::http1(pool, job()).await;
            assert_eq!(body(&get(door.address).await), "upstream_tls");
        }
        // A CA that is not there is said at once.
        let mut pool = upstream(&[server]);
        pool.protocol = UpstreamProtocol::Https;
        pool.ca = Some(directory.path().join("none.pem"));
        let error = PoolShared::new(Arc::new(pool), clock::now()).unwrap_err().to_string();
        assert!(error.contains("upstream test") && error.contains("none.pem"), "{error}");
    });
}
