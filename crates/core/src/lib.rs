//! The decision core of Guichet: pure. No IO, no clock, no randomness, no async, no logging; `now` and seeds are
//! arguments. The same code runs in the proxy, in property tests and in the simulator.

pub mod bounds;
mod criticality;
mod reason;
mod standing;
mod time;

pub use criticality::Criticality;
pub use reason::{Fault, Reason, VisitorText};
pub use standing::Standing;
pub use time::Moment;
