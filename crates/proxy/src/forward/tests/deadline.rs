//! Deadlines, and permits on every way out.

use super::*;

/// Accepts, reads, and answers nothing.
async fn silent() -> (SocketAddr, Rc<Cell<usize>>) {
    scripted(|mut socket, _| async move {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
    })
    .await
}

async fn check(pool: Upstream, job: Job, code: &str, reason: Reason) {
    let door = Door::http1(pool, job).await;
    let got = get(door.address).await;
    assert_eq!((status(&got), body(&got)), (code, reason.label()));
    door.settled().await;
    let failure = door.failure(0).unwrap();
    assert_eq!(failure.reason, reason);
    assert!(!failure.detail.is_empty());
    let served = door.seen(0).released.get().unwrap();
    assert_eq!((served.failure, served.first_byte_us), (Some(reason), None));
    assert_eq!(door.facts(0).ended.get(), Ended::Broken(reason));
    assert_eq!(door.shared.counters().failures().collect::<Vec<_>>(), [(reason, 1)]);
}

#[test]
fn every_deadline_has_its_reason() {
    local(async {
        let refused = upstream(&[refusing().await]);
        check(refused, job(), "502", Reason::UpstreamConnect).await;

        let mut late = upstream(&[silent().await.0]);
        late.first_byte = Duration::from_millis(100);
        check(late, job(), "504", Reason::UpstreamFirstByte).await;

        let mut hurried = job();
        hurried.deadline = Some(clock::now().after(Duration::from_millis(200)));
        check(upstream(&[silent().await.0]), hurried, "504", Reason::UpstreamFirstByte).await;

        let (garbage, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            let _ = socket.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await;
        })
        .await;
        check(upstream(&[garbage]), job(), "502", Reason::UpstreamProtocol).await;

        let (huge, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            let head = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(100_000));
            let _ = socket.write_all(head.as_bytes()).await;
        })
        .await;
        check(upstream(&[huge]), job(), "502", Reason::UpstreamProtocol).await;
    });
}

/// A listener whose queue is full, so that further connections hang for as long as what is returned lives.
async fn full() -> (SocketAddr, impl Sized) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..8 {
        match tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
            Ok(socket) => fillers.push(socket),
            Err(_) => return (address, (listener, fillers)),
        }
    }
    panic!("the queue never filled");
}

#[test]
fn a_server_that_does_not_accept_is_given_up() {
    local(async {
        let (address, _held) = full().await;
        check(upstream(&[address]), job(), "504", Reason::UpstreamConnectTimeout).await;
    });
}

#[test]
fn a_client_that_goes_away_while_connecting_frees_its_slot() {
    local(async {
        let (address, _held) = full().await;
        let mut pool = upstream(&[address]);
        pool.connect = Duration::from_secs(20);
        let door = Door::http1(pool, job()).await;
        let mut client = connect(door.address).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        eventually("under way", || door.shared.in_flight() == 1).await;
        drop(client);
        door.settled().await;
        assert_eq!(door.seen(0).released.get(), Some(Served::default()));
    });
}

#[test]
fn an_answer_that_stalls_is_broken_off() {
    local(async {
        let (server, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
            let mut rest = Vec::new();
            let _ = socket.read_to_end(&mut rest).await;
        })
        .await;
        let mut pool = upstream(&[server]);
        pool.idle = Duration::from_millis(100);
        let mut hurried = job();
        hurried.deadline = Some(clock::now().after(Duration::from_millis(500)));
        for (pool, job) in [(pool, job()), (upstream(&[server]), hurried)] {
            let door = Door::http1(pool, job).await;
            let got = get(door.address).await;
            assert_eq!((status(&got), body(&got)), ("200", "half"));
            door.settled().await;
            assert_eq!(door.facts(0).ended.get(), Ended::Broken(Reason::UpstreamIdle));
            assert_eq!(door.seen(0).released.get().unwrap().failure, Some(Reason::UpstreamIdle));
        }
    });
}

#[test]
fn the_first_byte_deadline_waits_for_a_client_that_sends_slowly() {
    local(async {
        let (server, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            read_n(&mut socket, 4).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        })
        .await;
        let mut pool = upstream(&[server]);
        pool.first_byte = Duration::from_millis(150);
        let door = Door::http1(pool, job()).await;
        let mut client = connect(door.address).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n").await.unwrap();
        for half in [b"da", b"ta"] {
            tokio::time::sleep(Duration::from_millis(450)).await;
            client.write_all(half).await.unwrap();
        }
        assert_eq!(status(&read_head(&mut client).await), "200");
    });
}

#[test]
fn a_client_that_goes_away_frees_its_slot() {
    local(async {
        // Before the answer.
        let (server, connections) = silent().await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let mut client = connect(door.address).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        eventually("the upstream has it", || connections.get() == 1).await;
        assert_eq!(door.shared.in_flight(), 1);
        assert!(door.seen(0).released.get().is_none());
        drop(client);
        door.settled().await;
        assert_eq!(door.seen(0).released.get(), Some(Served::default()), "nobody's failure");

        // In the middle of sending.
        let mut client = connect(door.address).await;
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc").await.unwrap();
        eventually("the upstream has it", || connections.get() == 2).await;
        drop(client);
        door.settled().await;
        assert_eq!(door.seen(1).released.get(), Some(Served::default()));

        // In the middle of the answer.
        let (server, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            while socket.write_all(b"4\r\nmore\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        let door = Door::http1(upstream(&[server]), job()).await;
        let mut client = connect(door.address).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        read_head(&mut client).await;
        drop(client);
        door.settled().await;
        assert_eq!(door.facts(0).ended.get(), Ended::Dropped);
        assert_eq!(door.seen(0).released.get().unwrap().failure, None);
    });
}
