//! Contracts in the metrics: how services stand, how their contracts answered, and what the store of answers does.

use std::sync::atomic::Ordering::Relaxed;

use super::registry::Registry;
use super::text::Exposition;
use crate::contract::{State, Told};

impl Registry {
    pub(super) fn contracts(&self, out: &mut Exposition) {
        let Some(contracts) = self.contracts.get() else { return };
        out.gauge("guichet_service_state", "1 for the state that a service is in, 0 for the others.");
        for one in contracts.states().iter() {
            for state in State::ALL {
                let labels = [("service", one.service.as_str()), ("state", state.name())];
                out.sample(&labels, f64::from(u8::from(one.state == state)));
            }
        }
        out.gauge("guichet_features_off", "Features of a service that are switched off.");
        for one in contracts.states().iter() {
            out.sample(&[("service", one.service.as_str())], one.off.len() as f64);
        }
        out.counter("guichet_contract_answers_total", "Requests that a contract answered, by how.");
        for (name, of) in contracts.services().iter() {
            for (told, count) in Told::ALL.iter().zip(of.told()) {
                out.sample_if_any(&[("service", name), ("answer", told.name())], count);
            }
        }
        let (store, counts) = (&contracts.store, &contracts.store.counts);
        let (bytes, entries) = store.held();
        out.gauge("guichet_cache_bytes", "Bytes of kept answers in memory.");
        out.sample(&[], bytes as f64);
        out.gauge("guichet_cache_entries", "Kept answers in memory.");
        out.sample(&[], entries as f64);
        let counters = [
            ("guichet_cache_hits_total", "Requests answered by a kept answer within its time.", &counts.hits),
            ("guichet_cache_stale_total", "Requests answered by a kept answer beyond its time.", &counts.stale),
            (
                "guichet_cache_misses_total",
                "Requests to kept routes for which there was no kept answer.",
                &counts.misses,
            ),
            (
                "guichet_cache_collapsed_total",
                "Times that a request waited for another that fetched the same.",
                &counts.collapsed,
            ),
            ("guichet_cache_stored_total", "Answers that were kept.", &counts.stored),
            ("guichet_cache_disk_written_total", "Answers written to the folder.", &counts.disk_written),
            (
                "guichet_cache_disk_lost_total",
                "Answers kept in memory only: too many waited, or the folder failed.",
                &counts.disk_lost,
            ),
            (
                "guichet_cache_disk_corrupt_total",
                "Files of the folder removed because they were not what was written.",
                &counts.disk_corrupt,
            ),
            ("guichet_cache_disk_loaded_total", "Answers taken in from the folder at the start.", &counts.disk_loaded),
        ];
        for (family, help, counter) in counters {
            out.counter(family, help);
            out.sample(&[], counter.load(Relaxed) as f64);
        }
        out.gauge("guichet_cache_disk_failing", "1 while the folder of kept answers cannot be used.");
        out.sample(&[], f64::from(u8::from(counts.disk_failing.load(Relaxed))));
    }
}
