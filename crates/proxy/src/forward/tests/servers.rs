//! Which server: ejection and its end, active checks, spreading and hashing.

use super::*;
use crate::config::{HashOn, Health};

#[test]
fn a_failing_server_is_ejected_and_comes_back() {
    local(async {
        let (good, _) = answering("good").await;
        let failing = Rc::new(Cell::new(true));
        let state = failing.clone();
        let (bad, hits) = scripted(move |mut socket, _| {
            let state = state.clone();
            async move {
                read_head(&mut socket).await;
                if !state.get() {
                    let _ = socket
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nmended")
                        .await;
                }
            }
        })
        .await;
        let mut pool = upstream(&[bad, good]);
        pool.outlier_consecutive_failures = 3;
        pool.outlier_ejection = Duration::from_millis(400);
        let door = Door::http1(pool, job()).await;
        let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        for _ in 0..200 {
            if door.shared.is_ejected(0, clock::now()) {
                break;
            }
            exchange(door.address, post).await;
        }
        assert_eq!((hits.get(), door.count(Count::Ejections)), (3, 1));
        assert_eq!(door.shared.healthy_servers(clock::now()), 1);
        for _ in 0..20 {
            assert_eq!(body(&exchange(door.address, post).await), "good");
        }
        assert_eq!(hits.get(), 3, "ejected is left alone");
        failing.set(false);
        eventually("back in use", || !door.shared.is_ejected(0, clock::now())).await;
        let mut mended = false;
        for _ in 0..50 {
            mended |= body(&exchange(door.address, post).await) == "mended";
        }
        assert!(mended);
        assert_eq!(door.count(Count::Ejections), 1);
    });
}

#[test]
fn ejection_doubles_is_bounded_and_never_empties_a_pool() {
    let addresses: Vec<SocketAddr> = (1..=4).map(|n| SocketAddr::from(([127, 0, 0, n], 9))).collect();
    let mut pool = upstream(&addresses);
    pool.outlier_consecutive_failures = 1;
    pool.outlier_ejection = Duration::from_secs(1);
    pool.outlier_ejected_share_max = 0.5;
    let shared = PoolShared::new(Arc::new(pool.clone()), Moment(0)).unwrap();
    let at = |s: f64| Moment((s * 1e6) as u64);
    for server in 0..4 {
        shared.note_failure(server, at(10.0));
    }
    assert_eq!(shared.healthy_servers(at(10.0)), 2, "half at most");

    // Fails again as soon as it is back: 1, 2, 4, 8, 16, 16 ... seconds.
    let mut now = 11.0;
    for length in [2.0, 4.0, 8.0, 16.0, 16.0] {
        shared.note_failure(0, at(now));
        assert!(shared.is_ejected(0, at(now + length - 0.01)), "{length}");
        now += length;
        assert!(!shared.is_ejected(0, at(now)), "{length}");
    }
    // Twenty seconds in use forgive it all.
    shared.note_failure(0, at(now + 20.0));
    assert!(!shared.is_ejected(0, at(now + 21.0)));

    // All of a share of one: the last usable one stays.
    pool.outlier_ejected_share_max = 1.0;
    let shared = PoolShared::new(Arc::new(pool.clone()), Moment(0)).unwrap();
    for server in 0..4 {
        shared.note_failure(server, at(1.0));
    }
    assert_eq!(shared.healthy_servers(at(1.0)), 1);
    shared.set_healthy(3, false);
    assert!(
        shared.choose(at(1.0), 0, None, 1).is_some_and(|s| s != 3),
        "ejection is overlooked before a request fails"
    );
    (0..3).for_each(|server| shared.set_healthy(server, false));
    assert_eq!(shared.choose(at(1.0), 0, None, 1), None, "active checks are believed");

    // A pool of one is never ejected.
    pool.servers.truncate(1);
    let shared = PoolShared::new(Arc::new(pool), Moment(0)).unwrap();
    (0..10).for_each(|_| shared.note_failure(0, at(1.0)));
    assert_eq!(shared.choose(at(1.0), 0, None, 1), Some(0));
}

#[test]
fn a_reload_keeps_what_is_known_of_servers() {
    let addresses: Vec<SocketAddr> = (1..=4).map(|n| SocketAddr::from(([127, 0, 0, n], 9))).collect();
    let mut pool = upstream(&addresses);
    pool.outlier_consecutive_failures = 1;
    pool.health = Some(Health {
        path: "/".into(),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        healthy_after: 1,
        unhealthy_after: 1,
        status: 200,
    });
    let before = PoolShared::new(Arc::new(pool.clone()), Moment(0)).unwrap();
    before.note_failure(1, Moment(1));
    before.set_healthy(2, false);
    // The order changes, one server goes.
    pool.servers = vec![pool.servers[2].clone(), pool.servers[1].clone(), pool.servers[3].clone()];
    let after = PoolShared::new(Arc::new(pool.clone()), Moment(0)).unwrap();
    after.inherit(&before);
    assert!(!after.is_healthy(0) && after.is_ejected(1, Moment(2)) && after.is_healthy(2));
    assert_eq!(after.healthy_servers(Moment(2)), 1);
    // Without checks nobody would ever bring the unhealthy one back.
    pool.health = None;
    let unchecked = PoolShared::new(Arc::new(pool), Moment(0)).unwrap();
    unchecked.inherit(&before);
    assert!(unchecked.is_healthy(0));
}

#[test]
fn a_success_absolves() {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let mut pool = upstream(&[address, address]);
    pool.outlier_consecutive_failures = 3;
    let shared = PoolShared::new(Arc::new(pool), Moment(0)).unwrap();
    for _ in 0..10 {
        shared.note_failure(0, Moment(1));
        shared.note_failure(0, Moment(1));
        shared.note_success(0);
    }
    assert!(!shared.is_ejected(0, Moment(2)));
}

#[test]
fn active_checks_take_a_server_out_and_back() {
    local(async {
        let code = Rc::new(Cell::new(200));
        let state = code.clone();
        let paths = Rc::new(RefCell::new(Vec::new()));
        let saw = paths.clone();
        let (server, _) = scripted(move |mut socket, _| {
            let (state, saw) = (state.clone(), saw.clone());
            async move {
                let head = read_head(&mut socket).await;
                saw.borrow_mut().push(head.lines().next().unwrap_or_default().to_owned());
                let answer = format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", state.get());
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        let mut pool = upstream(&[server]);
        pool.health = Some(Health {
            path: "/health".into(),
            interval: Duration::from_millis(20),
            timeout: Duration::from_millis(500),
            healthy_after: 2,
            unhealthy_after: 3,
            status: 200,
        });
        let door = Door::http1(pool, job()).await;
        let pools = vec![door.shared.clone()];
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let checking = tokio::task::spawn_local(async move {
            super::super::health::run(&pools, 1, async {
                let _ = stopped.await;
            })
            .await;
        });
        eventually("checked", || paths.borrow().len() > 3).await;
        assert!(paths.borrow().iter().all(|line| line == "GET /health HTTP/1.1"));
        assert!(door.shared.is_healthy(0));
        code.set(500);
        eventually("out", || !door.shared.is_healthy(0)).await;
        let got = get(door.address).await;
        assert_eq!((status(&got), body(&got)), ("503", "upstream_unhealthy"));
        assert_eq!(door.facts(0).attempts.get(), 0, "fails at once");
        code.set(200);
        eventually("back", || door.shared.is_healthy(0)).await;
        assert_eq!(status(&get(door.address).await), "200");
        stop.send(()).unwrap();
        checking.await.unwrap();
        door.settled().await;
    });
}

#[test]
fn hashing_keeps_a_key_on_its_server() {
    local(async {
        let (a, _) = answering("a").await;
        let (b, _) = answering("b").await;
        let (c, _) = answering("c").await;
        let mut pool = upstream(&[a, b, c]);
        pool.balance = Balance::ConsistentHash(HashOn::Header(http::HeaderName::from_static("x-user")));
        let door = Door::http1(pool, job()).await;
        let mut homes = std::collections::HashSet::new();
        // The servers' ports are drawn by the system, and with them the places of the keys: so many that each server has some.
        for user in 0..60 {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\nx-user: {user}\r\nConnection: close\r\n\r\n");
            let home = body(&exchange(door.address, &request).await).to_owned();
            assert_eq!(body(&exchange(door.address, &request).await), home);
            homes.insert(home);
        }
        assert_eq!(homes.len(), 3, "keys spread");
    });
}
