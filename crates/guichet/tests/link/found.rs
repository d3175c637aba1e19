//! What Guichet hands on by itself: FlowSpec for the sources of mitigations, when the line is full and the
//! configuration waives the confirmation. And routes of IPv6, which differ in family, next hop and words.

use serde_json::Value;

use crate::bgp::{Peer, own_gobgp};
use crate::door::{Door, PATIENCE};
use crate::net::{Side, WORLD, wait_for};

const BY_ITSELF: &str = r#"
[[hand_on]]
name = "filter"
kind = "gobgp"
action = "discard"
confirm = false
propose_for = ["192.0.2.10/32"]
stay_s = 1
"#;

#[test]
fn a_full_line_hands_on_the_sources_of_mitigations_by_itself() {
    let door = Door::open(8, 0.0, BY_ITSELF);
    let (peer, own) = (Peer::start(&door), own_gobgp(&door));
    // Words for a value are known once it was seen: the world asks while it is acted upon.
    let asking = door.net.python(Side::World, &crate::script(crate::VISITORS), &door.file("asking.log"));
    let source = format!("source={WORLD}");
    door.ordered(&["mitigations", "add", "small", "refuse", &source]);
    wait_for("the source in words", PATIENCE, || {
        door.ordered(&["mitigations", "list", "--json"]).contains(&format!("\"{WORLD}")).then_some(())
    });
    let flow = ["[destination: 192.0.2.10/32]", "[source: 10.77.0.2/32]", "==tcp", "discard"];
    assert!(!peer.learned(&door, "ipv4-flowspec").contains(flow[0]), "not while the line has room");

    let flood = door.net.python(Side::World, &crate::script(crate::FLOOD), &door.file("flood.log"));
    door.wait_for_verdict("line_full");
    peer.wait(&door, "ipv4-flowspec", &flow, true);
    let standing = wait_for("the route", PATIENCE, || door.routes("standing").pop());
    let because = standing["because"].as_str().unwrap();
    assert!(
        because.contains("the line is full, and mitigation") && because.contains("found it at small"),
        "{standing}"
    );

    drop((flood, asking));
    door.wait_for_verdict("nothing_wrong");
    peer.wait(&door, "ipv4-flowspec", &flow, false);
    let ended = wait_for("its end", PATIENCE, || door.routes("ended").pop());
    assert_eq!(ended["ended"], "the line is not full any more");
    drop(own);
}

const SIX: &str = r#"
[[hand_on]]
name = "hole"
kind = "gobgp"
action = "blackhole"
next_hop = "2001:db8:ffff::1"
confirm = false

[[hand_on]]
name = "filter"
kind = "gobgp"
action = "discard"
confirm = false
"#;

#[test]
fn routes_of_ipv6_arrive_and_go() {
    let door = Door::open(8, 0.0, SIX);
    let (peer, own) = (Peer::start(&door), own_gobgp(&door));
    let propose = |arguments: &[&str]| {
        let text = door.ordered(&[&["hand-on", "propose", "--json"], arguments].concat());
        serde_json::from_str::<Value>(&text).unwrap()["id"].to_string()
    };
    let hole = ["2001:db8:7::66/128", "2001:db8:ffff::1", "blackhole"];
    let flow = ["[destination: 2001:db8:7::66/128", "[source: 2001:db8:bad::/48", "==58", "discard"];
    let from = ["2001:db8:7::66", "--from", "2001:db8:bad::/48", "--protocol", "icmp"];
    let first = propose(&["hole", "2001:db8:7::66"]);
    let second = propose(&[&["filter"], &from[..]].concat());
    peer.wait(&door, "ipv6", &hole, true);
    peer.wait(&door, "ipv6-flowspec", &flow, true);
    door.ordered(&["hand-on", "withdraw", &first]);
    door.ordered(&["hand-on", "withdraw", &second]);
    peer.wait(&door, "ipv6", &hole, false);
    peer.wait(&door, "ipv6-flowspec", &flow, false);
    // By time, too.
    propose(&["hole", "2001:db8:7::67", "--for", "3s"]);
    peer.wait(&door, "ipv6", &["2001:db8:7::67/128", "blackhole"], true);
    peer.wait(&door, "ipv6", &["2001:db8:7::67/128", "blackhole"], false);
    // An address of the other kind is no source of this one.
    let (good, text) = door.order(&["hand-on", "propose", "filter", "2001:db8:7::66", "--from", "203.0.113.0/24"]);
    assert!(!good && text.contains("not of one kind"), "{text}");
    drop(own);
}
