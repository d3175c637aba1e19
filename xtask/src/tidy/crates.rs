//! Which crate may use which.

use super::{Finding, Tree};

/// Each crate of the workspace, and those of the workspace that it may use.
const ARROWS: [(&str, &[&str]); 7] = [
    ("guichet-core", &[]),
    ("guichet-estate", &[]),
    ("guichet-proxy", &["guichet-core"]),
    ("guichet-drill", &["guichet-core"]),
    ("guichet", &["guichet-core", "guichet-proxy", "guichet-estate", "guichet-drill"]),
    ("guichet-fuzz", &["guichet-core", "guichet-proxy", "guichet-drill"]),
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
    fn the_core_has_pure_dependencies() {
        let manifest = |name: &str| format!("[package]\nname = \"guichet-core\"\n[dependencies]\n{name} = \"1\"");
        check(core_dependencies, &[("crates/core/Cargo.toml", &manifest("foldhash"))], &[]);
        check(core_dependencies, &[("crates/core/Cargo.toml", &manifest("tokio"))], &["crates/core/Cargo.toml:0"]);
    }
}
