//! What is wrong with a scenario: file, line, field, cause and mend.

use std::fmt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// One thing to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The field, as `population[2].sources.count`; empty where the text is no TOML.
    pub field: String,
    /// What is wrong.
    pub cause: String,
    /// What to write instead.
    pub mend: String,
}

/// Everything that is wrong with one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The scenario file.
    pub file: PathBuf,
    /// In the order in which they were found.
    pub list: Vec<Problem>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if problem.line > 0 {
                write!(f, ":{}", problem.line)?;
            }
            if !problem.field.is_empty() {
                write!(f, ": {}", problem.field)?;
            }
            write!(f, ": {}", problem.cause)?;
            if !problem.mend.is_empty() {
                write!(f, "; {}", problem.mend)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems and finds the line of each field.
pub(super) struct Finder<'a> {
    text: &'a str,
    table: DeTable<'a>,
    /// What was found so far.
    pub(super) found: Vec<Problem>,
}

impl<'a> Finder<'a> {
    /// For the text of a scenario (which may turn out to be no TOML at all).
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, table: DeTable::parse_recoverable(text).0.into_inner(), found: Vec::new() }
    }

    /// Notes a problem at a field, as `population[2].sources.count`.
    pub(super) fn at(&mut self, field: &str, cause: impl Into<String>, mend: impl Into<String>) {
        let line = self.line_of(field);
        self.found.push(Problem { line, field: field.to_owned(), cause: cause.into(), mend: mend.into() });
    }

    /// Notes an error of the TOML reader.
    pub(super) fn toml(&mut self, error: &toml::de::Error) {
        let line = error.span().map_or(0, |span| self.line_at(span.start));
        let message = error.message().trim().replace('\n', " ");
        self.found.push(Problem {
            line,
            field: String::new(),
            cause: message,
            mend: "see docs/drills.md, or print the schema with --schema".to_owned(),
        });
    }

    /// All of them, as an error about this file.
    pub(super) fn into_problems(self, file: &Path) -> Problems {
        Problems { file: file.to_owned(), list: self.found }
    }

    fn line_at(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
    }

    /// The line of the deepest part of a field that is written; a missing key is reported at what should hold it.
    fn line_of(&self, field: &str) -> usize {
        let mut offset = None;
        let mut at: Option<&DeValue<'_>> = None;
        for part in field.split('.') {
            let (key, index) = match part.split_once('[') {
                Some((key, rest)) => (key, rest.trim_end_matches(']').parse::<usize>().ok()),
                None => (part, None),
            };
            let next = match at {
                None => self.table.get(key),
                Some(value) => value.get(key),
            };
            let Some(mut next) = next else { break };
            if let Some(item) = index.and_then(|i| next.get_ref().get(i)) {
                next = item;
            }
            offset = Some(next.span().start);
            at = Some(next.get_ref());
        }
        offset.map_or(0, |o| self.line_at(o))
    }
}
