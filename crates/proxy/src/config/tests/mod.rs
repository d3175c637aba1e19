//! Wrong files and what is said about them; right files and what comes of them.

mod bytes;
mod contracts;
mod files;
mod right;
mod wrong;
mod wrong_sense;

use std::path::Path;
use std::sync::LazyLock;

use super::{InMemory, Loaded, Report, load_from};

/// A configuration that is right, in which each case breaks one thing.
pub(super) const GOOD: &str = r#"
[node]
workers = 2
drain_s = 30

[admin]
listen = "127.0.0.1:8444"

[[listener]]
name = "plain"
address = "0.0.0.0:8080"
protocol = "http"

[[listener]]
name = "tls"
address = "0.0.0.0:8443"
protocol = "https"
partner_ca = "ca.pem"

[[certificate]]
cert = "site.pem"
key = "site.key"

[limits]
header_ms = 8000

[log]
access = "stdout"

[upstream.portal]
servers = ["127.0.0.1:9101"]
protocol = "http1"

[upstream.rails]
servers = ["127.0.0.1:9106", { address = "127.0.0.1:9116", weight = 2 }]

[service.portal]
hosts = ["portal.example.org"]
upstream = "portal"
queue = { length = 64, wait_ms = 500 }

[[service.portal.route]]
path = "/search"
methods = ["GET"]

[service.rails]
hosts = ["rails.example.org"]
upstream = "rails"
partner_only = true

[[partner]]
name = "atm"
subject = "CN=atm"
services = ["rails"]
"#;

/// Where the cases find their configuration.
pub(super) const MAIN: &str = "/etc/guichet/guichet.toml";

/// Certificates made once: (certificate, key) of the site and of another key.
pub(super) struct Pems {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) other_key: String,
}

pub(super) static PEMS: LazyLock<Pems> = LazyLock::new(|| {
    let names = ["*.example.org", "portal.example.org", "www.portal.example.org"].map(str::to_owned).to_vec();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let other = rcgen::KeyPair::generate().expect("a key");
    Pems { cert: made.cert.pem(), key: made.signing_key.serialize_pem(), other_key: other.serialize_pem() }
});

/// A world with the main file and everything that [`GOOD`] names.
pub(super) fn world(text: &str) -> InMemory {
    let mut world = InMemory::with(MAIN, text);
    world.now_unix_s = 1_800_000_000;
    for (path, content) in
        [("site.pem", &PEMS.cert), ("site.key", &PEMS.key), ("other.key", &PEMS.other_key), ("ca.pem", &PEMS.cert)]
    {
        world.files.insert(Path::new("/etc/guichet").join(path), content.as_bytes().to_vec());
    }
    world
}

pub(super) fn load_in(world: &InMemory) -> Result<Loaded, Report> {
    load_from(world, Path::new(MAIN))
}

/// Marks the expected place in a case's text.
const MARK: char = '\u{bb}';

/// [`GOOD`] with one part replaced.
pub(super) fn broken(old: &str, new: &str) -> String {
    assert_eq!(GOOD.matches(old).count(), 1, "'{old}' must be in the good file once");
    GOOD.replacen(old, new, 1)
}

fn unmarked(text: &str) -> (String, Option<(usize, usize)>) {
    let place = text.find(MARK).map(|at| {
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        (line, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1)
    });
    (text.replace(MARK, ""), place)
}

/// Checks that the replacement is refused with exactly one error, at the mark, with this key, cause and mend.
pub(super) fn check(old: &str, new: &str, key: &str, cause: &str, mend: &str) {
    check_text(&broken(old, new), key, cause, mend);
}

/// As [`check`], for a whole text.
pub(super) fn check_text(text: &str, key: &str, cause: &str, mend: &str) {
    let (text, place) = unmarked(text);
    let report = load_in(&world(&text)).expect_err("a wrong file");
    let errors: Vec<_> = report.problems.iter().filter(|p| p.severity == super::Severity::Error).collect();
    let [problem] = errors.as_slice() else { panic!("not one error:\n{report}") };
    assert!(problem.cause.contains(cause), "cause: expected {cause:?} in\n{report}");
    assert!(problem.mend.contains(mend), "mend: expected {mend:?} in\n{report}");
    assert_eq!(problem.key, key, "key:\n{report}");
    assert_eq!(Some((problem.line, problem.column)), place, "place:\n{report}");
}

/// Checks that the replacement is accepted with exactly one warning, at the mark.
pub(super) fn check_warning(old: &str, new: &str, cause: &str, mend: &str) {
    check_warning_text(&broken(old, new), cause, mend);
}

/// As [`check_warning`], for a whole text.
pub(super) fn check_warning_text(text: &str, cause: &str, mend: &str) {
    let (text, place) = unmarked(text);
    let warnings = load_in(&world(&text)).unwrap_or_else(|report| panic!("refused:\n{report}")).warnings;
    let [warning] = warnings.as_slice() else { panic!("not one warning: {warnings:#?}") };
    assert!(warning.cause.contains(cause), "cause: {warning:#?}");
    assert!(warning.mend.contains(mend), "mend: {warning:#?}");
    assert_eq!(Some((warning.line, warning.column)), place, "place: {warning:#?}");
}
