//! What the status page is told of the services, out of the door's own counters.

use std::collections::HashMap;
use std::sync::Arc;

use guichet_notices::watch::{Reading, Switched};
use guichet_notices::{Condition, Notices, Source, Words};
use tokio::sync::watch;

use crate::clock;
use crate::config::Config;
use crate::contract::{By, ServiceState, State};
use crate::record::metrics::Registry;
use crate::setup::Setup;

/// Starts the keeper of the status page, where there is one.
pub(super) fn start(
    config: &Config,
    setups: watch::Receiver<Arc<Setup>>,
    registry: Arc<Registry>,
) -> anyhow::Result<Option<Arc<Notices>>> {
    let Some(notices) = &config.notices else { return Ok(None) };
    let gauge = Gauge { setups, registry: registry.clone() };
    let started = Arc::new(Notices::start(notices.clone(), Arc::new(gauge))?);
    registry.set_notices(started.clone());
    Ok(Some(started))
}

/// Reads counters; waits for nobody.
struct Gauge {
    setups: watch::Receiver<Arc<Setup>>,
    registry: Arc<Registry>,
}

impl Source for Gauge {
    fn readings(&self) -> HashMap<String, Reading> {
        let setup = self.setups.borrow().clone();
        let now = clock::now();
        let states = setup.contracts.states();
        let services = setup.config.services.iter().zip(&setup.service_slots);
        services
            .map(|(service, slot)| {
                let (answered, failed) = self.registry.goodput(*slot);
                let pool = &setup.pools[service.upstream];
                let usable = |server| pool.is_healthy(server) && !pool.is_ejected(server, now);
                let reachable = (0..pool.upstream().servers.len()).any(usable);
                let state = states.iter().find(|state| state.service == service.name);
                let switched = state.and_then(|state| switched(&setup.config, state));
                (service.name.clone(), Reading { answered, failed, reachable, switched })
            })
            .collect()
    }
}

/// What a contract put in the place of the service's own answers. What an operator said of it is for operators, and does
/// not go onto the page.
fn switched(config: &Config, state: &ServiceState) -> Option<Switched> {
    let condition = match (state.state, &state.by) {
        // Whether it works is measured.
        (State::Open, _) => return None,
        // A service that fails in part, or recovers, is no switch: a blip of two requests must open no notice.
        (State::Degraded, By::Measurement) if state.off.is_empty() => return None,
        (State::Degraded, _) => Condition::Degraded,
        (State::ReadOnly, _) => Condition::ReadOnly,
        (State::Stale, _) => Condition::Stale,
        (State::Fallback, By::Operator { .. }) => Condition::Fallback,
        (State::Fallback, By::Measurement | By::Need { .. }) => Condition::Down,
        (State::Shut, _) => Condition::Shut,
    };
    let because = match &state.by {
        By::Measurement => Words::default(),
        By::Operator { .. } => {
            Words::new("Par décision de l’exploitant.".to_owned(), "By decision of the operator.".to_owned())
        }
        By::Need { service } => {
            let needed = config.services.iter().find(|known| known.name == *service);
            let title = needed.and_then(|needed| needed.contract.as_ref()).map(|contract| &contract.title);
            let name = |of: fn(&crate::config::Words) -> &String| title.map_or(service, of).clone();
            Words::new(
                format!("Il lui manque : {}.", name(|words| &words.fr)),
                format!("It lacks: {}.", name(|words| &words.en)),
            )
        }
    };
    Some(Switched { condition, because })
}
