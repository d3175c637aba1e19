//! Licences and sources of all dependencies, held against deny.toml: the part of cargo-deny that needs no installation.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Finding, Tree};
use crate::cargo;

/// What deny.toml allows.
#[derive(Debug, Default)]
struct Policy {
    licences: BTreeSet<String>,
    /// Licences allowed to single crates.
    exceptions: Vec<(String, String)>,
    banned: BTreeSet<String>,
}

/// The source of crates.io in cargo's metadata; mirrors keep this name.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub(crate) fn check(root: &Path, tree: &Tree) -> anyhow::Result<Vec<Finding>> {
    let Some(deny) = tree.get("deny.toml") else { return Ok(Vec::new()) };
    let policy = policy(&deny.text).context("deny.toml")?;
    // Only what is built here: other systems' crates need not even be downloaded.
    let args = ["metadata", "--format-version", "1", "--locked", "--filter-platform", host()];
    let output = cargo(root, &args).output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(judge(&metadata, &policy))
}

const fn host() -> &'static str {
    match (cfg!(target_arch = "aarch64"), cfg!(target_env = "musl")) {
        (true, false) => "aarch64-unknown-linux-gnu",
        (true, true) => "aarch64-unknown-linux-musl",
        (false, false) => "x86_64-unknown-linux-gnu",
        (false, true) => "x86_64-unknown-linux-musl",
    }
}

fn policy(text: &str) -> anyhow::Result<Policy> {
    let deny: toml::Table = text.parse()?;
    let list = |value: Option<&toml::Value>| -> Vec<String> {
        let items = value.and_then(toml::Value::as_array).into_iter().flatten();
        items.filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let licences = deny.get("licenses").and_then(toml::Value::as_table).context("it has no [licenses]")?;
    let exceptions = licences.get("exceptions").and_then(toml::Value::as_array).into_iter().flatten();
    let exceptions = exceptions.flat_map(|e| {
        let krate = e.get("crate").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        list(e.get("allow")).into_iter().map(move |licence| (krate.clone(), licence))
    });
    let banned = deny.get("bans").and_then(|b| b.get("deny")).and_then(toml::Value::as_array).into_iter().flatten();
    Ok(Policy {
        licences: list(licences.get("allow")).into_iter().collect(),
        exceptions: exceptions.collect(),
        banned: banned.filter_map(|b| Some(b.get("crate")?.as_str()?.to_owned())).collect(),
    })
}

fn judge(metadata: &Value, policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    let nodes = metadata.pointer("/resolve/nodes").and_then(Value::as_array).into_iter().flatten();
    let built: BTreeSet<&str> = nodes.filter_map(|n| n.get("id")?.as_str()).collect();
    for package in metadata.get("packages").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default();
        if !built.contains(text("id")) {
            continue;
        }
        let name = text("name");
        let mut wrong = |message: String| findings.push(Finding::hard("deny.toml", 0, message));
        if let Some(source) = package.get("source").and_then(Value::as_str).filter(|s| *s != CRATES_IO) {
            wrong(format!("{name} comes from {source}, not from crates.io"));
        }
        if policy.banned.contains(name) {
            wrong(format!("{name} is banned"));
        }
        let allowed = |licence: &str| {
            policy.licences.contains(licence) || policy.exceptions.iter().any(|(k, l)| k == name && l == licence)
        };
        if !satisfied(text("license"), &allowed) {
            wrong(format!("the licence of {name}, '{}', is not allowed", text("license")));
        }
    }
    findings
}

/// Whether an SPDX expression can be met with licences that are allowed.
fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    // Old manifests write a slash for OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let good = either(&words, &mut at, allowed);
    good && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut good = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        good |= both(words, at, allowed);
    }
    good
}

fn both(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut good = single(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        good &= single(words, at, allowed);
    }
    good
}

fn single(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let good = either(words, at, allowed);
        *at += 1;
        return good && words.get(*at - 1) == Some(&")");
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed(&format!("{word} WITH {exception}")) || allowed(word);
    }
    allowed(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = |licence: &str| ["MIT", "Apache-2.0", "ISC"].contains(&licence);
        for (expression, good) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("ISC AND (MIT OR Apache-2.0)", true),
            ("ISC AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND OpenSSL", false),
            ("Apache-2.0 WITH LLVM-exception OR X", true),
            ("", false),
            ("(MIT", false),
            ("MIT MIT", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), good, "{expression}");
        }
    }

    #[test]
    fn packages_are_judged() {
        let policy = policy(
            "[licenses]\nallow = [\"MIT\"]\nexceptions = [{ crate = \"odd\", allow = [\"ISC\"] }]\n[bans]\ndeny = [{ crate = \"bad\" }]",
        )
        .expect("a policy");
        let packages = |name: &str, licence: &str, source: &str| {
            serde_json::json!({
                "packages": [{"id": "1", "name": name, "license": licence, "source": source}],
                "resolve": {"nodes": [{"id": "1"}]},
            })
        };
        for (name, licence, source, findings) in [
            ("a", "MIT", CRATES_IO, 0),
            ("odd", "ISC", CRATES_IO, 0),
            ("a", "ISC", CRATES_IO, 1),
            ("bad", "MIT", CRATES_IO, 1),
            ("a", "MIT", "git+https://example.org", 1),
        ] {
            assert_eq!(judge(&packages(name, licence, source), &policy).len(), findings, "{name} {licence}");
        }
    }
}
