//! What the door signs for people in doubt: puzzles, places in a queue of one, and passes. All stateless.
//!
//! A token is a fixed row of bytes and a keyed hash over them, bound to the service, the network and the program it was
//! given to. Keys change every few hours; those of the period before still count. Nothing is remembered of a token that
//! was given out: only what was used of a pass is counted, in a table of fixed size ([`super::Spent`]).

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Use {
    /// A puzzle to be solved.
    Puzzle = 1,
    /// A place: good once its time is over.
    Place = 2,
    /// A pass.
    Pass = 3,
    /// A place in the waiting room.
    Room = 4,
}

impl Use {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Puzzle),
            2 => Some(Self::Place),
            3 => Some(Self::Pass),
            4 => Some(Self::Room),
            _ => None,
        }
    }
}

/// What a token says. Times are Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub usage: Use,
    /// Bits of work behind it or asked for; for a place, seconds to wait.
    pub bid: u8,
    /// Requests it is good for; for a puzzle, how many solutions.
    pub budget: u16,
    /// When it was made.
    pub issued_s: u32,
    /// When it ends.
    pub ends_s: u32,
    /// Tells it from others; a pass has that of what it was earned with, so that one solution earns one pass.
    pub id: u64,
    /// To whom it was given.
    pub binding: u64,
}

/// Bytes of a token, without and with its signature, and characters of it as text.
const BYTES: usize = 29;
const MAC_BYTES: usize = 16;
const TEXT: usize = (BYTES + MAC_BYTES).div_ceil(3) * 4;
/// A key signs for this long, and the one before it still counts.
const KEY_PERIOD_S: u32 = 6 * 3600;

/// Signs and verifies tokens: for one node or, with the same seed, for all.
#[derive(Clone)]
pub struct TokenSigner {
    root: hmac::Key,
    /// Keys of two periods, the present one last; made anew when the period changes.
    keys: std::cell::RefCell<Vec<(u32, hmac::Key)>>,
}

impl TokenSigner {
    /// A signer of this seed. Belongs to one worker.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, seed), b"guichet passes 1");
        Self { root: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), keys: std::cell::RefCell::default() }
    }

    /// A token as text.
    #[must_use]
    pub fn sign(&self, token: &Token) -> String {
        let mut bytes = [0; BYTES + MAC_BYTES];
        bytes[..BYTES].copy_from_slice(&token.bytes());
        let tag = hmac::sign(&self.key(token.issued_s / KEY_PERIOD_S), &bytes[..BYTES]);
        bytes[BYTES..].copy_from_slice(&tag.as_ref()[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a text says, if this door signed it, for this use and this client, and it has not ended.
    ///
    /// Cheap checks come first: length, use, times, binding; the signature last.
    #[must_use]
    pub fn verify(&self, text: &str, usage: Use, binding: u64, now_s: u32) -> Option<Token> {
        if text.len() > TEXT {
            return None;
        }
        let mut bytes = [0; BYTES + MAC_BYTES];
        if URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) != Ok(BYTES + MAC_BYTES) {
            return None;
        }
        let token = Token::from_bytes(&bytes)?;
        let period = token.issued_s / KEY_PERIOD_S;
        // A minute of grace for clocks of other nodes that are ahead.
        let fits = token.usage == usage
            && token.binding == binding
            && token.issued_s <= now_s.saturating_add(60)
            && now_s < token.ends_s
            && period + 1 >= now_s / KEY_PERIOD_S;
        if !fits {
            return None;
        }
        let tag = hmac::sign(&self.key(period), &bytes[..BYTES]);
        constant_time::verify_slices_are_equal(&tag.as_ref()[..MAC_BYTES], &bytes[BYTES..]).ok()?;
        Some(token)
    }

    /// A keyed number of some bytes, that nobody else can work out.
    #[must_use]
    pub fn number(&self, purpose: &[u8], bytes: &[u8]) -> u64 {
        let mut context = hmac::Context::with_key(&self.root);
        context.update(&(purpose.len() as u32).to_be_bytes());
        context.update(purpose);
        context.update(bytes);
        let tag = context.sign();
        let mut first = [0; 8];
        first.copy_from_slice(&tag.as_ref()[..8]);
        u64::from_be_bytes(first)
    }

    fn key(&self, period: u32) -> hmac::Key {
        let mut keys = self.keys.borrow_mut();
        if let Some((_, key)) = keys.iter().find(|(of, _)| *of == period) {
            return key.clone();
        }
        let derived = hmac::sign(&self.root, &period.to_be_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        if keys.len() >= 2 {
            keys.remove(0);
        }
        keys.push((period, key.clone()));
        key
    }
}

impl Token {
    /// How a pass was come by, for the log: `code`, `work` or `wait`.
    #[must_use]
    pub const fn earned_by(&self) -> &'static str {
        match self.bid {
            u8::MAX => "code",
            0 => "wait",
            _ => "work",
        }
    }

    fn bytes(&self) -> [u8; BYTES] {
        let mut out = [0; BYTES];
        out[0] = self.usage as u8;
        out[1] = self.bid;
        out[2..4].copy_from_slice(&self.budget.to_be_bytes());
        out[4..8].copy_from_slice(&self.issued_s.to_be_bytes());
        out[8..12].copy_from_slice(&self.ends_s.to_be_bytes());
        out[12..20].copy_from_slice(&self.id.to_be_bytes());
        out[20..28].copy_from_slice(&self.binding.to_be_bytes());
        // Version of this layout.
        out[28] = 1;
        out
    }

    fn from_bytes(bytes: &[u8; BYTES + MAC_BYTES]) -> Option<Self> {
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let long = |at: usize| u64::from(word(at)) << 32 | u64::from(word(at + 4));
        if bytes[28] != 1 {
            return None;
        }
        Some(Self {
            usage: Use::of(bytes[0])?,
            bid: bytes[1],
            budget: u16::from_be_bytes([bytes[2], bytes[3]]),
            issued_s: word(4),
            ends_s: word(8),
            id: long(12),
            binding: long(20),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u32 = 1_790_000_000;

    fn token(usage: Use) -> Token {
        Token { usage, bid: 12, budget: 300, issued_s: NOW, ends_s: NOW + 600, id: 77, binding: 5 }
    }

    #[test]
    fn a_token_counts_for_its_use_its_client_and_its_time_only() {
        let signer = TokenSigner::new(&[7; 32]);
        let text = signer.sign(&token(Use::Pass));
        let check = |usage, binding, now_s| signer.verify(&text, usage, binding, now_s).is_some();
        assert_eq!(signer.verify(&text, Use::Pass, 5, NOW), Some(token(Use::Pass)));
        assert!(check(Use::Pass, 5, NOW + 599) && check(Use::Pass, 5, NOW - 60));
        assert!(!check(Use::Pass, 5, NOW + 600), "over at its end");
        assert!(!check(Use::Pass, 5, NOW - 61), "not from the future");
        assert!(!check(Use::Pass, 6, NOW), "another client");
        assert!(!check(Use::Puzzle, 5, NOW), "another use");
        assert!(TokenSigner::new(&[8; 32]).verify(&text, Use::Pass, 5, NOW).is_none(), "another node's seed");
        let long = signer.sign(&Token { ends_s: u32::MAX, ..token(Use::Pass) });
        assert!(signer.verify(&long, Use::Pass, 5, NOW + KEY_PERIOD_S).is_some(), "the key before still counts");
        assert!(signer.verify(&long, Use::Pass, 5, NOW + 3 * KEY_PERIOD_S).is_none(), "keys end whatever a token says");
        for wrong in ["", "AAAA", &"A".repeat(60), &"A".repeat(9_999), "é"] {
            assert!(signer.verify(wrong, Use::Pass, 5, NOW).is_none(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_change_of_a_single_character_is_accepted(at in 0_usize..60, to in 0_u8..64) {
            const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let signer = TokenSigner::new(&[7; 32]);
            let text = signer.sign(&token(Use::Pass));
            prop_assert_eq!(text.len(), 60);
            let mut forged = text.clone().into_bytes();
            forged[at] = ALPHABET[usize::from(to)];
            let forged = String::from_utf8(forged).unwrap();
            if forged != text {
                prop_assert!(signer.verify(&forged, Use::Pass, 5, NOW).is_none(), "{}", forged);
            }
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".{0,80}") {
            let _ = TokenSigner::new(&[7; 32]).verify(&text, Use::Pass, 5, NOW);
        }
    }
}
