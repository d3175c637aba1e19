//! All notices there are: what follows from the journal's entries, and which entries may follow.

use jiff::Timestamp;

use crate::bounds::{
    COMPONENTS_MAX, NOTICES_MAX, NOTICES_OPEN_MAX, REVISIONS_MAX, REVISIONS_MEASURED_MAX, TITLE_CHARS_MAX,
    WORDS_CHARS_MAX,
};
use crate::journal::Entry;
use crate::model::{By, Notice, Revision, Stage, Words};

/// All notices, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    notices: Vec<Notice>,
    last_id: u32,
}

/// Why an entry may not follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

fn no<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(why.into()))
}

impl Board {
    /// What follows from entries that were read back.
    ///
    /// # Errors
    /// An entry that cannot follow on those before it, with its position.
    pub fn from_entries(entries: &[Entry]) -> Result<Self, (usize, Refused)> {
        let mut board = Self::default();
        for (at, entry) in entries.iter().enumerate() {
            board.check(entry).map_err(|why| (at, why))?;
            board.apply(entry);
        }
        Ok(board)
    }

    /// A board of notices that somebody else keeps.
    #[must_use]
    pub fn of(notices: &[Notice]) -> Self {
        let last_id = notices.iter().map(|notice| notice.id).max().unwrap_or(0);
        Self { notices: notices.to_vec(), last_id }
    }

    /// Whether an entry may follow.
    ///
    /// # Errors
    /// Why not, and what to do instead.
    pub fn check(&self, entry: &Entry) -> Result<(), Refused> {
        match entry {
            Entry::Opened(notice) => {
                let open = self.open().count();
                if open >= NOTICES_OPEN_MAX {
                    return no(format!("there are {open} open notices; resolve one first"));
                }
                if notice.id != self.next_id() || notice.revisions.len() != 1 {
                    return no("a notice is opened with the next number and one revision");
                }
                if notice.planned.is_some_and(|planned| planned.until <= planned.from) {
                    return no("planned work ends after it begins");
                }
                shape(notice)
            }
            Entry::Revised { id, revision } => {
                let Some(notice) = self.notice(*id) else {
                    return no(format!("there is no notice {id}; `guichet notice list` shows those there are"));
                };
                if notice.is_resolved() {
                    return no(format!("notice {id} is over; open a new one"));
                }
                let ends = revision.stage == Stage::Resolved;
                // The last place is kept for the end.
                if notice.revisions.len() >= REVISIONS_MAX - usize::from(!ends) {
                    return no(format!(
                        "notice {id} has {} revisions; resolve it and open a new one",
                        REVISIONS_MAX - 1
                    ));
                }
                let measured = notice.revisions.iter().filter(|one| one.by == By::Measurement).count();
                if revision.by == By::Measurement && !ends && measured >= REVISIONS_MEASURED_MAX {
                    return no(format!("notice {id} was revised often enough by measurement"));
                }
                if revision.at < notice.last().at {
                    return no(format!("notice {id} was last revised at {}, which is later", notice.last().at));
                }
                revision_shape(revision)
            }
            Entry::Continued { .. } => {
                if self.notices.is_empty() {
                    Ok(())
                } else {
                    no("a journal goes on only at its beginning")
                }
            }
            Entry::Carried(notice) => shape(notice),
        }
    }

    /// Takes in an entry that was checked.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Opened(notice) | Entry::Carried(notice) => {
                self.last_id = self.last_id.max(notice.id);
                self.notices.push(notice.clone());
                while self.notices.len() > NOTICES_MAX {
                    let Some(over) = self.notices.iter().position(Notice::is_resolved) else { break };
                    self.notices.remove(over);
                }
            }
            Entry::Revised { id, revision } => {
                if let Some(notice) = self.notices.iter_mut().find(|notice| notice.id == *id) {
                    notice.revisions.push(revision.clone());
                }
            }
            Entry::Continued { next_id, .. } => self.last_id = self.last_id.max(next_id.saturating_sub(1)),
        }
    }

    /// The number of the next notice.
    #[must_use]
    pub fn next_id(&self) -> u32 {
        self.last_id.saturating_add(1)
    }

    /// All notices, oldest first.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The notice of this number.
    #[must_use]
    pub fn notice(&self, id: u32) -> Option<&Notice> {
        self.notices.iter().find(|notice| notice.id == id)
    }

    /// What a new journal begins with: those that are open, and the last of those that are over.
    #[must_use]
    pub fn to_carry(&self, over: usize) -> Vec<Notice> {
        let resolved = self.notices.iter().filter(|notice| notice.is_resolved()).count();
        let mut dropped = resolved.saturating_sub(over);
        let keeps = |notice: &&Notice| {
            let drop = notice.is_resolved() && dropped > 0;
            dropped -= usize::from(drop);
            !drop
        };
        self.notices.iter().filter(keeps).cloned().collect()
    }

    /// Those that are not over.
    pub fn open(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| !notice.is_resolved())
    }

    /// The open notice that measurement opened about this service.
    #[must_use]
    pub fn measured(&self, component: &str) -> Option<&Notice> {
        self.open().find(|notice| notice.is_measured() && notice.components.iter().any(|key| key == component))
    }

    /// The time for a revision of a notice: `now`, or that of its last where the clock was set back.
    #[must_use]
    pub fn time_for(&self, id: u32, now: Timestamp) -> Timestamp {
        self.notice(id).map_or(now, |notice| notice.last().at.max(now))
    }
}

fn shape(notice: &Notice) -> Result<(), Refused> {
    if notice.revisions.is_empty() || notice.revisions.len() > REVISIONS_MAX {
        return no(format!("a notice has from one to {REVISIONS_MAX} revisions"));
    }
    if notice.components.len() > COMPONENTS_MAX {
        return no(format!("a notice is about at most {COMPONENTS_MAX} services"));
    }
    words("title", &notice.title, TITLE_CHARS_MAX)?;
    if notice.title.is_empty() {
        return no("a notice has a title in one language at least");
    }
    notice.revisions.iter().try_for_each(revision_shape)
}

fn revision_shape(revision: &Revision) -> Result<(), Refused> {
    words("text", &revision.text, WORDS_CHARS_MAX)?;
    if revision.text.is_empty() {
        return no("a revision says something, in one language at least");
    }
    if let Some(data) = &revision.data {
        words("what is known about data", &data.known, WORDS_CHARS_MAX)?;
        words("evidence", &data.evidence, WORDS_CHARS_MAX)?;
        if data.known.is_empty() {
            return no("evidence belongs to something that is known about data");
        }
    }
    Ok(())
}

fn words(what: &str, words: &Words, chars_max: usize) -> Result<(), Refused> {
    for text in [&words.fr, &words.en] {
        if text.chars().count() > chars_max {
            return no(format!("the {what} has at most {chars_max} characters"));
        }
        // Other control characters cannot stand in XML, and mean nothing to a reader.
        if text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}')) {
            return no(format!("the {what} has a control character in it"));
        }
    }
    Ok(())
}
