//! The reference code on a page: what a visitor reads to the help desk, and what the operator looks up.
//!
//! `G-103-7K3QX9M`: the reason's code, 30 bits of the request id in Crockford's base 32, and one check character, so
//! that a code misheard on the telephone is told from one that is merely unknown.

use std::fmt;

use guichet_core::Reason;

use super::RequestId;

/// Crockford's alphabet: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of the id part, without the check character.
const ID_CHARACTERS: usize = 6;

/// A reference code, ready to be copied onto a page.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reference([u8; Self::LENGTH]);

impl Reference {
    /// Bytes of every reference code.
    pub const LENGTH: usize = 13;

    /// The code for this refusal of this request.
    #[must_use]
    pub fn new(reason: Reason, id: RequestId) -> Self {
        let code = reason.code();
        let part = id_part(id);
        let mut text = *b"G-000-0000000";
        for (at, divisor) in [(2, 100), (3, 10), (4, 1)] {
            text[at] = b'0' + (code / divisor % 10) as u8;
        }
        for at in 0..ID_CHARACTERS {
            let shift = 5 * (ID_CHARACTERS - 1 - at);
            text[6 + at] = ALPHABET[(part >> shift & 31) as usize];
        }
        text[12] = ALPHABET[check_value(code, part)];
        Self(text)
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The code as bytes, all of them printable ASCII that needs no escaping anywhere.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a reference code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedReference {
    /// Why.
    pub reason: Reason,
    /// The first 30 bits of the request id.
    pub id_part: u32,
}

impl ParsedReference {
    /// Whether this request is the one meant (one in 2^30 others is, too).
    #[must_use]
    pub fn matches(&self, id: RequestId) -> bool {
        id_part(id) == self.id_part
    }
}

/// Why a text is no reference code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not of the shape `G-103-7K3QX9M`.
    #[error("a reference code looks like G-103-7K3QX9M: G, three digits, seven letters or digits")]
    Shape,
    /// The check character does not fit.
    #[error("the reference code has a mistyped character: its last one does not fit the others")]
    Check,
    /// No reason has this code.
    #[error("the reference code names a reason that this version does not know")]
    UnknownReason,
}

/// Reads a reference code as people write it: any case, hyphens and spaces anywhere, O for 0, I or L for 1.
///
/// # Errors
/// Says what is wrong with the text.
pub fn parse_reference(text: &str) -> Result<ParsedReference, ReferenceError> {
    let mut values = [0_u8; 11];
    let mut count = 0;
    let mut letters = text.trim().bytes().filter(|b| !matches!(b, b'-' | b' '));
    if !letters.next().is_some_and(|b| b.eq_ignore_ascii_case(&b'G')) {
        return Err(ReferenceError::Shape);
    }
    for letter in letters {
        let value = value_of(letter).ok_or(ReferenceError::Shape)?;
        *values.get_mut(count).ok_or(ReferenceError::Shape)? = value;
        count += 1;
    }
    if count != 10 || values[..3].iter().any(|digit| *digit > 9) {
        return Err(ReferenceError::Shape);
    }
    let code = values[..3].iter().fold(0_u16, |sum, digit| sum * 10 + u16::from(*digit));
    let id_part = values[3..9].iter().fold(0_u32, |sum, value| sum << 5 | u32::from(*value));
    if check_value(code, id_part) != usize::from(values[9]) {
        return Err(ReferenceError::Check);
    }
    let reason =
        Reason::ALL.iter().copied().find(|reason| reason.code() == code).ok_or(ReferenceError::UnknownReason)?;
    Ok(ParsedReference { reason, id_part })
}

/// The part of a request's id that its reference code tells: 30 bits.
pub(crate) fn id_part(id: RequestId) -> u32 {
    u32::from_be_bytes([id.0[0], id.0[1], id.0[2], id.0[3]]) >> 2
}

fn value_of(letter: u8) -> Option<u8> {
    let letter = match letter.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == letter).map(|at| at as u8)
}

/// A weighted sum modulo 31: the weights differ and 31 is prime, so any one wrong character and any swap of two
/// neighbours changes it, but for the pair of values that are equal modulo 31 (0 and Z).
fn check_value(code: u16, part: u32) -> usize {
    let digits = [code / 100 % 10, code / 10 % 10, code % 10];
    let mut sum = 0_u32;
    for (at, digit) in digits.iter().enumerate() {
        sum += (at as u32 + 1) * u32::from(*digit);
    }
    for at in 0..ID_CHARACTERS as u32 {
        sum += (at + 4) * (part >> (5 * (ID_CHARACTERS as u32 - 1 - at)) & 31);
    }
    (sum % 31) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_with_its_id_part() {
        for reason in Reason::ALL {
            for id in [[0; 16], [255; 16], *b"\x12\x34\x56\x78\x9a\xbc\xde\xf0........"] {
                let id = RequestId(id);
                let reference = Reference::new(*reason, id);
                let parsed = parse_reference(reference.as_str()).unwrap();
                assert_eq!(parsed.reason, *reason);
                assert!(parsed.matches(id));
                assert_eq!(reference.as_str().len(), Reference::LENGTH);
            }
        }
    }

    #[test]
    fn people_write_codes_in_their_own_way() {
        let id = RequestId(*b"\x08\x43\x10\x84........abcd");
        let code = Reference::new(Reason::BelowThreshold, id).to_string();
        assert!(code.starts_with("G-103-"), "{code}");
        assert!(code.contains('1'), "{code}: the table below needs a 1");
        let wanted = parse_reference(&code).unwrap();
        for written in [
            code.to_lowercase(),
            code.replace('-', ""),
            code.replace('-', " "),
            format!("  {code}\n"),
            code.replace('1', "l"),
            code.replace('1', "I"),
            code.replace('0', "o"),
        ] {
            assert_eq!(parse_reference(&written), Ok(wanted), "{written}");
        }
    }

    #[test]
    fn a_wrong_character_is_noticed() {
        let code = Reference::new(Reason::BelowThreshold, RequestId(*b"\x5a\x13\x77\xc1............")).to_string();
        let mut noticed = 0;
        for at in 6..12 {
            for letter in ALPHABET {
                let mut wrong = code.clone().into_bytes();
                // 0 and Z have the same remainder: the one pair that a check modulo 31 cannot tell.
                if wrong[at] == *letter || matches!((wrong[at], *letter), (b'0', b'Z') | (b'Z', b'0')) {
                    continue;
                }
                wrong[at] = *letter;
                let wrong = String::from_utf8(wrong).unwrap();
                assert_eq!(parse_reference(&wrong), Err(ReferenceError::Check), "{wrong}");
                noticed += 1;
            }
        }
        assert!(noticed > 180);
    }

    #[test]
    fn what_is_no_code_is_refused() {
        let check = |text: &str, wanted| assert_eq!(parse_reference(text), Err(wanted), "{text:?}");
        check("", ReferenceError::Shape);
        check("G", ReferenceError::Shape);
        check("X-103-7K3QX9M", ReferenceError::Shape);
        check("G-1A3-7K3QX9M", ReferenceError::Shape);
        check("G-103-7K3QX9", ReferenceError::Shape);
        check("G-103-7K3QX9MM", ReferenceError::Shape);
        check("G-103-7K3UX9M", ReferenceError::Shape);
        check(&"G".repeat(10_000), ReferenceError::Shape);
        check("G-103-é", ReferenceError::Shape);
        check("G-000-0000000", ReferenceError::UnknownReason);
    }
}
