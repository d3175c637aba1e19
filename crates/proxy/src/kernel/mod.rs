//! The kernel's filter: drops the packets of sources that mitigations refuse again and again, so that they do not cost a
//! connection each. Which sources, the core decides ([`guichet_core::handover`]); here is what is noted for it, and the
//! seam to the filter.
//!
//! Only addresses that completed a TCP connection with this node are ever named, so nobody can have others dropped; only
//! our own ports are filtered, so no operator is locked out; each entry ends in the kernel by itself, also where this
//! process is gone. Without the filter, or where it fails, everybody is served and refused as before.

mod keep;
mod nftables;
mod notes;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use guichet_core::Moment;
use guichet_core::handover::HandedOver;
use ipnet::IpNet;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

pub(crate) use keep::KernelThread;
pub use nftables::Nftables;
pub(crate) use notes::{Noted, Notes};

/// A source that the filter is to drop, for so long from now.
pub type Entry = (IpNet, Duration);

/// A filter in front of this node. One that fails is asked again later.
pub trait Filter {
    /// Makes it ready; whatever a former process left in it is gone.
    ///
    /// # Errors
    /// Why it can't be used, in words for the operator.
    fn open(&mut self) -> impl Future<Output = Result<(), String>>;

    /// Drops these no longer, and those from now on.
    ///
    /// # Errors
    /// See [`Filter::open`]; then nothing of it was done, or all.
    fn change(&mut self, lifted: &[IpNet], added: &[Entry]) -> impl Future<Output = Result<(), String>>;

    /// What it drops now, by its own account.
    ///
    /// # Errors
    /// See [`Filter::open`].
    fn list(&mut self) -> impl Future<Output = Result<Vec<IpNet>, String>>;

    /// Drops nothing any more, and leaves nothing behind.
    ///
    /// # Errors
    /// See [`Filter::open`].
    fn close(&mut self) -> impl Future<Output = Result<(), String>>;
}

/// What the rest of the node sees of the filter.
pub struct Kernel {
    /// A secret of the node, for the core's sketch of good sources.
    pub(crate) seed: u64,
    held: watch::Sender<Arc<Vec<HandedOver>>>,
    trouble: Mutex<Option<String>>,
    pub(crate) handed_over: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// A source that is handed over; field names are an interface.
#[derive(Debug, Clone, Serialize)]
pub struct SourceView {
    /// The source.
    pub source: IpNet,
    /// The mitigation that refused it last.
    pub mitigation: u32,
    /// Seconds since it was handed over.
    pub age_s: f64,
    /// Seconds until it ends.
    pub ends_in_s: f64,
    /// How often it was, within the last hour.
    pub times: u32,
}

impl Kernel {
    /// Nothing is handed over yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (held, _) = watch::channel(Arc::default());
        Self { seed, held, trouble: Mutex::default(), handed_over: AtomicU64::new(0), failures: AtomicU64::new(0) }
    }

    /// What is handed over now.
    #[must_use]
    pub fn held(&self) -> Arc<Vec<HandedOver>> {
        self.held.borrow().clone()
    }

    /// The same for people and programs.
    #[must_use]
    pub fn views(&self, now: Moment) -> Vec<SourceView> {
        let view = |held: &HandedOver| SourceView {
            source: network_of(held.source),
            mitigation: held.mitigation,
            age_s: now.since(held.since).as_secs_f64(),
            ends_in_s: held.until.since(now).as_secs_f64(),
            times: held.times,
        };
        self.held.borrow().iter().map(view).collect()
    }

    /// What does not work, in words.
    #[must_use]
    pub fn degraded(&self) -> Option<String> {
        self.trouble.lock().as_ref().map(|trouble| format!("the kernel's filter does not work: {trouble}"))
    }

    /// The brain decided.
    pub(crate) fn publish(&self, held: Vec<HandedOver>, newly: usize) {
        self.handed_over.fetch_add(newly as u64, Relaxed);
        self.held.send_replace(Arc::new(held));
    }

    fn note_trouble(&self, trouble: Option<String>) {
        let mut known = self.trouble.lock();
        if let Some(trouble) = &trouble {
            self.failures.fetch_add(1, Relaxed);
            if known.as_ref() != Some(trouble) {
                eprintln!("guichet: warning: kernel filter: {trouble}; it is tried again");
            }
        } else if known.is_some() {
            eprintln!("guichet: kernel filter: it works again");
        }
        *known = trouble;
    }
}

/// What a source means as a network.
fn network_of(source: IpAddr) -> IpNet {
    let bits = if source.is_ipv4() { 32 } else { 64 };
    IpNet::new(source, bits).map_or_else(|_| IpNet::from(source), |network| network.trunc())
}
