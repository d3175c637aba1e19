//! From counters to rates, over a short window of samples.

use std::collections::VecDeque;
use std::time::Duration;

use super::sample::{InterfaceSample, Sample};
use crate::bounds::LINK_SAMPLES_MAX;

/// Rates over the window. `None`: could not be read, or the counter began anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// By interface, in the order of the sample.
    pub interfaces: Vec<InterfaceRates>,
    /// Connections lost at full accept queues, a second.
    pub listen_overflows_s: Option<f64>,
    /// Openings lost at full queues of half-open connections, a second.
    pub syn_drops_s: Option<f64>,
    /// SYN cookies sent, a second.
    pub syn_cookies_s: Option<f64>,
    /// Packets lost at processors' queues, a second.
    pub softnet_dropped_s: Option<f64>,
    /// Times a processor had packets left, a second.
    pub softnet_squeezed_s: Option<f64>,
    /// Share of the processors' time that was used, 0 to 1.
    pub cpu_busy: Option<f64>,
    /// Requests that came, a second, over all services.
    pub requests_s: Option<f64>,
}

/// Rates of one interface, by direction: in, out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InterfaceRates {
    /// Its name.
    pub name: String,
    /// Bits a second on the line, with what each packet takes beside its bytes.
    pub bits_s: [f64; 2],
    /// Packets a second.
    pub packets_s: [f64; 2],
    /// Packets lost, a second.
    pub dropped_s: [f64; 2],
}

/// The samples of the window.
#[derive(Debug, Default)]
pub(super) struct Samples {
    kept: VecDeque<Sample>,
}

impl Samples {
    /// Takes a sample in; the rates from the oldest sample that is at most `window` old to this one. `None`: it is the first,
    /// or no later than the one before.
    pub(super) fn take(&mut self, sample: Sample, window: Duration) -> Option<Rates> {
        if self.kept.back().is_some_and(|last| sample.at <= last.at) {
            return None;
        }
        // One sample at least stays, however late the new one comes.
        while self.kept.len() > 1 && (self.kept.len() >= LINK_SAMPLES_MAX || sample.at.since(self.kept[0].at) > window)
        {
            self.kept.pop_front();
        }
        let rates = self.kept.front().map(|first| between(first, &sample));
        self.kept.push_back(sample);
        rates
    }
}

fn between(first: &Sample, last: &Sample) -> Rates {
    let span_s = last.at.since(first.at).as_secs_f64();
    let rate = |from: Option<u64>, to: Option<u64>| Some(to?.checked_sub(from?)? as f64 / span_s);
    let (from, to) = (&first.counts, &last.counts);
    Rates {
        interfaces: last.interfaces.iter().filter_map(|interface| of_interface(first, interface, span_s)).collect(),
        listen_overflows_s: rate(from.listen_overflows, to.listen_overflows),
        syn_drops_s: rate(from.syn_drops, to.syn_drops),
        syn_cookies_s: rate(from.syn_cookies, to.syn_cookies),
        softnet_dropped_s: rate(from.softnet_dropped, to.softnet_dropped),
        softnet_squeezed_s: rate(from.softnet_squeezed, to.softnet_squeezed),
        cpu_busy: first.cpu.zip(last.cpu).and_then(|(from, to)| {
            let total = to.total.checked_sub(from.total).filter(|total| *total > 0)?;
            let idle = to.idle.checked_sub(from.idle)?;
            Some((1.0 - idle as f64 / total as f64).clamp(0.0, 1.0))
        }),
        requests_s: requests(first, last).map(|count| count as f64 / span_s),
    }
}

fn of_interface(first: &Sample, to: &InterfaceSample, span_s: f64) -> Option<InterfaceRates> {
    let from = first.interfaces.iter().find(|known| known.name == to.name)?;
    let rate = |from: u64, to: u64| Some(to.checked_sub(from)? as f64 / span_s);
    let packets_s = [rate(from.rx_packets, to.rx_packets)?, rate(from.tx_packets, to.tx_packets)?];
    let bytes_s = [rate(from.rx_bytes, to.rx_bytes)?, rate(from.tx_bytes, to.tx_bytes)?];
    Some(InterfaceRates {
        name: to.name.clone(),
        bits_s: std::array::from_fn(|way| 8.0 * (bytes_s[way] + packets_s[way] * to.overhead_bytes as f64)),
        packets_s,
        dropped_s: [rate(from.rx_dropped, to.rx_dropped)?, rate(from.tx_dropped, to.tx_dropped)?],
    })
}

/// Requests between two samples, of the services that are in both.
fn requests(first: &Sample, last: &Sample) -> Option<u64> {
    let came = |to: &super::ServiceSample| {
        let from = first.services.iter().find(|known| known.name == to.name)?;
        to.requests.checked_sub(from.requests)
    };
    last.services.iter().map(came).try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)))
}
