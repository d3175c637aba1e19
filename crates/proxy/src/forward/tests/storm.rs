//! Many requests at once, servers that misbehave at random, clients that leave at random: nothing may leak.

use super::*;

const SEED: u64 = 0x5eed_0001;
const REQUESTS: usize = 400;
const AT_ONCE: usize = 40;

/// Serves a connection, each request in one of several ways, most of them right.
async fn moody(mut socket: TcpStream, mood: Rc<Prng>) {
    while !read_head(&mut socket).await.is_empty() {
        let way = mood.next() % 10;
        tokio::time::sleep(Duration::from_millis(mood.next() % 8)).await;
        let answer: &[u8] = match way {
            0 => return,
            1 => b"garbage\r\n\r\n",
            2 => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            3 => b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
            4 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            5 => b"HTTP/1.1 204 No Content\r\n\r\n",
            6 => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        };
        if socket.write_all(answer).await.is_err() || way == 1 || way == 2 {
            return;
        }
        if way == 3 {
            return;
        }
    }
}

/// Sends one request with or without a body, and leaves at some point.
async fn visit(address: SocketAddr, random: u64) {
    let request = match random % 3 {
        0 => "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
        1 => format!("PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{}", "0123"),
        _ => "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 4\r\n\r\ndata".to_owned(),
    };
    let patience = if random.is_multiple_of(4) { random / 4 % 12 } else { 400 };
    let _ = tokio::time::timeout(Duration::from_millis(patience), exchange(address, &request)).await;
}

#[test]
fn nothing_leaks_in_a_storm() {
    local(async {
        let mood = Rc::new(Prng::new(SEED));
        let mut servers = vec![refusing().await];
        for _ in 0..3 {
            let mood = mood.clone();
            servers.push(scripted(move |socket, _| moody(socket, mood.clone())).await.0);
        }
        let mut pool = upstream(&servers);
        pool.retry_attempts_max = 3;
        pool.retry_budget_ratio = 0.2;
        pool.outlier_consecutive_failures = 4;
        pool.outlier_ejection = Duration::from_millis(50);
        pool.first_byte = Duration::from_millis(500);
        pool.keepalive_per_worker_max = 4;
        let mut job = job();
        job.body.rate_bytes_s_min = 1000;
        job.body.grace = Duration::from_millis(200);
        let door = Door::http1(pool, job).await;
        let choices = Prng::new(SEED ^ 1);
        for _ in 0..REQUESTS / AT_ONCE {
            futures_util::future::join_all((0..AT_ONCE).map(|_| visit(door.address, choices.next()))).await;
        }
        door.settled().await;
        let seen = door.seen.borrow().len();
        assert!(seen > REQUESTS / 2, "{seen} requests arrived");
        assert_eq!(door.count(Count::Requests) as usize, seen);
        let attempts = door.count(Count::Attempts);
        let repeated = door.count(Count::Retries) + door.count(Count::StaleRetries);
        assert!(attempts <= seen as u64 + repeated, "{attempts} attempts, {repeated} repeated");
        assert!(door.count(Count::Connects) > 0 && door.count(Count::Reuses) > 0);
        for server in 0..servers.len() {
            assert!(door.forwarder.pools[0].idle_count(server) <= 4);
        }
        // Whatever was answered has ended one way or the other, and the end is on record.
        for seen in door.seen.borrow().iter() {
            if let Some(facts) = &*seen.facts.borrow() {
                assert_ne!(facts.ended.get(), Ended::Not);
                assert!(facts.ended_at.get().is_some());
            }
        }
    });
}
