//! Passes: how people in doubt earn their way in, by proof of work, by waiting, or with a code from a person.
//!
//! Nothing is remembered of whom a puzzle or a place was given to: see [`token`](TokenSigner). A pass lifts its holder to
//! [`guichet_core::Standing::Proven`] at one service, from one network and one program, for half an hour and some
//! hundred requests. It is a bid, not a gate: critical services, partners and sessions are never asked for one.

mod codes;
mod desk;
mod events;
mod form;
mod grants;
mod page;
mod room;
mod spent;
mod token;
mod work;

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use guichet_core::Reason;
use guichet_core::bounds::{CODE_SERIALS, WORK_BITS_LEAST};
use http::HeaderMap;
use http::header::USER_AGENT;

pub use codes::{Code, DAYS as CODE_DAYS, USES as CODE_USES, write as write_code};
pub(crate) use desk::{Visit, attend};
pub use events::{Event, Events};
pub use grants::Grants;
pub(crate) use page::Frame;
pub use room::{ROOM_COOKIE, RoomPlace, Standing as RoomStanding};
pub use spent::Spent;
pub use token::{Token, TokenSigner, Use};
pub use work::{bits_for, solve, solves};

use crate::identify::{cookie, network_of};

/// Where the door answers by itself, at every service.
pub const PATH: &str = "/.well-known/guichet/";
/// Cookie of a pass, for browsers. Never forwarded to a service.
pub const PASS_COOKIE: &str = "guichet-pass";
/// Header of a pass, for programs.
pub const PASS_HEADER: &str = "guichet-pass";

/// How long a pass counts, and for how many requests.
const PASS_LIFE_S: u32 = 1800;
const PASS_BUDGET: u16 = 300;
/// How long a puzzle or place can be turned into a pass.
const PUZZLE_LIFE_S: u32 = 300;
const PLACE_LIFE_S: u32 = 900;
/// How long one waits who does not calculate, and by how much longer for each mark against one.
const WAIT_S: u32 = 8;
const WAIT_PER_MARK_S: u32 = 6;

const _: () = assert!(PASS_LIFE_S <= spent::GENERATION_S);

/// What all workers share, whatever configuration is in force. Fixed size.
#[derive(Debug)]
pub struct PassCounts {
    /// Requests made with passes.
    pub spent: Spent,
    /// What befell passes.
    pub events: Events,
    /// Passes given by waiting, by network.
    pub waits: Grants,
    /// Places in waiting rooms, by network.
    pub rooms: Grants,
    /// Codes tried, by network.
    pub tries: Grants,
    /// By serial number of a code: the hour of its end, and how often it was used.
    codes: Box<[AtomicU32]>,
    /// Serial number of the next code.
    next_code: AtomicU32,
}

impl Default for PassCounts {
    fn default() -> Self {
        Self {
            spent: Spent::default(),
            events: Events::default(),
            waits: Grants::default(),
            rooms: Grants::default(),
            tries: Grants::default(),
            codes: (0..CODE_SERIALS).map(|_| AtomicU32::new(0)).collect(),
            next_code: AtomicU32::new(0),
        }
    }
}

impl PassCounts {
    /// The serial number of a new code. `chance`: where this node begins.
    pub fn next_serial(&self, chance: u64) -> u16 {
        let _ = self.next_code.compare_exchange(0, (chance as u32 & 0xffff) | 1 << 16, Relaxed, Relaxed);
        self.next_code.fetch_add(1, Relaxed) as u16
    }

    /// Whether a code may be used once more. A code whose serial number was given out anew with a later end is over.
    fn use_code(&self, code: &Code) -> bool {
        let hour = (code.ends_s / 3600) as u32 & 0xffff;
        let used = self.codes[usize::from(code.serial)].fetch_update(Relaxed, Relaxed, |held| {
            let (of, count) = (held >> 16, held & 0xffff);
            let ahead = hour.wrapping_sub(of) as u16 as i16;
            match ahead {
                0 if count < u32::from(code.uses) => Some(held + 1),
                _ if held == 0 || ahead > 0 => Some(hour << 16 | 1),
                _ => None,
            }
        });
        used.is_ok()
    }
}

/// One worker's way to sign and verify.
pub struct Passes {
    signer: TokenSigner,
    counts: Arc<PassCounts>,
    chance: Cell<u64>,
}

/// What somebody is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The puzzle, and how many bits each part of its solution must have.
    pub puzzle: String,
    /// See `puzzle`.
    pub bits: u8,
    /// A place in a queue of one: good once the time to wait is over.
    pub place: String,
    /// Seconds to wait.
    pub wait_s: u32,
    /// Where to go on; empty where a form was sent, which must be sent again.
    pub to: String,
}

impl Offer {
    fn wait_url(&self) -> String {
        wait_url(&self.place, &self.to)
    }
}

fn wait_url(place: &str, to: &str) -> String {
    url(format!("{PATH}wait?place={place}&to="), to)
}

fn room_url(to: &str) -> String {
    url(format!("{PATH}room?to="), to)
}

fn url(mut url: String, to: &str) -> String {
    for byte in to.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => url.push(char::from(byte)),
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

/// Who asks, as far as a token is bound to it.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The service.
    pub service: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// Its User-Agent.
    pub agent: &'a [u8],
}

impl<'a> Holder<'a> {
    /// Of a request with these headers.
    #[must_use]
    pub fn of(service: &'a str, client: IpAddr, headers: &'a HeaderMap) -> Self {
        Self { service, client, agent: headers.get(USER_AGENT).map_or(&b""[..], |field| field.as_bytes()) }
    }
}

impl Passes {
    /// A worker's own. `seed` of the node, `chance` of the worker.
    #[must_use]
    pub fn new(seed: &[u8; 32], counts: Arc<PassCounts>, chance: u64) -> Self {
        Self { signer: TokenSigner::new(seed), counts, chance: Cell::new(chance) }
    }

    /// The pass that a request shows, if it counts: its use is counted.
    #[must_use]
    pub fn shown(&self, holder: &Holder<'_>, headers: &HeaderMap, now_s: u64) -> Option<Token> {
        let in_header = headers.get(PASS_HEADER).and_then(|field| field.to_str().ok());
        let text = in_header.or_else(|| cookie(headers, PASS_COOKIE))?;
        let Some(pass) = self.signer.verify(text, Use::Pass, self.binding(holder), seconds(now_s)) else {
            self.note(Event::Invalid);
            return None;
        };
        let good = self.counts.spent.count(pass.id, pass.issued_s) <= pass.budget;
        self.note(if good { Event::Shown } else { Event::UsedUp });
        good.then_some(pass)
    }

    /// What can be offered to somebody with so many marks against it.
    #[must_use]
    pub fn offer(&self, holder: &Holder<'_>, marks: u8, to: String, now_s: u64) -> Offer {
        self.note(Event::Offered);
        let (now, binding) = (seconds(now_s), self.binding(holder));
        let bits = bits_for(marks);
        let wait_s = WAIT_S + WAIT_PER_MARK_S * u32::from(bits - WORK_BITS_LEAST);
        let base = Token {
            usage: Use::Puzzle,
            bid: bits,
            budget: PASS_BUDGET,
            issued_s: now,
            ends_s: now + PUZZLE_LIFE_S,
            id: self.draw(),
            binding,
        };
        let place = Token { usage: Use::Place, bid: wait_s as u8, ends_s: now + PLACE_LIFE_S, id: self.draw(), ..base };
        Offer { puzzle: self.signer.sign(&base), bits, place: self.signer.sign(&place), wait_s, to }
    }

    /// What is offered to somebody who gets in with a code alone: nothing is signed for it.
    #[must_use]
    pub fn offer_code(&self, to: String) -> Offer {
        self.note(Event::Offered);
        Offer { puzzle: String::new(), bits: WORK_BITS_LEAST, place: String::new(), wait_s: WAIT_S, to }
    }

    /// A pass for a solved puzzle.
    #[must_use]
    pub fn for_work(&self, holder: &Holder<'_>, puzzle: &str, numbers: &str, now_s: u64) -> Option<Token> {
        let token = self.signer.verify(puzzle, Use::Puzzle, self.binding(holder), seconds(now_s))?;
        let numbers = work::read(numbers)?;
        let good = solves(puzzle, token.bid, &numbers);
        self.note(if good { Event::Worked } else { Event::Denied });
        good.then(|| pass_for(&token, token.bid))
    }

    /// A pass for somebody who waited; `Err`: seconds still to wait.
    fn for_waiting(&self, holder: &Holder<'_>, place: &str, now_s: u64, now_ms: u64) -> Result<Token, Option<u32>> {
        let token = self.signer.verify(place, Use::Place, self.binding(holder), seconds(now_s)).ok_or(None)?;
        let due_s = token.issued_s + u32::from(token.bid);
        if seconds(now_s) < due_s {
            return Err(Some(due_s - seconds(now_s)));
        }
        // Many places of one network earn no more passes than its share: thirty at once, then one every two seconds.
        let network = self.network(holder);
        if !self.counts.waits.take(network, now_ms, 30, 30) {
            return Err(Some(5));
        }
        self.note(Event::Waited);
        Ok(pass_for(&token, 0))
    }

    /// A pass for a code.
    fn for_code(&self, holder: &Holder<'_>, text: &str, now_s: u64, now_ms: u64) -> Option<Token> {
        let network = self.network(holder);
        if !self.counts.tries.take(network, now_ms, 10, 6) {
            self.note(Event::Denied);
            return None;
        }
        let code = codes::read(text, &self.signer, now_s)?;
        if !self.counts.use_code(&code) {
            return None;
        }
        self.note(Event::Coded);
        let now = seconds(now_s);
        let token = Token {
            usage: Use::Pass,
            bid: u8::MAX,
            budget: 2 * PASS_BUDGET,
            issued_s: now,
            ends_s: now + PASS_LIFE_S,
            id: self.draw(),
            binding: self.binding(holder),
        };
        Some(token)
    }

    fn note(&self, event: Event) {
        self.counts.events.note(event);
    }

    /// The text that proves a pass, as its holder keeps it.
    #[must_use]
    pub fn sign(&self, pass: &Token) -> String {
        self.signer.sign(pass)
    }

    /// A new code, good for `uses` passes until `ends_s`.
    #[must_use]
    pub fn code(signer: &TokenSigner, counts: &PassCounts, uses: u16, ends_s: u64, chance: u64) -> String {
        write_code(&Code { serial: counts.next_serial(chance), ends_s, uses }, signer)
    }

    /// To whom a token is given: this service, this network, this program. A telephone that changes its network earns
    /// anew. What a TLS handshake looks like is not part of it: it differs when a browser resumes a session.
    fn binding(&self, holder: &Holder<'_>) -> u64 {
        let agent = &holder.agent[..holder.agent.len().min(512)];
        let mut bytes = Vec::with_capacity(holder.service.len() + agent.len() + 20);
        bytes.extend_from_slice(&network(holder.client, 24, 48));
        bytes.push(holder.service.len() as u8);
        bytes.extend_from_slice(holder.service.as_bytes());
        bytes.extend_from_slice(agent);
        self.signer.number(b"binding", &bytes)
    }

    /// The network that grants are counted for: an IPv4 address, or an IPv6 /64.
    fn network(&self, holder: &Holder<'_>) -> u64 {
        self.signer.number(b"network", &network(holder.client, 32, 64))
    }

    fn draw(&self) -> u64 {
        let next = self.chance.get().wrapping_add(1);
        self.chance.set(next);
        self.signer.number(b"id", &next.to_be_bytes())
    }
}

/// The pass that a solved puzzle or a place that is due earns: always the same one.
const fn pass_for(earned: &Token, bid: u8) -> Token {
    Token { usage: Use::Pass, bid, ends_s: earned.issued_s + PASS_LIFE_S, ..*earned }
}

/// Unix seconds as tokens have them: good until 2106.
fn seconds(now_s: u64) -> u32 {
    u32::try_from(now_s).unwrap_or(u32::MAX)
}

/// The first bits of an address, as 16 bytes of either kind.
fn network(address: IpAddr, v4_bits: u8, v6_bits: u8) -> [u8; 16] {
    match network_of(address, v4_bits, v6_bits).addr() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Whether somebody who is refused for this reason may earn a pass instead.
#[must_use]
pub const fn earnable(reason: Reason) -> bool {
    matches!(reason, Reason::ChallengeNeeded | Reason::BelowThreshold | Reason::FairShare | Reason::Suspect)
}

#[cfg(test)]
mod tests;
