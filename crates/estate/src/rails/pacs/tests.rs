//! The clock of a transfer, without waiting for it.

use super::outbound::{Heard, Reply, converse};
use guichet_iso20022::{Report, Status};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn said(status: Status, reason: &str) -> Reply {
    Reply::Said(Report {
        message: "R".into(),
        made_ms: 0,
        original_message: "M".into(),
        original: "T".into(),
        end_to_end: String::new(),
        status,
        reason: reason.into(),
        words: String::new(),
    })
}

async fn nobody_is_asked() -> Reply {
    panic!("asked")
}

const UNTIL: Duration = Duration::from_secs(9);

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_taken_and_nobody_is_asked() {
    let begun = Instant::now();
    let heard = converse(
        begun + UNTIL,
        async {
            sleep(Duration::from_millis(4_900)).await;
            said(Status::Settled, "")
        },
        nobody_is_asked,
    )
    .await;
    assert!(matches!(heard, Heard::Said(report) if report.status == Status::Settled));
    assert_eq!(begun.elapsed(), Duration::from_millis(4_900));
}

#[tokio::test(start_paused = true)]
async fn silence_is_asked_about_from_five_seconds_to_nine_and_never_sent_again() {
    let (begun, asked) = (Instant::now(), Cell::new(0));
    let heard = converse(begun + UNTIL, std::future::pending(), || {
        assert!(begun.elapsed() >= Duration::from_secs(5));
        asked.set(asked.get() + 1);
        // Pending, or known to nobody yet: no word either.
        std::future::ready(if asked.get() % 2 == 0 {
            said(Status::Pending, "")
        } else {
            said(Status::Rejected, "NOOR")
        })
    })
    .await;
    assert!(matches!(heard, Heard::Silence), "{heard:?}");
    assert_eq!((begun.elapsed(), asked.get()), (UNTIL, 4));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_question_settles_it() {
    for (status, reason) in [(Status::Accepted, ""), (Status::Rejected, "AC01")] {
        let begun = Instant::now();
        let heard = converse(begun + UNTIL, async { Reply::Nothing }, || async { said(status, reason) }).await;
        assert!(matches!(heard, Heard::Said(report) if report.status == status && report.reason == reason));
    }
    let heard = converse(Instant::now() + UNTIL, async { Reply::NotSent }, nobody_is_asked).await;
    assert!(matches!(heard, Heard::NotSent));
}

#[tokio::test(start_paused = true)]
async fn an_other_bank_that_hangs_costs_nine_seconds_and_not_more() {
    let begun = Instant::now();
    let heard = converse(begun + UNTIL, std::future::pending(), std::future::pending).await;
    assert!(matches!(heard, Heard::Silence));
    assert_eq!(begun.elapsed(), UNTIL);
}
