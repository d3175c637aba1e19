//! The core is pure, bounds stand together, and only admission makes permits.

use super::text::{line_of, shipped_code, words};
use super::{File, Finding, Tree};

/// What the decision core may not name outside tests, and what it would bring in.
const IMPURE: [(&str, &str); 29] = [
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("std::fs", "IO"),
    ("std::io", "IO"),
    ("std::env", "the environment"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("thread_local!", "threads"),
    ("TcpStream", "IO"),
    ("TcpListener", "IO"),
    ("UdpSocket", "IO"),
    ("ToSocketAddrs", "IO"),
    ("std::os", "the system"),
    ("rand", "randomness"),
    ("getrandom", "randomness"),
    ("RandomState", "randomness"),
    ("HashMap::new", "randomness (give it a seeded hasher)"),
    ("HashSet::new", "randomness (give it a seeded hasher)"),
    ("HashMap::with_capacity", "randomness (give it a seeded hasher)"),
    ("HashSet::with_capacity", "randomness (give it a seeded hasher)"),
    ("tokio", "async"),
    ("async", "async"),
    ("println!", "output"),
    ("eprintln!", "output"),
    ("print!", "output"),
    ("eprint!", "output"),
    ("dbg!", "output"),
    ("log::", "logging"),
    ("tracing::", "logging"),
];

/// Where a constant that bounds something may stand. The estate is behind no arrow and has a file of its own.
const BOUNDS_FILES: [&str; 7] = [
    "crates/core/src/bounds.rs",
    "crates/core/src/bounds/continuity.rs",
    "crates/core/src/bounds/kernel.rs",
    "crates/estate/src/bounds.rs",
    "crates/iso8583/src/bounds.rs",
    "crates/iso20022/src/bounds.rs",
    "crates/notices/src/bounds.rs",
];

/// Source of the crates that is shipped.
fn sources(tree: &Tree) -> impl Iterator<Item = &File> {
    tree.ending(".rs").filter(|f| f.path.starts_with("crates/") && f.path.contains("/src/") && !is_test(&f.path))
}

/// Whether a whole file is for tests.
pub(crate) fn is_test(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || path.ends_with("/testing.rs")
}

/// No clock, IO, randomness, async or logging in the core.
pub(crate) fn core_is_pure(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources(tree).filter(|f| f.path.starts_with("crates/core/src/")) {
        let code = shipped_code(&file.text);
        for (name, what) in IMPURE {
            for at in words(&code, name) {
                let message = format!("`{name}` brings {what} into the core, which is pure: take it as an argument");
                findings.push(Finding::hard(&file.path, line_of(&code, at), message));
            }
        }
    }
    findings
}

/// Integer constants named `*_MAX` stand in the bounds' file, or are made from those there.
pub(crate) fn bounds_in_one_file(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources(tree).filter(|f| !BOUNDS_FILES.contains(&f.path.as_str())) {
        let code = shipped_code(&file.text);
        for at in words(&code, "const") {
            let item = &code[at..];
            let item = &item[..item.find(';').unwrap_or(item.len())];
            let Some((head, value)) = item.split_once('=') else { continue };
            let Some((name, kind)) = head["const".len()..].split_once(':') else { continue };
            let integer = ["usize", "isize", "u8", "u16", "u32", "u64", "u128", "i32", "i64"].contains(&kind.trim());
            if name.trim().ends_with("_MAX") && integer && !value.contains("bounds::") && !value.contains("_MAX") {
                let own =
                    BOUNDS_FILES.iter().find(|bounds| bounds.split("/src/").next() == file.path.split("/src/").next());
                let message = format!("the bound {} belongs into {}", name.trim(), own.unwrap_or(&BOUNDS_FILES[0]));
                findings.push(Finding::hard(&file.path, line_of(&code, at), message));
            }
        }
    }
    findings
}

/// `Permit::new` is called in admission only.
pub(crate) fn permits_are_made_in_admit(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources(tree).filter(|f| !f.path.starts_with("crates/proxy/src/admit/")) {
        let code = shipped_code(&file.text);
        for at in words(&code, "Permit::new") {
            findings.push(Finding::hard(&file.path, line_of(&code, at), "only admit makes a Permit"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn the_core_asks_no_clock() {
        let good = "//! std::fs is named here\nuse std::net::IpAddr;\nfn f(now: Moment) {}\n#[cfg(test)]\nmod tests { use std::time::Instant; }";
        check(core_is_pure, &[("crates/core/src/a.rs", good), ("crates/proxy/src/b.rs", "use std::fs;")], &[]);
        for bad in [
            "let x = Instant::now();",
            "use std::{fs};\nuse std::fs::File;",
            "let m = HashMap::new();",
            "println!(\"x\");",
        ] {
            let line = bad.matches('\n').count() + 1;
            check(core_is_pure, &[("crates/core/src/a.rs", bad)], &[&format!("crates/core/src/a.rs:{line}")]);
        }
        check(core_is_pure, &[("crates/core/src/a/tests.rs", "use std::fs;")], &[]);
    }

    #[test]
    fn bounds_stand_together() {
        for (source, good) in [
            ("const ROWS_MAX: usize = 5;", false),
            ("fn f() {\n    const ROWS_MAX: u32 = 1 << 4;\n}", false),
            ("const ROWS_MAX: usize = bounds::ROWS_MAX;", true),
            ("const ROWS_MAX: usize = 2 * ROW_BYTES_MAX;", true),
            ("const PAUSE_MAX: Duration = Duration::from_secs(1);", true),
            ("const ROWS: usize = 5;", true),
            ("#[cfg(test)]\nmod tests { const ROWS_MAX: usize = 5; }", true),
        ] {
            let line = source[..source.find("const").unwrap_or(0)].matches('\n').count() + 1;
            let place = format!("crates/proxy/src/a.rs:{line}");
            let expected: &[&str] = if good { &[] } else { &[&place] };
            check(bounds_in_one_file, &[("crates/proxy/src/a.rs", source)], expected);
        }
        check(bounds_in_one_file, &[("crates/core/src/bounds.rs", "pub const ROWS_MAX: usize = 5;")], &[]);
    }

    #[test]
    fn permits_come_from_admit() {
        let make = "fn f() { Permit::new(gate, 1); }";
        check(permits_are_made_in_admit, &[("crates/proxy/src/admit/gate.rs", make)], &[]);
        check(
            permits_are_made_in_admit,
            &[("crates/proxy/src/serve/mod.rs", make)],
            &["crates/proxy/src/serve/mod.rs:1"],
        );
    }
}
