//! The fronts that drills compare: nothing at all, the peers at their best, and Guichet.

pub(crate) mod allowances;
mod contracts;
mod direct;
mod envoy;
pub(crate) mod guichet;
pub(crate) mod haproxy;
pub mod install;
mod nginx;
pub(crate) mod process;
pub(crate) mod template;

pub use direct::Direct;
pub use envoy::Envoy;
pub use guichet::{Guichet, guichet_toml};
pub use haproxy::Haproxy;
pub use install::install_peers;
pub use nginx::Nginx;

use crate::front::Front;

/// Names of all fronts, in the order in which they are reported.
pub const NAMES: [&str; 5] = ["direct", "nginx", "haproxy", "envoy", "guichet"];

/// The front of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<Box<dyn Front>> {
    match name {
        "direct" => Some(Box::new(Direct)),
        "nginx" => Some(Box::new(Nginx)),
        "haproxy" => Some(Box::new(Haproxy)),
        "envoy" => Some(Box::new(Envoy)),
        "guichet" => Some(Box::new(Guichet)),
        _ => None,
    }
}

/// All fronts, in the order of [`NAMES`].
#[must_use]
pub fn all() -> Vec<Box<dyn Front>> {
    NAMES.iter().filter_map(|name| by_name(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_a_front_of_that_name() {
        let names: Vec<_> = all().iter().map(|front| front.name()).collect();
        assert_eq!(names, NAMES);
        assert!(by_name("apache").is_none());
    }
}
