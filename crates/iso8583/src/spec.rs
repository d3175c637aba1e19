//! The data elements of ISO 8583:1987: how long each is and which characters it takes.

/// Which characters a data element takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Digits.
    Digits,
    /// Letters and digits.
    Plain,
    /// Hexadecimal digits, capitals.
    Hex,
    /// All printable ASCII characters, the space among them.
    Printable,
}

/// How the length of a data element is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// It is always this.
    Fixed(usize),
    /// Two digits before it, up to this.
    Ll(usize),
    /// Three digits before it, up to this.
    Lll(usize),
}

/// A data element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    pub(crate) length: Length,
    pub(crate) class: Class,
}

const fn n(length: usize) -> Element {
    Element { length: Length::Fixed(length), class: Class::Digits }
}

const fn an(length: usize) -> Element {
    Element { length: Length::Fixed(length), class: Class::Plain }
}

const fn ans(length: usize) -> Element {
    Element { length: Length::Fixed(length), class: Class::Printable }
}

const fn hex(length: usize) -> Element {
    Element { length: Length::Fixed(length), class: Class::Hex }
}

const fn n_ll(max: usize) -> Element {
    Element { length: Length::Ll(max), class: Class::Digits }
}

const fn ans_ll(max: usize) -> Element {
    Element { length: Length::Ll(max), class: Class::Printable }
}

const fn ans_lll(max: usize) -> Element {
    Element { length: Length::Lll(max), class: Class::Printable }
}

/// The data element of a number from 2 to 128; 1 and 65 are bitmaps and none of them.
pub(crate) const fn element(number: u8) -> Option<Element> {
    Some(match number {
        2 => n_ll(19),
        3 | 11 | 12 | 73 => n(6),
        4..=6 | 82..=85 => n(12),
        7 | 74..=81 => n(10),
        8 => n(8),
        9 | 10 => n(8),
        13..=18 | 71 | 72 => n(4),
        19..=24 | 68..=70 => n(3),
        25 | 26 | 67 => n(2),
        27 | 66 => n(1),
        28..=31 => an(9),
        32 | 33 | 99 | 100 => n_ll(11),
        34 | 102 | 103 => ans_ll(28),
        35 => ans_ll(37),
        36 => ans_lll(104),
        37 => ans(12),
        38 => ans(6),
        39 | 92 => an(2),
        40 | 49..=51 => an(3),
        41 => ans(8),
        42 => ans(15),
        43 => ans(40),
        44 => ans_ll(25),
        45 => ans_ll(76),
        46..=48 | 56..=63 | 105..=127 => ans_lll(999),
        52 | 64 | 96 | 128 => hex(16),
        53 | 86..=89 => n(16),
        54 => ans_lll(240),
        55 => ans_lll(510),
        90 => n(42),
        91 => an(1),
        93 => an(5),
        94 => an(7),
        95 => an(42),
        97 => an(17),
        98 => ans(25),
        101 => ans_ll(17),
        104 => ans_lll(100),
        _ => return None,
    })
}

impl Class {
    pub(crate) fn takes(self, byte: u8) -> bool {
        match self {
            Self::Digits => byte.is_ascii_digit(),
            Self::Plain => byte.is_ascii_alphanumeric(),
            Self::Hex => byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte),
            Self::Printable => (b' '..=b'~').contains(&byte),
        }
    }
}
