//! Codes that a person gives to a person, at the counter or by telephone, for whom nothing else works.
//!
//! Stateless: a code tells its own end and number of uses, and a keyed hash of 44 bits over them. Guessing is held back
//! by [`super::Grants`]; what was used is counted by [`super::Spent`].

use super::token::TokenSigner;

/// Crockford's alphabet: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a code.
const LENGTH: usize = 16;
/// Hours are counted from the first of January 2025.
const EPOCH_S: u64 = 1_735_689_600;
/// How often a code may be used, by its class.
pub const USES: [u16; 8] = [1, 2, 5, 10, 20, 50, 100, 500];
const MAC_BITS: u32 = 44;
/// Furthest end of a code, in days.
pub const DAYS: u64 = 30;

/// What a code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Tells it from others.
    pub serial: u16,
    /// When it ends, Unix seconds; a whole hour.
    pub ends_s: u64,
    /// How often it may be used.
    pub uses: u16,
}

impl Code {
    /// Reads a code as a person writes it; see [`read`].
    #[must_use]
    pub fn read(text: &str, signer: &TokenSigner, now_s: u64) -> Option<Self> {
        read(text, signer, now_s)
    }
}

/// A code as people read it: four groups of four.
#[must_use]
pub fn write(code: &Code, signer: &TokenSigner) -> String {
    let class = USES.iter().position(|uses| *uses >= code.uses).unwrap_or(USES.len() - 1) as u128;
    let hours = u128::from(code.ends_s.saturating_sub(EPOCH_S).div_ceil(3600).min(0xffff));
    let body = u128::from(code.serial) << 20 | hours << 4 | class;
    let bits = body << MAC_BITS | u128::from(mac(body, signer));
    let mut text = String::with_capacity(LENGTH + 3);
    for at in 0..LENGTH {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        let shift = 5 * (LENGTH - 1 - at);
        text.push(char::from(ALPHABET[(bits >> shift & 31) as usize]));
    }
    text
}

/// Reads a code as people write it: any case, hyphens and spaces anywhere, O for 0, I or L for 1. `None`: it is none of
/// this door's, or it has ended.
#[must_use]
pub(super) fn read(text: &str, signer: &TokenSigner, now_s: u64) -> Option<Code> {
    if text.len() > 64 {
        return None;
    }
    let (mut bits, mut count) = (0_u128, 0);
    for letter in text.bytes().filter(|b| !matches!(b, b'-' | b' ')) {
        let letter = match letter.to_ascii_uppercase() {
            b'O' => b'0',
            b'I' | b'L' => b'1',
            other => other,
        };
        bits = bits << 5 | ALPHABET.iter().position(|known| *known == letter)? as u128;
        count += 1;
        if count > LENGTH {
            return None;
        }
    }
    let body = bits >> MAC_BITS;
    if count != LENGTH || (bits & ((1 << MAC_BITS) - 1)) as u64 != mac(body, signer) {
        return None;
    }
    let ends_s = EPOCH_S + (body >> 4 & 0xffff) as u64 * 3600;
    let uses = *USES.get((body & 0xf) as usize)?;
    (now_s < ends_s).then_some(Code { serial: (body >> 20) as u16, ends_s, uses })
}

fn mac(body: u128, signer: &TokenSigner) -> u64 {
    signer.number(b"code", &body.to_be_bytes()) >> (64 - MAC_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_write_them_and_nothing_else_is() {
        let signer = TokenSigner::new(&[7; 32]);
        let now_s = EPOCH_S + 600 * 86_400;
        let code = Code { serial: 4711, ends_s: now_s + 7200, uses: 20 };
        let text = write(&code, &signer);
        assert_eq!(text.len(), 19);
        let good = |text: &str| assert_eq!(read(text, &signer, now_s), Some(code), "{text}");
        good(&text);
        good(&text.to_lowercase());
        good(&text.replace('-', " "));
        good(&text.replace('0', "O").replace('1', "l"));
        assert_eq!(read(&text, &signer, now_s + 7200), None, "over at its end");
        assert_eq!(read(&text, &TokenSigner::new(&[8; 32]), now_s), None, "another door's");
        for wrong in ["", "AAAA-AAAA-AAAA-AAAA", &text[1..], &format!("{text}0"), "?", &"A".repeat(4000)] {
            assert_eq!(read(wrong, &signer, now_s), None, "{wrong}");
        }
        for at in (0..text.len()).filter(|at| text.as_bytes()[*at] != b'-') {
            let mut wrong = text.clone().into_bytes();
            wrong[at] = if wrong[at] == b'7' { b'8' } else { b'7' };
            assert_eq!(read(std::str::from_utf8(&wrong).unwrap(), &signer, now_s), None, "one wrong letter at {at}");
        }
    }
}
