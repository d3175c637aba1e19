//! The status page, after it was checked: what its keeper takes.

pub use guichet_notices::{Place as NoticesPlace, Settings as Notices};
