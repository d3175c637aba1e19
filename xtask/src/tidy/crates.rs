//! Which crate may use which.

use super::text::{code, words};
use super::{Finding, Tree};

/// Each crate of the workspace, and those of the workspace that it may use.
const ARROWS: [(&str, &[&str]); 10] = [
    ("guichet-core", &[]),
    ("guichet-iso8583", &[]),
    ("guichet-iso20022", &[]),
    ("guichet-estate", &["guichet-iso8583", "guichet-iso20022"]),
    ("guichet-notices", &[]),
    ("guichet-proxy", &["guichet-core", "guichet-notices"]),
    ("guichet-drill", &["guichet-core"]),
    ("guichet", &["guichet-core", "guichet-notices", "guichet-proxy", "guichet-estate", "guichet-drill"]),
    ("guichet-fuzz", &["guichet-core", "guichet-proxy", "guichet-drill", "guichet-iso8583", "guichet-iso20022"]),
    ("xtask", &[]),
];

/// What the decision core may use besides: pure code only.
const CORE_DEPENDENCIES: [&str; 3] = ["foldhash", "libm", "smallvec"];

/// The manifests' names, with all that they depend on outside tests.
fn manifests(tree: &Tree) -> Vec<(String, String, Vec<String>)> {
    let manifests = tree.ending("Cargo.toml").filter(|f| f.path != "Cargo.toml");
    manifests
        .filter_map(|file| {
            let manifest: toml::Table = file.text.parse().ok()?;
            let name = manifest.get("package")?.get("name")?.as_str()?.to_owned();
            let tables = ["dependencies", "build-dependencies"];
            let used =
                tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(|t| t.keys().cloned());
            Some((file.path.clone(), name, used.collect()))
        })
        .collect()
}

/// Crates use each other only along the arrows.
pub(crate) fn arrows(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, name, used) in manifests(tree) {
        let Some((_, allowed)) = ARROWS.iter().find(|(krate, _)| *krate == name) else {
            findings.push(Finding::hard(
                &path,
                0,
                format!("the crate {name} has no arrows: add it to tidy and ARCHITECTURE.md"),
            ));
            continue;
        };
        let ours = |name: &str| ARROWS.iter().any(|(krate, _)| *krate == name);
        for other in used.iter().filter(|other| ours(other) && !allowed.contains(&other.as_str())) {
            findings.push(Finding::hard(&path, 0, format!("{name} may not use {other}")));
        }
    }
    findings
}

/// The core uses nothing that could do IO.
pub(crate) fn core_dependencies(tree: &Tree) -> Vec<Finding> {
    let core = manifests(tree).into_iter().filter(|(_, name, _)| name == "guichet-core");
    core.flat_map(|(path, _, used)| {
        let impure = used.into_iter().filter(|name| !CORE_DEPENDENCIES.contains(&name.as_str()));
        impure
            .map(move |name| Finding::hard(&path, 0, format!("the core may not use {name}: it is pure")))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// Packages whose library has another name.
const LIBRARY_NAMES: [(&str, &str); 1] = [("iban_validate", "iban")];

/// Every dependency is named in the code of its crate: others are only compiled, audited and updated for nothing.
pub(crate) fn dependencies_are_used(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending("Cargo.toml").filter(|f| f.path != "Cargo.toml") {
        let Ok(manifest) = file.text.parse::<toml::Table>() else { continue };
        let folder = file.path.trim_end_matches("Cargo.toml");
        // Fuzz targets take in files of the crates that they share with their tests.
        let below = |path: &str| path.starts_with(folder) || (folder == "fuzz/" && path.ends_with("/testing.rs"));
        let sources: Vec<String> = tree.ending(".rs").filter(|f| below(&f.path)).map(|f| code(&f.text)).collect();
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        let named = tables.iter().filter_map(|table| manifest.get(*table)?.as_table()).flat_map(|t| t.keys());
        for package in named {
            let other = LIBRARY_NAMES.iter().find(|(name, _)| name == package);
            let library = other.map_or_else(|| package.replace('-', "_"), |(_, library)| (*library).to_owned());
            let used = |source: &String| words(source, &library).any(|at| is_path(source, at + library.len()));
            if !sources.iter().any(used) {
                findings.push(Finding::hard(&file.path, 0, format!("nothing uses {package}: take it out")));
            }
        }
    }
    findings
}

/// Whether the name that ends here is that of a crate: a path goes on behind it, or a `use` ends or renames it.
fn is_path(source: &str, end: usize) -> bool {
    let rest = &source[end..];
    rest.starts_with("::") || rest.starts_with(';') || rest.starts_with(" as ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn arrows_go_one_way() {
        let core =
            ("crates/core/Cargo.toml", "[package]\nname = \"guichet-core\"\n[dev-dependencies]\nguichet-drill = \"1\"");
        let proxy = (
            "crates/proxy/Cargo.toml",
            "[package]\nname = \"guichet-proxy\"\n[dependencies]\nguichet-core = \"1\"\nh2 = \"1\"",
        );
        check(arrows, &[core, proxy], &[]);
        let back =
            ("crates/core/Cargo.toml", "[package]\nname = \"guichet-core\"\n[dependencies]\nguichet-proxy = \"1\"");
        check(arrows, &[back, proxy], &["crates/core/Cargo.toml:0"]);
        check(arrows, &[("x/Cargo.toml", "[package]\nname = \"new\"")], &["x/Cargo.toml:0"]);
    }

    #[test]
    fn dependencies_without_use_are_found() {
        let manifest = (
            "crates/a/Cargo.toml",
            "[package]\nname = \"a\"\n[dependencies]\niban_validate = \"1\"\ntwo-words = \"1\"\n[dev-dependencies]\nx = \"1\"",
        );
        let good = ("crates/a/src/lib.rs", "use two_words::T;\nfn f(i: iban::Iban) {}");
        let test = ("crates/a/tests/t.rs", "use x as y;");
        check(dependencies_are_used, &[manifest, good, test], &[]);
        let bad = ("crates/a/src/lib.rs", "// two_words::T\nlet iban: iban::Iban; let two_words = 1;");
        check(dependencies_are_used, &[manifest, bad, test], &["crates/a/Cargo.toml:0"]);
        check(dependencies_are_used, &[manifest, good, ("crates/b/src/lib.rs", "use x;")], &["crates/a/Cargo.toml:0"]);
    }

    #[test]
    fn the_core_has_pure_dependencies() {
        let manifest = |name: &str| format!("[package]\nname = \"guichet-core\"\n[dependencies]\n{name} = \"1\"");
        check(core_dependencies, &[("crates/core/Cargo.toml", &manifest("foldhash"))], &[]);
        check(core_dependencies, &[("crates/core/Cargo.toml", &manifest("tokio"))], &["crates/core/Cargo.toml:0"]);
    }
}
