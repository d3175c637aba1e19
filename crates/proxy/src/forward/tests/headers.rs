//! Header fields, as tables.

use http::{HeaderMap, HeaderName, Version};

use super::super::headers::{self, Arrival, Scheme};
use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn lines(map: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = map.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    lines.sort();
    lines
}

fn arrival(client: &str, peer: &str, trusted: bool) -> Arrival {
    Arrival {
        client: client.parse().unwrap(),
        peer: peer.parse().unwrap(),
        peer_trusted: trusted,
        scheme: Scheme::Https,
        request_id: HeaderValue::from_static("id"),
    }
}

/// What remains of the client's own fields, with the door's taken away.
fn kept(fields: &[(&str, &str)], upgrade: bool) -> Vec<String> {
    let mut headers = map(fields);
    headers::prepare_request(&mut headers, &arrival("192.0.2.1", "192.0.2.1", false), "h", upgrade, Version::HTTP_11);
    assert_eq!(headers["x-forwarded-host"], "h");
    for ours in ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-request-id"] {
        assert!(headers.remove(ours).is_some(), "{ours}");
    }
    assert_eq!(headers.get_all("via").iter().next_back().unwrap(), "1.1 guichet");
    lines(&headers).into_iter().filter(|line| line != "via: 1.1 guichet").collect()
}

#[test]
fn what_belongs_to_the_connection_stays_there() {
    for (given, expected) in [
        (vec![("accept", "*/*"), ("x-app", "1")], vec!["accept: */*", "x-app: 1"]),
        (vec![("connection", "keep-alive, x-mine"), ("x-mine", "1"), ("keep-alive", "timeout=5")], vec![]),
        (vec![("connection", "close"), ("connection", "x-two"), ("x-two", "2")], vec![]),
        (vec![("proxy-connection", "keep-alive"), ("transfer-encoding", "chunked"), ("http2-settings", "AA")], vec![]),
        (vec![("proxy-authorization", "Basic x"), ("proxy-authenticate", "Basic")], vec![]),
        (vec![("te", "trailers")], vec!["te: trailers"]),
        (vec![("te", "gzip, Trailers;q=0.5")], vec!["te: trailers"]),
        (vec![("te", "gzip"), ("connection", "te")], vec![]),
        (vec![("upgrade", "h2c"), ("connection", "upgrade")], vec![]),
        (vec![("trailer", "x-sum"), ("connection", "trailer")], vec!["trailer: x-sum"]),
        // Connection cannot be used to delete what routes, frames or authenticates.
        (
            vec![
                ("connection", "host, content-length, cookie, authorization"),
                ("content-length", "3"),
                ("host", "h"),
                ("cookie", "a=1"),
            ],
            vec!["content-length: 3", "cookie: a=1", "host: h"],
        ),
        (vec![("via", "1.0 other")], vec!["via: 1.0 other"]),
        (vec![("traceparent", "00-a-b-01")], vec!["traceparent: 00-a-b-01"]),
    ] {
        assert_eq!(kept(&given, false), expected, "{given:?}");
    }
    let websocket = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("keep-alive", "1")];
    assert!(headers::asks_upgrade(&map(&websocket)));
    assert!(!headers::asks_upgrade(&map(&websocket[1..])));
    assert_eq!(kept(&websocket, true), ["connection: upgrade", "upgrade: websocket"]);
}

#[test]
fn a_client_cannot_speak_in_the_doors_name() {
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded",
        "x_forwarded_for",
        "x-forwarded_for",
        "forwarded",
        "x-real-ip",
        "x_real_ip",
        "x-request-id",
        "x-guichet-key",
        "x-guichet-standing",
        "x_guichet_key",
        "guichet-pass",
        "guichet_pass",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-original-url",
        "x-rewrite-url",
        "client-ip",
        "x-cluster-client-ip",
    ] {
        assert_eq!(kept(&[(name, "6.6.6.6")], false), Vec::<String>::new(), "{name}");
    }
    let mut trusted = map(&[("x-guichet-key", "secret"), ("x-forwarded-port", "8443"), ("x_guichet_key", "s")]);
    headers::prepare_request(&mut trusted, &arrival("192.0.2.1", "10.0.0.1", true), "h", false, Version::HTTP_11);
    assert!(trusted.get("x-guichet-key").is_none() && trusted.get("x_guichet_key").is_none());
    assert_eq!(trusted["x-forwarded-port"], "8443");
}

/// Fields given by a peer; client, peer, trusted; the expected X-Forwarded-For and Forwarded.
fn forwarding(given: &[(&str, &str)], arrival: &Arrival, host: &str, chain: &str, forwarded: &str) {
    let mut headers = map(given);
    headers::prepare_request(&mut headers, arrival, host, false, Version::HTTP_2);
    assert_eq!(headers["x-forwarded-for"], chain, "{given:?}");
    assert_eq!(headers["forwarded"], forwarded, "{given:?}");
    assert_eq!(headers["x-real-ip"], arrival.client.to_string().as_str());
    assert_eq!(headers["x-request-id"], "id");
    assert_eq!(headers["via"], "2.0 guichet");
}

#[test]
fn the_upstream_is_told_who_asks() {
    let direct = arrival("192.0.2.1", "192.0.2.1", false);
    forwarding(&[], &direct, "portal.test", "192.0.2.1", "for=192.0.2.1;host=\"portal.test\";proto=https");
    forwarding(&[("x-forwarded-for", "6.6.6.6")], &direct, "", "192.0.2.1", "for=192.0.2.1;proto=https");
    let six = arrival("2001:db8::1", "2001:db8::1", false);
    forwarding(&[], &six, "[::1]:8443", "2001:db8::1", "for=\"[2001:db8::1]\";host=\"[::1]:8443\";proto=https");
    // A quote in a host cannot break out of the field.
    forwarding(&[], &direct, "a\";for=1", "192.0.2.1", "for=192.0.2.1;proto=https");

    let behind = arrival("192.0.2.1", "10.0.0.2", true);
    let told = "for=192.0.2.1;host=\"h\";proto=https, for=10.0.0.2";
    forwarding(&[], &behind, "h", "192.0.2.1, 10.0.0.2", told);
    forwarding(&[("x-forwarded-for", "192.0.2.1")], &behind, "h", "192.0.2.1, 10.0.0.2", told);
    // What the client claimed before it reached the trusted proxies is dropped.
    forwarding(&[("x-forwarded-for", "6.6.6.6, 192.0.2.1")], &behind, "h", "192.0.2.1, 10.0.0.2", told);
    forwarding(
        &[
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "192.0.2.1:4711, 10.0.0.9"),
            ("x-forwarded-proto", "http"),
        ],
        &behind,
        "h",
        "192.0.2.1, 10.0.0.9, 10.0.0.2",
        "for=192.0.2.1;host=\"h\";proto=http, for=10.0.0.9, for=10.0.0.2",
    );
    forwarding(
        &[("forwarded", "for=1.1.1.1, For=\"192.0.2.1:80\";proto=http, for=10.0.0.9")],
        &behind,
        "h",
        "192.0.2.1, 10.0.0.9, 10.0.0.2",
        "for=192.0.2.1;host=\"h\";proto=https, for=10.0.0.9, for=10.0.0.2",
    );
    forwarding(
        &[("x-forwarded-host", "front.test"), ("x-forwarded-proto", "gopher")],
        &behind,
        "h",
        "192.0.2.1, 10.0.0.2",
        "for=192.0.2.1;host=\"front.test\";proto=https, for=10.0.0.2",
    );

    // A chain is bounded, from the left.
    let long = vec!["192.0.2.1"; 500].join(", ");
    let mut headers = map(&[("x-forwarded-for", &long)]);
    headers::prepare_request(&mut headers, &behind, "h", false, Version::HTTP_11);
    assert!(headers["x-forwarded-for"].len() < 400);
}

#[test]
fn hidden_cookies_do_not_reach_the_upstream() {
    for (given, name, expected) in [
        (vec!["a=1; __Host-guichet=x; b=2"], "__Host-guichet", vec!["a=1; b=2"]),
        (vec!["__Host-guichet=x"], "__Host-guichet", vec![]),
        (vec!["__Host-guichet-not=x"], "__Host-guichet", vec!["__Host-guichet-not=x"]),
        (vec!["a=1;guichet-s=2;  guichet-t=3"], "guichet-", vec!["a=1"]),
        (vec!["a=1", "guichet-s=2", "b=guichet-s"], "guichet-", vec!["a=1", "b=guichet-s"]),
        (vec!["a=\"1;2\";;c"], "zzz", vec!["a=\"1;2\";;c"]),
    ] {
        let fields: Vec<(&str, &str)> = given.iter().map(|v| ("cookie", *v)).collect();
        let mut headers = map(&fields);
        headers::strip_cookie(&mut headers, name);
        let left: Vec<&str> = headers.get_all("cookie").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(left, expected, "{given:?}");
    }
    let mut crumbs = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
    headers::join_cookies(&mut crumbs);
    assert_eq!(lines(&crumbs), ["cookie: a=1; b=2"]);
}

#[test]
fn trailers_carry_no_framing_and_no_claims() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("host", "x"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-guichet-key", "k"),
        ("authorization", "a"),
        ("cookie", "a=1"),
    ]);
    headers::prepare_trailers(&mut trailers);
    assert_eq!(lines(&trailers), ["grpc-status: 0"]);
}

proptest::proptest! {
    /// Whatever a client sends: no field of its connection and no claim of its own arrives, all else does.
    #[test]
    fn no_field_slips_through(
        fields in proptest::collection::vec((
            proptest::sample::select(vec![
                "connection", "keep-alive", "te", "upgrade", "transfer-encoding", "x-forwarded-for", "x_forwarded_for",
                "forwarded", "x-real-ip", "x-guichet-key", "x-guichet_x", "guichet-pass", "accept", "x-a", "x-b", "cookie", "via",
            ]),
            proptest::sample::select(vec![
                "x-a", "close, x-a", "trailers", "6.6.6.6", "for=6.6.6.6", "upgrade", "websocket", "a=1; b=2", ", ,", "",
            ]),
        ), 0..12),
        upgrade: bool,
    ) {
        let mut headers = map(&fields);
        let named = |name: &str| fields.iter().any(|(n, v)| *n == "connection" && v.contains(name));
        headers::prepare_request(
            &mut headers, &arrival("192.0.2.1", "192.0.2.1", false), "h", upgrade, Version::HTTP_11,
        );
        for gone in ["keep-alive", "transfer-encoding", "x_forwarded_for", "x-guichet-key", "x-guichet_x", "guichet-pass"] {
            proptest::prop_assert!(!headers.contains_key(gone), "{gone}");
        }
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "te"] {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            proptest::prop_assert!(all.len() <= 1 && all.iter().all(|v| !v.to_str().unwrap().contains("6.6.6.6")));
        }
        if !upgrade {
            proptest::prop_assert!(!headers.contains_key("connection") && !headers.contains_key("upgrade"));
        }
        for name in ["accept", "x-a", "x-b", "cookie"] {
            let sent = if named(name) { 0 } else { fields.iter().filter(|(n, _)| *n == name).count() };
            proptest::prop_assert_eq!(headers.get_all(name).iter().count(), sent, "{}", name);
        }
    }
}
