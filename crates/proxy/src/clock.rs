//! The clocks of the proxy: monotonic time since the process started, and wall time where others must understand it.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use guichet_core::Moment;

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The present moment.
#[must_use]
pub fn now() -> Moment {
    Moment(ORIGIN.elapsed().as_micros() as u64)
}

/// Wall time, seconds since 1970.
#[must_use]
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs())
}
