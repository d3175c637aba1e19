//! How real clients earn a pass where a front offers one: as a browser's script or an application would, at the price that
//! a cheap telephone pays.
//!
//! Written from the documented interface (docs/passes.md), apart from the front's own code.

use aws_lc_rs::digest::{SHA256, digest};
use std::time::Duration;

/// Hashes a second of a cheap telephone in plain JavaScript.
const HASHES_PER_S: f64 = 200_000.0;
/// A front that asks for more work than this is not served: no person would wait for it.
const HASHES_AT_MOST: u64 = 5_000_000;

/// What a front offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    puzzle: String,
    bits: u32,
    parts: u32,
    /// Where the solution is sent.
    pub(crate) submit: String,
}

/// A solution, and how long a telephone would have calculated.
pub(crate) struct Solution {
    /// The form to send.
    pub(crate) form: String,
    /// What the client waits before it sends it.
    pub(crate) price: Duration,
}

impl Offer {
    /// From the page or the problem document of a refusal.
    pub(crate) fn find(answer: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(answer).ok()?;
        if text.starts_with('{') {
            let work = serde_json::from_str::<serde_json::Value>(text).ok()?["work"].clone();
            return Some(Self {
                puzzle: work["puzzle"].as_str()?.to_owned(),
                bits: work["bits"].as_u64()? as u32,
                parts: work["parts"].as_u64()? as u32,
                submit: work["submit"].as_str()?.to_owned(),
            });
        }
        let form = &text[text.find("<form id=\"work\"")?..];
        let attribute = |name: &str| {
            let after = &form[form.find(&format!("{name}=\""))? + name.len() + 2..];
            Some(after[..after.find('"')?].to_owned())
        };
        let puzzle = &form[form.find("name=\"puzzle\" value=\"")? + 21..];
        Some(Self {
            puzzle: puzzle[..puzzle.find('"')?].to_owned(),
            bits: attribute("data-bits")?.parse().ok()?,
            parts: attribute("data-parts")?.parse().ok()?,
            submit: attribute("action")?,
        })
    }

    /// Solves it; `None` where it asks for too much.
    pub(crate) fn solve(&self) -> Option<Solution> {
        if self.bits > 24 || u64::from(self.parts) << self.bits > HASHES_AT_MOST {
            return None;
        }
        let seed = digest(&SHA256, self.puzzle.as_bytes());
        let mut message = [0; 40];
        message[..32].copy_from_slice(seed.as_ref());
        let (mut numbers, mut hashes) = (Vec::new(), 0_u64);
        for part in 0..self.parts {
            message[32..36].copy_from_slice(&part.to_be_bytes());
            let number = (0..=u32::MAX).find(|number| {
                hashes += 1;
                message[36..].copy_from_slice(&number.to_be_bytes());
                let hash = digest(&SHA256, &message);
                let first = hash.as_ref();
                u32::from_be_bytes([first[0], first[1], first[2], first[3]]).leading_zeros() >= self.bits
            })?;
            numbers.push(number.to_string());
        }
        let form = format!("puzzle={}&numbers={}&to=/", self.puzzle, numbers.join("%2C"));
        Some(Solution { form, price: Duration::from_secs_f64(hashes as f64 / HASHES_PER_S) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_found_in_pages_and_documents() {
        let page =
            b"<p>x</p><form id=\"work\" method=\"post\" action=\"/.well-known/guichet/work\" hidden data-bits=\"5\" \
            data-parts=\"2\"><input type=\"hidden\" name=\"puzzle\" value=\"abc\"></form>";
        let wanted = Offer { puzzle: "abc".into(), bits: 5, parts: 2, submit: "/.well-known/guichet/work".into() };
        assert_eq!(Offer::find(page), Some(wanted.clone()));
        let document = br#"{"work":{"puzzle":"abc","bits":5,"parts":2,"submit":"/.well-known/guichet/work"}}"#;
        assert_eq!(Offer::find(document), Some(wanted.clone()));
        for other in [&b"<html>busy</html>"[..], b"{}", b"", b"\xff"] {
            assert_eq!(Offer::find(other), None);
        }
        let solution = wanted.solve().expect("it is small");
        assert!(solution.form.starts_with("puzzle=abc&numbers=") && !solution.price.is_zero());
        assert!(Offer { bits: 23, ..wanted }.solve().is_none(), "nobody would wait for that");
    }
}
