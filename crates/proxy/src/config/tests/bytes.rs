//! Arbitrary bytes never panic, and never get past the checks unseen.

use std::path::Path;

use proptest::prelude::*;

use super::{GOOD, load_in, world};
use crate::config::{InMemory, load_from};

fn load_bytes(bytes: Vec<u8>) {
    let world = InMemory::with("x.toml", bytes);
    match load_from(&world, Path::new("x.toml")) {
        Ok(loaded) => assert!(!loaded.config.listeners.is_empty() && !loaded.config.services.is_empty()),
        Err(report) => {
            assert!(report.errors() > 0 || report.omitted > 0, "refused without a reason");
            let _ = (report.render(true), report.to_json());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        load_bytes(bytes);
    }

    #[test]
    fn any_text_of_toml_characters(text in "[\\[\\]{}=.,\"'#a-c0-9_ \n\\-+]{0,200}") {
        load_bytes(text.into_bytes());
    }

    #[test]
    fn the_good_file_with_a_piece_replaced(at in 0..GOOD.len(), length in 0..40_usize, piece in "[ -~\n]{0,12}") {
        let end = (at + length).min(GOOD.len());
        let mut text = GOOD.as_bytes().to_vec();
        text.splice(at..end, piece.bytes());
        let world = world(&String::from_utf8(text).expect("ASCII"));
        if let Err(report) = load_in(&world) {
            for problem in &report.problems {
                prop_assert!(!problem.mend.is_empty() && !problem.cause.is_empty(), "{report}");
            }
        }
    }
}

#[test]
fn deep_and_wide_files_are_refused_and_not_fatal() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}1{}", "{b=".repeat(5_000), "}".repeat(5_000)),
        format!("[{}]\n", vec!["a"; 5_000].join(".")),
        "[[listener]]\n".repeat(5_000),
        "=\n".repeat(20_000),
        (0..20_000).map(|i| format!("[service.s{i}]\n")).collect(),
    ] {
        load_bytes(text.into_bytes());
    }
}
