//! Enforces what ARCHITECTURE.md promises about the code.
//!
//! Each rule is a function from the [`Tree`] of files to findings, tested with good and bad trees written inline.

mod crates;
mod documents;
mod licences;
mod modules;
mod purity;
mod shape;
mod text;

use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

/// A file of the project.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Path from the root, with `/`.
    pub(crate) path: String,
    /// Content; empty for files that are no text.
    pub(crate) text: String,
}

/// All files of the project that git knows or would add.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
}

impl Tree {
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Files with this ending.
    pub(crate) fn ending(&self, end: &'static str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |f| f.path.ends_with(end))
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect() }
    }
}

/// Something that is not as it was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1; 0: the whole file.
    pub(crate) line: usize,
    pub(crate) message: String,
    /// Whether it fails the build.
    pub(crate) hard: bool,
}

impl Finding {
    pub(crate) fn hard(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into(), hard: true }
    }

    pub(crate) fn soft(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { hard: false, ..Self::hard(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.hard { "error" } else { "warning" };
        write!(f, "{kind}: {}", self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Every finding, by file and line.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let tree = read(root)?;
    let rules: [fn(&Tree) -> Vec<Finding>; 15] = [
        crates::arrows,
        crates::core_dependencies,
        crates::dependencies_are_used,
        purity::core_is_pure,
        purity::bounds_in_one_file,
        purity::permits_are_made_in_admit,
        shape::lengths,
        modules::no_dead_modules,
        documents::links,
        documents::toml_files_parse,
        documents::no_machine_paths,
        documents::configuration_is_documented,
        documents::changelog_has_unreleased,
        documents::todos_have_names,
        documents::project_files,
    ];
    let mut findings: Vec<Finding> = rules.iter().flat_map(|rule| rule(&tree)).collect();
    // What keeps one rule from looking must not hide what the others found.
    let licences = licences::check(root, &tree);
    findings.extend(licences.unwrap_or_else(|error| vec![Finding::hard("Cargo.lock", 0, format!("{error:#}"))]));
    findings.sort_by(|a, b| (&a.path, a.line, &a.message).cmp(&(&b.path, b.line, &b.message)));
    Ok(findings)
}

pub(crate) fn command(root: &Path, strict: bool) -> anyhow::Result<ExitCode> {
    let findings = check(root)?;
    findings.iter().for_each(|finding| println!("{finding}"));
    let hard = findings.iter().filter(|f| f.hard).count();
    println!("tidy: {hard} errors, {} warnings", findings.len() - hard);
    Ok(if hard > 0 || (strict && !findings.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads the files that git tracks, or would track.
fn read(root: &Path) -> anyhow::Result<Tree> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").current_dir(root).args(list).output().context("git ls-files")?;
    if !listed.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr).trim());
    }
    let paths = String::from_utf8(listed.stdout).context("git ls-files")?;
    let mut files = Vec::new();
    for path in paths.split('\0').filter(|p| !p.is_empty()) {
        // A file that was deleted and not yet committed is listed too.
        let Ok(bytes) = std::fs::read(root.join(path)) else { continue };
        let text = String::from_utf8(bytes).unwrap_or_default();
        files.push(File { path: path.to_owned(), text });
    }
    files.dedup_by(|a, b| a.path == b.path);
    Ok(Tree { files })
}

#[cfg(test)]
pub(crate) mod testing {
    use super::{Finding, Tree};

    /// Checks that a rule finds exactly these places (path:line) in a tree.
    pub(crate) fn check(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
        let findings = rule(&Tree::of(files));
        let places: Vec<String> = findings.iter().map(|f| format!("{}:{}", f.path, f.line)).collect();
        assert_eq!(places, expected, "{findings:#?}");
    }
}
