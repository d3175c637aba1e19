//! Messages of cards and cash machines: ISO 8583:1987 with everything as ASCII text, the bitmaps as hexadecimal digits.
//!
//! That is the form that most test tools speak by default (`pyiso8583`'s `default_ascii`, for one). A message is a type of
//! four digits, one or two bitmaps of 16 digits, then the data elements in order. On a connection each message comes after
//! its length, two bytes, the higher first ([`frame`]).
//!
//! Whoever is on the other end may send anything: [`Message::decode`] takes any bytes, never more than
//! [`MESSAGE_BYTES_MAX`], and says which data element is wrong.

pub mod bounds;
mod spec;

pub use bounds::MESSAGE_BYTES_MAX;
use spec::{Length, element};
use std::collections::BTreeMap;
use std::fmt;

const BITMAP_DIGITS: usize = 16;
const TYPE_DIGITS: usize = 4;

/// One message: its type and its data elements by number. Values are printable ASCII of the length that the standard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The message type indicator, four digits as text: `0200`.
    pub kind: String,
    fields: BTreeMap<u8, String>,
}

/// What is wrong with a message, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The type is not four digits.
    Kind,
    /// A bitmap is not 16 hexadecimal digits.
    Bitmap,
    /// The message ends within this data element.
    Short(u8),
    /// There is no such data element.
    Unknown(u8),
    /// The length of this data element is none that it may have.
    Length(u8),
    /// This data element has a character that it may not have.
    Character(u8),
    /// So many bytes follow the last data element.
    Rest(usize),
    /// The message is longer than [`MESSAGE_BYTES_MAX`].
    Long,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind => f.write_str("the message type is not four digits"),
            Self::Bitmap => f.write_str("a bitmap is not 16 hexadecimal digits"),
            Self::Short(number) => write!(f, "the message ends within data element {number}"),
            Self::Unknown(number) => write!(f, "there is no data element {number}"),
            Self::Length(number) => write!(f, "data element {number} has a length that it may not have"),
            Self::Character(number) => write!(f, "data element {number} has a character that it may not have"),
            Self::Rest(bytes) => write!(f, "{bytes} bytes follow the last data element"),
            Self::Long => write!(f, "the message is longer than {MESSAGE_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for Fault {}

impl Message {
    /// A message of a type (four digits) without data elements.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), fields: BTreeMap::new() }
    }

    /// With one data element more; see [`Message::encode`] for what it takes.
    #[must_use]
    pub fn with(mut self, number: u8, value: impl Into<String>) -> Self {
        self.fields.insert(number, value.into());
        self
    }

    /// A data element, if the message has it.
    #[must_use]
    pub fn get(&self, number: u8) -> Option<&str> {
        self.fields.get(&number).map(String::as_str)
    }

    /// The numbers of the data elements that the message has, ascending.
    pub fn numbers(&self) -> impl Iterator<Item = u8> + '_ {
        self.fields.keys().copied()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// The first fault, in the order of the message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Fault::Long);
        }
        let mut rest = bytes;
        let kind = take(&mut rest, TYPE_DIGITS).ok_or(Fault::Kind)?;
        if !kind.iter().all(u8::is_ascii_digit) {
            return Err(Fault::Kind);
        }
        let first = bitmap(&mut rest)?;
        let second = if first >> 63 == 1 { bitmap(&mut rest)? } else { 0 };
        let present = |number: u8| {
            let (map, place) = if number <= 64 { (first, number) } else { (second, number - 64) };
            map >> (64 - u32::from(place)) & 1 == 1
        };
        let mut message = Self::new(text(kind));
        for number in (2..=128).filter(|&number| present(number)) {
            let value = value(&mut rest, number)?;
            message.fields.insert(number, value);
        }
        if rest.is_empty() { Ok(message) } else { Err(Fault::Rest(rest.len())) }
    }

    /// Writes the message.
    ///
    /// # Errors
    /// When the type or a data element is not what the standard says; nothing is padded or cut.
    pub fn encode(&self) -> Result<Vec<u8>, Fault> {
        if self.kind.len() != TYPE_DIGITS || !self.kind.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Fault::Kind);
        }
        let (mut first, mut second) = (0_u64, 0_u64);
        for number in self.numbers() {
            match number {
                2..=64 => first |= 1 << (64 - u32::from(number)),
                66..=128 => second |= 1 << (128 - u32::from(number)),
                _ => return Err(Fault::Unknown(number)),
            }
        }
        let mut out = self.kind.clone();
        if second == 0 {
            out.push_str(&format!("{first:016X}"));
        } else {
            out.push_str(&format!("{:016X}{second:016X}", first | 1 << 63));
        }
        for (&number, value) in &self.fields {
            let element = element(number).ok_or(Fault::Unknown(number))?;
            let digits = match element.length {
                Length::Fixed(length) if value.len() == length => String::new(),
                Length::Ll(max) if value.len() <= max => format!("{:02}", value.len()),
                Length::Lll(max) if value.len() <= max => format!("{:03}", value.len()),
                Length::Fixed(_) | Length::Ll(_) | Length::Lll(_) => return Err(Fault::Length(number)),
            };
            if !value.bytes().all(|byte| element.class.takes(byte)) {
                return Err(Fault::Character(number));
            }
            out.push_str(&digits);
            out.push_str(value);
        }
        if out.len() > MESSAGE_BYTES_MAX { Err(Fault::Long) } else { Ok(out.into_bytes()) }
    }
}

/// A message as it goes over a connection: after its length. What [`Message::encode`] gives always fits.
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes()[..], &message[..usize::from(length)]].concat()
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(bytes)?;
    *rest = left;
    Some(taken)
}

/// Bytes that are known to be ASCII, as text.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

fn bitmap(rest: &mut &[u8]) -> Result<u64, Fault> {
    let digits = take(rest, BITMAP_DIGITS).ok_or(Fault::Bitmap)?;
    // `from_str_radix` alone would take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Fault::Bitmap);
    }
    u64::from_str_radix(text(digits), 16).map_err(|_| Fault::Bitmap)
}

fn value(rest: &mut &[u8], number: u8) -> Result<String, Fault> {
    let element = element(number).ok_or(Fault::Unknown(number))?;
    let told = |rest: &mut &[u8], digits: usize, max: usize| {
        let told = take(rest, digits).ok_or(Fault::Short(number))?;
        let all_digits = told.iter().all(u8::is_ascii_digit);
        let length = text(told).parse().ok().filter(|&length: &usize| all_digits && length <= max);
        length.ok_or(Fault::Length(number))
    };
    let length = match element.length {
        Length::Fixed(length) => length,
        Length::Ll(max) => told(rest, 2, max)?,
        Length::Lll(max) => told(rest, 3, max)?,
    };
    let bytes = take(rest, length).ok_or(Fault::Short(number))?;
    if bytes.iter().all(|&byte| element.class.takes(byte)) {
        Ok(text(bytes).to_owned())
    } else {
        Err(Fault::Character(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sale() -> Message {
        Message::new("0200")
            .with(2, "4970100000000014")
            .with(3, "000000")
            .with(4, "000000001250")
            .with(7, "1126204500")
            .with(11, "000042")
            .with(41, "T0000001")
            .with(49, "978")
    }

    #[test]
    fn a_message_stands_as_the_standard_has_it() {
        let bytes = sale().encode().unwrap();
        // Bits 2 3 4 7, 11, 41, 49.
        let expected = "02007220000000808000164970100000000014000000000000001250112620450000004\
                        2T0000001978";
        assert_eq!(text(&bytes), expected);
        assert_eq!(Message::decode(&bytes), Ok(sale()));
        let reversal = sale().with(90, "0".repeat(42));
        let bytes = reversal.encode().unwrap();
        assert_eq!(&text(&bytes)[4..36], "F2200000008080000000004000000000");
        assert_eq!(Message::decode(&bytes), Ok(reversal));
        assert_eq!(frame(b"0800"), [0, 4, b'0', b'8', b'0', b'0']);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = String::from_utf8(sale().encode().unwrap()).unwrap();
        let check = |bytes: &str, fault: Fault| assert_eq!(Message::decode(bytes.as_bytes()), Err(fault), "{bytes}");
        check("", Fault::Kind);
        check("02x0", Fault::Kind);
        check("0200", Fault::Bitmap);
        check("0200+220000000808000", Fault::Bitmap);
        check(&whole[..whole.len() - 1], Fault::Short(49));
        check(&format!("{whole}é"), Fault::Rest(2));
        check(&whole.replacen("164970", "204970", 1), Fault::Length(2));
        check(&whole.replacen("164970", "+64970", 1), Fault::Length(2));
        check(&whole.replacen("000042", "00004x", 1), Fault::Character(11));
        check(&format!("0200{:016X}{:016X}", 1_u64 << 63, 1_u64 << 63), Fault::Unknown(65));
        check(&"0".repeat(MESSAGE_BYTES_MAX + 1), Fault::Long);
        for (message, fault) in [
            (Message::new("200"), Fault::Kind),
            (sale().with(1, ""), Fault::Unknown(1)),
            (sale().with(65, ""), Fault::Unknown(65)),
            (sale().with(129, ""), Fault::Unknown(129)),
            (sale().with(4, "12"), Fault::Length(4)),
            (sale().with(2, "1".repeat(20)), Fault::Length(2)),
            (sale().with(41, "T\u{0}000001"), Fault::Character(41)),
        ] {
            assert_eq!(message.encode(), Err(fault));
        }
        let long = (105..=110).fold(sale(), |message, number| message.with(number, "x".repeat(999)));
        assert_eq!(long.encode(), Err(Fault::Long));
    }

    #[test]
    fn each_number_but_the_bitmaps_is_a_data_element() {
        for number in 2..=128 {
            assert_eq!(element(number).is_some(), number != 65, "{number}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = Message::decode(&bytes) {
                let again = message.encode().unwrap();
                prop_assert_eq!(Message::decode(&again).unwrap(), message);
            }
        }

        #[test]
        fn a_damaged_message_is_read_or_refused_and_never_more(at in 0_usize..90, byte in any::<u8>()) {
            let mut bytes = sale().encode().unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert!(message.encode().is_ok());
            }
        }
    }
}
