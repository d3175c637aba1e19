//! The sans-IO scanner: follows heads and bodies over a connection and says what may pass.

use guichet_core::Reason;

use super::chunked::{self, Chunked};
use super::head::{Framing, Head, Progress};

/// Bounds on a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadBounds {
    /// Bytes of a head, with its empty line.
    pub head_bytes_max: usize,
    /// Header fields.
    pub header_fields_max: usize,
    /// Bytes of a target.
    pub target_bytes_max: usize,
}

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first byte of a request, or the rest of its head.
    Head,
    /// The rest of a body.
    Body,
    /// Whether the upgrade just asked for is granted.
    Upgrade,
    /// Nothing: it was refused.
    Refused,
}

/// What follows the bytes that may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, or the start of something that has to be held until there is more of it.
    More,
    /// Bytes that are HTTP only if the upgrade just asked for is not granted.
    Upgrade,
    /// A request that is refused.
    RefusedHead(Reason),
    /// A body that breaks off here.
    BrokenBody(Reason),
}

/// The verdict on some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// Bytes that may pass, from the start.
    pub pass: usize,
    /// What follows them.
    pub verdict: Verdict,
}

#[derive(Debug)]
enum State {
    Head(Head),
    Length(u64),
    Chunked(Chunked),
    Upgrade,
    Refused(Verdict),
}

/// Follows the framing of one connection.
#[derive(Debug)]
pub struct Scanner {
    bounds: HeadBounds,
    state: State,
    heads: u64,
}

impl Scanner {
    /// At the start of a connection.
    #[must_use]
    pub fn new(bounds: HeadBounds) -> Self {
        Self { bounds, state: State::Head(Head::default()), heads: 0 }
    }

    /// Heads passed so far.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// What the connection waits for.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Head(_) => Phase::Head,
            State::Length(_) | State::Chunked(_) => Phase::Body,
            State::Upgrade => Phase::Upgrade,
            State::Refused(_) => Phase::Refused,
        }
    }

    /// The upgrade was not granted: what follows is another request.
    pub fn upgrade_declined(&mut self) {
        if matches!(self.state, State::Upgrade) {
            self.state = State::Head(Head::default());
        }
    }

    /// Judges `data`, which starts with the first byte that has not passed: what was held back comes again, with more
    /// behind it. The verdict does not depend on how the bytes were cut.
    pub fn scan(&mut self, data: &[u8]) -> Scan {
        let mut pass = 0;
        loop {
            let rest = &data[pass..];
            let (passed, verdict) = self.step(rest);
            pass += passed;
            match verdict {
                Some(verdict) => return Scan { pass, verdict },
                None if pass == data.len() => return Scan { pass, verdict: Verdict::More },
                None => {}
            }
        }
    }

    /// One head or piece of body: bytes that may pass, and a verdict if the scan ends here.
    fn step(&mut self, rest: &[u8]) -> (usize, Option<Verdict>) {
        match &mut self.state {
            State::Head(head) => match head.scan(rest, &self.bounds) {
                Ok(Progress::More) => (0, Some(Verdict::More)),
                Ok(Progress::Done { bytes, framing, upgrade }) => {
                    self.heads += 1;
                    self.state = match framing {
                        Framing::None if upgrade => State::Upgrade,
                        Framing::None => State::Head(Head::default()),
                        Framing::Length(length) => State::Length(length),
                        Framing::Chunked => State::Chunked(Chunked::new()),
                    };
                    (bytes, None)
                }
                Err(reason) => self.refuse(0, Verdict::RefusedHead(reason)),
            },
            State::Length(left) => {
                let count = (*left).min(rest.len() as u64);
                *left -= count;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                (count as usize, None)
            }
            State::Chunked(body) => match body.scan(rest) {
                chunked::Progress::More(passed) => (passed, Some(Verdict::More)),
                chunked::Progress::Done(passed) => {
                    self.state = State::Head(Head::default());
                    (passed, None)
                }
                chunked::Progress::Bad(passed) => self.refuse(passed, Verdict::BrokenBody(Reason::BadChunk)),
            },
            State::Upgrade => (0, Some(Verdict::Upgrade)),
            State::Refused(verdict) => (0, Some(*verdict)),
        }
    }

    fn refuse(&mut self, passed: usize, verdict: Verdict) -> (usize, Option<Verdict>) {
        self.state = State::Refused(verdict);
        (passed, Some(verdict))
    }
}
