//! Signs: what requests look like, and what the node knows of mitigations. The deciding itself is the core's.

mod agent;
mod allow;
mod atlas;
mod book;
mod connection;
mod crawlers;
mod lexicon;
mod looks;
mod refusals;
mod target;

use std::sync::Arc;

use guichet_core::ServiceId;
use guichet_core::signs::{FeatureHash, Signature, Step};
use ipnet::IpNet;
use tokio::sync::{mpsc, oneshot};

use crate::kernel::Kernel;
use crate::passes::PassCounts;

pub use allow::{Allowed, AllowedNetwork};
pub use atlas::{Atlas, Database};
pub use book::{Book, MitigationView};
pub(crate) use book::{told, view};
pub use connection::ConnectionLooks;
pub use crawlers::{Claim, Crawler, Crawlers, Dns, Resolver, look_up};
pub use lexicon::{Lexicon, Told, Word};
pub use looks::{ConnectionSigns, Looks, value_of};
pub use refusals::{Refusal, Refusals};

/// What the operator orders about mitigations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Hold it at a step for this many seconds.
    Pin {
        /// Which.
        id: u32,
        /// At which step.
        step: Step,
        /// For how long.
        for_s: u64,
    },
    /// Act on a signature of the operator's for this many seconds.
    Add {
        /// Where: a service, or [`ServiceId::DOOR`].
        service: ServiceId,
        /// What to match.
        signature: Signature,
        /// At which step.
        step: Step,
        /// For how long.
        for_s: u64,
    },
    /// Do not drop sources within this network any more that were handed over to the kernel's filter.
    Lift {
        /// Which.
        network: IpNet,
    },
    /// End it; its signature may be found again after five minutes.
    End {
        /// Which.
        id: u32,
    },
    /// End it, and do not find its signature again for this many seconds.
    Forbid {
        /// Which.
        id: u32,
        /// For how long.
        for_s: u64,
    },
}

/// An order, and where to say which mitigation it was about, if there is such a one; of [`Order::Lift`], how many sources.
pub type Ordered = (Order, oneshot::Sender<Option<u32>>);

/// What comes out of [`Signs`], for those who do it.
pub struct Inboxes {
    /// Orders for the brain.
    pub orders: mpsc::Receiver<Ordered>,
    /// Addresses whose claim to be a crawler is to be looked up.
    pub asked: mpsc::Receiver<(std::net::IpAddr, Crawler)>,
}

/// What all parts of a node share of signs, whatever configuration is in force.
pub struct Signs {
    /// Makes values of texts.
    pub hash: FeatureHash,
    /// Whom no mitigation touches.
    pub allowed: Allowed,
    /// What there is to say of mitigations.
    pub book: Book,
    /// Robots that are who they say.
    pub crawlers: Crawlers,
    /// Refusals of late.
    pub refusals: Refusals,
    /// What was used of passes.
    pub passes: Arc<PassCounts>,
    /// What is handed over to the kernel's filter.
    pub kernel: Arc<Kernel>,
    orders: mpsc::Sender<Ordered>,
}

/// Stands for connections, before any service is asked for, where the name of a service is expected.
pub const CONNECTIONS: &str = "*";

/// Orders that may wait for the brain.
const ORDERS_WAITING: usize = 16;

impl Signs {
    /// Empty; what comes out takes the orders for the brain, and the questions for the DNS. `seed` is a secret of the node.
    #[must_use]
    pub fn new(seed: u64) -> (Self, Inboxes) {
        let (orders, ordered) = mpsc::channel(ORDERS_WAITING);
        let (crawlers, asked) = Crawlers::new(seed);
        let signs = Self {
            hash: FeatureHash::new(seed),
            allowed: Allowed::default(),
            book: Book::default(),
            crawlers,
            refusals: Refusals::default(),
            passes: Arc::default(),
            kernel: Arc::new(Kernel::new(seed)),
            orders,
        };
        (signs, Inboxes { orders: ordered, asked })
    }

    /// Gives an order; the mitigation that it was about, if there is such a one.
    ///
    /// # Errors
    /// The brain does not take it.
    pub async fn order(&self, order: Order) -> Result<Option<u32>, &'static str> {
        let (done, answer) = oneshot::channel();
        self.orders.try_send((order, done)).map_err(|_| "too many orders wait already; try again in a moment")?;
        let within = tokio::time::timeout(std::time::Duration::from_secs(5), answer);
        match within.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) | Err(_) => Err("the order was not carried out within five seconds"),
        }
    }
}
