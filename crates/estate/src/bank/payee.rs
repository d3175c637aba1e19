//! Verification of payee: does an account belong to whom the payer thinks? (EU 2024/886: before each transfer, free, at once.)
//!
//! The answer is one of four: the names match, nearly match (then the right name is told), do not match (it is not told), or
//! there is no answer, as for banks that can't be asked here.

use super::Bank;
use crate::bounds::{PAYEE_ANSWER_MAX, PAYEE_NAME_CHARS_MAX};
use crate::ids;
use crate::kit::{Json, private};
use crate::problem::Problem;
use crate::seed;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;

/// From here on two names are nearly the same: one wrong letter in a name of seven.
const NEAR: f64 = 0.85;

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// The name is that of the account.
    Match,
    /// It is nearly that; this is the right one.
    Close(String),
    /// It is another.
    NoMatch,
    /// Nobody can say.
    NotApplicable,
}

impl Verified {
    /// As the scheme calls it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Match => "MTCH",
            Self::Close(_) => "CMTC",
            Self::NoMatch => "NMTC",
            Self::NotApplicable => "NOAP",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    iban: String,
    name: String,
}

/// `POST /payees/verification`
pub(super) async fn verify(State(bank): State<Bank>, headers: HeaderMap, body: Json<Ask>) -> Result<Response, Problem> {
    bank.sessions.require(&headers).await?;
    let iban = ids::iban_checked(&body.value.iban).ok_or_else(|| Problem::invalid("iban is no valid IBAN"))?;
    if !name_fits(&body.value.name) {
        return Err(Problem::invalid(format!("name takes 1 to {PAYEE_NAME_CHARS_MAX} characters on one line")));
    }
    let verified = of(&bank, &iban, &body.value.name).await;
    let name = match &verified {
        Verified::Close(name) => Some(name.as_str()),
        Verified::Match | Verified::NoMatch | Verified::NotApplicable => None,
    };
    Ok(private(json!({"result": verified.code(), "name": name})))
}

pub(super) fn name_fits(name: &str) -> bool {
    (1..=PAYEE_NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

/// The answer for an account, in time: whatever goes wrong, the payer is told that nobody can say.
pub(super) async fn of(bank: &Bank, iban: &str, name: &str) -> Verified {
    let owner = sqlx::query_scalar("SELECT owner FROM account WHERE iban = $1").bind(iban);
    let owner: Option<String> =
        match tokio::time::timeout(PAYEE_ANSWER_MAX, owner.fetch_optional(&bank.kit.store.reader)).await {
            Ok(Ok(owner)) => owner,
            Ok(Err(_)) | Err(_) => return Verified::NotApplicable,
        };
    match owner.as_deref().and_then(ids::user_number).map(seed::name) {
        Some((given, family)) => compare(name, &format!("{given} {family}")),
        None => Verified::NotApplicable,
    }
}

/// Letters and digits without case and accents, in words that are in order.
fn folded(name: &str) -> Vec<String> {
    let plain: String = name
        .nfkd()
        .filter(|c| !unicode_normalization::char::is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    // Titles are no part of a name.
    let title = |word: &str| matches!(word, "m" | "mr" | "mme" | "mlle" | "monsieur" | "madame" | "mrs" | "ms" | "dr");
    let mut words: Vec<String> = plain.split_whitespace().filter(|word| !title(word)).map(str::to_owned).collect();
    words.sort_unstable();
    words
}

fn compare(told: &str, right: &str) -> Verified {
    let (told, known) = (folded(told), folded(right));
    if told == known {
        return Verified::Match;
    }
    // An initial for the given name is what people write.
    let initials = told.len() == known.len()
        && known.iter().all(|word| told.iter().any(|part| part == word || word.starts_with(part.as_str())))
        && told.iter().any(|part| known.contains(part));
    let likeness = strsim::normalized_damerau_levenshtein(&told.join(" "), &known.join(" "));
    if initials || likeness >= NEAR { Verified::Close(right.to_owned()) } else { Verified::NoMatch }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_compared_as_people_write_them() {
        for (told, expected) in [
            ("Élise Martin", "MTCH"),
            ("MARTIN Elise", "MTCH"),
            ("Mme  Martin, Élise", "MTCH"),
            ("É. Martin", "CMTC"),
            ("Elise Matrin", "CMTC"),
            ("Elyse Martin", "CMTC"),
            ("Martin", "NMTC"),
            ("E. M.", "NMTC"),
            ("Hugo Martin", "NMTC"),
            ("Élise Bernard", "NMTC"),
            ("", "NMTC"),
            ("*", "NMTC"),
        ] {
            assert_eq!(compare(told, "Élise Martin").code(), expected, "{told}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_itself_in_any_order_and_case(words in prop::collection::vec("[a-zà-ÿ]{2,12}", 1..5)) {
            let name = words.join(" ");
            let turned = words.iter().rev().map(|word| word.to_uppercase()).collect::<Vec<_>>().join("-");
            // Letters that have no single small form (as the German sharp s) change with the case.
            prop_assume!(turned.to_lowercase() == words.iter().rev().cloned().collect::<Vec<_>>().join("-"));
            prop_assert_eq!(compare(&turned, &name), Verified::Match);
        }

        #[test]
        fn no_text_breaks_the_comparison(told in ".{0,80}") {
            let _ = compare(&told, "Élise Martin");
        }
    }
}
