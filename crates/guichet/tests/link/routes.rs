//! Routes that are handed on arrive at the provider and go again, whatever ends them.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::bgp::{Peer, Pipes, own_exabgp, own_gobgp};
use crate::door::{Door, PATIENCE};
use crate::net::{Side, wait_for};

const GOBGP: &str = r#"
[[hand_on]]
name = "hole"
kind = "gobgp"
action = "blackhole"
next_hop = "10.77.0.1"
propose_for = ["192.0.2.10/32"]
stay_s = 1

[[hand_on]]
name = "filter"
kind = "gobgp"
action = "discard"
confirm = false
"#;

/// Proposes and gives the number.
fn propose(door: &Door, arguments: &[&str]) -> String {
    let text = door.ordered(&[&["hand-on", "propose", "--json"], arguments].concat());
    serde_json::from_str::<Value>(&text).unwrap()["id"].to_string()
}

#[test]
fn gobgp_announces_what_was_confirmed_and_withdraws_it_by_order_by_time_and_at_the_end() {
    let mut door = Door::open(8, 0.0, GOBGP);
    let (peer, own) = (Peer::start(&door), own_gobgp(&door));
    let hole = ["192.0.2.66/32", "blackhole"];

    // By order; nothing before the operator confirms it.
    let id = propose(&door, &["hole", "192.0.2.66", "--because", "it is lost anyway"]);
    assert!(door.ordered(&["hand-on", "list"]).contains("it is lost anyway"));
    assert!(!peer.learned(&door, "ipv4").contains(hole[0]), "not before it is confirmed");
    let text = door.ordered(&["hand-on", "confirm", &id]);
    assert!(text.contains("standing"), "{text}");
    peer.wait(&door, "ipv4", &hole, true);
    door.ordered(&["hand-on", "withdraw", &id]);
    peer.wait(&door, "ipv4", &hole, false);

    // FlowSpec, without a confirmation, for three seconds.
    let flow = ["[destination: 192.0.2.66/32]", "[source: 203.0.113.0/24]", "==tcp", "==443", "discard"];
    let filter = ["192.0.2.66", "--from", "203.0.113.0/24", "--protocol", "tcp", "--port", "443"];
    propose(&door, &[&["filter"], &filter[..], &["--for", "3s"]].concat());
    peer.wait(&door, "ipv4-flowspec", &flow, true);
    peer.wait(&door, "ipv4-flowspec", &flow, false);

    // What is not ours is refused, and says so.
    let (good, text) = door.order(&["hand-on", "propose", "hole", "198.51.100.1"]);
    assert!(!good && text.contains("not in [link] own"), "{text}");
    let (good, text) = door.order(&["hand-on", "propose", "filter", "192.0.2.66", "--from", "0.0.0.0/0"]);
    assert!(!good && text.contains("too much of the world"), "{text}");

    // After a kill the next start withdraws what the journal names.
    propose(&door, &[&["filter"], &filter[..]].concat());
    peer.wait(&door, "ipv4-flowspec", &flow, true);
    door.guichet.signal(Signal::SIGKILL);
    door.guichet.wait(PATIENCE);
    peer.wait(&door, "ipv4-flowspec", &flow, true);
    door.start_again();
    peer.wait(&door, "ipv4-flowspec", &flow, false);
    assert!(door.log().contains("left over, is withdrawn at filter"), "{}", door.log());

    // With TERM all goes.
    let id = propose(&door, &["hole", "192.0.2.66"]);
    door.ordered(&["hand-on", "confirm", &id]);
    propose(&door, &[&["filter"], &filter[..]].concat());
    peer.wait(&door, "ipv4", &hole, true);
    peer.wait(&door, "ipv4-flowspec", &flow, true);
    door.guichet.signal(Signal::SIGTERM);
    assert!(door.guichet.wait(PATIENCE).success(), "{}", door.log());
    peer.wait(&door, "ipv4", &hole, false);
    peer.wait(&door, "ipv4-flowspec", &flow, false);
    assert_eq!(std::fs::read_to_string(door.file("journal.json")).unwrap().trim(), "[]");
    drop(own);
}

#[test]
fn a_full_line_proposes_a_blackhole_that_goes_with_the_verdict() {
    let door = Door::open(8, 0.0, GOBGP);
    let (peer, own) = (Peer::start(&door), own_gobgp(&door));
    let hole = ["192.0.2.10/32", "blackhole"];
    let flood = door.net.python(Side::World, &crate::script(crate::FLOOD), &door.file("flood.log"));
    door.wait_for_verdict("line_full");
    let proposed = wait_for("a proposal", PATIENCE, || door.routes("proposed").pop());
    assert!(proposed["route"].as_str().unwrap().contains("blackhole 192.0.2.10/32"), "{proposed}");
    assert!(!peer.learned(&door, "ipv4").contains(hole[0]), "not before it is confirmed");
    door.ordered(&["hand-on", "confirm", &proposed["id"].to_string()]);
    peer.wait(&door, "ipv4", &hole, true);
    drop(flood);
    door.wait_for_verdict("nothing_wrong");
    peer.wait(&door, "ipv4", &hole, false);
    let ended = wait_for("its end", PATIENCE, || door.routes("ended").pop());
    assert_eq!(ended["ended"], "the line is not full any more");
    drop(own);
}

#[test]
fn exabgp_announces_and_withdraws_too() {
    let dir = tempfile::tempdir().unwrap();
    let cli = dir.path().join("exabgpcli");
    let door = Door::open(
        8,
        0.0,
        &format!(
            "[[hand_on]]\nname = \"hole\"\nkind = \"exabgp\"\naction = \"blackhole\"\nnext_hop = \"10.77.0.1\"\nconfirm = false\ncommand = [\"{0}\"]\n[[hand_on]]\nname = \"filter\"\nkind = \"exabgp\"\naction = \"limit\"\nlimit_kbit = 800\nconfirm = false\ncommand = [\"{0}\"]\n",
            cli.display()
        ),
    );
    // The command of this test's ExaBGP: where its pipes are is said by the environment.
    let pipes = Pipes::make();
    let text = format!("#!/bin/sh\nexec env exabgp.api.pipename={} exabgpcli \"$@\"\n", pipes.0);
    std::fs::write(&cli, text).unwrap();
    std::fs::set_permissions(&cli, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (peer, own) = (Peer::start(&door), own_exabgp(&door, &pipes));
    let hole = ["192.0.2.66/32", "blackhole"];
    let flow = ["[destination: 192.0.2.66/32]", "[source: 203.0.113.0/24]", "==udp", "rate: 100000"];
    let first = propose(&door, &["hole", "192.0.2.66"]);
    let second = propose(&door, &["filter", "192.0.2.66", "--from", "203.0.113.0/24", "--protocol", "udp"]);
    peer.wait(&door, "ipv4", &hole, true);
    peer.wait(&door, "ipv4-flowspec", &flow, true);
    door.ordered(&["hand-on", "withdraw", &first]);
    door.ordered(&["hand-on", "withdraw", &second]);
    peer.wait(&door, "ipv4", &hole, false);
    peer.wait(&door, "ipv4-flowspec", &flow, false);
    drop(own);
}

/// Takes one POST after the other and writes what came to a file, a line each.
const HOOK: &str = r#"
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        with open("FILE", "a") as out:
            out.write(json.dumps([self.headers["x-guichet-signature"], body]) + "\n")
        self.send_response(204)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", 9100), Handler).serve_forever()
"#;

#[test]
fn a_webhook_is_signed_and_its_failure_is_told() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "0123456789abcdef0123456789abcdef\n").unwrap();
    let door = Door::open(
        8,
        0.0,
        &format!(
            "[[hand_on]]\nname = \"hook\"\nkind = \"webhook\"\naction = \"discard\"\nconfirm = false\nurl = \"http://127.0.0.1:9100/x\"\nsecret_file = \"{}\"\n[[hand_on]]\nname = \"dry\"\nkind = \"command\"\naction = \"discard\"\ndry_run = true\nconfirm = false\ncommand = [\"false\"]\n",
            secret.path().display()
        ),
    );
    let wanted = ["192.0.2.66", "--protocol", "udp"];
    // Nobody is there yet: the operator is told, and the status says that it does not work.
    let (good, text) = door.order(&[&["hand-on", "propose", "hook"], &wanted[..]].concat());
    assert!(!good && text.contains("127.0.0.1:9100"), "{text}");
    let degraded = door.status().unwrap()["degraded"].to_string();
    assert!(degraded.contains("hook was not told"), "{degraded}");
    let got = door.file("hook.lines");
    let hook = HOOK.replace("FILE", got.to_str().unwrap());
    let _hook = door.net.python(Side::Door, &hook, &door.file("hook.log"));
    let id = wait_for("the hook", PATIENCE, || {
        let (good, text) = door.order(&[&["hand-on", "propose", "--json", "hook"], &wanted[..]].concat());
        good.then(|| serde_json::from_str::<Value>(&text).unwrap()["id"].to_string())
    });
    door.ordered(&["hand-on", "withdraw", &id]);
    assert_eq!(door.status().unwrap()["degraded"].to_string(), "[]");
    let lines = std::fs::read_to_string(&got).unwrap();
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, name) in events.iter().zip(["announce", "withdraw"]) {
        let (signature, body) = (event[0].as_str().unwrap(), event[1].as_str().unwrap());
        let told: Value = serde_json::from_str(body).unwrap();
        assert_eq!((&told["event"], &told["destination"]), (&Value::from(name), &Value::from("192.0.2.66/32")));
        // Checked with another program's HMAC.
        let check = "import hmac, sys; t, v = [p.split('=')[1] for p in sys.argv[1].split(',')]; print(hmac.new(b'0123456789abcdef0123456789abcdef', (t + '.' + sys.argv[2]).encode(), 'sha256').hexdigest() == v)";
        let (_, text) = door.net.run(Side::Door, "python3", &["-c", check, signature, body]);
        assert_eq!(text.trim(), "True", "{signature} {body}");
    }
    assert_eq!(events.len(), 2, "{lines}");
    // A dry run says what it would do, and runs nothing.
    let text = door.ordered(&[&["hand-on", "propose", "dry"], &wanted[..]].concat());
    assert!(text.contains("dry run: nothing is announced") && text.contains("standing"), "{text}");
    std::thread::sleep(Duration::from_millis(100));
    assert!(!std::fs::read_to_string(door.file("journal.json")).unwrap().contains("dry"));
}
