//! The decision core of Guichet: pure. No IO, no clock, no randomness, no async, no logging; `now` and seeds are
//! arguments. The same code runs in the proxy, in property tests and in the simulator.
//!
//! The way of a request: [`SourceShard::observe`] counts it for its source and prefixes, [`decide`] decides by the
//! [`Rules`] of its service (the fast path of refusals ends here), [`Lanes::offer`] gives it a slot or a place in the
//! queue, [`Charges::commit`] takes it from its shares. Ten times a second [`Brain::tick`] turns the counters of all
//! workers ([`Window`]) into the next [`Posture`].

pub mod bounds;
mod brain;
mod criticality;
mod decide;
pub mod demand;
mod gauge;
pub mod handover;
mod health;
mod lanes;
mod limiter;
pub mod link;
mod node;
mod posture;
mod priority;
mod prompt;
mod queue;
mod reason;
mod retry;
pub mod room;
mod rtt;
mod service;
pub mod signs;
pub mod sim;
mod source;
mod standing;
mod strain;
mod surge;
mod thresholds;
mod time;
mod window;

pub use brain::{Brain, BrainConfig, ServiceConfig};
pub use criticality::Criticality;
pub use decide::{
    Asking, Budget, Charges, Decision, check_all, decide, effective_standing, mitigated_standing, waits_in_room,
};
pub use demand::{DemandHistogram, TierDemand};
pub use gauge::{Gauge, Level};
pub use health::{Health, HealthMachine, Patience, Seen};
pub use lanes::{Ask, Lanes, Offer, Slot, Ticket, Wake, Woken};
pub use limiter::{Limiter, LimiterConfig, LimiterSample};
pub use node::{NodeGate, NodeSlot};
pub use posture::{NodeRules, Posture, Pressure, Rules, TierRule, UNMARKED};
pub use priority::Priority;
pub use prompt::Promptness;
pub use reason::{Fault, Reason, VisitorText};
pub use retry::{RetryBudget, RetryConfig};
pub use rtt::RttHistogram;
pub use service::ServiceId;
pub use source::{
    Outcome, PACE_TIME_CONSTANT_S, SourceConfig, SourceKey, SourceShard, SourceView, Standing3, shard_of,
};
pub use standing::Standing;
pub use strain::{Lateness, Strain};
pub use surge::Surges;
pub use thresholds::thresholds;
pub use time::Moment;
pub use window::{ServiceWindow, Window};
