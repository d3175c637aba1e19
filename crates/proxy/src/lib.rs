//! Guichet's reverse proxy: one way through the house,
//! `listen -> identify -> classify -> admit -> forward -> record`.

pub mod admin;
pub mod admit;
pub mod ahead;
pub mod body;
pub mod classify;
pub mod clock;
pub mod config;
pub mod connection;
pub mod contract;
pub mod desk;
pub mod forward;
pub mod identify;
pub mod kernel;
pub mod link;
pub mod listen;
pub mod pages;
pub mod passes;
mod pipeline;
mod program;
pub mod record;
pub mod serve;
pub mod setup;
pub mod signs;
pub mod worker;
