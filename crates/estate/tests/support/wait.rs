//! Ports and patience of tests.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A port that a test has to itself until it ends, for what is ended and started again at the same place. It lies below what the
/// system gives out, so that no connection takes it meanwhile.
pub(crate) fn port() -> u16 {
    static BLOCK: OnceLock<(u16, TcpListener)> = OnceLock::new();
    static DRAWN: AtomicU16 = AtomicU16::new(0);
    const PORTS: u16 = 10;
    let (base, _lock) = BLOCK.get_or_init(|| {
        let bases = (0..100u16).map(|attempt| 18_000 + (std::process::id() as u16 % 100 + attempt) % 100 * PORTS);
        let mut locked = bases.filter_map(|base| Some((base, TcpListener::bind(("127.0.0.1", base)).ok()?)));
        locked.next().expect("no block of ports is free")
    });
    let n = DRAWN.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(n < PORTS, "a test draws fewer than {PORTS} ports");
    base + n
}

/// Waits until `seen` gives something.
pub(crate) fn wait_for<T>(what: &str, mut seen: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = seen() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
