//! Every Rust file is part of a crate: a file that no `mod` names is never compiled, and rots.

use std::collections::BTreeSet;

use super::text::{code, words};
use super::{File, Finding, Tree};

/// Rust files that nothing reaches.
pub(crate) fn no_dead_modules(tree: &Tree) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<String> = tree.ending(".rs").map(|f| f.path.clone()).filter(|p| is_root(p, tree)).collect();
    while let Some(path) = left.pop() {
        if !reached.insert(path.clone()) {
            continue;
        }
        if let Some(file) = tree.get(&path) {
            left.extend(named_by(file, is_root(&path, tree)).into_iter().filter(|p| tree.get(p).is_some()));
        }
    }
    let dead = tree.ending(".rs").filter(|f| !reached.contains(&f.path));
    dead.map(|f| Finding::hard(&f.path, 0, "no `mod` names this file: it is never compiled")).collect()
}

/// Whether cargo compiles a file without any `mod`.
fn is_root(path: &str, tree: &Tree) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder_name = folder.rsplit('/').next().unwrap_or_default();
    let parent = folder.rsplit_once('/').map_or("", |(parent, _)| parent.rsplit('/').next().unwrap_or_default());
    let has_manifest = |dir: &str| tree.get(format!("{dir}/Cargo.toml").trim_start_matches('/')).is_some();
    let in_crate = folder.rsplit_once('/').is_some_and(|(krate, _)| has_manifest(krate));
    (folder_name == "src" && matches!(name, "lib.rs" | "main.rs"))
        || (name == "build.rs" && has_manifest(folder))
        || (in_crate && matches!(folder_name, "tests" | "benches" | "examples" | "fuzz_targets"))
        || folder.ends_with("src/bin")
        || (name == "main.rs" && matches!(parent, "bin" | "tests" | "examples" | "benches"))
}

/// The files that the `mod` items of a file may mean.
fn named_by(file: &File, root: bool) -> Vec<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = name.trim_end_matches(".rs");
    let own = if root || stem == "mod" { folder.to_owned() } else { format!("{folder}/{stem}") };
    let code = code(&file.text);
    let mut named = Vec::new();
    for at in words(&code, "mod") {
        let rest = code[at + 3..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let after = rest[name.len()..].trim_start();
        if name.is_empty() {
            continue;
        }
        if after.starts_with(';') {
            named.push(format!("{own}/{name}.rs"));
            named.push(format!("{own}/{name}/mod.rs"));
        }
    }
    // `#[path = "x.rs"]`: the string is no code, so it is read from the text.
    for line in file.text.lines().filter_map(|l| l.trim().strip_prefix("#[path = \"")) {
        named.push(format!("{folder}/{}", line.split('"').next().unwrap_or_default()));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn files_are_reached_from_the_crates_roots() {
        let good = [
            ("crates/a/Cargo.toml", ""),
            ("crates/a/src/lib.rs", "mod b;\n#[cfg(test)]\nmod tests;\npub mod c;"),
            ("crates/a/src/b.rs", "mod d;"),
            ("crates/a/src/b/d.rs", "// mod gone;"),
            ("crates/a/src/c/mod.rs", "#[path = \"odd.rs\"]\nmod e;"),
            ("crates/a/src/c/odd.rs", ""),
            ("crates/a/src/tests.rs", ""),
            ("crates/a/tests/e2e.rs", "mod common;"),
            ("crates/a/tests/common/mod.rs", ""),
        ];
        check(no_dead_modules, &good, &[]);
        let mut bad = good.to_vec();
        bad.push(("crates/a/src/b/dead.rs", ""));
        bad.push(("crates/a/src/gone.rs", ""));
        check(no_dead_modules, &bad, &["crates/a/src/b/dead.rs:0", "crates/a/src/gone.rs:0"]);
    }
}
