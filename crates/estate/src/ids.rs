//! Identifiers with check digits, and those of the test data as functions of a number.
//!
//! Sources: S10 is the UPU's standard for item identifiers, IBAN is ISO 13616, the RIB key is the French national check,
//! card numbers end with Luhn's digit (ISO/IEC 7812).

use crate::bounds::{PARCELS_SEEDED, USERS};

const S10_WEIGHTS: [u32; 8] = [8, 6, 4, 2, 3, 5, 9, 7];
const BANK: u64 = 20041;
const BRANCH: u64 = 1005;
const PARCEL_SERIAL_FIRST: u32 = 10_000_000;

/// The check digit of an S10 serial number of eight digits, or `None` for anything else.
#[must_use]
pub fn s10_check(serial: &str) -> Option<u32> {
    if serial.len() != 8 || !serial.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let sum: u32 = serial.bytes().zip(S10_WEIGHTS).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum();
    Some(match 11 - sum % 11 {
        10 => 0,
        11 => 5,
        digit => digit,
    })
}

/// Why a text is no S10 identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S10Error {
    /// Not two letters, nine digits, two letters.
    Shape,
    /// The ninth digit is not that of the eight before.
    Check,
}

/// Checks an S10 identifier; spaces are left out and letters made capital, as people type them.
///
/// # Errors
/// Says whether the shape or the check digit is wrong.
pub fn s10(text: &str) -> Result<String, S10Error> {
    if text.len() > 40 {
        return Err(S10Error::Shape);
    }
    let id: String = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_uppercase()).collect();
    let bytes = id.as_bytes();
    let letters = |part: &[u8]| part.iter().all(u8::is_ascii_uppercase);
    if bytes.len() != 13 || !letters(&bytes[..2]) || !letters(&bytes[11..]) || !bytes[10].is_ascii_digit() {
        return Err(S10Error::Shape);
    }
    match s10_check(&id[2..10]) {
        None => Err(S10Error::Shape),
        Some(check) if check == u32::from(bytes[10] - b'0') => Ok(id),
        Some(_) => Err(S10Error::Check),
    }
}

/// The S10 identifier of seeded parcel `n`.
#[must_use]
pub fn parcel(n: u32) -> String {
    let serial = format!("{:08}", PARCEL_SERIAL_FIRST + n);
    let check = s10_check(&serial).unwrap_or(0);
    format!("CG{serial}{check}FR")
}

/// The number of a seeded parcel, if the identifier is one.
#[must_use]
pub fn parcel_number(id: &str) -> Option<u32> {
    let n = id.get(2..10)?.parse::<u32>().ok()?.checked_sub(PARCEL_SERIAL_FIRST)?;
    (n < PARCELS_SEEDED && parcel(n) == id).then_some(n)
}

/// The user to whom seeded parcel `n` is sent.
#[must_use]
pub fn parcel_owner(n: u32) -> u32 {
    n % USERS
}

/// The name of user `n`.
#[must_use]
pub fn user(n: u32) -> String {
    format!("user{n:04}")
}

/// The number of a test user, if the name is one.
#[must_use]
pub fn user_number(name: &str) -> Option<u32> {
    let n = name.strip_prefix("user").filter(|digits| digits.len() == 4)?.parse().ok()?;
    (n < USERS && user(n) == name).then_some(n)
}

/// The published test password of user `n`.
#[must_use]
pub fn password(n: u32) -> String {
    format!("password-{n:04}")
}

/// The bank's identifier of account `k` (1 current, 2 savings) of user `n`.
#[must_use]
pub fn account(n: u32, k: u32) -> String {
    format!("acc-{n:04}-{k}")
}

/// The IBAN of account `k` of user `n`.
#[must_use]
pub fn iban(n: u32, k: u32) -> String {
    let number = u64::from(n) * 10 + u64::from(k);
    let key = 97 - (89 * BANK + 15 * BRANCH + 3 * number) % 97;
    let bban = format!("{BANK:05}{BRANCH:05}{number:011}{key:02}");
    // F is 15 and R is 27; 00 stands where the check digits will be.
    let remainder =
        format!("{bban}152700").bytes().fold(0, |rest: u32, byte| (rest * 10 + u32::from(byte - b'0')) % 97);
    format!("FR{:02}{bban}", 98 - remainder)
}

/// Checks an IBAN and gives its electronic form.
#[must_use]
pub fn iban_checked(text: &str) -> Option<String> {
    use iban::IbanLike as _;
    if text.len() > 64 {
        return None;
    }
    text.parse::<iban::Iban>().ok().map(|iban| iban.electronic_str().to_owned())
}

/// Luhn's check digit for a text of digits.
#[must_use]
pub fn luhn(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            let weighed = if place % 2 == 0 { digit * 2 } else { digit };
            if weighed > 9 { weighed - 9 } else { weighed }
        })
        .sum();
    (10 - sum % 10) % 10
}

/// The card number of user `n`.
#[must_use]
pub fn card(n: u32) -> String {
    let body = format!("4970100{n:08}");
    let check = luhn(&body);
    format!("{body}{check}")
}

/// The telephone number that is the instant-transfer alias of user `n`.
#[must_use]
pub fn telephone(n: u32) -> String {
    format!("+336000{n:05}")
}

/// Whether a text has from `min` to `max` characters, all of them ASCII letters, digits, or in `also`.
#[must_use]
pub fn plain(text: &str, min: usize, max: usize, also: &str) -> bool {
    (min..=max).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s10_follows_the_standard() {
        assert_eq!(s10_check("47312482"), Some(9), "the example of the standard");
        for (text, expected) in [
            ("RR473124829GB", Ok("RR473124829GB".to_owned())),
            (" rr 4731 2482 9 gb ", Ok("RR473124829GB".to_owned())),
            ("RR473124828GB", Err(S10Error::Check)),
            ("RR47312482XGB", Err(S10Error::Shape)),
            ("R1473124829GB", Err(S10Error::Shape)),
            ("RR473124829G", Err(S10Error::Shape)),
            ("RR4731é4829GB", Err(S10Error::Shape)),
            ("", Err(S10Error::Shape)),
        ] {
            assert_eq!(s10(text), expected, "{text}");
        }
        assert_eq!(s10(&"A".repeat(100_000)), Err(S10Error::Shape));
    }

    #[test]
    fn seeded_ids_are_valid_and_as_published() {
        assert_eq!(parcel(0), "CG100000003FR");
        assert_eq!(card(0).len(), 16);
        assert_eq!(luhn("7992739871"), 3);
        for n in 0..USERS {
            for k in [1, 2] {
                assert_eq!(iban_checked(&iban(n, k)), Some(iban(n, k)));
            }
            assert_eq!(user_number(&user(n)), Some(n));
        }
        for n in 0..PARCELS_SEEDED {
            assert_eq!(s10(&parcel(n)), Ok(parcel(n)));
            assert_eq!(parcel_number(&parcel(n)), Some(n));
        }
        assert_eq!(parcel_number(&parcel(PARCELS_SEEDED)), None);
        for name in ["user1000", "user01", "user00001", "User0001", "user+001", ""] {
            assert_eq!(user_number(name), None, "{name}");
        }
    }

    #[test]
    fn iban_check_refuses_one_wrong_digit() {
        let right = "FR1420041010050500013M02606";
        assert!(iban_checked(right).is_some());
        assert!(iban_checked("FR1420041010050500013M02607").is_none());
        assert!(iban_checked(&"F".repeat(1000)).is_none());
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parsers(text in ".{0,60}") {
            let _ = (s10(&text), iban_checked(&text), parcel_number(&text), user_number(&text), luhn(&text));
        }
    }
}
