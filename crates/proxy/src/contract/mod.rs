//! Contracts: what is served when a service is down, overloaded or shut, and the state of each service.
//!
//! The hot path reads one immutable [`Now`] a service and adds to two counters. A task on the brain's thread looks at
//! those four times a second, asks services that are down whether they are back, ends orders whose time is over, and
//! publishes states and pages when something changed.

mod cache;
mod order_file;
mod orders;
mod pages;
mod serve;
mod state;
mod wait;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use cache::{CacheCounts, Store};
pub use pages::{Pages, Topic};
pub(crate) use serve::{After, Came, Course, Going, Refetch, after, before, failed, keep, lot};
pub use state::{By, Mode, Off, Ordered, ServiceState, State};
pub(crate) use wait::{Wait, answer_in_time};
pub(crate) use watch::watch;

use crate::clock;
use crate::config::{Cache, Config, Service};
use crate::forward::Care;
use order_file::OrderFile;
use orders::Orders;

/// How answers came about that no service gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A kept answer, within its time.
    Hit,
    /// A kept answer beyond its time.
    Stale,
    /// The page, redirect or document of the contract.
    Fallback,
    /// The same where there was no room.
    Full,
    /// Refused because the service can be read only.
    ReadOnly,
    /// Refused because the feature is off.
    Off,
}

impl Told {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Hit, Self::Stale, Self::Fallback, Self::Full, Self::ReadOnly, Self::Off];

    /// The name in log and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Fallback => "fallback",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Off => "switched-off",
        }
    }
}

/// One service as the hot path sees it. It goes on over reloads.
#[derive(Default)]
pub struct OfService {
    /// Requests that the service answered, and that it failed.
    good: AtomicU64,
    bad: AtomicU64,
    /// Answers by how they came about.
    told: [AtomicU64; Told::ALL.len()],
    /// While it recovers: of 65,536 visitors, those who are not let in yet.
    kept_out: AtomicU32,
    /// How soon it answers.
    care: Arc<Care>,
    now: ArcSwap<Now>,
}

impl OfService {
    /// The present state and pages.
    #[must_use]
    pub fn now(&self) -> Arc<Now> {
        self.now.load_full()
    }

    /// The service answered, or failed to.
    pub fn note(&self, good: bool) {
        let counter = if good { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How soon it answers, and whether it is known to fail.
    #[must_use]
    pub fn care(&self) -> &Arc<Care> {
        &self.care
    }

    /// Whether a visitor is let in while the service recovers; `lot` stays the same for the same visitor, so whoever is in
    /// stays in.
    fn lets_in(&self, lot: u16) -> bool {
        u32::from(lot) >= self.kept_out.load(Ordering::Relaxed)
    }

    /// The contract answered.
    pub fn note_told(&self, told: Told) {
        self.told[told as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many answers came about in each way.
    #[must_use]
    pub fn told(&self) -> [u64; Told::ALL.len()] {
        std::array::from_fn(|at| self.told[at].load(Ordering::Relaxed))
    }
}

/// What holds for a service now.
#[derive(Debug, Clone)]
pub struct Now {
    /// How requests are treated.
    pub mode: Mode,
    /// What is told where the service does not answer, or is shut; `None`: it has no contract.
    pub away: Option<Arc<Pages>>,
    /// What is told where it can be read only.
    pub read_only: Option<Arc<Pages>>,
    /// What is told where it has no room for a request.
    pub full: Option<Arc<Pages>>,
    /// Features that are off: positions of routes, and what is told.
    pub off: Vec<(usize, Option<Arc<Pages>>)>,
}

impl Default for Now {
    fn default() -> Self {
        Self { mode: Mode::Open, away: None, read_only: None, full: None, off: Vec::new() }
    }
}

/// What all configurations of a node share of contracts.
pub struct Contracts {
    orders: Mutex<Orders>,
    /// Taken before the orders by whoever changes them, and never while a request waits.
    file: Mutex<OrderFile>,
    states: ArcSwap<Vec<ServiceState>>,
    services: ArcSwap<Vec<(String, Arc<OfService>)>>,
    /// Kept answers.
    pub store: Arc<Store>,
    /// Told when an order came, so that it holds at once.
    changed: tokio::sync::Notify,
}

impl Contracts {
    /// With a store of this size, and the orders of that file.
    #[must_use]
    pub fn new(cache: &Cache, orders: Option<PathBuf>) -> Self {
        let (file, orders) = OrderFile::open(orders);
        Self {
            orders: Mutex::new(orders),
            file: Mutex::new(file),
            states: ArcSwap::default(),
            services: ArcSwap::default(),
            store: Store::open(cache),
            changed: tokio::sync::Notify::new(),
        }
    }

    /// What does not work as it should and refuses no user, in words.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        self.file.lock().trouble().into_iter().chain(self.store.degraded()).collect()
    }

    /// Changes the orders, and puts them into the file where something was changed.
    fn change(&self, with: impl FnOnce(&mut Orders) -> bool) -> bool {
        let mut file = self.file.lock();
        let (changed, orders) = {
            let mut orders = self.orders.lock();
            orders.expire(clock::unix_s());
            (with(&mut orders), orders.clone())
        };
        if changed {
            file.write(&orders);
        }
        self.changed.notify_one();
        changed
    }

    /// The state of every service, in the order of the configuration: an immutable snapshot.
    #[must_use]
    pub fn states(&self) -> Arc<Vec<ServiceState>> {
        self.states.load_full()
    }

    /// The services of the configuration in force, by name.
    #[must_use]
    pub fn services(&self) -> Arc<Vec<(String, Arc<OfService>)>> {
        self.services.load_full()
    }

    /// Puts a service in a state until then. False: there are too many orders.
    pub fn order(&self, service: &str, what: Ordered, until_unix_s: u64, because: &str) -> bool {
        self.change(|orders| orders.set(service, what, clock::unix_s(), until_unix_s, because))
    }

    /// Takes the order for a service back: what is measured holds again. False: there was none.
    pub fn end_order(&self, service: &str) -> bool {
        self.change(|orders| orders.end(service))
    }

    /// Switches a route off until then. False: there are too many orders.
    pub fn switch_off(&self, service: &str, route: &str, until_unix_s: u64, because: &str) -> bool {
        self.change(|orders| orders.switch_off(service, route, clock::unix_s(), until_unix_s, because))
    }

    /// Switches a route on again. False: it was not off by order.
    pub fn switch_on(&self, service: &str, route: &str) -> bool {
        self.change(|orders| orders.switch_on(service, route))
    }
}

/// The services of a configuration as the hot path sees them; those of the same name go on.
pub(crate) fn of_services(config: &Config, former: Option<(&Config, &[Arc<OfService>])>) -> Vec<Arc<OfService>> {
    let known = |service: &Service| {
        let (config, all) = former?;
        all.get(config.services.iter().position(|one| one.name == service.name)?).cloned()
    };
    config.services.iter().map(|service| known(service).unwrap_or_default()).collect()
}
