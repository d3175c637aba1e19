//! Drills: real floods on loopback, scored against peers.
pub mod bench;
pub mod front;
pub mod fronts;
