//! Signs: what tells attackers from users, found by itself.
//!
//! Workers keep a few samples of what comes ([`Sampler`], [`SampleBag`]): each a row of [`Features`]. The brain compares
//! them with memories of what is usual and of what people of proven standing look like, finds the smallest
//! [`Signature`]s that cover an excess, and makes [`Mitigation`]s of them, which climb while they are needed, step down
//! and end. All of it has a fixed size, whatever the number of sources: see [`MEMORY_BYTES`].

mod config;
mod dimension;
mod features;
mod miner;
mod mitigation;
mod sample;
mod service;
mod sign_in;
mod signature;

pub use config::{SignsConfig, SignsMode};
pub use dimension::{Dimension, Kind};
pub use features::{FeatureHash, FeatureHasher, Features};
pub use miner::Evidence;
pub use mitigation::{End, Event, InForce, Mitigation, Step};
pub use sample::{Sample, SampleBag, Sampler};
pub use service::ANSWER_CLIENT_ERRORS;
pub use sign_in::SignIn;
pub use signature::Signature;

pub(crate) use sample::Memory;
pub(crate) use service::{Doing, ServiceSigns, Subject};

use crate::bounds::{
    SAMPLES_CALM, SAMPLES_EVERYWHERE, SAMPLES_PER_TICK_MAX, SAMPLES_PROVEN, SAMPLES_RECENT_MAX, SERVICES_MAX,
    SIGN_INS_CALM, SIGN_INS_RECENT_MAX, SIGNS_BYTES_MAX, WORKER_SAMPLES_MAX,
};

/// Bytes that all of it takes at most: memories of all services, the bags of all workers, and those on their way.
pub const MEMORY_BYTES: usize = {
    let memories = (SAMPLES_CALM + SAMPLES_PROVEN) * size_of::<Features>();
    let recent = SAMPLES_RECENT_MAX * (size_of::<Sample>() + size_of::<crate::Moment>());
    let window = 2 * SAMPLES_PER_TICK_MAX * size_of::<Sample>();
    let sign_ins = 2 * SIGN_INS_CALM * size_of::<Features>()
        + SIGN_INS_RECENT_MAX * (size_of::<Sample>() + size_of::<crate::Moment>());
    (SERVICES_MAX + 1) * (memories + recent + window)
        + SERVICES_MAX * (sign_ins + window)
        + SAMPLES_EVERYWHERE * size_of::<Features>()
        + 3 * WORKER_SAMPLES_MAX * size_of::<Sample>()
};

const _: () = assert!(MEMORY_BYTES <= SIGNS_BYTES_MAX);
