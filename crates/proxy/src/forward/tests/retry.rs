//! What is tried again, where, how often, and what never is.

use super::*;

/// Reads the head, then closes without a word.
async fn hanging_up() -> (SocketAddr, Rc<Cell<usize>>) {
    scripted(|mut socket, _| async move {
        read_head(&mut socket).await;
    })
    .await
}

fn request(method: &str, body: &str) -> String {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{length}\r\n{body}")
}

/// Sends requests to a pool of a bad and a good server until the bad one was chosen first; says what came of it.
async fn check(bad: SocketAddr, bad_hits: Option<&Cell<usize>>, request: &str, idempotent: bool, answered: bool) {
    let (good, _) = answering("good").await;
    let mut pool = upstream(&[bad, good]);
    pool.retry_attempts_max = 3;
    let mut job = job();
    job.idempotent = idempotent;
    let door = Door::http1(pool, job).await;
    let mut met_bad = false;
    for n in 0..30 {
        let before = bad_hits.map(Cell::get);
        let failures_before = door.shared.counters().failures().map(|(_, n)| n).sum::<u64>();
        let got = exchange(door.address, request).await;
        let failed = door.shared.counters().failures().map(|(_, n)| n).sum::<u64>() > failures_before;
        if !failed {
            assert_eq!((status(&got), body(&got)), ("200", "good"));
            continue;
        }
        met_bad = true;
        if answered {
            assert_eq!((status(&got), body(&got)), ("200", "good"), "{request}");
            assert_eq!(door.facts(n).attempts.get(), 2);
        } else {
            assert_eq!(status(&got), "502", "{request}: {got}");
            assert_eq!(door.facts(n).attempts.get(), 1);
            assert_eq!(door.failure(n).unwrap().server, Some(bad.to_string()));
        }
        if let (Some(hits), Some(before)) = (bad_hits, before) {
            assert_eq!(hits.get(), before + 1, "one request, one look");
        }
    }
    assert!(met_bad, "30 fair coins fell the same way");
    door.settled().await;
}

#[test]
fn a_request_that_was_read_is_repeated_only_if_that_is_harmless() {
    local(async {
        let (bad, hits) = hanging_up().await;
        for (method, idempotent, answered) in [
            ("GET", false, true),
            ("OPTIONS", false, true),
            ("TRACE", false, true),
            ("PUT", false, true),
            ("DELETE", false, true),
            ("POST", false, false),
            ("PATCH", false, false),
            ("POST", true, true),
        ] {
            check(bad, Some(&hits), &request(method, ""), idempotent, answered).await;
        }
    });
}

#[test]
fn a_body_that_was_taken_is_not_sent_twice() {
    local(async {
        let (bad, hits) = hanging_up().await;
        let (good, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            read_n(&mut socket, 4).await;
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        })
        .await;
        let mut pool = upstream(&[bad, good]);
        pool.retry_attempts_max = 3;
        let door = Door::http1(pool, job()).await;
        for n in 0..30 {
            let before = hits.get();
            let got = exchange(door.address, &request("PUT", "data")).await;
            assert_eq!(status(&got), if hits.get() > before { "502" } else { "200" });
            assert_eq!(door.facts(n).attempts.get(), 1);
        }
        assert!(hits.get() > 0 && hits.get() < 30);
    });
}

#[test]
fn a_refused_connection_moves_any_request_on() {
    local(async {
        let bad = refusing().await;
        check(bad, None, &request("GET", ""), false, true).await;
        // Nothing of it was sent and its body is untouched, so this is a first attempt elsewhere, not a repetition.
        check(bad, None, &request("DELETE", ""), false, true).await;
        check(bad, None, &request("POST", ""), false, true).await;
    });
}

#[test]
fn the_budget_bounds_retries() {
    local(async {
        let mut pool = upstream(&[refusing().await, refusing().await]);
        pool.retry_attempts_max = 5;
        pool.retry_budget_min_per_s = 0.001;
        pool.retry_budget_ratio = 0.1;
        let door = Door::http1(pool, job()).await;
        for _ in 0..40 {
            let got = get(door.address).await;
            assert_eq!((status(&got), body(&got)), ("502", "upstream_connect"));
        }
        assert_eq!(door.count(Count::Requests), 40);
        assert_eq!(door.count(Count::Retries), 4, "a tenth of the requests");
        assert_eq!(door.count(Count::Attempts), 44);
        assert!(door.count(Count::BudgetExhausted) >= 36);
        door.settled().await;
        assert_eq!(door.seen(0).released.get().unwrap().failure, Some(Reason::UpstreamConnect));
    });
}

#[test]
fn attempts_are_bounded_and_the_only_server_is_tried_again() {
    local(async {
        let (bad, hits) = hanging_up().await;
        let mut pool = upstream(&[bad]);
        pool.retry_attempts_max = 3;
        let door = Door::http1(pool, job()).await;
        assert_eq!(status(&get(door.address).await), "502");
        assert_eq!((hits.get(), door.facts(0).attempts.get()), (3, 3));
    });
}

#[test]
fn while_the_service_fails_a_request_that_hangs_is_asked_for_elsewhere() {
    local(async {
        let (hung, _) = scripted(|mut socket, _| async move {
            read_head(&mut socket).await;
            std::future::pending::<()>().await;
        })
        .await;
        let (good, _) = answering("good").await;
        for (failing, attempts_max) in [(true, 2), (true, 1), (false, 2)] {
            let mut pool = upstream(&[hung, good]);
            (pool.retry_attempts_max, pool.first_byte) = (attempts_max, Duration::from_millis(700));
            let care = Arc::new(Care::default());
            care.set_failing(failing);
            let watched = Some(Watched { care: care.clone(), late_after: Duration::from_millis(200) });
            let door = Door::http1(pool, Job { watched, ..job() }).await;
            let mut hit = false;
            for n in 0..30 {
                let got = exchange(door.address, &request("GET", "")).await;
                let attempts = door.facts(n).attempts.get();
                if status(&got) == "200" && attempts == 1 {
                    continue;
                }
                hit = true;
                let expected = if failing && attempts_max > 1 { ("200", 2) } else { ("504", 1) };
                assert_eq!((status(&got), attempts), expected, "failing: {failing}, attempts: {attempts_max}");
                break;
            }
            assert!(hit, "30 fair coins fell the same way");
            // What was lost on the first is not taken for the pace of the second.
            assert!(care.late_after(Duration::ZERO, Duration::from_secs(5)) < Duration::from_millis(1500));
            door.settled().await;
        }
    });
}
