//! The kernel's filter with the real one: nftables in the door's namespace.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::door::{Door, PATIENCE};
use crate::net::{DOOR, Side, WORLD, need, wait_for};

/// Somebody else out there.
const PERSON: &str = "10.77.0.3";

/// A tool that asks about thirty times a second, on a new connection each time, for at most 60 s.
const TOOL: &str = r#"
import socket, time
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        s = socket.create_connection(("DOOR", 8080), 2, ("WORLD", 0))
        s.sendall(b"GET / HTTP/1.1\r\nhost: DOOR\r\nuser-agent: Floodmaker/1.0\r\nconnection: close\r\n\r\n")
        s.recv(1000)
        s.close()
    except OSError:
        pass
    time.sleep(0.03)
"#;

/// Status of a page for somebody with this address; 0: there was no connection.
fn page_for(door: &Door, address: &str) -> u16 {
    let url = format!("http://{DOOR}:8080/");
    let arguments = ["-s", "-o", "/dev/null", "--interface", address, "--max-time", "2", "-w", "%{http_code}", &url];
    door.net.run(Side::World, "curl", &arguments).1.trim().parse().unwrap_or(0)
}

fn dropped(door: &Door) -> Vec<Value> {
    let all: Value = serde_json::from_str(&door.ordered(&["mitigations", "dropped", "--json"])).unwrap();
    all["dropped"].as_array().unwrap().clone()
}

fn table(door: &Door) -> String {
    door.net.run(Side::Door, "nft", &["list", "ruleset"]).1
}

#[test]
fn who_is_refused_again_and_again_is_dropped_by_the_kernel_for_a_while() {
    need("nft", "nftables");
    let mut door = Door::open(100, 0.0, "[kernel_filter]\nmode = \"on\"\nttl_s = 8\nttl_s_max = 8\n");
    let (good, text) = door.net.run(Side::World, "ip", &["addr", "add", &format!("{PERSON}/24"), "dev", "line0"]);
    assert!(good, "{text}");
    assert_eq!((page_for(&door, WORLD), page_for(&door, PERSON)), (200, 200));
    assert_eq!(door.ordered(&["mitigations", "dropped"]), "the kernel's filter drops nobody\n");
    door.ordered(&["mitigations", "add", "small", "refuse", "agent=Floodmaker"]);
    let tool = TOOL.replace("DOOR", DOOR).replace("WORLD", WORLD);
    let flood = door.net.python(Side::World, &tool, &door.file("tool.log"));

    // The tool's address is dropped, by the kernel, at our port; nobody else is, and nothing else of it.
    let held = wait_for("the tool is dropped", PATIENCE, || dropped(&door).pop());
    assert_eq!((held["source"].as_str(), held["mitigation"].as_u64()), (Some("10.77.0.2/32"), Some(1)), "{held}");
    wait_for("packets that were dropped", PATIENCE, || {
        let all = table(&door);
        (all.contains(WORLD) && !all.contains("ip saddr @v4 counter packets 0")).then_some(())
    });
    assert_eq!(page_for(&door, PERSON), 200);
    let health = format!("http://{DOOR}:8480/health");
    assert_eq!(door.get(Side::World, &health).0, 200, "other ports are nobody's business");
    // The log tells once a second.
    let line = "kernel filter: 1 sources more are handed over, 1 now";
    wait_for("the line in the log", PATIENCE, || door.log().contains(line).then_some(()));
    let metrics = door.get(Side::Door, "http://127.0.0.1:8444/metrics").1;
    assert!(metrics.contains("guichet_kernel_filter_handed_over_total "), "{metrics}");

    // The operator lifts it; it comes back, since it goes on.
    door.ordered(&["mitigations", "lift", WORLD]);
    wait_for("it is dropped again", PATIENCE, || dropped(&door).pop());
    // It ends by itself.
    drop(flood);
    wait_for("the end of it", PATIENCE, || (page_for(&door, WORLD) == 200).then_some(()));
    wait_for("nobody is dropped", PATIENCE, || dropped(&door).is_empty().then_some(()));
    let (good, text) = door.order(&["mitigations", "lift", WORLD]);
    assert!(!good && text.contains("drops nobody of 10.77.0.2"), "{text}");

    // Who is allowed is never dropped, whatever it does.
    door.ordered(&["allow", "add", WORLD, "--because", "a test of ours"]);
    let flood = door.net.python(Side::World, &tool, &door.file("tool.log"));
    std::thread::sleep(Duration::from_secs(6));
    assert!(dropped(&door).is_empty());
    drop(flood);

    door.guichet.signal(Signal::SIGTERM);
    assert!(door.guichet.wait(PATIENCE).success());
    assert_eq!(table(&door).trim(), "", "nothing is left behind");
}

#[test]
fn a_filter_that_is_not_there_is_told_and_refuses_nobody() {
    let door = Door::open(100, 0.0, "[kernel_filter]\nmode = \"on\"\ncommand = [\"/nowhere/nft\"]\n");
    let told = wait_for("it is told", PATIENCE, || {
        let status = door.status()?;
        let degraded = status["degraded"].as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
        degraded.contains("kernel's filter").then_some(degraded)
    });
    assert!(told.contains("/nowhere/nft"), "{told}");
    assert_eq!(page_for(&door, WORLD), 200);
}
