//! The state of each service as it is published: an immutable snapshot, made anew when something changes.

use guichet_core::{Health, Reason};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Contract, Service};

/// How a service stands with the public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// All of it works.
    Open,
    /// It works, but not all of it: a part of what it is asked fails, it is recovering, a feature is off, or a service that it needs is away.
    Degraded,
    /// What is read works; what is sent is told to come back.
    ReadOnly,
    /// It is down, and answers that were kept are served.
    Stale,
    /// It is down: visitors get its fallback.
    Fallback,
    /// An operator shut it: visitors get its fallback and nothing else.
    Shut,
}

impl State {
    /// All of them, in the order of how bad they are.
    pub const ALL: [Self; 6] = [Self::Open, Self::Degraded, Self::ReadOnly, Self::Stale, Self::Fallback, Self::Shut];

    /// The name in metrics, logs and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Degraded => "degraded",
            Self::ReadOnly => "read-only",
            Self::Stale => "stale",
            Self::Fallback => "fallback",
            Self::Shut => "shut",
        }
    }

    /// Whether those who need it have to do without.
    #[must_use]
    pub const fn is_away(self) -> bool {
        matches!(self, Self::Stale | Self::Fallback | Self::Shut)
    }
}

/// What an operator ordered for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordered {
    /// Open, whatever is measured.
    Open,
    /// Read-only.
    ReadOnly,
    /// Kept answers, or else the fallback; the service is not asked.
    Fallback,
    /// The fallback and nothing else.
    Shut,
}

impl Ordered {
    /// By its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "open" => Self::Open,
            "read-only" => Self::ReadOnly,
            "fallback" => Self::Fallback,
            "shut" => Self::Shut,
            _ => return None,
        })
    }
}

/// Who or what switched it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum By {
    /// What was measured.
    Measurement,
    /// An operator.
    Operator {
        /// In the operator's words; for operators, not shown to visitors.
        because: String,
        /// When it ends by itself, seconds since 1970.
        until_unix_s: u64,
    },
    /// A service that is needed is away.
    Need {
        /// That service.
        service: String,
    },
}

/// A feature that is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Off {
    /// Path of the route.
    pub route: String,
    /// What switched it off.
    pub by: By,
    /// Since when, seconds since 1970.
    pub since_unix_s: u64,
}

/// A service as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceState {
    /// Name in the configuration.
    #[serde(skip)]
    pub service: String,
    /// How it stands.
    pub state: State,
    /// Since when, seconds since 1970.
    pub since_unix_s: u64,
    /// What switched it.
    pub by: By,
    /// Features that are off.
    pub off: Vec<Off>,
}

impl ServiceState {
    /// When the order behind it ends by itself.
    #[must_use]
    pub fn until_unix_s(&self) -> Option<u64> {
        match &self.by {
            By::Operator { until_unix_s, .. } => Some(*until_unix_s),
            By::Measurement | By::Need { .. } => None,
        }
    }
}

/// How the hot path treats requests to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forward.
    Open,
    /// Forward; an answer that is an error, or late, is as good as none.
    Failing,
    /// The same, for a part of those who ask; the others get kept answers or the fallback.
    Recovering,
    /// Forward what is read.
    ReadOnly,
    /// Kept answers or the fallback; the reason that visitors are told.
    Away(Reason),
    /// The fallback alone.
    Shut,
}

/// What is known of a service before its needs are looked at.
pub(super) struct Facts {
    pub(super) health: Health,
    pub(super) order: Option<(Ordered, By)>,
    pub(super) off: Vec<Off>,
}

/// State and mode of each service, in the order of the configuration. `facts` in the same order.
pub(super) fn decide(config: &Config, facts: &[Facts]) -> Vec<(State, By, Mode)> {
    let mut decided: Vec<(State, By, Mode)> =
        config.services.iter().zip(facts).map(|(service, facts)| alone(service, facts)).collect();
    // What is needed does not depend on what needs it, so a service's own state is enough: being degraded is not away.
    for (position, service) in config.services.iter().enumerate() {
        let Some(contract) = &service.contract else { continue };
        let Some(away) = needs_away(contract, config, &decided) else { continue };
        let by = By::Need { service: away };
        let (state, _, mode) = &decided[position];
        if !matches!(state, State::Open | State::Degraded) || matches!(decided[position].1, By::Operator { .. }) {
            continue;
        }
        let mode = *mode;
        decided[position] =
            if contract.read_only { (State::ReadOnly, by, Mode::ReadOnly) } else { (State::Degraded, by, mode) };
    }
    decided
}

/// The first service that is needed, has nothing in its place where that matters, and is away.
fn needs_away(contract: &Contract, config: &Config, decided: &[(State, By, Mode)]) -> Option<String> {
    let away = |name: &str| {
        let position = config.services.iter().position(|service| service.name == name)?;
        decided.get(position).filter(|(state, ..)| state.is_away())
    };
    let mut needs: Vec<_> = contract.needs.iter().filter(|need| away(&need.service).is_some()).collect();
    // What nothing takes the place of weighs more.
    needs.sort_by_key(|need| need.instead.is_some());
    needs.first().map(|need| need.service.clone())
}

fn alone(service: &Service, facts: &Facts) -> (State, By, Mode) {
    let keeps = service.routes.iter().any(|route| route.cache.is_some())
        && service.contract.as_ref().is_some_and(|contract| !contract.stale_if_error.is_zero());
    let away = if keeps { State::Stale } else { State::Fallback };
    if let Some((order, by)) = &facts.order {
        let (state, mode) = match order {
            Ordered::Open => (State::Open, Mode::Open),
            Ordered::ReadOnly => (State::ReadOnly, Mode::ReadOnly),
            Ordered::Fallback => (away, Mode::Away(Reason::ServiceShut)),
            Ordered::Shut => (State::Shut, Mode::Shut),
        };
        return (state, by.clone(), mode);
    }
    match facts.health {
        Health::Down if service.contract.is_some() => (away, By::Measurement, Mode::Away(Reason::ServiceDown)),
        Health::Recovering if service.contract.is_some() => (State::Degraded, By::Measurement, Mode::Recovering),
        Health::Failing if service.contract.is_some() => (State::Degraded, By::Measurement, Mode::Failing),
        Health::Up | Health::Failing | Health::Down | Health::Recovering if facts.off.is_empty() => {
            (State::Open, By::Measurement, Mode::Open)
        }
        Health::Up | Health::Failing | Health::Down | Health::Recovering => {
            (State::Degraded, facts.off[0].by.clone(), Mode::Open)
        }
    }
}
