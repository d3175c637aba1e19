//! The link verdict at run time: what is read each second, what is said of it, and what is handed on.
//!
//! One thread of its own does all of it, so that neither a request nor the brain ever waits for a file of the kernel's
//! or for a program of the operator's. Others see immutable views.

mod hand_on;
mod outside;
mod read;
mod view;
mod watch;

pub use hand_on::{HandOnOrder, HandOns, Proposal, Protocol as HandOnProtocol, ROUTE_STATES, Refused, RouteView};
pub use read::{Figures, Reader};
pub use view::{InterfaceView, LinkView, MeasureView};
pub(crate) use watch::LinkThread;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::record::metrics::Registry;

/// What the rest of the node sees of the link verdict.
#[derive(Debug, Default)]
pub struct Link {
    view: ArcSwap<LinkView>,
    /// What cannot be read, in words.
    missing: Mutex<Vec<String>>,
    /// How often the verdict changed.
    pub(crate) changes: AtomicU64,
    /// Routes, and the way to order about them.
    pub hand_on: HandOns,
}

impl Link {
    /// One that the metrics show.
    pub(crate) fn shown_by(registry: &Registry) -> Arc<Self> {
        let link = Arc::new(Self::default());
        registry.set_link(link.clone());
        link
    }

    /// The last verdict.
    #[must_use]
    pub fn view(&self) -> Arc<LinkView> {
        self.view.load_full()
    }

    /// What does not work as it should, in words.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let mut degraded: Vec<_> =
            self.missing.lock().iter().map(|what| format!("the link verdict does not see all: {what}")).collect();
        degraded.extend(self.hand_on.degraded());
        degraded
    }
}
