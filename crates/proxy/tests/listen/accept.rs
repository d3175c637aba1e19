//! Accepting: PROXY, caps, room, drain.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use guichet_core::Reason;
use guichet_proxy::config::ProxyProtocol;

use crate::http1::{connect, exchange, rest, until};
use crate::support::{Door, Setup};

const CLOSE: &str = "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
const KEEP: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

fn proxied(protocol: ProxyProtocol, trusted: bool) -> Setup {
    Setup::default().listener(|l| {
        l.proxy_protocol = protocol;
        l.trusted_proxies = vec![if trusted { "127.0.0.0/8" } else { "192.0.2.0/24" }.parse().unwrap()];
    })
}

/// What came back without a reset in between, or nothing.
fn try_exchange(door: &Door, bytes: &[u8]) -> String {
    let mut stream = connect(door);
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn proxy_headers_are_believed_from_trusted_networks_only() {
    let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.2 4711 443\r\n".to_vec();
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 7, 198, 51, 100, 2],
        &4711u16.to_be_bytes(),
        &443u16.to_be_bytes(),
    ]
    .concat();
    let local = b"PROXY UNKNOWN\r\n".to_vec();
    let (none, bad) = (Vec::new(), b"PROXY TCP4 nonsense\r\n".to_vec());
    let refused = Err(Reason::BadProxyHeader);
    let told = Ok(Some("192.0.2.7:4711"));
    use ProxyProtocol::{Accept, Off, Require};
    type Expected = Result<Option<&'static str>, Reason>;
    let table: [(_, _, &[u8], Expected); 14] = [
        (Accept, true, &v1, told),
        (Accept, true, &v2, told),
        (Accept, true, &local, Ok(None)),
        (Accept, true, &none, Ok(None)),
        (Accept, true, &bad, refused),
        (Accept, false, &none, Ok(None)),
        (Accept, false, &v1, Err(Reason::MalformedHead)),
        (Require, true, &v1, told),
        (Require, true, &v2, told),
        (Require, true, &none, refused),
        (Require, false, &v1, refused),
        (Require, false, &none, refused),
        (Off, true, &v1, Err(Reason::MalformedHead)),
        (Off, true, &none, Ok(None)),
    ];
    for (protocol, trusted, header, expected) in table {
        let what = format!("{protocol:?} {trusted} {header:?}");
        let door = proxied(protocol, trusted).start();
        let answer = try_exchange(&door, &[header, CLOSE.as_bytes()].concat());
        match expected {
            Ok(client) => {
                assert!(answer.ends_with("seen /a\n"), "{what}: {answer}");
                let seen = door.log.good().pop().unwrap().client;
                match client {
                    Some(client) => assert_eq!(seen.to_string(), client, "{what}"),
                    None => assert!(seen.ip().is_loopback(), "{what}"),
                }
            }
            Err(Reason::BadProxyHeader) => {
                assert_eq!(answer, "", "{what}");
                door.log.wait_for(Reason::BadProxyHeader);
                assert!(door.log.good().is_empty(), "{what}");
            }
            // An untrusted header is just a bad request.
            Err(_) => {
                assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
                assert!(door.log.good().is_empty(), "{what}");
            }
        }
    }
}

#[test]
fn a_proxied_client_is_counted_by_its_own_address() {
    let door = proxied(ProxyProtocol::Require, true).limits(|l| l.connections_per_source = 1).start();
    let open = |address: &str| {
        let mut stream = connect(&door);
        // In one piece: who is refused after the first line would meet the reset while writing a second one.
        let bytes = format!("PROXY TCP4 {address} 198.51.100.2 4711 443\r\n{KEEP}");
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    };
    let mut first = open("192.0.2.1");
    until(&mut first, "seen /a\n");
    let mut other = open("192.0.2.2");
    until(&mut other, "seen /a\n");
    let mut second = open("192.0.2.1");
    assert!(second.read_to_end(&mut Vec::new()).is_err(), "refused by a reset");
    door.log.wait_for(Reason::ConnectionsPerSource);
    let (source, _) = door.log.refused.lock().unwrap()[0];
    assert_eq!(source.to_string(), "192.0.2.1:4711");
}

/// From one loopback address to the door.
fn connect_from(source: &str, door: &Door) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from: std::net::SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&door.address.into()).unwrap();
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn connections_are_capped_per_source_and_per_network() {
    let door = Setup::default()
        .limits(|l| {
            l.connections_per_source = 2;
            l.connections_per_network = 3;
        })
        .start();
    let works = |mut stream: TcpStream| {
        let mut byte = [0; 1];
        let works = stream.write_all(KEEP.as_bytes()).is_ok() && stream.read_exact(&mut byte).is_ok();
        works.then_some(stream)
    };
    let held = [(); 2].map(|()| works(connect_from("127.1.0.1", &door)).unwrap());
    assert!(works(connect_from("127.1.0.1", &door)).is_none());
    let third = works(connect_from("127.1.0.2", &door)).unwrap();
    assert!(works(connect_from("127.1.0.3", &door)).is_none(), "the network is full");
    let elsewhere = works(connect_from("127.1.1.1", &door)).unwrap();
    door.log.wait("refusals", |log| log.reasons() == [Reason::ConnectionsPerSource; 2]);
    drop((held, third, elsewhere));
    door.log.wait("release", |_| door.caps.connections() == 0 && door.caps.prefixes() == (0, 0));
    assert!(works(connect_from("127.1.0.1", &door)).is_some());
}

#[test]
fn idle_connections_make_room_and_good_clients_stay() {
    let door = Setup { connections_max: 20, ..Setup::default() }.start();
    // Good clients first: they are the longest idle.
    let mut good: Vec<_> = (0..5u8).map(|n| connect_from(&format!("127.2.0.{}", n + 1), &door)).collect();
    for stream in &mut good {
        stream.write_all(KEEP.as_bytes()).unwrap();
        until(stream, "seen /a\n");
    }
    // One source hoards: it begins requests and never ends one.
    let hoard: Vec<_> = (0..14)
        .map(|_| {
            let mut stream = connect_from("127.2.9.9", &door);
            stream.write_all(b"GET / HT").unwrap();
            stream
        })
        .collect();
    door.log.wait_for(Reason::IdleEvicted);
    door.log.wait("room", |_| door.caps.connections() <= 18);
    let sources: Vec<_> = door.log.refused.lock().unwrap().iter().map(|(source, _)| source.ip().to_string()).collect();
    assert!(sources.iter().all(|source| source == "127.2.9.9"), "{sources:?}");
    for stream in &mut good {
        stream.write_all(KEEP.as_bytes()).unwrap();
        until(stream, "seen /a\n");
    }
    drop(hoard);
}

#[test]
fn a_full_node_refuses_by_a_reset() {
    let door = Setup { connections_max: 2, ..Setup::default() }.start();
    let mut busy: Vec<_> = (0..2).map(|_| connect(&door)).collect();
    for stream in &mut busy {
        stream.write_all(b"GET /hang HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    door.log.wait("both under way", |log| log.good().len() == 2);
    let mut third = connect(&door);
    assert!(third.read_to_end(&mut Vec::new()).is_err());
    door.log.wait_for(Reason::ConnectionsFull);
    drop(busy);
    door.log.wait("release", |_| door.caps.connections() == 0);
    assert!(exchange(&door, CLOSE.as_bytes()).ends_with("seen /a\n"));
}

#[test]
fn a_drain_ends_what_is_idle_and_waits_for_what_is_under_way() {
    let door = Setup::default().start();
    let mut idle = connect(&door);
    idle.write_all(KEEP.as_bytes()).unwrap();
    until(&mut idle, "seen /a\n");
    let mut busy = connect(&door);
    busy.write_all(b"GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    door.log.wait("two", |log| log.opened.load(Ordering::SeqCst) == 2);
    std::thread::sleep(Duration::from_millis(50));
    door.drain();
    assert_eq!(rest(&mut idle), "");
    let answer = rest(&mut busy);
    assert!(answer.contains("connection: close") && answer.ends_with("seen /wait\n"), "{answer}");
    door.log.wait("release", |_| door.caps.connections() == 0);
    assert!(TcpStream::connect(door.address).is_err());
}

#[test]
fn a_connection_carries_so_many_requests() {
    let door = Setup::default().limits(|l| l.requests_per_connection_max = 2).start();
    let answer = exchange(&door, KEEP.repeat(3).as_bytes());
    assert_eq!(answer.matches("seen /a").count(), 2, "{answer}");
    assert_eq!(answer.matches("connection: close").count(), 1, "{answer}");
}

/// Connections that say nothing yet make room before anybody who did good, even those accepted a moment ago.
#[test]
fn a_flood_of_silent_connections_pushes_out_itself() {
    let door = Setup { connections_max: 40, ..Setup::default() }.start();
    let mut good = connect_from("127.3.0.1", &door);
    good.write_all(KEEP.as_bytes()).unwrap();
    until(&mut good, "seen /a\n");
    let silent: Vec<_> = (0..60).map(|n| connect_from(&format!("127.3.1.{}", n + 1), &door)).collect();
    door.log.wait("room", |log| log.reasons().contains(&Reason::IdleEvicted) && door.caps.connections() <= 36);
    let sources: Vec<_> = door.log.refused.lock().unwrap().iter().map(|(source, _)| source.ip().to_string()).collect();
    assert!(sources.iter().all(|source| source.starts_with("127.3.1.")), "{sources:?}");
    good.write_all(KEEP.as_bytes()).unwrap();
    until(&mut good, "seen /a\n");
    drop(silent);
}
