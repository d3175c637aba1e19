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
use crate::clock;
use crate::config::Limits;

/// How many times the usual patience a stalled stream has while others of its connection move.
const PATIENCE_WHILE_OTHERS_MOVE: u32 = 6;

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

    /// Whether the connection is stalled; `data_out` is when it last sent data. Else the task is woken to look again.
    pub(super) fn stalled(&self, cx: &mut Context<'_>, limits: &Limits, data_out: Moment) -> bool {
        let mut answers = self.answers.borrow_mut();
        answers.retain(|a| Rc::strong_count(a) > 1);
        if answers.is_empty() {
            return false;
        }
        let now = clock::now();
        let deadlines = answers.iter().filter_map(|answer| answer.get()).map(|piece| {
            let at_floor = Duration::from_secs_f64(piece.bytes as f64 / limits.read_rate_bytes_s_min.max(1) as f64);
            let patience = limits.body_grace.saturating_add(at_floor);
            let others_move = data_out > piece.at;
            let usual = piece.at.max(data_out).after(patience);
            let last = piece.at.after(patience.saturating_mul(PATIENCE_WHILE_OTHERS_MOVE));
            if others_move { usual.min(last) } else { usual }
        });
        // Pieces may be handed over without this task being polled, so it looks at least once a grace.
        let soonest =
            deadlines.min().map_or(now.after(limits.body_grace), |d| d.min(now.after(limits.body_grace).max(now)));
        match answers.iter().any(|a| a.get().is_some()) {
            _ if soonest > now => {
                let _ = self.timer.borrow_mut().poll(cx, now, soonest);
                false
            }
            overdue => overdue,
        }
    }
}
