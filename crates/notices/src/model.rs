//! What a notice is: revisions, each dated, each by the measurement or by the operator. Nothing is ever edited.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The languages of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// French.
    Fr,
    /// English.
    En,
}

impl Language {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Fr, Self::En];

    /// Its tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Fr => "fr",
            Self::En => "en",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Fr => Self::En,
            Self::En => Self::Fr,
        }
    }
}

/// The same text in both languages; where one is missing, the other is shown and marked as what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Words {
    /// French.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fr: String,
    /// English.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub en: String,
}

impl Words {
    /// Both languages.
    #[must_use]
    pub fn new(fr: impl Into<String>, en: impl Into<String>) -> Self {
        Self { fr: fr.into(), en: en.into() }
    }

    /// The text in `language`, or in the other one where there is none; with the language that it is in.
    #[must_use]
    pub fn told(&self, language: Language) -> (&str, Language) {
        let of = |language| match language {
            Language::Fr => self.fr.as_str(),
            Language::En => self.en.as_str(),
        };
        if of(language).is_empty() { (of(language.other()), language.other()) } else { (of(language), language) }
    }

    /// The text as [`Self::told`] finds it.
    #[must_use]
    pub fn text(&self, language: Language) -> &str {
        self.told(language).0
    }

    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fr.is_empty() && self.en.is_empty()
    }
}

/// How far the work on an incident is; the names are those of Statuspage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Something is wrong.
    Investigating,
    /// It is known what.
    Identified,
    /// It was mended, and is watched.
    Monitoring,
    /// It is over.
    Resolved,
}

impl Stage {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Investigating, Self::Identified, Self::Monitoring, Self::Resolved];

    /// Its name, as Statuspage has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Investigating => "investigating",
            Self::Identified => "identified",
            Self::Monitoring => "monitoring",
            Self::Resolved => "resolved",
        }
    }

    /// The stage of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// How much it hurts; the names are those of Statuspage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// Not at all.
    None,
    /// A little.
    Minor,
    /// Much.
    Major,
    /// A critical service is gone.
    Critical,
}

impl Impact {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::None, Self::Minor, Self::Major, Self::Critical];

    /// Its name, as Statuspage has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Critical => "critical",
        }
    }

    /// The impact of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|impact| impact.name() == name)
    }
}

/// Whose words they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The door measured it; nobody has confirmed it.
    Measurement,
    /// The operator says so.
    Operator,
}

/// What is known about data, and on what evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataKnown {
    /// What is known.
    pub known: Words,
    /// How one knows.
    #[serde(default, skip_serializing_if = "Words::is_empty")]
    pub evidence: Words,
}

/// Work that was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

/// What is said at one time. It stays as it was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revision {
    /// When it was said.
    pub at: Timestamp,
    /// By whom.
    pub by: By,
    /// How far the work is.
    pub stage: Stage,
    /// How much it hurts.
    pub impact: Impact,
    /// What is said.
    pub text: Words,
    /// What is known about data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataKnown>,
}

/// An incident, or planned work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Its number.
    pub id: u32,
    /// What it is about, in a few words.
    pub title: Words,
    /// Services it is about, by key.
    pub components: Vec<String>,
    /// Planned work; `None`: an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Planned>,
    /// All that was said, oldest first; at least one.
    pub revisions: Vec<Revision>,
}

impl Notice {
    /// What was said first.
    ///
    /// # Panics
    /// Never: a notice is made with its first revision.
    #[must_use]
    pub fn first(&self) -> &Revision {
        self.revisions.first().expect("a notice has a first revision")
    }

    /// What was said last.
    ///
    /// # Panics
    /// Never: a notice is made with its first revision.
    #[must_use]
    pub fn last(&self) -> &Revision {
        self.revisions.last().expect("a notice has a last revision")
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_resolved(&self) -> bool {
        self.last().stage == Stage::Resolved
    }

    /// Whether it began by measurement: then its end is measured, too.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.first().by == By::Measurement
    }

    /// Whether the operator has not said a word of it yet.
    #[must_use]
    pub fn is_draft(&self) -> bool {
        self.revisions.iter().all(|revision| revision.by == By::Measurement)
    }

    /// The last that was said about data.
    #[must_use]
    pub fn data(&self) -> Option<(&DataKnown, Timestamp)> {
        self.revisions.iter().rev().find_map(|revision| Some((revision.data.as_ref()?, revision.at)))
    }

    /// When it was over.
    #[must_use]
    pub fn resolved_at(&self) -> Option<Timestamp> {
        self.is_resolved().then(|| self.last().at)
    }
}

/// How a service does, as far as it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Nothing was measured yet.
    Unknown,
    /// It works.
    Works,
    /// It works for many, not for all, or slowly.
    Degraded,
    /// One can look, and change nothing.
    ReadOnly,
    /// What it shows is of an earlier time.
    Stale,
    /// Something else answers in its place.
    Fallback,
    /// It does not answer.
    Down,
    /// The operator shut it.
    Shut,
}

impl Condition {
    /// All there are.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Works,
        Self::Degraded,
        Self::ReadOnly,
        Self::Stale,
        Self::Fallback,
        Self::Down,
        Self::Shut,
    ];

    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Works => "works",
            Self::Degraded => "degraded",
            Self::ReadOnly => "read_only",
            Self::Stale => "stale",
            Self::Fallback => "fallback",
            Self::Down => "down",
            Self::Shut => "shut",
        }
    }

    /// Whether people get what they come for.
    #[must_use]
    pub const fn is_well(self) -> bool {
        matches!(self, Self::Unknown | Self::Works)
    }

    /// How much it hurts.
    #[must_use]
    pub const fn impact(self) -> Impact {
        match self {
            Self::Unknown | Self::Works => Impact::None,
            Self::Degraded | Self::ReadOnly | Self::Stale => Impact::Minor,
            Self::Fallback => Impact::Major,
            Self::Down | Self::Shut => Impact::Critical,
        }
    }

    /// The status of a component of Statuspage.
    #[must_use]
    pub const fn statuspage(self) -> &'static str {
        match self {
            Self::Unknown | Self::Works => "operational",
            Self::Degraded | Self::ReadOnly | Self::Stale => "degraded_performance",
            Self::Fallback => "partial_outage",
            Self::Down | Self::Shut => "major_outage",
        }
    }
}

/// Another way to do the same.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Its key in the configuration.
    pub key: String,
    /// What people call it.
    pub name: Words,
    /// When it is open.
    pub hours: Words,
    /// Where.
    pub address: Words,
    /// A number to call.
    pub telephone: String,
    /// Where it is on the net.
    pub url: String,
    /// What else people need to know.
    pub note: Words,
}

/// A service, as the page names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// Its key in the configuration.
    pub key: String,
    /// What people call it.
    pub name: Words,
    /// Channels that do the same, by key.
    pub ways: Vec<String>,
}

/// What was measured of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How it does.
    pub condition: Condition,
    /// Since when.
    pub since: Timestamp,
    /// Of the requests of the last minutes that the service should have answered, those that it answered; `None`:
    /// nobody asked.
    pub goodput: Option<f64>,
    /// Requests of the last minutes.
    pub requests: u64,
    /// Why, where somebody switched it by hand.
    pub because: Words,
}

/// The page's own facts, from the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// What the page is called.
    pub title: Words,
    /// Where it is read, without the last slash; may be empty.
    pub url: String,
    /// Who speaks: the sender of alerts (CAP), such as an address of mail.
    pub sender: String,
    /// Which area alerts are about.
    pub area: Words,
    /// Languages, the usual one first.
    pub languages: Vec<Language>,
    /// Services.
    pub components: Vec<Component>,
    /// Other ways.
    pub channels: Vec<Channel>,
    /// Seconds after which a page that was not drawn again is old.
    pub valid_s: u32,
}

impl Site {
    /// The usual language.
    #[must_use]
    pub fn usual(&self) -> Language {
        self.languages.first().copied().unwrap_or(Language::Fr)
    }

    /// The component of this key.
    #[must_use]
    pub fn component(&self, key: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.key == key)
    }
}
