//! Notices: what is down, what works, and which other ways work now. Revisions only, drawn into files that anybody can
//! host, signed, and dated so that they cannot lie by being old.

pub mod board;
pub mod bounds;
pub mod drafts;
pub mod journal;
mod model;
pub mod render;
pub mod sign;
pub mod watch;

pub use model::{
    By, Channel, Component, Condition, DataKnown, Impact, Language, Measured, Notice, Planned, Revision, Site, Stage,
    Words,
};
