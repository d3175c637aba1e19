//! What is wrong with a configuration: where, why, and how to mend it.

use std::fmt;
use std::path::PathBuf;

use guichet_core::bounds;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is not used.
    Error,
    /// It is used, and the operator should look at this.
    Warning,
}

impl Severity {
    /// The word in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One problem, with its place in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named or found.
    pub file: PathBuf,
    /// Line, from 1; 0: the whole file.
    pub line: usize,
    /// Column in characters, from 1; 0: the whole file.
    pub column: usize,
    /// Characters under the caret, at least 1.
    pub width: usize,
    /// The key, such as `service.portal.queue.length`; empty: the whole file.
    pub key: String,
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub mend: String,
    /// The line of the file, or the part of it that matters; `None` where it holds a secret or there is no line.
    pub excerpt: Option<String>,
    /// Characters of [`Self::excerpt`] before the caret.
    pub indent: usize,
    /// Another place that has to do with it: `file:line:column`.
    pub also: Option<String>,
}

impl Problem {
    /// Writes it the way compilers do, with a caret under the place.
    fn render(&self, ink: Ink, out: &mut dyn fmt::Write) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => ink.red(),
            Severity::Warning => ink.yellow(),
        };
        writeln!(out, "{severity}{}{}: {}", self.severity.name(), ink.plain(), self.cause)?;
        let file = printable(&self.file.display().to_string());
        let gutter = self.line.to_string().len().max(2);
        let blue = ink.blue();
        let plain = ink.plain();
        write!(out, "{:gutter$}{blue}-->{plain} {file}", "")?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(out, " ({})", self.key)?;
        }
        writeln!(out)?;
        if let Some(excerpt) = &self.excerpt {
            writeln!(out, "{blue}{:>gutter$} |{plain} {excerpt}", self.line)?;
            let carets = "^".repeat(self.width.max(1));
            let indent = self.indent;
            writeln!(out, "{blue}{:>gutter$} |{plain} {:indent$}{severity}{carets}{plain}", "", "")?;
        }
        if let Some(also) = &self.also {
            writeln!(out, "{:gutter$} {blue}={plain} also: {also}", "")?;
        }
        writeln!(out, "{:gutter$} {blue}={plain} mend: {}", "", self.mend)
    }
}

impl fmt::Display for Problem {
    /// On one line, for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = printable(&self.file.display().to_string());
        write!(f, "{file}:{}:{}: {} (mend: {})", self.line, self.column, self.cause, self.mend)
    }
}

/// Everything that was found: why a configuration was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Errors and warnings by file, line and column; at most [`bounds::CONFIG_PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// Problems found past that bound.
    pub omitted: usize,
}

impl Report {
    /// How many errors are listed.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|p| p.severity == Severity::Error).count()
    }

    /// The report for people, coloured where `colour` is true.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(Ink(colour), &mut out);
        out
    }

    fn write(&self, ink: Ink, out: &mut dyn fmt::Write) -> fmt::Result {
        for problem in &self.problems {
            problem.render(ink, out)?;
            writeln!(out)?;
        }
        if self.omitted > 0 {
            writeln!(out, "and {} more: mend these first", self.omitted)?;
        }
        Ok(())
    }

    /// The report for programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let problems: Vec<_> = self
            .problems
            .iter()
            .map(|p| {
                serde_json::json!({
                    "severity": p.severity.name(),
                    "file": p.file.display().to_string(),
                    "line": p.line,
                    "column": p.column,
                    "key": p.key,
                    "cause": p.cause,
                    "mend": p.mend,
                    "also": p.also,
                })
            })
            .collect();
        serde_json::json!({ "ok": self.errors() == 0, "problems": problems, "omitted": self.omitted })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Ink(false), f)
    }
}

impl std::error::Error for Report {}

/// Terminal colours, or none.
#[derive(Clone, Copy)]
struct Ink(bool);

impl Ink {
    const fn pick(self, code: &'static str) -> &'static str {
        if self.0 { code } else { "" }
    }

    const fn red(self) -> &'static str {
        self.pick("\x1b[1;31m")
    }

    const fn yellow(self) -> &'static str {
        self.pick("\x1b[1;33m")
    }

    const fn blue(self) -> &'static str {
        self.pick("\x1b[1;34m")
    }

    const fn plain(self) -> &'static str {
        self.pick("\x1b[0m")
    }
}

/// The text with control characters replaced, so that a file cannot write to the operator's terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{b7}'
            } else {
                c
            }
        })
        .collect()
}

/// The text for a message: printable, and cut after [`bounds::CONFIG_QUOTE_CHARS_MAX`] characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = printable(text).chars().take(bounds::CONFIG_QUOTE_CHARS_MAX).collect();
    if text.chars().nth(bounds::CONFIG_QUOTE_CHARS_MAX).is_some() {
        shown.push('\u{2026}');
    }
    format!("'{shown}'")
}
