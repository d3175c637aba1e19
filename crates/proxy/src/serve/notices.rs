//! What the status page is told of the services, out of the door's own counters.

use std::collections::HashMap;
use std::sync::Arc;

use guichet_notices::watch::Reading;
use guichet_notices::{Notices, Source};
use tokio::sync::watch;

use crate::clock;
use crate::config::Config;
use crate::record::metrics::Registry;
use crate::setup::Setup;

/// Starts the keeper of the status page, where there is one.
pub(super) fn start(
    config: &Config,
    setups: watch::Receiver<Arc<Setup>>,
    registry: Arc<Registry>,
) -> anyhow::Result<Option<Arc<Notices>>> {
    let Some(notices) = &config.notices else { return Ok(None) };
    let started = Notices::start(notices.settings(), Arc::new(Gauge { setups, registry }))?;
    Ok(Some(Arc::new(started)))
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
        let services = setup.config.services.iter().zip(&setup.service_slots);
        services
            .map(|(service, slot)| {
                let (answered, failed) = self.registry.goodput(*slot);
                let pool = &setup.pools[service.upstream];
                let usable = |server| pool.is_healthy(server) && !pool.is_ejected(server, now);
                let reachable = (0..pool.upstream().servers.len()).any(usable);
                (service.name.clone(), Reading { answered, failed, reachable, switched: None })
            })
            .collect()
    }
}
