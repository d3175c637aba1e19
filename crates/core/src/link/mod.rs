//! The link verdict: whether the line, this host or a service is full, or nothing is wrong here.
//!
//! What only the host can see is given as [`Sample`]s, about one a second. [`Judge`] turns them into rates over a short
//! window, holds each against its limit with hysteresis, and says in one sentence where the trouble is. The order
//! matters: behind a full line everything else looks wrong too, and on a full host every service does.

mod judge;
mod measure;
mod rates;
mod sample;
#[cfg(test)]
mod tests;
mod words;

pub use judge::{Judge, Limits, Place, Verdict};
pub use measure::{Measure, Subject};
pub use rates::{InterfaceRates, Rates};
pub use sample::{Counts, Cpu, InterfaceSample, Sample, ServiceSample};
