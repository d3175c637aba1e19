//! The journal of a terminal: entries in order without gaps, each with the hash of the one before and the signature of the
//! terminal. Terminal and service share this: both check the same, and both print the same statement.

use crate::bounds::{COUNTER_CENTS_MAX, TILL_FLOAT_CENTS_MAX};
use crate::ids::{self, plain};
use crate::once::hash;
use crate::store::rfc3339;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What an entry is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Cash brought to the till.
    Float,
    /// Stamps sold.
    Stamps,
    /// A parcel taken in; the reference is its S10 identifier.
    Parcel,
    /// Cash in, for an account.
    Deposit,
    /// Cash out, from an account.
    Withdrawal,
    /// Cash that an error brought in; the reference says of which entry. Nothing is ever changed.
    Plus,
    /// Cash that an error took out.
    Minus,
    /// The day is closed: the amount is what was counted.
    Closing,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Float => "float",
            Self::Stamps => "stamps",
            Self::Parcel => "parcel",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Plus => "plus",
            Self::Minus => "minus",
            Self::Closing => "closing",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        [
            Self::Float,
            Self::Stamps,
            Self::Parcel,
            Self::Deposit,
            Self::Withdrawal,
            Self::Plus,
            Self::Minus,
            Self::Closing,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }

    /// What it does to the cash in the till: 1, -1 or nothing.
    pub(crate) const fn sign(self) -> i64 {
        match self {
            Self::Float | Self::Stamps | Self::Parcel | Self::Deposit | Self::Plus => 1,
            Self::Withdrawal | Self::Minus => -1,
            Self::Closing => 0,
        }
    }
}

/// One entry.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, sqlx::FromRow)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// From 1.
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) amount_cents: i64,
    pub(crate) reference: String,
    pub(crate) at_ms: i64,
    /// The hash of the entry before; empty for the first.
    pub(crate) previous: String,
    pub(crate) hash: String,
    /// Ed25519, base64 without padding.
    pub(crate) signature: String,
}

/// What is wrong with an entry in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    Shape,
    Previous,
    Hash,
    Signature,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shape => "is of a kind, an amount or a reference that it may not have",
            Self::Previous => "does not follow the one before it",
            Self::Hash => "was changed after it was written",
            Self::Signature => "is not signed by the key of its terminal",
        })
    }
}

/// What is signed: all of it, in one order, each part on a line of its own. No part has a line break.
fn text(office: &str, terminal: &str, entry: &Entry) -> String {
    let Entry { sequence, kind, amount_cents, reference, at_ms, previous, .. } = entry;
    format!(
        "guichet counter 1\n{office}\n{terminal}\n{sequence}\n{kind}\n{amount_cents}\n{reference}\n{at_ms}\n{previous}"
    )
}

impl Entry {
    /// Completes an entry: its hash, and the terminal's signature.
    pub(crate) fn seal(mut self, office: &str, terminal: &str, key: &SigningKey) -> Self {
        let text = text(office, terminal, &self);
        self.hash = hex::encode(hash(text.as_bytes()));
        self.signature = STANDARD_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes());
        self
    }

    /// Checks an entry that should follow the one with the hash `previous`.
    ///
    /// # Errors
    /// The first fault.
    pub(crate) fn check(&self, office: &str, terminal: &str, previous: &str, key: &VerifyingKey) -> Result<(), Fault> {
        let kind = Kind::of(&self.kind).ok_or(Fault::Shape)?;
        if !fits(kind, self.amount_cents, &self.reference) {
            return Err(Fault::Shape);
        }
        if self.previous != previous {
            return Err(Fault::Previous);
        }
        let text = text(office, terminal, self);
        if self.hash != hex::encode(hash(text.as_bytes())) {
            return Err(Fault::Hash);
        }
        let signature =
            STANDARD_NO_PAD.decode(&self.signature).ok().and_then(|bytes| Signature::from_slice(&bytes).ok());
        let right = signature.is_some_and(|signature| key.verify_strict(text.as_bytes(), &signature).is_ok());
        if right { Ok(()) } else { Err(Fault::Signature) }
    }
}

/// Whether an entry may be like that.
pub(crate) fn fits(kind: Kind, amount_cents: i64, reference: &str) -> bool {
    let amount = match kind {
        Kind::Float => (1..=TILL_FLOAT_CENTS_MAX).contains(&amount_cents),
        Kind::Closing => (0..=i64::MAX / 4).contains(&amount_cents),
        _ => (1..=COUNTER_CENTS_MAX).contains(&amount_cents),
    };
    let line = reference.chars().count() <= 64 && !reference.chars().any(char::is_control);
    amount && line && (kind != Kind::Parcel || ids::s10(reference).as_deref() == Ok(reference))
}

/// Whether a text may name an office or a terminal.
pub(crate) fn name_fits(text: &str) -> bool {
    plain(text, 1, 12, "") && !text.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// The cash that should be in the till after some entries.
pub(crate) fn cash_cents<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> i64 {
    let signed = |entry: &Entry| Kind::of(&entry.kind).map_or(0, Kind::sign) * entry.amount_cents;
    entries.into_iter().map(signed).sum()
}

/// The statement of one day: the entries after the closing before it, up to its own closing. `before_cents` is the cash that the
/// day began with. The same text at the counter and at the service, to the letter.
pub(crate) fn statement(office: &str, terminal: &str, before_cents: i64, day: &[Entry]) -> String {
    let euros = |cents: i64| {
        let sign = if cents < 0 { "-" } else { "" };
        format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
    };
    let mut text =
        format!("{office} {terminal}\n{:>8}  {:<20}  {:<10}  {:>12}  reference\n", "entry", "time", "kind", "EUR");
    for entry in day {
        let sign = Kind::of(&entry.kind).map_or(0, Kind::sign);
        let amount = euros(if sign < 0 { -entry.amount_cents } else { entry.amount_cents });
        let time = rfc3339(entry.at_ms);
        let _ =
            writeln!(text, "{:>8}  {time:<20}  {:<10}  {amount:>12}  {}", entry.sequence, entry.kind, entry.reference);
    }
    let expected = before_cents + cash_cents(day);
    let _ = writeln!(text, "in the till before: {}; expected: {}", euros(before_cents), euros(expected));
    if let Some(closing) = day.last().filter(|entry| entry.kind == Kind::Closing.name()) {
        let _ = writeln!(
            text,
            "counted: {}; difference: {}; hash of the closing: {}",
            euros(closing.amount_cents),
            euros(closing.amount_cents - expected),
            closing.hash
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sequence: i64, kind: Kind, amount_cents: i64, previous: &str) -> Entry {
        Entry {
            sequence,
            kind: kind.name().to_owned(),
            amount_cents,
            reference: String::new(),
            at_ms: 1_790_000_000_000,
            previous: previous.to_owned(),
            hash: String::new(),
            signature: String::new(),
        }
    }

    #[test]
    fn an_entry_is_right_in_its_place_only() {
        let (key, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let right = entry(1, Kind::Stamps, 139, "").seal("PARIS01", "T1", &key);
        let check = |entry: &Entry, office: &str, key: &SigningKey| entry.check(office, "T1", "", &key.verifying_key());
        assert_eq!(check(&right, "PARIS01", &key), Ok(()));
        assert_eq!(check(&right, "PARIS02", &key), Err(Fault::Hash));
        assert_eq!(check(&right, "PARIS01", &other), Err(Fault::Signature));
        assert_eq!(check(&Entry { previous: "00".into(), ..right.clone() }, "PARIS01", &key), Err(Fault::Previous));
        for changed in [
            Entry { amount_cents: 140, ..right.clone() },
            Entry { reference: "x".into(), ..right.clone() },
            Entry { at_ms: 1, ..right.clone() },
            Entry { sequence: 2, ..right.clone() },
            Entry { kind: "deposit".into(), ..right.clone() },
        ] {
            assert_eq!(check(&changed, "PARIS01", &key), Err(Fault::Hash), "{changed:?}");
        }
        for (kind, amount, reference) in [
            (Kind::Stamps, 0, ""),
            (Kind::Withdrawal, COUNTER_CENTS_MAX + 1, ""),
            (Kind::Float, TILL_FLOAT_CENTS_MAX + 1, ""),
            (Kind::Parcel, 500, "RR473124828GB"),
            (Kind::Parcel, 500, ""),
            (Kind::Deposit, 1, "a\nb"),
            (Kind::Closing, -1, ""),
        ] {
            assert!(!fits(kind, amount, reference), "{kind:?} {amount} {reference}");
        }
        assert!(fits(Kind::Parcel, 500, "RR473124829GB"));
    }

    #[test]
    fn the_statement_tells_what_should_be_there() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let day: Vec<Entry> = [(Kind::Stamps, 139), (Kind::Withdrawal, 2000), (Kind::Closing, 8_100)]
            .iter()
            .zip(4..)
            .map(|(&(kind, cents), n)| entry(n, kind, cents, "").seal("PARIS01", "T1", &key))
            .collect();
        let text = statement("PARIS01", "T1", 10_000, &day);
        assert!(text.contains("in the till before: 100.00; expected: 81.39"), "{text}");
        assert!(text.contains("counted: 81.00; difference: -0.39"), "{text}");
        assert!(text.contains("withdrawal        -20.00"), "{text}");
    }
}
