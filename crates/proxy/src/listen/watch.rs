//! What the protocol guard, the driver and the idle registry of one connection tell each other.
//!
//! The guard sits inside the IO that hyper owns, and hyper asks of an IO that may be upgraded that it be `Send`; so
//! this is made of atomics, although all of it happens on one worker. Nothing here blocks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use guichet_core::{Moment, Reason};

use crate::signs::ConnectionLooks;

/// What somebody outside wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Command {
    /// Nothing.
    Serve = 0,
    /// Finish what is under way, then close.
    Drain = 1,
    /// Close now.
    Close = 2,
}

/// What a client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wait {
    /// The rest of a head.
    Head = 0,
    /// More of a body.
    Body = 1,
    /// That it takes an answer.
    Read = 2,
}

/// Who keeps the door waiting for longer than this is noted.
const STALL: Duration = Duration::from_secs(1);

/// Shared state of one connection.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The other end of the socket.
    peer: SocketAddr,
    /// The client's address by a PROXY header.
    proxied: OnceLock<SocketAddr>,
    /// Whether it speaks HTTP by now.
    served: AtomicBool,
    /// Requests handed to the desk so far.
    begun: AtomicU64,
    /// Requests whose answer has not ended.
    in_flight: AtomicU32,
    /// Which request (counted from 1) stands in place of a malformed one; 0: none.
    substitute_at: AtomicU64,
    /// Why that one is refused, or why a body or the connection broke: a position in `Reason::ALL` plus one.
    violation: AtomicU16,
    /// Why the connection ended, in the same form.
    ended: AtomicU16,
    /// Set once an answer was 101: what follows is not HTTP any more.
    transparent: AtomicBool,
    /// Close with a reset.
    abort: AtomicBool,
    /// Whether a request was ever answered well here.
    good: AtomicBool,
    /// Present bound on streams.
    streams_max: AtomicU32,
    /// When the connection last fell idle, in microseconds of the proxy's clock.
    idle_since: AtomicU64,
    /// When data last went out on HTTP/2, in the same form.
    data_out: AtomicU64,
    /// Since when the client is waited for, by [`Wait`]; 0: it is not.
    waits: [AtomicU64; 3],
    /// What it looks like, once it was looked at.
    pub(crate) looks: OnceLock<Arc<ConnectionLooks>>,
    /// What is wanted: see [`Command`].
    command: AtomicU8,
    /// Wakes the driver.
    pub(crate) driver: AtomicWaker,
    /// Wakes the guard's reading side.
    pub(crate) guard: AtomicWaker,
    /// HTTP/2 fingerprint.
    pub(crate) h2_fingerprint: OnceLock<String>,
}

fn to_code(reason: Reason) -> u16 {
    Reason::ALL.iter().position(|r| *r == reason).map_or(0, |at| at as u16 + 1)
}

fn from_code(code: u16) -> Option<Reason> {
    Reason::ALL.get(usize::from(code).checked_sub(1)?).copied()
}

impl Watch {
    /// Of a fresh connection.
    pub(crate) fn new(peer: SocketAddr, streams_max: u32, now: Moment) -> Self {
        Self {
            peer,
            proxied: OnceLock::new(),
            served: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            substitute_at: AtomicU64::new(0),
            violation: AtomicU16::new(0),
            ended: AtomicU16::new(0),
            transparent: AtomicBool::new(false),
            abort: AtomicBool::new(false),
            good: AtomicBool::new(false),
            streams_max: AtomicU32::new(streams_max),
            idle_since: AtomicU64::new(now.0),
            data_out: AtomicU64::new(0),
            waits: Default::default(),
            looks: OnceLock::new(),
            command: AtomicU8::new(0),
            driver: AtomicWaker::new(),
            guard: AtomicWaker::new(),
            h2_fingerprint: OnceLock::new(),
        }
    }

    /// Best known address of the client.
    pub(crate) fn client(&self) -> SocketAddr {
        self.proxied.get().copied().unwrap_or(self.peer)
    }

    /// A PROXY header told the client's address.
    pub(crate) fn set_proxied(&self, client: SocketAddr) {
        let _ = self.proxied.set(client);
    }

    /// The connection is handed to its driver.
    pub(crate) fn set_served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    pub(crate) fn served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// A request goes to the desk; tells which one it is, from 1.
    pub(crate) fn begin(&self) -> u64 {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An answer ended (its body too, as far as the desk is concerned).
    pub(crate) fn end(&self, now: Moment) {
        if self.in_flight.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.idle_since.store(now.0, Ordering::Relaxed);
        }
        // The guard may be waiting to look at what follows, or to start the idle deadline.
        self.guard.wake();
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn idle_since(&self) -> Moment {
        Moment(self.idle_since.load(Ordering::Relaxed))
    }

    pub(crate) fn touch(&self, now: Moment) {
        self.idle_since.store(now.0, Ordering::Relaxed);
    }

    /// Request `number` stands in for one that is refused for `reason`.
    pub(crate) fn substitute(&self, number: u64, reason: Reason) {
        self.substitute_at.store(number, Ordering::Relaxed);
        self.violation.store(to_code(reason), Ordering::Relaxed);
    }

    /// The body or the connection broke for `reason`.
    pub(crate) fn broke(&self, reason: Reason) {
        self.substitute_at.store(1, Ordering::Relaxed);
        self.violation.store(to_code(reason), Ordering::Relaxed);
    }

    /// The violation that holds for request `number`.
    pub(crate) fn violation_for(&self, number: u64) -> Option<Reason> {
        let at = self.substitute_at.load(Ordering::Relaxed);
        if at == 0 || number < at { None } else { from_code(self.violation.load(Ordering::Relaxed)) }
    }

    /// The connection ends for `reason`; the first one told counts.
    pub(crate) fn ended_for(&self, reason: Reason) {
        let _ = self.ended.compare_exchange(0, to_code(reason), Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) -> Option<Reason> {
        from_code(self.ended.load(Ordering::Relaxed))
    }

    pub(crate) fn set_transparent(&self) {
        self.transparent.store(true, Ordering::Relaxed);
        self.guard.wake();
    }

    pub(crate) fn transparent(&self) -> bool {
        self.transparent.load(Ordering::Relaxed)
    }

    pub(crate) fn set_abort(&self) {
        self.abort.store(true, Ordering::Relaxed);
    }

    pub(crate) fn abort(&self) -> bool {
        self.abort.load(Ordering::Relaxed)
    }

    pub(crate) fn set_good(&self) {
        self.good.store(true, Ordering::Relaxed);
    }

    pub(crate) fn good(&self) -> bool {
        self.good.load(Ordering::Relaxed)
    }

    pub(crate) fn streams_max(&self) -> u32 {
        self.streams_max.load(Ordering::Relaxed)
    }

    /// A new bound on streams; the guard tells the client.
    pub(crate) fn set_streams_max(&self, streams: u32) {
        if self.streams_max.swap(streams, Ordering::Relaxed) != streams {
            self.guard.wake();
        }
    }

    pub(crate) fn note_data_out(&self, now: Moment) {
        self.data_out.store(now.0, Ordering::Relaxed);
    }

    pub(crate) fn data_out(&self) -> Moment {
        Moment(self.data_out.load(Ordering::Relaxed))
    }

    /// Since when the client is waited for: time that it made up for by what it sent or took is not counted.
    pub(crate) fn set_waits(&self, wait: Wait, since: Option<Moment>) {
        self.waits[wait as usize].store(since.map_or(0, |since| since.0.max(1)), Ordering::Relaxed);
    }

    /// Whether the client keeps the door waiting, and what the connection will end for if it goes on like this.
    pub(crate) fn stalls(&self, now: Moment) -> Option<Reason> {
        if self.transparent() {
            return None;
        }
        let long = |since: u64| since != 0 && now.since(Moment(since)) >= STALL;
        let waits = |wait: Wait| long(self.waits[wait as usize].load(Ordering::Relaxed));
        let silent = self.begun() == 0 && now.since(self.idle_since()) >= STALL;
        let endings = [
            (waits(Wait::Read), Reason::ReadTooSlow),
            (waits(Wait::Body), Reason::BodyTooSlow),
            (waits(Wait::Head), Reason::HeaderTimeout),
            (silent, Reason::IdleTimeout),
        ];
        endings.into_iter().find_map(|(stalls, ending)| stalls.then_some(ending))
    }

    /// Tells the driver what is wanted; a milder wish never replaces a stronger one.
    pub(crate) fn command(&self, command: Command) {
        self.command.fetch_max(command as u8, Ordering::Relaxed);
        self.driver.wake();
    }

    pub(crate) fn commanded(&self) -> Command {
        match self.command.load(Ordering::Relaxed) {
            0 => Command::Serve,
            1 => Command::Drain,
            _ => Command::Close,
        }
    }
}
