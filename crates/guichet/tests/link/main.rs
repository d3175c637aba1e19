//! The link verdict and hand-on with real lines and real BGP daemons, in network namespaces of their own.

mod bgp;
mod disk;
mod door;
mod found;
mod kernel;
mod names;
mod net;
mod routes;

use std::io::Write as _;

use door::{Door, PATIENCE};
use net::{DOOR, Side, wait_for};

/// Datagrams to a port where nobody listens, faster than the line, for at most 40 s.
const FLOOD: &str = r#"
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.monotonic() + 40
while time.monotonic() < end:
    for _ in range(20):
        try:
            s.sendto(b"x" * 1200, ("DOOR", 9))
        except OSError:
            pass
    time.sleep(0.01)
"#;

/// Connections to a listener that accepts none, at most a hundred a second for at most 40 s.
const NOT_ACCEPTED: &str = r#"
import socket, time
listener = socket.socket()
listener.bind(("127.0.0.1", 7000))
listener.listen(1)
end, kept = time.monotonic() + 40, []
while time.monotonic() < end:
    for _ in range(10):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", 7000))
        kept.append(s)
    for old in kept[:-500]:
        old.close()
    kept = kept[-500:]
    time.sleep(0.1)
"#;

/// Thirty-two visitors that ask again and again, for at most 40 s.
const VISITORS: &str = r#"
import http.client, threading, time
end = time.monotonic() + 40
def visit():
    while time.monotonic() < end:
        try:
            c = http.client.HTTPConnection("DOOR", 8080, timeout=20)
            c.request("GET", "/", headers={"accept": "application/json"})
            c.getresponse().read()
        except OSError:
            pass
        time.sleep(0.05)
threads = [threading.Thread(target=visit, daemon=True) for _ in range(32)]
[t.start() for t in threads]
[t.join() for t in threads]
"#;

fn script(text: &str) -> String {
    text.replace("DOOR", DOOR)
}

#[test]
fn a_full_line_is_told_everywhere_and_balancers_go_elsewhere() {
    let door = Door::open(8, 0.0, "");
    let health = format!("http://{DOOR}:8480");
    assert_eq!(door.agent(), "up ready 100%\n");
    assert_eq!(door.get(Side::World, &format!("{health}/health")).0, 200);
    assert_eq!(door.get(Side::World, &format!("http://{DOOR}:8080/")), (200, "ok\n".to_owned()));
    let calm = door.ordered(&["status"]);
    assert!(calm.starts_with("Nothing is wrong here: the line, this host and the services have room"), "{calm}");

    let flood = door.net.python(Side::World, &script(FLOOD), &door.file("flood.log"));
    let link = door.wait_for_verdict("line_full");
    let sentence = link["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("The line is full: line0 brings in "), "{sentence}");
    assert!(sentence.contains("of 8.0 Mbit/s") && sentence.contains("nothing behind it can help"), "{sentence}");
    let text = door.ordered(&["status"]);
    assert!(text.starts_with("The line is full: line0 brings in "), "{text}");
    let metrics = door.get(Side::Door, "http://127.0.0.1:8444/metrics").1;
    assert!(metrics.contains("guichet_link_verdict{verdict=\"line_full\"} 1"), "{metrics}");
    assert!(metrics.contains("guichet_link_share{subject=\"line_in\",of=\"line0\"} "), "{metrics}");
    assert!(door.log().contains("guichet: link: The line is full: line0 brings in"), "{}", door.log());
    // From the door's own side: the line from the world is full, which is the point.
    let (status, body) = door.get(Side::Door, &format!("{health}/health"));
    assert!(
        status == 503 && body.contains("\"prefer_other_ingress\":true") && body.contains("The line is full"),
        "{body}"
    );
    assert_eq!(door.get(Side::Door, &format!("{health}/weight")), (200, "0\n".to_owned()));

    drop(flood);
    door.wait_for_verdict("nothing_wrong");
    assert_eq!(door.agent(), "up ready 100%\n");
}

#[test]
fn a_full_host_is_told_from_a_full_line() {
    let door = Door::open(8, 0.0, "");
    let lost = door.net.python(Side::Door, NOT_ACCEPTED, &door.file("lost.log"));
    let link = door.wait_for_verdict("host_full");
    let sentence = link["sentence"].as_str().unwrap();
    assert!(sentence.contains("connections/s are lost because nobody accepts them in time"), "{sentence}");
    assert_eq!(door.get(Side::World, &format!("http://{DOOR}:8480/weight")), (200, "50\n".to_owned()));
    drop(lost);
    door.wait_for_verdict("nothing_wrong");

    // A processor that never rests, as its recorded figures tell.
    let stat = door.file("proc").join("stat");
    let mut ticks = 0;
    let busy = wait_for("busy processors", PATIENCE, || {
        ticks += 100;
        let mut file = std::fs::File::create(door.file("proc").join("stat.new")).unwrap();
        writeln!(file, "cpu  {} 0 100 1000 0 0 0 0 0 0", 100 + ticks).unwrap();
        std::fs::rename(door.file("proc").join("stat.new"), &stat).unwrap();
        door.status().filter(|status| status["link"]["verdict"] == "host_full")
    });
    assert!(busy["link"]["sentence"].as_str().unwrap().contains("its processors are 100 % busy"), "{busy}");
}

#[test]
fn a_full_service_is_told_from_one_that_is_away() {
    let mut door = Door::open(100, 0.5, "");
    let visitors = door.net.python(Side::World, &script(VISITORS), &door.file("visitors.log"));
    let link = door.wait_for_verdict("service_full");
    let sentence = link["sentence"].as_str().unwrap();
    assert!(sentence.contains("while the line and this host have room: small works on"), "{sentence}");
    assert_eq!(link["causes"][0]["subject"], "service");
    drop(visitors);
    door.wait_for_verdict("nothing_wrong");
    door.end_service();
    let link = door.wait_for_verdict("service_full");
    let sentence = link["sentence"].as_str().unwrap();
    assert!(sentence.contains("none of the servers of small answers as it should"), "{sentence}");
}
