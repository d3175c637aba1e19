//! A simulated estate around the core: simulated time, sources made from an index, services that collapse.
//!
//! Pure like the rest: the seed is an argument. The sources need no memory of their own, so that ten million of them
//! cost nothing; all that is remembered of them is what the core's bounded tables hold.

mod check;
mod line;
mod looks;
mod node;
mod report;
mod rng;
mod scenario;
mod upstream;

pub use looks::Looks;
pub use node::play_node;
pub use report::{Count, Phase, Report};
pub use rng::Rng;
pub use scenario::{Population, SCENARIOS, Scenario, Shape};
pub use upstream::{Arrival, Upstream, UpstreamModel};
