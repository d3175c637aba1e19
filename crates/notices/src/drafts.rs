//! What is said by measurement alone: notices that open, go on and end by themselves.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::board::Board;
use crate::journal::Entry;
use crate::model::{By, Component, Condition, Measured, Notice, Revision, Site, Stage, Words};

/// Decides when measurement speaks. It remembers when each service became well again.
#[derive(Debug, Default)]
pub struct Drafts {
    told: BTreeMap<String, Condition>,
}

impl Drafts {
    /// The next entry that measurement adds to the board, if any. `settle_s`: for how long all services of a notice
    /// must be well before it is over.
    pub fn next(
        &mut self,
        site: &Site,
        measured: &[Measured],
        board: &Board,
        now: Timestamp,
        settle_s: u32,
    ) -> Option<Entry> {
        for (component, of) in site.components.iter().zip(measured) {
            if of.condition == Condition::Unknown {
                continue;
            }
            let entry = match board.measured(&component.key) {
                None if of.condition.is_well() => None,
                // Planned work is announced already.
                None if under_work(board, &component.key, now) => None,
                None => Some(opened(component, of, board, now)),
                Some(notice) if of.condition.is_well() => {
                    let well = |key: &String| well_for(site, measured, key, now, settle_s);
                    if notice.components.iter().all(well) {
                        Some(ended(component, notice, now))
                    } else if self.told.get(&component.key) != Some(&of.condition)
                        && notice.last().stage != Stage::Monitoring
                    {
                        Some(revised(component, of, notice, Stage::Monitoring, now))
                    } else {
                        None
                    }
                }
                Some(notice) => {
                    // After a restart nothing is remembered: what the notice said last is not said again.
                    let before = self.told.get(&component.key).copied();
                    let same = match before {
                        Some(before) => before == of.condition,
                        None => notice.last().stage != Stage::Monitoring,
                    };
                    (!same).then(|| revised(component, of, notice, Stage::Investigating, now))
                }
            };
            self.told.insert(component.key.clone(), of.condition);
            if let Some(entry) = entry
                && board.check(&entry).is_ok()
            {
                return Some(entry);
            }
        }
        None
    }
}

fn under_work(board: &Board, key: &str, now: Timestamp) -> bool {
    board.open().any(|notice| {
        let now_planned = notice.planned.is_some_and(|planned| planned.from <= now && now < planned.until);
        now_planned && notice.components.iter().any(|component| component == key)
    })
}

/// Whether a service has been well for long enough; one that is not on the page any more counts as well.
fn well_for(site: &Site, measured: &[Measured], key: &str, now: Timestamp, settle_s: u32) -> bool {
    let Some(at) = site.components.iter().position(|component| component.key == key) else { return true };
    measured.get(at).is_none_or(|of| {
        of.condition == Condition::Works && now.duration_since(of.since).as_secs() >= i64::from(settle_s)
    })
}

fn opened(component: &Component, of: &Measured, board: &Board, now: Timestamp) -> Entry {
    let state = state(of.condition);
    Entry::Opened(Notice {
        id: board.next_id(),
        title: Words::new(
            format!("{} : {}", component.name.text(crate::Language::Fr), state.fr),
            format!("{}: {}", component.name.text(crate::Language::En), state.en),
        ),
        components: vec![component.key.clone()],
        planned: None,
        revisions: vec![Revision {
            at: now,
            by: By::Measurement,
            stage: Stage::Investigating,
            impact: of.condition.impact(),
            text: sentence(component, of),
            data: None,
        }],
    })
}

fn revised(component: &Component, of: &Measured, notice: &Notice, stage: Stage, now: Timestamp) -> Entry {
    let revision = Revision {
        at: notice.last().at.max(now),
        by: By::Measurement,
        stage,
        impact: if of.condition.is_well() { notice.last().impact } else { of.condition.impact() },
        text: sentence(component, of),
        data: None,
    };
    Entry::Revised { id: notice.id, revision }
}

fn ended(component: &Component, notice: &Notice, now: Timestamp) -> Entry {
    let text = Words::new(
        format!(
            "{} fonctionne de nouveau, d’après nos mesures. L’incident est clos.",
            component.name.text(crate::Language::Fr)
        ),
        format!("{} works again, by our measurements. The incident is over.", component.name.text(crate::Language::En)),
    );
    let revision = Revision {
        at: notice.last().at.max(now),
        by: By::Measurement,
        stage: Stage::Resolved,
        impact: notice.last().impact,
        text,
        data: None,
    };
    Entry::Revised { id: notice.id, revision }
}

fn sentence(component: &Component, of: &Measured) -> Words {
    let state = state(of.condition);
    let (fr, en) = (component.name.text(crate::Language::Fr), component.name.text(crate::Language::En));
    // What was switched by hand, or because of another service, was not measured here.
    if of.because.is_empty() {
        Words::new(
            format!("{fr} : {}, d’après nos mesures.", state.fr),
            format!("{en}: {}, by our measurements.", state.en),
        )
    } else {
        Words::new(
            format!("{fr} : {}. {}", state.fr, of.because.text(crate::Language::Fr)),
            format!("{en}: {}. {}", state.en, of.because.text(crate::Language::En)),
        )
    }
}

/// What people read of a condition.
#[must_use]
pub fn state(condition: Condition) -> Words {
    let (fr, en) = match condition {
        Condition::Unknown => ("pas encore mesuré", "not measured yet"),
        Condition::Works => ("fonctionne", "works"),
        Condition::Degraded => ("fonctionne difficilement", "works with difficulty"),
        Condition::ReadOnly => ("consultation seule", "can be read, not changed"),
        Condition::Stale => ("montre un état antérieur", "shows an earlier state"),
        Condition::Fallback => ("remplacé par une solution de secours", "replaced by a makeshift"),
        Condition::Down => ("ne répond pas", "does not answer"),
        Condition::Shut => ("fermé", "closed"),
    };
    Words::new(fr, en)
}
