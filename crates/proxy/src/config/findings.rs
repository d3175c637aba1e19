//! The problems found while a configuration is loaded, with their places.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use guichet_core::bounds;

use super::problem::{Problem, Report, Severity, printable};
use super::sources::{Place, Source};
use super::tree::Places;

/// Whether the caret stands under the key or under its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Key,
    Value,
}

/// Collects problems: bounded, and one for each key, since the first is the cause of those after it.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) sources: Vec<Source>,
    places: HashMap<String, Places>,
    problems: Vec<Problem>,
    reported: HashSet<String>,
    omitted: usize,
    errors: usize,
    twice: usize,
}

impl Findings {
    /// From here on problems can be told by key.
    pub(super) fn know_places(&mut self, places: HashMap<String, Places>) {
        self.places = places;
    }

    /// Whether the files say anything for this key (not a default).
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Whether the list is full: what is found now is only counted.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= bounds::CONFIG_PROBLEMS_MAX
    }

    /// Whether anything makes the configuration unusable.
    pub(super) fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether all errors so far are things said twice, which do not make the rest unreadable.
    pub(super) fn only_duplicates(&self) -> bool {
        self.errors == self.twice
    }

    /// An error about a thing that two files say.
    pub(super) fn said_twice(&mut self, key: &str, first: Place, second: Place, cause: String) {
        let before = self.errors;
        let mend = "keep one of the two, or rename one".to_owned();
        self.raise(Severity::Error, Some(second), key, cause, mend, Some(first));
        self.twice += self.errors - before;
    }

    /// An error at a key.
    pub(super) fn error(&mut self, on: On, key: &str, cause: impl Into<String>, mend: impl Into<String>) {
        let place = self.place_of(on, key);
        self.raise(Severity::Error, place, key, cause.into(), mend.into(), None);
    }

    /// An error at a key that has to do with another key.
    pub(super) fn error_with(&mut self, on: On, key: &str, other: &str, cause: String, mend: impl Into<String>) {
        let place = self.place_of(on, key);
        let also = self.place_of(on, other);
        self.raise(Severity::Error, place, key, cause, mend.into(), also);
    }

    /// A warning at a key.
    pub(super) fn warn(&mut self, on: On, key: &str, cause: impl Into<String>, mend: impl Into<String>) {
        let place = self.place_of(on, key);
        self.raise(Severity::Warning, place, key, cause.into(), mend.into(), None);
    }

    /// A problem with a whole file, or with what stands before any.
    pub(super) fn whole_file(&mut self, severity: Severity, file: PathBuf, cause: String, mend: String) {
        self.push(Problem {
            severity,
            file,
            line: 0,
            column: 0,
            width: 1,
            key: String::new(),
            cause,
            mend,
            excerpt: None,
            indent: 0,
            also: None,
        });
    }

    /// A problem at a place.
    pub(super) fn raise(
        &mut self,
        severity: Severity,
        place: Option<Place>,
        key: &str,
        cause: String,
        mend: String,
        also: Option<Place>,
    ) {
        if self.is_full() {
            return self.count(severity);
        }
        if severity == Severity::Error && !key.is_empty() && !self.first_for(key) {
            return;
        }
        let also = also.map(|p| self.name(p));
        let Some(place) = place.filter(|p| p.file < self.sources.len()) else {
            let file = self.sources.first().map(|s| s.path.clone()).unwrap_or_default();
            return self.push(Problem { key: printable(key), also, ..blank(severity, file, cause, mend) });
        };
        let source = &self.sources[place.file];
        let spot = source.spot(place.start);
        let end = place.end.min(source.text.len()).max(place.start.min(source.text.len()));
        let (excerpt, indent, width) = excerpt(&spot.line_text, spot.column, end.saturating_sub(place.start));
        let problem = Problem {
            line: spot.line,
            column: spot.column,
            width,
            key: printable(key),
            excerpt: (!holds_secret(&spot.line_text)).then_some(excerpt),
            indent,
            also,
            ..blank(severity, source.path.clone(), cause, mend)
        };
        self.push(problem);
    }

    /// Everything found, in the order of the files.
    pub(super) fn into_report(mut self) -> Report {
        self.problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        Report { problems: self.problems, omitted: self.omitted }
    }

    fn push(&mut self, problem: Problem) {
        if self.is_full() {
            return self.count(problem.severity);
        }
        self.errors += usize::from(problem.severity == Severity::Error);
        self.problems.push(problem);
    }

    fn count(&mut self, severity: Severity) {
        self.omitted += 1;
        self.errors += usize::from(severity == Severity::Error);
    }

    /// Whether neither this key nor one that holds it has an error yet; notes it.
    fn first_for(&mut self, key: &str) -> bool {
        let ends = key.char_indices().filter(|&(_, c)| c == '.' || c == '[').map(|(i, _)| i);
        if ends.chain([key.len()]).any(|end| self.reported.contains(&key[..end])) {
            return false;
        }
        self.reported.insert(key.to_owned())
    }

    /// The place of a key; of what holds it where the key is not in the files.
    fn place_of(&self, on: On, key: &str) -> Option<Place> {
        let mut prefix = key;
        loop {
            if let Some(places) = self.places.get(prefix) {
                let exact = prefix.len() == key.len();
                // What is missing is missed at the head of its table, not in all of it.
                let place = if exact && on == On::Value { places.value } else { places.key };
                return Some(place);
            }
            match prefix.rfind(['.', '[']) {
                Some(end) => prefix = &prefix[..end],
                None => return None,
            }
        }
    }

    fn name(&self, place: Place) -> String {
        let source = &self.sources[place.file];
        let spot = source.spot(place.start);
        format!("{}:{}:{}", printable(&source.path.display().to_string()), spot.line, spot.column)
    }
}

fn blank(severity: Severity, file: PathBuf, cause: String, mend: String) -> Problem {
    Problem {
        severity,
        file,
        line: 0,
        column: 0,
        width: 1,
        key: String::new(),
        cause,
        mend,
        excerpt: None,
        indent: 0,
        also: None,
    }
}

/// The part of a line around a column: text, characters before the caret, width of the caret.
fn excerpt(line: &str, column: usize, width_bytes: usize) -> (String, usize, usize) {
    let chars: Vec<char> = printable(line).chars().collect();
    let skip = (column - 1).saturating_sub(bounds::CONFIG_EXCERPT_CHARS_MAX / 2);
    let shown: String = chars.iter().skip(skip).take(bounds::CONFIG_EXCERPT_CHARS_MAX).collect();
    let indent = column - 1 - skip;
    let left = shown.chars().count().saturating_sub(indent);
    (shown, indent, width_bytes.clamp(1, left.max(1)))
}

/// Whether a line sets a secret: it is never printed.
fn holds_secret(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.match_indices("seed").any(|(at, word)| {
        let rest = line[at + word.len()..].trim_start_matches(['"', '\'', ' ', '\t']);
        rest.starts_with('=')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_secrets_are_told_apart() {
        for (line, secret) in [
            ("seed = \"00ff\"", true),
            ("  \"seed\"=\"00ff\"", true),
            ("node = { workers = 1, seed = \"x\" }", true),
            ("seed_file = \"x\"", false),
            ("workers = 2 # seed", false),
        ] {
            assert_eq!(holds_secret(line), secret, "{line}");
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let (shown, indent, width) = excerpt(&"x".repeat(100_000), 50_001, 90_000);
        assert_eq!(shown.chars().count(), bounds::CONFIG_EXCERPT_CHARS_MAX);
        assert_eq!(indent, bounds::CONFIG_EXCERPT_CHARS_MAX / 2);
        assert_eq!(width, bounds::CONFIG_EXCERPT_CHARS_MAX - indent);
    }
}
