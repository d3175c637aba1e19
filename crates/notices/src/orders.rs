//! What the operator orders: each order is one entry of the journal, or refused whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::board::{Board, Refused};
use crate::journal::Entry;
use crate::model::{By, DataKnown, Impact, Language, Notice, Planned, Revision, Site, Stage, Words};

/// An order of the operator's.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Say that something is wrong, or announce work.
    Open {
        /// In a few words.
        title: Words,
        /// What is said.
        text: Words,
        /// Services, by key.
        #[serde(default)]
        components: Vec<String>,
        /// How much it hurts; usually `minor`.
        #[serde(default)]
        impact: Option<Impact>,
        /// How far the work is; usually `investigating`.
        #[serde(default)]
        stage: Option<Stage>,
        /// What is known about data.
        #[serde(default)]
        data: Option<DataKnown>,
        /// Planned work.
        #[serde(default)]
        planned: Option<Planned>,
    },
    /// Say more.
    Update {
        /// Which notice.
        id: u32,
        /// What is said.
        text: Words,
        /// How much it hurts; usually as before.
        #[serde(default)]
        impact: Option<Impact>,
        /// How far the work is; usually as before.
        #[serde(default)]
        stage: Option<Stage>,
        /// What is known about data.
        #[serde(default)]
        data: Option<DataKnown>,
    },
    /// Take what was measured for the operator's own words.
    Confirm {
        /// Which notice.
        id: u32,
    },
    /// Say that it is over.
    Resolve {
        /// Which notice.
        id: u32,
        /// What is said; usually that it is over.
        #[serde(default)]
        text: Words,
        /// What is known about data.
        #[serde(default)]
        data: Option<DataKnown>,
    },
}

impl Order {
    /// The entry that carries the order out.
    ///
    /// # Errors
    /// Why it can't be carried out, and what to do instead.
    pub fn entry(self, site: &Site, board: &Board, now: Timestamp) -> Result<Entry, Refused> {
        let entry = match self {
            Self::Open { title, text, components, impact, stage, data, planned } => {
                for key in &components {
                    if site.component(key).is_none() {
                        let known: Vec<_> = site.components.iter().map(|component| component.key.as_str()).collect();
                        return Err(Refused(format!("there is no service {key:?}; there are {}", known.join(", "))));
                    }
                }
                let (impact, stage) = (impact.unwrap_or(Impact::Minor), stage.unwrap_or(Stage::Investigating));
                let revision = Revision { at: now, by: By::Operator, stage, impact, text, data };
                Entry::Opened(Notice { id: board.next_id(), title, components, planned, revisions: vec![revision] })
            }
            Self::Update { id, text, impact, stage, data } => {
                let last = last(board, id)?;
                let (impact, stage) = (impact.unwrap_or(last.impact), stage.unwrap_or(last.stage));
                revised(board, id, Revision { at: now, by: By::Operator, stage, impact, text, data })
            }
            Self::Confirm { id } => {
                let last = last(board, id)?;
                if !board.notice(id).is_some_and(Notice::is_draft) {
                    return Err(Refused(format!(
                        "notice {id} has the operator's words already; say more with `update`"
                    )));
                }
                let text = Words::new(
                    format!("Nous confirmons : {}", last.text.text(Language::Fr)),
                    format!("We confirm: {}", last.text.text(Language::En)),
                );
                let (impact, stage) = (last.impact, last.stage);
                revised(board, id, Revision { at: now, by: By::Operator, stage, impact, text, data: None })
            }
            Self::Resolve { id, text, data } => {
                let impact = last(board, id)?.impact;
                let text = if text.is_empty() { Words::new("C’est terminé.", "This is over.") } else { text };
                revised(board, id, Revision { at: now, by: By::Operator, stage: Stage::Resolved, impact, text, data })
            }
        };
        board.check(&entry)?;
        Ok(entry)
    }
}

fn last(board: &Board, id: u32) -> Result<&Revision, Refused> {
    let notice = board.notice(id);
    notice
        .map(Notice::last)
        .ok_or_else(|| Refused(format!("there is no notice {id}; `guichet notice list` shows those there are")))
}

fn revised(board: &Board, id: u32, mut revision: Revision) -> Entry {
    revision.at = board.time_for(id, revision.at);
    Entry::Revised { id, revision }
}
