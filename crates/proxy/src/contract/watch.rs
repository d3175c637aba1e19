//! Looks at what was counted, decides, and publishes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use guichet_core::{Health, HealthMachine, Moment, Patience, Pressure, Seen};
use tokio::sync::watch::Receiver;

use super::pages::{Pages, Scene, Topic};
use super::state::{Facts, decide};
use super::{By, Mode, Now, Off, ServiceState};
use crate::clock;
use crate::config::{Contract, Service, Words};
use crate::forward::health::answers;
use crate::setup::Setup;

/// How often it looks.
const TICK: Duration = Duration::from_millis(250);
/// How often a service that is down, and of which nothing was seen, is asked whether it is back.
const PROBE: Duration = Duration::from_secs(1);

/// What is remembered of a service from tick to tick.
struct Watched {
    machine: HealthMachine,
    seen: (u64, u64),
    asked_at: Moment,
    /// The answer to the last question, once it is there.
    asked: Option<tokio::task::JoinHandle<bool>>,
    /// Features that are off by themselves: since when.
    off: HashMap<String, u64>,
}

/// Watches over contracts for as long as the node runs; on a `LocalSet`.
pub(crate) async fn watch(mut setups: Receiver<Arc<Setup>>, first: Arc<Setup>) {
    let mut setup = first;
    let mut watched: HashMap<String, Watched> = HashMap::new();
    let mut published: (Vec<ServiceState>, Vec<Mode>) = Default::default();
    let mut generation = None;
    loop {
        let found = look(&setup, &mut watched, &published.0);
        if found != published || generation != Some(setup.generation) {
            tell(&published.0, &found.0);
            publish(&setup, &found.0, &found.1);
            published = found;
            generation = Some(setup.generation);
        }
        tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = setup.contracts.changed.notified() => {}
            changed = setups.changed() => {
                if changed.is_err() {
                    return;
                }
                setup = setups.borrow_and_update().clone();
                watched.retain(|name, _| setup.config.services.iter().any(|service| service.name == *name));
            }
        }
    }
}

/// The states as they are now, and how requests are treated; a state that stays keeps its beginning.
fn look(
    setup: &Setup,
    watched: &mut HashMap<String, Watched>,
    before: &[ServiceState],
) -> (Vec<ServiceState>, Vec<Mode>) {
    let (now, now_s) = (clock::now(), clock::unix_s());
    setup.contracts.orders.lock().expire(now_s);
    let facts: Vec<Facts> = setup
        .config
        .services
        .iter()
        .enumerate()
        .map(|(position, service)| {
            let one = watched.entry(service.name.clone()).or_insert_with(|| Watched {
                machine: HealthMachine::new(now),
                seen: (0, 0),
                asked_at: now,
                asked: None,
                off: HashMap::new(),
            });
            let health = match &service.contract {
                Some(contract) => measure(setup, position, service, contract, one, now),
                None => Health::Up,
            };
            let orders = setup.contracts.orders.lock();
            let order = orders.of(&service.name);
            let off = features_off(setup, position, service, &orders, &mut one.off, now_s);
            Facts { health, order, off }
        })
        .collect();
    let decided = decide(&setup.config, &facts);
    let modes = decided.iter().map(|(.., mode)| *mode).collect();
    let services = setup.config.services.iter().zip(decided).zip(facts);
    let states = services
        .map(|((service, (state, by, _)), facts)| {
            let former = before.iter().find(|one| one.service == service.name && one.state == state);
            let down_s = watched.get(&service.name).filter(|_| state.is_away() && by == By::Measurement);
            let since_unix_s = former
                .map(|one| one.since_unix_s)
                .unwrap_or_else(|| now_s - down_s.map_or(0, |one| now.since(one.machine.since()).as_secs()).min(now_s));
            ServiceState { service: service.name.clone(), state, since_unix_s, by, off: facts.off }
        })
        .collect();
    (states, modes)
}

fn measure(
    setup: &Setup,
    position: usize,
    service: &Service,
    contract: &Contract,
    one: &mut Watched,
    now: Moment,
) -> Health {
    let counts = &setup.of_services[position];
    let total = (counts.good.load(Ordering::Relaxed), counts.bad.load(Ordering::Relaxed));
    let (good, bad) = (total.0.saturating_sub(one.seen.0), total.1.saturating_sub(one.seen.1));
    one.seen = total;
    let pool = &setup.pools[service.upstream];
    let checked_by_pool = pool.upstream().health.is_some().then(|| pool.healthy_servers(now) > 0);
    let checked = match one.machine.health() {
        Health::Up | Health::Failing | Health::Recovering => checked_by_pool.filter(|healthy| !healthy),
        // Nobody else asks it: the door does.
        Health::Down => probe(setup, service, one, now),
    };
    let patience = Patience { down_after: contract.down_after, up_after: contract.up_after };
    let health = one.machine.note(now, Seen { good, bad, checked }, &patience);
    let kept_out = ((1.0 - one.machine.share(now)) * 65_536.0) as u32;
    counts.kept_out.store(kept_out, Ordering::Relaxed);
    health
}

/// Asks a service that is down whether it is back, and takes the answer when it is there.
fn probe(setup: &Setup, service: &Service, one: &mut Watched, now: Moment) -> Option<bool> {
    if let Some(asked) = &mut one.asked {
        if !asked.is_finished() {
            return None;
        }
        let handle = one.asked.take()?;
        // It has ended, so this does not wait.
        return Some(futures_util::FutureExt::now_or_never(handle).and_then(Result::ok).unwrap_or(false));
    }
    if now.since(one.asked_at) >= PROBE {
        one.asked_at = now;
        let pool = setup.pools[service.upstream].clone();
        one.asked = Some(tokio::task::spawn_local(async move { answers(&pool).await }));
    }
    None
}

/// The features of a service that are off: by order, or by themselves.
fn features_off(
    setup: &Setup,
    position: usize,
    service: &Service,
    orders: &super::Orders,
    by_itself: &mut HashMap<String, u64>,
    now_s: u64,
) -> Vec<Off> {
    let pressure = setup.admission.posture.load().services.get(position).map_or(Pressure::Calm, |rules| rules.pressure);
    let mut off = Vec::new();
    for route in &service.routes {
        if let Some((by, since_unix_s)) = orders.off(&service.name, &route.path) {
            off.push(Off { route: route.path.clone(), by, since_unix_s });
            continue;
        }
        let Some(at) = route.switch_off.as_ref().and_then(|switch| switch.at_pressure) else { continue };
        // Off at its pressure, on again only when all is calm: otherwise switching it off would switch it on.
        let stays = by_itself.contains_key(&route.path) && pressure != Pressure::Calm;
        if pressure >= at || stays {
            let since_unix_s = *by_itself.entry(route.path.clone()).or_insert(now_s);
            off.push(Off { route: route.path.clone(), by: By::Measurement, since_unix_s });
        } else {
            by_itself.remove(&route.path);
        }
    }
    off
}

/// Says in the log what changed.
fn tell(before: &[ServiceState], after: &[ServiceState]) {
    for one in after {
        let former = before.iter().find(|known| known.service == one.service);
        let quiet = former.is_none() && one.state == super::State::Open;
        if former.is_some_and(|known| known.state == one.state && known.by == one.by) || quiet {
            continue;
        }
        let by = match &one.by {
            By::Measurement => "by measurement".to_owned(),
            By::Operator { because, until_unix_s } => {
                let until = jiff::Timestamp::from_second(*until_unix_s as i64).unwrap_or_default();
                format!("by order until {until}{}{because}", if because.is_empty() { "" } else { ": " })
            }
            By::Need { service } => format!("since it needs {service}, which is away"),
        };
        eprintln!("guichet: service {} is {}, {by}", one.service, one.state.name());
    }
}

/// Draws the pages, and puts all in force.
fn publish(setup: &Setup, states: &[ServiceState], modes: &[Mode]) {
    for (((service, own), of), &mode) in setup.config.services.iter().zip(states).zip(&setup.of_services).zip(modes) {
        let draw = |topic, feature| {
            let contract = service.contract.as_ref()?;
            let scene = Scene { config: &setup.config, service, contract, states, own, feature };
            Some(Arc::new(Pages::draw(topic, &scene)))
        };
        let off = own.off.iter().flat_map(|off| {
            let until = match &off.by {
                By::Operator { until_unix_s, .. } => Some(*until_unix_s),
                By::Measurement | By::Need { .. } => None,
            };
            let routes = service.routes.iter().enumerate().filter(|(_, route)| route.path == off.route);
            routes.map(move |(position, route)| (position, route, off.since_unix_s, until))
        });
        let off = off
            .map(|(position, route, since, until)| {
                let named = route.switch_off.as_ref().and_then(|switch| switch.title.clone());
                let title = named.unwrap_or_else(|| Words { en: route.path.clone(), fr: route.path.clone() });
                (position, draw(Topic::Off, Some((title, since, until))))
            })
            .collect();
        let now = Now {
            mode,
            away: draw(Topic::Away, None),
            read_only: draw(Topic::ReadOnly, None),
            full: draw(Topic::Full, None),
            off,
        };
        of.care.set_failing(matches!(mode, Mode::Failing | Mode::Recovering));
        of.now.store(Arc::new(now));
    }
    let services = setup.config.services.iter().zip(&setup.of_services);
    let services = services.map(|(service, of)| (service.name.clone(), of.clone())).collect();
    setup.contracts.services.store(Arc::new(services));
    setup.contracts.states.store(Arc::new(states.to_vec()));
}
