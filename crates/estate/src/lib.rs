//! The reference postal bank of Guichet: nine services that drills protect, and that the demo shows.
//!
//! Each service has its own listener, its own SQLite file and its own operations ([`Service::ops`]). In a drill each
//! behaves as its declared capacity says ([`capacity`]); without a capacity file there are no artificial costs.
//!
//! A right answer carries the header `x-estate-op` with the name of the operation. Anything else is a problem (RFC 9457),
//! or on the portal a page. Test users are `user0000` to `user0999`, their passwords `password-0000` to `password-0999`;
//! the other identifiers of the test data are functions of a number, in [`ids`].
//!
//! Life of a request: `server` (connection caps, deadlines) -> `gate` (queue, worker, body) -> the service's handler ->
//! `store` (one writer, durable when acknowledged), with `once` for what must be done exactly once.

pub mod bounds;
pub mod capacity;
pub mod cli;
pub mod delivery;
pub mod estate;
pub mod ids;
pub mod service;
pub mod verify;

mod app;
mod bank;
mod codes;
mod counter;
mod credentials;
mod estate_key;
mod faults;
mod gate;
mod identity;
mod key_file;
mod kit;
mod ledger;
mod money;
mod oidc;
mod once;
mod openapi;
mod parcels;
pub mod participant;
mod peers;
mod people;
mod people_claims;
mod portal;
mod problem;
mod rails;
mod relying_party;
mod seed;
pub mod seed_large;
mod server;
mod sessions;
mod smsc;
mod staff;
mod store;
pub mod terminal;
pub mod terminals;
pub mod till;
mod vault;

#[cfg(test)]
mod tests;

pub use capacity::CapacityModel;
pub use cli::{Cli, Command, run, run_async};
pub use estate::{Estate, Options};
pub use service::Service;
pub use store::{DATABASE_VARIABLE, Database};
