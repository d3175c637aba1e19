//! Notices: what is down, what works, and which other ways work now. Revisions only, drawn into files that anybody can
//! host, signed, and dated so that they cannot lie by being old.

pub mod board;
pub mod bounds;
pub mod door;
pub mod drafts;
pub mod edition;
pub mod journal;
mod keeper;
mod model;
pub mod offline;
mod orders;
pub mod publish;
pub mod render;
pub mod sign;
pub mod tally;
pub mod watch;
pub mod webhook;

pub use keeper::{Known, Notices, Place, Settings, Source, StartError};
pub use model::{
    By, Channel, Component, Condition, DataKnown, Impact, Language, Measured, Notice, Planned, Revision, Site, Stage,
    Words,
};
pub use orders::Order;
