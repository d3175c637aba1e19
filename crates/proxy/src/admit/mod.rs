//! Admit: now, later, after a proof, or not? The only place where a [`Permit`] is made.

mod permit;

#[cfg(test)]
pub(crate) use permit::permit_for_test;
pub use permit::{Permit, Served};
