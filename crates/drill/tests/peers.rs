//! Each peer, with the configuration that drills give it, before small real services: routing, TLS, partners, limits, end.
//!
//! A peer that can't be installed fails its test, saying what to install.

mod support;

use guichet_drill::front::{Front, RunningFront};
use guichet_drill::fronts;
use std::net::{Ipv4Addr, SocketAddr};
use support::{Bench, Client, STRANGER, get, get_h2, process_tree};

/// Requests of the flooder: bounded, and well over what any peer lets a source have at once.
const FLOOD_REQUESTS: usize = 300;

/// `slots`: requests of strangers that the front lets a service of eight workers have at once.
fn check(name: &str, slots: usize) {
    let bench = Bench::new();
    let front = fronts::by_name(name).expect("a known name");
    let running = front.start(&bench.context()).unwrap_or_else(|error| panic!("{error:#}"));
    let pids = process_tree(&running.pids());
    routes_by_host(&bench, &running);
    speaks_h2(&bench, &running);
    demands_partners(&bench, &running);
    keeps_sessions_and_operations(&bench, &running);
    slows_a_flooder(&running);
    keeps_services_under_their_knee(&bench, &running, slots);
    running.stop();
    let left: Vec<_> = pids.into_iter().filter(|pid| support::is_running(*pid)).collect();
    assert!(left.is_empty(), "{name} left processes: {left:?}");
    for port in [bench.ports.http, bench.ports.https, bench.ports.admin] {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(std::net::TcpStream::connect(at).is_err(), "{name}: {at} still answers");
    }
}

fn routes_by_host(bench: &Bench, front: &RunningFront) {
    let source = Ipv4Addr::new(127, 20, 0, 1);
    for service in ["portal", "bank"] {
        let host = format!("{service}.localhost");
        let plain = get(&Client::plain(front.http.unwrap(), source), &host, "/", &[]);
        assert_eq!((plain.status, plain.service.as_str()), (200, service), "plain");
        assert_eq!(plain.forwarded_for, "127.20.0.1", "the client's address is told");
        let tls = get(&Client::tls(front.https.unwrap(), source, bench, false), &host, "/", &[]);
        assert_eq!((tls.status, tls.service.as_str()), (200, service), "TLS");
    }
    let unknown = get(&Client::plain(front.http.unwrap(), source), "nobody.localhost", "/", &[]);
    assert_eq!(unknown.status, 421, "a host that nobody serves");
}

fn speaks_h2(bench: &Bench, front: &RunningFront) {
    let answer = get_h2(front.https.unwrap(), bench, "portal.localhost", "/");
    assert_eq!(answer, (200, "portal".to_owned()));
}

fn demands_partners(bench: &Bench, front: &RunningFront) {
    let source = Ipv4Addr::new(127, 20, 0, 2);
    let (http, https) = (front.http.unwrap(), front.https.unwrap());
    let marked = [(STRANGER, "1")];
    for host in ["rails.localhost", "counter.localhost"] {
        let service = host.split('.').next().unwrap();
        let partner = get(&Client::tls(https, source, bench, true), host, "/", &[]);
        assert_eq!((partner.status, partner.service.as_str()), (200, service), "a partner is served");
        // A door may refuse in the handshake (0 here) or with a status; it may not serve.
        let stranger = get(&Client::tls(https, source, bench, false), host, "/", &marked);
        assert!(matches!(stranger.status, 0 | 400 | 403), "{host} without a certificate: {}", stranger.status);
        let plain = get(&Client::plain(http, source), host, "/", &marked);
        assert_eq!(plain.status, 403, "{host} on the plain port");
        // The name in the handshake is not the name in the request: a way around where demands go by SNI alone.
        let client = Client { sni: "portal.localhost".to_owned(), ..Client::tls(https, source, bench, false) };
        let around = get(&client, host, "/", &marked);
        assert!(matches!(around.status, 0 | 400 | 403 | 421), "{host} through portal's name: {}", around.status);
    }
    assert_eq!(bench.served_without_partner(), 0, "no service of partners saw a stranger");
}

fn keeps_sessions_and_operations(bench: &Bench, front: &RunningFront) {
    let source = Ipv4Addr::new(127, 20, 0, 3);
    let client = Client::tls(front.https.unwrap(), source, bench, false);
    let answer = get(&client, "portal.localhost", "/session", &[("cookie", "portal_session=0123456789abcdef0123")]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.operation, "test", "x-estate-op passes");
    assert_eq!(answer.set_cookie, "portal_session=0123456789abcdef0123; Path=/; HttpOnly", "Set-Cookie passes");
    assert_eq!(answer.cookie, "portal_session=0123456789abcdef0123", "Cookie passes");
}

fn slows_a_flooder(front: &RunningFront) {
    let client = Client::plain(front.http.unwrap(), Ipv4Addr::new(127, 20, 0, 4));
    let statuses = support::flood(&client, "portal.localhost", "/", &[], FLOOD_REQUESTS);
    let served = statuses.iter().filter(|s| **s == 200).count();
    let refused = statuses.iter().filter(|s| matches!(**s, 0 | 429 | 503)).count();
    assert_eq!(served + refused, FLOOD_REQUESTS, "only served or refused: {statuses:?}");
    assert!(served >= 30, "a page's worth of requests is served: {served}");
    assert!(refused >= FLOOD_REQUESTS / 3, "a flooder is refused: {refused} of {FLOOD_REQUESTS}");
    let other = Client::plain(front.http.unwrap(), Ipv4Addr::new(127, 20, 0, 5));
    assert_eq!(get(&other, "portal.localhost", "/", &[]).status, 200, "someone else is served meanwhile");
    // A costly operation has less.
    let costly = Client::plain(front.http.unwrap(), Ipv4Addr::new(127, 20, 0, 6));
    let statuses = support::flood(&costly, "portal.localhost", "/recherche?q=a", &[], 40);
    let served = statuses.iter().filter(|s| **s == 200).count();
    assert!((5..=20).contains(&served), "costly operations of one source: {served} of 40");
}

/// Far more slow requests at once than a service has workers, each from another source, as a distributed attack does.
fn keeps_services_under_their_knee(bench: &Bench, front: &RunningFront, slots: usize) {
    const CROWD: u8 = 60;
    let http = front.http.unwrap();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask =
            |n: u8| move || get(&Client::plain(http, Ipv4Addr::new(127, 20, 1, n)), "bank.localhost", "/slow", &[]);
        let crowd: Vec<_> = (1..=CROWD).map(|n| scope.spawn(ask(n))).collect();
        let partner = Client::tls(front.https.unwrap(), Ipv4Addr::new(127, 20, 2, 1), bench, true);
        assert_eq!(get(&partner, "rails.localhost", "/", &[]).status, 200, "a partner is served meanwhile");
        crowd.into_iter().map(|thread| thread.join().unwrap().status).collect()
    });
    let served = statuses.iter().filter(|s| **s == 200).count();
    let refused = statuses.iter().filter(|s| matches!(**s, 429 | 502 | 503)).count();
    assert_eq!(served + refused, usize::from(CROWD), "served or refused: {statuses:?}");
    assert!(served >= 8 && refused >= 1, "a full set is served, not all are: {statuses:?}");
    let most = bench.slow_most();
    assert!((4..=slots).contains(&most), "{most} at once at the service, {slots} allowed");
}

/// HAProxy remembers which cookies a service set: an invented one lifts no limit.
#[test]
fn haproxy_tells_issued_sessions_from_invented_ones() {
    let bench = Bench::new();
    let running = fronts::Haproxy.start(&bench.context()).unwrap_or_else(|error| panic!("{error:#}"));
    let served = |client: &Client, cookie: &str| {
        let statuses = support::flood(client, "portal.localhost", "/", &[("cookie", cookie)], 200);
        statuses.iter().filter(|s| **s == 200).count()
    };
    let invented = Client::plain(running.http.unwrap(), Ipv4Addr::new(127, 20, 3, 1));
    let count = served(&invented, "portal_session=invented0123456789abcdef");
    assert!((90..=110).contains(&count), "an invented session is a stranger's: {count} of 200");
    let issued = Client::plain(running.http.unwrap(), Ipv4Addr::new(127, 20, 3, 2));
    let cookie = "portal_session=issued0123456789abcdef";
    assert_eq!(get(&issued, "portal.localhost", "/session", &[("cookie", cookie)]).status, 200);
    assert_eq!(served(&issued, cookie), 200, "an issued session has a higher limit");
    running.stop();
}

#[test]
fn nginx_is_a_front() {
    check("nginx", 24);
}

#[test]
fn haproxy_is_a_front() {
    check("haproxy", 12);
}

#[test]
fn envoy_is_a_front() {
    check("envoy", 8);
}

#[test]
fn direct_is_each_service() {
    let bench = Bench::new();
    let running = fronts::Direct.start(&bench.context()).unwrap();
    assert!(running.pids().is_empty() && running.http.is_none() && running.https.is_none());
    for (name, at) in &running.per_service {
        let answer = get(&Client::plain(*at, Ipv4Addr::new(127, 20, 0, 7)), &format!("{name}.localhost"), "/", &[]);
        assert_eq!((answer.status, &answer.service), (200, name));
    }
    assert_eq!(running.per_service.len(), bench.services.len());
}

#[test]
fn guichet_says_what_to_build() {
    let bench = Bench::new();
    let error = fronts::Guichet.start(&bench.context()).unwrap_err().to_string();
    assert!(error.contains("/nonexistent") && error.contains("cargo build"), "{error}");
}
