//! The words behind values: hashes decide, and people read words. Bounded on both sides.

use guichet_core::bounds::{LEXICON_WORDS_MAX, LOG_TEXT_BYTES_MAX, WORDS_PER_REPORT_MAX};
use guichet_core::signs::{Dimension, Features, Signature};

use super::looks::{Looks, fixed_words};

/// A value and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    dimension: Dimension,
    value: u32,
    words: Box<str>,
}

fn place(dimension: Dimension, value: u32) -> usize {
    (value ^ (dimension as u32).wrapping_mul(0x9E37_79B1)) as usize % LEXICON_WORDS_MAX
}

/// A worker's side: which values it has told the words of lately.
#[derive(Debug)]
pub struct Told {
    told: Box<[u64]>,
    fresh: Vec<Word>,
}

impl Default for Told {
    fn default() -> Self {
        Self { told: vec![0; LEXICON_WORDS_MAX].into_boxed_slice(), fresh: Vec::new() }
    }
}

impl Told {
    /// Notes the words of a sampled request where they are new.
    pub fn note(&mut self, features: &Features, looks: &Looks<'_>) {
        self.note_words(features, |dimension| looks.words(dimension));
    }

    /// Notes the words of what was sampled where they are new.
    pub fn note_words(&mut self, features: &Features, words: impl Fn(Dimension) -> Option<String>) {
        for dimension in Dimension::ALL {
            let value = features.get(dimension);
            let known = u64::from(value) << 8 | dimension as u64;
            let at = place(dimension, value);
            if value == 0 || self.told[at] == known || self.fresh.len() >= WORDS_PER_REPORT_MAX {
                continue;
            }
            if let Some(words) = words(dimension) {
                self.told[at] = known;
                self.fresh.push(Word { dimension, value, words: shown(&words) });
            }
        }
    }

    /// What is new since the last call.
    pub fn take(&mut self) -> Vec<Word> {
        std::mem::take(&mut self.fresh)
    }

    /// Forgets what was told, so that what the other side lost is told again.
    pub fn forget(&mut self) {
        self.told.fill(0);
    }
}

/// Only what can be shown anywhere, and not too long: a client chose these words.
fn shown(words: &str) -> Box<str> {
    let clean = words.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
    clean.take(LOG_TEXT_BYTES_MAX).collect::<String>().into()
}

/// The brain's side: the words told last for each place.
#[derive(Debug)]
pub struct Lexicon(Box<[Option<Word>]>);

impl Default for Lexicon {
    fn default() -> Self {
        Self(vec![None; LEXICON_WORDS_MAX].into_boxed_slice())
    }
}

impl Lexicon {
    /// Learns words.
    pub fn learn(&mut self, words: Vec<Word>) {
        for word in words {
            let at = place(word.dimension, word.value);
            self.0[at] = Some(word);
        }
    }

    /// The words for a value; its number where they are not known any more.
    #[must_use]
    pub fn words(&self, dimension: Dimension, value: u32) -> String {
        if let Some(fixed) = fixed_words(dimension, value) {
            return fixed.into_owned();
        }
        match &self.0[place(dimension, value)] {
            Some(word) if word.dimension == dimension && word.value == value => word.words.to_string(),
            _ => format!("#{value:08x}"),
        }
    }

    /// A signature in words: name and value of each part.
    #[must_use]
    pub fn signature(&self, signature: &Signature) -> Vec<(&'static str, String)> {
        signature.parts().map(|(dimension, value)| (dimension.name(), self.words(dimension, value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(value: u32, words: &str) -> Word {
        Word { dimension: Dimension::Path, value, words: words.into() }
    }

    #[test]
    fn words_are_kept_within_the_bound_and_told_apart() {
        let mut lexicon = Lexicon::default();
        for value in 1..4 * LEXICON_WORDS_MAX as u32 {
            lexicon.learn(vec![word(value, &format!("/{value}"))]);
        }
        assert_eq!(lexicon.0.len(), LEXICON_WORDS_MAX);
        let last = 4 * LEXICON_WORDS_MAX as u32 - 1;
        assert_eq!(lexicon.words(Dimension::Path, last), format!("/{last}"));
        assert_eq!(lexicon.words(Dimension::Path, 1), "#00000001", "its place was taken");
        assert_eq!(lexicon.words(Dimension::Answer, 4), "client errors");
    }

    #[test]
    fn what_a_client_chose_is_shown_safely() {
        assert_eq!(&*shown("a\u{1b}[31m\u{202e}b"), "a?[31m?b");
        assert_eq!(shown(&"x".repeat(9_999)).len(), LOG_TEXT_BYTES_MAX);
    }
}
