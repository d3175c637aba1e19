//! Notices answers on HTTP/2 that the client does not take: a window kept shut holds the answer, its buffers and the
//! stream for as long as the client likes.
//!
//! Each answer notes when it handed a piece to hyper; hyper asks for the next one only when the window had room. A
//! piece that is not taken within the grace, plus the time that it takes at the floor rate, is stalled. One stalled
//! stream (a paused download) is borne for a while if others move; when nothing moves, or it lasts too long, the
//! connection ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use guichet_core::Moment;

use super::deadline::Timer;
use super::watch::{Wait, Watch};
use crate::clock;
use crate::config::Limits;

/// How many times the usual patience a stalled stream has while others of its connection move.
const PATIENCE_WHILE_OTHERS_MOVE: u32 = 6;
/// Between two looks, at least.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// And at most, so that a client that keeps the door waiting is noted soon.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// A piece that was handed over.
#[derive(Debug, Clone, Copy)]
struct Piece {
    at: Moment,
    bytes: usize,
}

/// The answers of one connection; as many as it may have streams.
#[derive(Debug, Default)]
pub(super) struct Stalls {
    answers: RefCell<Vec<Rc<Cell<Option<Piece>>>>>,
    timer: RefCell<Timer>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Handed(Rc<Cell<Option<Piece>>>);

impl Handed {
    /// A piece was handed over.
    pub(super) fn handed_over(&self, bytes: usize) {
        self.0.set(Some(Piece { at: clock::now(), bytes }));
    }

    /// All that was handed over was taken.
    pub(super) fn taken(&self) {
        self.0.set(None);
    }
}

impl Stalls {
    pub(super) fn track(&self) -> Handed {
        let answer = Rc::new(Cell::new(None));
        let mut answers = self.answers.borrow_mut();
        // An answer that nobody else holds is over.
        answers.retain(|a| Rc::strong_count(a) > 1);
        answers.push(Rc::clone(&answer));
        Handed(answer)
    }

    /// Whether the connection is stalled. Else the task is woken to look again.
    pub(super) fn stalled(&self, cx: &mut Context<'_>, limits: &Limits, watch: &Watch) -> bool {
        let data_out = watch.data_out();
        let mut answers = self.answers.borrow_mut();
        answers.retain(|a| Rc::strong_count(a) > 1);
        let waits = answers.iter().filter_map(|answer| answer.get()).map(|piece| piece.at.max(data_out)).min();
        watch.set_waits(Wait::Read, waits);
        if answers.is_empty() {
            return false;
        }
        let now = clock::now();
        let due = answers.iter().filter_map(|answer| answer.get()).map(|piece| due(piece, limits, data_out)).min();
        if due.is_some_and(|due| now >= due) {
            return true;
        }
        // Pieces are handed over without this task being polled, so it looks now and then.
        let look_again = now.after(limits.body_grace.clamp(LOOK_INTERVAL_MIN, LOOK_INTERVAL_MAX));
        let _ = self.timer.borrow_mut().poll(cx, now, due.map_or(look_again, |due| due.min(look_again)));
        false
    }
}

/// When a piece that is not taken stalls the connection: the patience counts from when data last went out, on this
/// stream or another, but not without end.
fn due(piece: Piece, limits: &Limits, data_out: Moment) -> Moment {
    let at_floor = Duration::from_secs_f64(piece.bytes as f64 / limits.read_rate_bytes_s_min.max(1) as f64);
    let patience = limits.body_grace.saturating_add(at_floor);
    let last = piece.at.after(patience.saturating_mul(PATIENCE_WHILE_OTHERS_MOVE));
    piece.at.max(data_out).after(patience).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Poll;

    #[test]
    fn patience_counts_from_the_last_movement_but_ends() {
        let limits = Limits { body_grace: Duration::from_secs(5), read_rate_bytes_s_min: 100, ..Limits::default() };
        let second = |n: u64| Moment(n * 1_000_000);
        let check = |bytes, data_out, expected| {
            assert_eq!(due(Piece { at: second(100), bytes }, &limits, second(data_out)), second(expected));
        };
        check(0, 0, 105);
        check(1000, 0, 115);
        check(1000, 100, 115);
        check(1000, 110, 125);
        check(1000, 500, 190);
    }

    #[tokio::test]
    async fn what_is_taken_or_over_is_forgotten() {
        let limits = Limits { body_grace: Duration::ZERO, ..Limits::default() };
        let (stalls, watch) = (Stalls::default(), Watch::new("192.0.2.1:1".parse().unwrap(), 1, Moment(0)));
        poll_fn(|cx| {
            let mut stalled = || stalls.stalled(cx, &limits, &watch);
            assert!(!stalled());
            let (one, two) = (stalls.track(), stalls.track());
            assert!(!stalled());
            one.handed_over(0);
            assert!(stalled());
            one.taken();
            assert!(!stalled());
            two.handed_over(0);
            assert!(stalled());
            drop(two);
            assert!(!stalled());
            assert_eq!(stalls.answers.borrow().len(), 1);
            Poll::Ready(())
        })
        .await;
    }
}
