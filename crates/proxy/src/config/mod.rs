//! Configuration: raw (what the file says) -> checked (what makes sense).

mod checked;

pub use checked::*;
