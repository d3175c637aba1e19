//! What is written for people: links, reference, changelog, traces of the machine it was made on.

use std::collections::BTreeSet;

use super::text::{comments, line_of, words};
use super::{Finding, Tree};

/// Files that a project like this has.
const PROJECT_FILES: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Cargo.lock",
    "deny.toml",
    "guichet.example.toml",
    "docs/configuration.md",
    ".ci/run",
];

/// Paths of a machine that somebody worked on.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/")];

pub(crate) fn project_files(tree: &Tree) -> Vec<Finding> {
    let absent = PROJECT_FILES.iter().filter(|path| tree.get(path).is_none_or(|f| f.text.trim().is_empty()));
    absent.map(|path| Finding::hard(path, 0, "the project lacks this file")).collect()
}

/// Links to files of the project lead somewhere.
pub(crate) fn links(tree: &Tree) -> Vec<Finding> {
    let paths: BTreeSet<&str> = tree.files.iter().map(|f| f.path.as_str()).collect();
    let exists = |path: &str| {
        path.is_empty() || paths.contains(path) || paths.iter().any(|p| p.starts_with(&format!("{path}/")))
    };
    let mut findings = Vec::new();
    for file in tree.ending(".md") {
        let mut fenced = false;
        for (i, line) in file.text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            if fenced || line.starts_with("    ") {
                continue;
            }
            for target in targets(line).filter(|t| !t.contains(':') && !t.starts_with('#')) {
                let target = target.split(['#', '?']).next().unwrap_or_default();
                if resolve(&file.path, target).is_none_or(|path| !exists(&path)) {
                    findings.push(Finding::hard(&file.path, i + 1, format!("the link to {target} leads nowhere")));
                }
            }
        }
    }
    findings
}

/// Targets of `[text](target)` in a line, outside of `code`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let outside = |at: usize| line[..at].matches('`').count().is_multiple_of(2);
    line.match_indices("](").filter(move |(at, _)| outside(*at)).filter_map(|(at, _)| {
        let rest = &line[at + 2..];
        rest.find(')').map(|end| rest[..end].split(' ').next().unwrap_or_default())
    })
}

/// A relative path from a file, without `.` and `..`; `None`: outside of the project.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Every TOML file can be read: manifests, examples, scenarios. Seeds of fuzz targets may be anything.
pub(crate) fn toml_files_parse(tree: &Tree) -> Vec<Finding> {
    let files = tree.ending(".toml").filter(|f| !f.path.starts_with("fuzz/seeds/"));
    files
        .filter_map(|file| {
            let error = file.text.parse::<toml::Table>().err()?;
            let line = error.span().map_or(0, |span| line_of(&file.text, span.start.min(file.text.len())));
            Some(Finding::hard(&file.path, line, error.message().to_owned()))
        })
        .collect()
}

/// No file knows the machine that it was made on.
pub(crate) fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        for (i, line) in file.text.lines().enumerate() {
            // A path begins after a border; `example.org/work/x` is an address.
            let begins =
                |at: usize| line[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '.' && c != '~');
            for path in MACHINE_PATHS {
                if line.match_indices(path).any(|(at, _)| begins(at)) {
                    findings.push(Finding::hard(&file.path, i + 1, format!("{path} is a path of one machine")));
                }
            }
        }
    }
    findings
}

/// Each key of the raw configuration is in its reference.
pub(crate) fn configuration_is_documented(tree: &Tree) -> Vec<Finding> {
    const PAGE: &str = "docs/configuration.md";
    let Some(page) = tree.get(PAGE) else { return Vec::new() };
    let raw = tree.files.iter().filter(|f| f.path.starts_with("crates/proxy/src/config/raw"));
    let mut findings = Vec::new();
    for line in raw.flat_map(|f| f.text.lines()) {
        let field = ["pub(in crate::config) ", "pub(super) "].iter().find_map(|p| line.trim().strip_prefix(p));
        let Some((name, _)) = field.and_then(|f| f.split_once(": ")) else { continue };
        // A value's row, a key of an inline table, or the heading of a table.
        let forms = [
            format!("| `{name}` |"),
            format!("<br>`{name}` ("),
            format!("{name}]"),
            format!("{name}.NAME]"),
            format!(".{name}."),
        ];
        if !forms.iter().any(|form| page.text.contains(form)) {
            findings.push(Finding::hard(PAGE, 0, format!("the key {name} is missing: run `cargo xtask docs`")));
        }
    }
    findings
}

/// The changelog has a place for what comes next.
pub(crate) fn changelog_has_unreleased(tree: &Tree) -> Vec<Finding> {
    let changelog = tree.get("CHANGELOG.md");
    let good = changelog.is_none_or(|f| f.text.lines().any(|l| l.trim() == "## Unreleased"));
    if good { Vec::new() } else { vec![Finding::hard("CHANGELOG.md", 0, "add a section `## Unreleased`")] }
}

/// Whoever leaves something to do says who will do it: TODO(name).
pub(crate) fn todos_have_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.ending(".rs") {
        let comments = comments(&file.text);
        for mark in [concat!("TO", "DO"), concat!("FIX", "ME")] {
            for at in words(&comments, mark) {
                if !comments[at + mark.len()..].starts_with('(') {
                    let line = line_of(&comments, at);
                    findings.push(Finding::hard(&file.path, line, format!("write {mark}(name), or do it")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::check;
    use super::*;

    #[test]
    fn links_lead_somewhere() {
        let page = "[a](../README.md) [b](https://x.org) [c](#part)\n[d](other.md#x) `[e](none.md)`\n    [f](none.md)\n[g](none.md)\n";
        let tree = [("README.md", "[docs](docs)"), ("docs/page.md", page), ("docs/other.md", "[out](../../x)")];
        check(links, &tree, &["docs/page.md:4", "docs/other.md:1"]);
    }

    #[test]
    fn toml_is_toml() {
        check(toml_files_parse, &[("drills/a.toml", "a = 1"), ("drills/b.toml", "a = 1\nb = ")], &["drills/b.toml:2"]);
    }

    #[test]
    fn machines_leave_no_paths() {
        let path = format!("see {}x", MACHINE_PATHS[0]);
        let address = format!("https://example.org{}x", MACHINE_PATHS[0]);
        check(no_machine_paths, &[("a.md", &path), ("b.md", &address)], &["a.md:1"]);
    }

    #[test]
    fn keys_are_in_the_reference() {
        let raw =
            ("crates/proxy/src/config/raw/mod.rs", "    pub(super) workers: usize,\n    pub(super) node: Node,\n");
        let good = ("docs/configuration.md", "## `[node]`\n| `workers` | integer |");
        check(configuration_is_documented, &[raw, good], &[]);
        check(
            configuration_is_documented,
            &[raw, ("docs/configuration.md", "## `[node]`")],
            &["docs/configuration.md:0"],
        );
    }

    #[test]
    fn changelogs_go_on() {
        check(changelog_has_unreleased, &[("CHANGELOG.md", "# Changes\n\n## Unreleased\n")], &[]);
        check(changelog_has_unreleased, &[("CHANGELOG.md", "# Changes\n")], &["CHANGELOG.md:0"]);
    }

    #[test]
    fn things_to_do_have_names() {
        let mark = concat!("TO", "DO");
        let source = format!("// {mark}(ann): x\nlet s = \"{mark}\";\n// {mark}: y\n");
        check(todos_have_names, &[("a.rs", &source)], &["a.rs:3"]);
    }

    #[test]
    fn the_project_has_its_files() {
        let all: Vec<(&str, &str)> = PROJECT_FILES.iter().map(|path| (*path, "x")).collect();
        check(project_files, &all, &[]);
        check(project_files, &all[1..], &["README.md:0"]);
    }
}
