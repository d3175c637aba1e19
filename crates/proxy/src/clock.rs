//! The one clock of the proxy: monotonic time since the process started.

use std::sync::LazyLock;
use std::time::Instant;

use guichet_core::Moment;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The present moment.
#[must_use]
pub fn now() -> Moment {
    Moment(ORIGIN.elapsed().as_micros() as u64)
}
