//! Deadlines and rate floors of a connection, kept cheap: one timer that is moved only when it must be.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use guichet_core::Moment;
use tokio::time::Sleep;

use crate::clock;

/// A timer that follows a deadline lazily: a deadline that moves away costs nothing until the old one comes.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    armed: Option<(Pin<Box<Sleep>>, Moment)>,
}

impl Timer {
    /// Whether `deadline` has passed; if not, the task is woken no later than then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, now: Moment, deadline: Moment) -> bool {
        if now >= deadline {
            return true;
        }
        loop {
            let (sleep, at) = match &mut self.armed {
                Some((sleep, at)) => {
                    if *at > deadline {
                        *at = deadline;
                        sleep.as_mut().reset(tokio::time::Instant::now() + deadline.since(now));
                    }
                    (sleep, at)
                }
                None => {
                    let sleep = Box::pin(tokio::time::sleep(deadline.since(now)));
                    let (sleep, at) = self.armed.insert((sleep, deadline));
                    (sleep, at)
                }
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return false;
            }
            let now = clock::now();
            if now >= deadline {
                return true;
            }
            // An older, earlier deadline came: move on to the present one. At least a millisecond, so that the
            // two clocks' rounding cannot make this spin.
            *at = deadline;
            let left = deadline.since(now).max(Duration::from_millis(1));
            sleep.as_mut().reset(tokio::time::Instant::now() + left);
        }
    }

    /// Frees the timer.
    pub(crate) fn clear(&mut self) {
        self.armed = None;
    }
}

/// A floor on a rate, as an allowance of waiting: waiting uses it up, bytes earn it back, up to the grace.
///
/// A client may thus pause for as long as the grace, and on average must move `rate` bytes a second while it is waited
/// for. Time in which nobody waits for it costs it nothing.
#[derive(Debug)]
pub(crate) struct Floor {
    grace: Duration,
    rate_bytes_s: u64,
    allowance: Duration,
    since: Option<Moment>,
    timer: Timer,
}

impl Floor {
    pub(crate) fn new(grace: Duration, rate_bytes_s: u64) -> Self {
        Self { grace, rate_bytes_s: rate_bytes_s.max(1), allowance: grace, since: None, timer: Timer::default() }
    }

    /// Still waiting: whether the client is below the floor.
    pub(crate) fn waiting(&mut self, cx: &mut Context<'_>) -> bool {
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        self.timer.poll(cx, now, since.after(self.allowance))
    }

    /// So many bytes moved.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let Some(since) = self.since.take() else { return };
        let earned = Duration::from_micros((bytes as u64).saturating_mul(1_000_000) / self.rate_bytes_s);
        self.allowance =
            self.allowance.saturating_sub(clock::now().since(since)).saturating_add(earned).min(self.grace);
    }

    /// Since when the client is waited for, all in all: what it made up for is not counted. `None`: nobody waits for it.
    pub(crate) fn waits_since(&self) -> Option<Moment> {
        let used = self.grace.saturating_sub(self.allowance).as_micros() as u64;
        self.since.map(|since| Moment(since.0.saturating_sub(used)))
    }

    /// All that was waited for is there.
    pub(crate) fn settled(&mut self) {
        if self.since.take().is_some() || self.allowance < self.grace {
            self.allowance = self.grace;
            self.timer.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Poll;

    #[tokio::test]
    async fn a_timer_follows_its_deadline_both_ways() {
        let mut timer = Timer::default();
        let start = clock::now();
        let far = start.after(Duration::from_secs(60));
        let near = start.after(Duration::from_millis(20));
        // Armed far away, then moved near, then moved a little on: it fires once the last one has passed.
        std::future::poll_fn(|cx| {
            assert!(!timer.poll(cx, start, far));
            Poll::Ready(())
        })
        .await;
        let later = near.after(Duration::from_millis(10));
        let mut polls = 0;
        std::future::poll_fn(|cx| {
            polls += 1;
            let deadline = if polls == 1 { near } else { later };
            if timer.poll(cx, clock::now(), deadline) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(clock::now() >= later);
        assert!(polls < 10, "{polls} polls");
    }

    #[tokio::test]
    async fn the_floor_takes_pauses_up_to_the_grace() {
        let mut floor = Floor::new(Duration::from_millis(30), 1000);
        let below = std::future::poll_fn(|cx| if floor.waiting(cx) { Poll::Ready(()) } else { Poll::Pending });
        let start = clock::now();
        below.await;
        assert!(clock::now().since(start) >= Duration::from_millis(30));
        // A byte earns a millisecond, never more than the grace.
        floor.moved(10);
        assert!(floor.allowance <= Duration::from_millis(10));
        floor.since = Some(clock::now());
        floor.moved(1_000_000);
        assert_eq!(floor.allowance, Duration::from_millis(30));
    }
}
