//! Arbitrary text as a scenario of a drill: no panic, no refusal without a reason, and nothing over the drill's bounds.
#![no_main]

use std::path::Path;

use guichet_core::bounds::{DRILL_POPULATIONS_MAX, DRILL_TOTAL_S_MAX};
use guichet_drill::scenario::Scenario;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Scenario::parse(text, Path::new("drills/x.toml")) {
        Ok(scenario) => {
            assert!(scenario.phases.total_ms() <= u64::from(DRILL_TOTAL_S_MAX) * 1000);
            assert!(scenario.real.len() <= DRILL_POPULATIONS_MAX);
            for wave in &scenario.waves {
                assert!(wave.from_ms < wave.until_ms && wave.until_ms <= scenario.phases.total_ms());
                assert!(!wave.targets.is_empty() && wave.sources.count() > 0);
            }
            let _ = scenario.connections_max();
        }
        Err(problems) => {
            assert!(!problems.list.is_empty(), "refused without a reason");
            assert!(problems.list.iter().all(|p| !p.cause.is_empty()));
            assert!(!problems.to_string().is_empty());
        }
    }
});
