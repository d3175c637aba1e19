//! Hand-on: those who can stop traffic before it gets here are asked to, for a while.
//!
//! `route` says what may be asked and in whose words, `book` which routes there are and what is to be done next,
//! `journal` remembers them over a crash, `tell` tells the targets, and `keep` is the loop that joins these.

mod book;
mod journal;
mod keep;
mod post;
mod route;
mod tell;
#[cfg(test)]
mod tests;

pub use book::RouteView;
pub(super) use keep::keep;
pub use route::Protocol;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait.
const ORDERS_WAITING: usize = 16;
/// How long an order waits for its target.
const WITHIN: Duration = Duration::from_secs(15);

/// What the operator orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandOnOrder {
    /// Propose a route.
    Propose(Proposal),
    /// Announce what was proposed.
    Confirm(u32),
    /// Withdraw what stands, or take back what was proposed.
    Withdraw(u32),
}

/// A route that somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Name of the target.
    pub target: String,
    /// Own destination.
    pub to: IpNet,
    /// Source; `None`: any.
    pub from: Option<IpNet>,
    /// `tcp`, `udp` or `icmp`; `None`: any.
    pub protocol: Option<route::Protocol>,
    /// Destination port.
    pub port: Option<u16>,
    /// How long it stands; `None`: as the target says.
    pub for_s: Option<u64>,
    /// Why.
    pub because: String,
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It makes no sense, or is not allowed.
    Bad(String),
    /// There is no such route.
    NotThere(String),
    /// The target did not do it.
    Failed(String),
    /// Too much at once.
    Busy(&'static str),
}

/// The states of routes, by name.
pub const ROUTE_STATES: [&str; 5] = {
    let all = book::State::ALL;
    [all[0].name(), all[1].name(), all[2].name(), all[3].name(), all[4].name()]
};

pub(super) type Answer = Result<RouteView, Refused>;
pub(super) type Ordered = (HandOnOrder, oneshot::Sender<Answer>);

/// What others see of routes, and the way to order about them.
#[derive(Debug, Default)]
pub struct HandOns {
    routes: ArcSwap<Vec<RouteView>>,
    degraded: Mutex<Vec<String>>,
    orders: Mutex<Option<mpsc::Sender<Ordered>>>,
}

impl HandOns {
    /// All routes, those that ended of late at the end.
    #[must_use]
    pub fn routes(&self) -> Arc<Vec<RouteView>> {
        self.routes.load_full()
    }

    /// What does not work, in words.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        self.degraded.lock().clone()
    }

    /// Where orders come out; `None`: they do already.
    pub(super) fn open(&self) -> Option<mpsc::Receiver<Ordered>> {
        let mut orders = self.orders.lock();
        if orders.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(ORDERS_WAITING);
        *orders = Some(sender);
        Some(receiver)
    }

    /// Gives an order; the route that it was about.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub async fn order(&self, order: HandOnOrder) -> Result<RouteView, Refused> {
        let busy = Refused::Busy("too many orders wait already; try again in a moment");
        let orders = self.orders.lock().clone().ok_or(Refused::Busy("nothing is handed on by this node"))?;
        let (done, answer) = oneshot::channel();
        orders.try_send((order, done)).map_err(|_| busy)?;
        match tokio::time::timeout(WITHIN, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(Refused::Busy("no answer yet; see `guichet hand-on list`")),
        }
    }
}
