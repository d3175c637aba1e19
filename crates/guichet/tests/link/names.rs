//! A name server that is gone: services that were known by name go on being reached.

use std::time::Duration;

use serde_json::Value;

use crate::door::{Door, PATIENCE};
use crate::net::{DOOR, Net, Side, wait_for};

/// Says of every name that its only address is the door's own, for a second.
const NAME_SERVER: &str = r#"
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 53))
while True:
    query, client = s.recvfrom(1500)
    end = query.index(b"\x00", 12) + 5
    is_a = query[end - 4:end - 2] == b"\x00\x01"
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x7f\x00\x00\x01" if is_a else b""
    counts = b"\x00\x01" + (b"\x00\x01" if is_a else b"\x00\x00") + b"\x00\x00\x00\x00"
    s.sendto(query[:2] + b"\x81\x80" + counts + query[12:end] + answer, client)
"#;

fn degraded(door: &Door) -> String {
    let status = door.status().unwrap_or_default();
    status["degraded"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_name_server_that_is_gone_takes_no_service_with_it() {
    let net = Net::new(100);
    net.ask_names_at("127.0.0.1");
    let log = std::env::temp_dir().join(format!("guichet-names-{}.log", std::process::id()));
    let names = net.python(Side::Door, NAME_SERVER, &log);
    let mut door = Door::open_in(net, 100, 0.0, "", "service.test:9000");
    let page = |door: &Door| door.get(Side::World, &format!("http://{DOOR}:8080/")).0;
    wait_for("the service", PATIENCE, || (page(&door) == 200).then_some(()));

    drop(names);
    // No connection to the service is left, and what was looked up is old.
    door.restart_service();
    wait_for("the service is back", PATIENCE, || (page(&door) == 200).then_some(()));
    std::thread::sleep(Duration::from_secs(6));
    for _ in 0..8 {
        assert_eq!(page(&door), 200, "{}", door.log());
        std::thread::sleep(Duration::from_millis(500));
    }
    let told = wait_for("it is told", PATIENCE, || Some(degraded(&door)).filter(|told| told.contains("service.test")));
    assert!(told.contains("its last addresses are used"), "{told}");

    let _names = door.net.python(Side::Door, NAME_SERVER, &log);
    wait_for("it is over", PATIENCE, || (!degraded(&door).contains("service.test")).then_some(()));
    assert_eq!(page(&door), 200);
    // Whatever the name server wrote is of no use any more.
    let _ = std::fs::remove_file(log);
}
