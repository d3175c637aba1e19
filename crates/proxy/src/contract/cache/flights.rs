//! One fetch for many who ask for the same: the first goes, the others wait for what it keeps.
//!
//! Whoever waits never gets an answer that was not kept: if nothing came of the fetch, each asks for itself. A fetch that is
//! given up (its client is gone, its permit refused) lets them go at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use guichet_core::bounds::{COLLAPSED_FETCHES_MAX, COLLAPSED_WAITERS_MAX};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::key::Key;

/// Fetches under way, shared by all workers behind a short lock that only they take.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    under_way: Mutex<HashMap<Key, Flight>>,
}

#[derive(Debug)]
struct Flight {
    ends: watch::Receiver<bool>,
    waiting: Arc<AtomicUsize>,
}

/// What to do.
pub(crate) enum Turn {
    /// Go: the others wait until this is dropped.
    Fetch(Fetch),
    /// Wait for whoever went.
    Wait(Waiting),
    /// Too many fetch or wait already: ask for yourself.
    Alone,
}

/// The right to fetch for others. They are let go when it is dropped.
pub(crate) struct Fetch {
    flights: Arc<Flights>,
    key: Key,
    ends: watch::Sender<bool>,
}

/// A place among those who wait.
pub(crate) struct Waiting {
    ends: watch::Receiver<bool>,
    waiting: Arc<AtomicUsize>,
}

impl Flights {
    /// Joins a fetch, or begins one.
    #[must_use]
    pub(crate) fn join(self: &Arc<Self>, key: &Key) -> Turn {
        let mut under_way = self.under_way.lock();
        if let Some(flight) = under_way.get(key) {
            if flight.waiting.fetch_add(1, Ordering::Relaxed) >= COLLAPSED_WAITERS_MAX {
                flight.waiting.fetch_sub(1, Ordering::Relaxed);
                return Turn::Alone;
            }
            return Turn::Wait(Waiting { ends: flight.ends.clone(), waiting: flight.waiting.clone() });
        }
        if under_way.len() >= COLLAPSED_FETCHES_MAX {
            return Turn::Alone;
        }
        let (ends, ended) = watch::channel(false);
        under_way.insert(key.clone(), Flight { ends: ended, waiting: Arc::default() });
        Turn::Fetch(Fetch { flights: self.clone(), key: key.clone(), ends })
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.key);
        self.ends.send_replace(true);
    }
}

impl Waiting {
    /// Until the fetch has ended, one way or another.
    pub(crate) async fn ended(mut self) {
        // A sender that is gone has ended, too.
        let _ = self.ends.wait_for(|ended| *ended).await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_goes_and_the_rest_wait_until_it_ends() {
        let flights = Arc::new(Flights::default());
        let (one, other): (Key, Key) = ("a".into(), "b".into());
        let Turn::Fetch(fetch) = flights.join(&one) else { panic!("the first goes") };
        let Turn::Wait(waiting) = flights.join(&one) else { panic!("the second waits") };
        assert!(matches!(flights.join(&other), Turn::Fetch(_)), "another key is another fetch");
        drop(fetch);
        waiting.ended().await;
        assert!(matches!(flights.join(&one), Turn::Fetch(_)), "and then it begins anew");
        assert!(flights.under_way.lock().is_empty(), "nothing is left behind");
    }

    #[test]
    fn fetches_and_waiters_are_bounded() {
        let flights = Arc::new(Flights::default());
        let key: Key = "a".into();
        let _fetch = flights.join(&key);
        let mut waiting: Vec<Turn> = (0..COLLAPSED_WAITERS_MAX).map(|_| flights.join(&key)).collect();
        assert!(waiting.iter().all(|turn| matches!(turn, Turn::Wait(_))));
        assert!(matches!(flights.join(&key), Turn::Alone));
        waiting.pop();
        assert!(matches!(flights.join(&key), Turn::Wait(_)));
        let _others: Vec<Turn> = (1..COLLAPSED_FETCHES_MAX).map(|n| flights.join(&format!("k{n}").into())).collect();
        assert!(matches!(flights.join(&"one more".into()), Turn::Alone));
    }
}
