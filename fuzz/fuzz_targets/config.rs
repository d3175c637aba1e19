//! Arbitrary bytes as the configuration: no panic, and no refusal without a reason.
#![no_main]

use std::path::Path;

use guichet_proxy::config::{InMemory, load_from};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let world = InMemory::with("guichet.toml", bytes);
    match load_from(&world, Path::new("guichet.toml")) {
        Ok(loaded) => assert!(!loaded.config.listeners.is_empty()),
        Err(report) => {
            assert!(report.errors() > 0, "refused without a reason");
            let _ = (report.render(true), report.to_json());
        }
    }
});
