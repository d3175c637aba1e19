//! Draws the files of the page from what is known.

mod atom;
mod cap;
mod page;
mod statuspage;
mod words;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::json;

use crate::board::Board;
use crate::model::{Condition, Impact, Language, Measured, Notice, Site};

/// A file of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// Its path in the folder, with `/`.
    pub path: String,
    /// Its media type.
    pub media_type: &'static str,
    /// What stands in it.
    pub bytes: Vec<u8>,
}

/// All that is known when the page is drawn.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The page's own facts.
    pub site: &'a Site,
    /// What was measured, by position of the component.
    pub measured: &'a [Measured],
    /// What was said.
    pub board: &'a Board,
    /// The hash that seals what was said.
    pub chain: &'a str,
    /// Now.
    pub now: Timestamp,
}

impl View<'_> {
    /// Until when the page may be believed.
    #[must_use]
    pub fn valid_until(&self) -> Timestamp {
        self.now.checked_add(i64::from(self.site.valid_s).seconds()).unwrap_or(self.now)
    }

    fn condition(&self, key: &str) -> Condition {
        let at = self.site.components.iter().position(|component| component.key == key);
        at.and_then(|at| self.measured.get(at)).map_or(Condition::Unknown, |measured| measured.condition)
    }

    /// Under planned work now.
    fn under_work(&self, key: &str) -> bool {
        self.board.open().any(|notice| {
            notice.planned.is_some_and(|planned| planned.from <= self.now && self.now < planned.until)
                && notice.components.iter().any(|component| component == key)
        })
    }

    /// Incidents that are not over, the newest first.
    fn incidents_open(&self) -> Vec<&Notice> {
        let mut open: Vec<_> = self.board.open().filter(|notice| notice.planned.is_none()).collect();
        open.sort_by_key(|notice| std::cmp::Reverse((notice.first().at, notice.id)));
        open
    }

    /// The worst of what is measured and what is said.
    fn impact(&self) -> Impact {
        let measured = self.measured.iter().map(|measured| measured.condition.impact());
        let well = self.measured.iter().filter(|measured| measured.condition.is_well()).count();
        let worst = measured.max().unwrap_or(Impact::None);
        // One dark service among many that work is no collapse of all.
        let worst = if worst == Impact::Critical && well > 0 { Impact::Major } else { worst };
        self.incidents_open()
            .iter()
            .map(|notice| notice.last().impact)
            .fold(worst, |a, b| if b == Impact::Critical && well > 0 { a.max(Impact::Major) } else { a.max(b) })
    }
}

/// Draws all files but the manifest.
///
/// # Errors
/// A template cannot be filled, or XML not written: a fault of ours.
pub fn draw(view: &View<'_>) -> Result<Vec<Drawn>, DrawError> {
    let mut files = statuspage::files(view);
    for language in &view.site.languages {
        let usual = *language == view.site.usual();
        files.push(page::page(view, *language, usual)?);
        files.push(atom::feed(view, *language, usual)?);
    }
    files.extend(cap::files(view)?);
    files.push(Drawn { path: "page.css".into(), media_type: "text/css; charset=utf-8", bytes: page::STYLE.into() });
    files.push(Drawn {
        path: "alive.js".into(),
        media_type: "text/javascript; charset=utf-8",
        bytes: page::SCRIPT.into(),
    });
    files.push(state(view));
    Ok(files)
}

/// A page in which what says that it is old is shown.
#[must_use]
pub fn unhide(html: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(html).replacen(page::HIDDEN, "", 1).into_bytes()
}

/// Why a file could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{file} cannot be drawn: {why}")]
pub struct DrawError {
    /// Which.
    pub file: String,
    /// Why.
    pub why: String,
}

fn failed(file: &str) -> impl Fn(&dyn std::fmt::Display) -> DrawError + '_ {
    move |why| DrawError { file: file.to_owned(), why: why.to_string() }
}

/// What was measured and the other ways, in all languages: more than Statuspage has words for.
fn state(view: &View<'_>) -> Drawn {
    let services: Vec<_> = view
        .site
        .components
        .iter()
        .zip(view.measured)
        .map(|(component, measured)| {
            json!({
                "key": component.key, "name": component.name, "measured": measured, "ways": component.ways,
                "planned_work": view.under_work(&component.key),
            })
        })
        .collect();
    let value = json!({
        "drawn_at": view.now, "valid_until": view.valid_until(), "services": services,
        "channels": view.site.channels, "notices": view.board.notices(), "journal": view.chain,
    });
    json_file("state.json", &value)
}

fn json_file(path: &str, value: &serde_json::Value) -> Drawn {
    Drawn { path: path.to_owned(), media_type: "application/json", bytes: format!("{value:#}\n").into_bytes() }
}

/// A time as people in `language` read it, with its zone.
fn readable(at: Timestamp, language: Language) -> String {
    let zoned = at.to_zoned_datetime(TimeZone::UTC);
    match language {
        Language::Fr => {
            const MONTHS: [&str; 12] = [
                "janvier",
                "février",
                "mars",
                "avril",
                "mai",
                "juin",
                "juillet",
                "août",
                "septembre",
                "octobre",
                "novembre",
                "décembre",
            ];
            let month = MONTHS[usize::from(zoned.month().unsigned_abs()) - 1];
            format!("{} {month} {}, {}", zoned.day(), zoned.year(), zoned.strftime("%H:%M:%S UTC"))
        }
        Language::En => zoned.strftime("%-d %B %Y, %H:%M:%S UTC").to_string(),
    }
}
