//! The page of a person's aliases: telephones and e-mail addresses that stand for an account, each proved with a code.

use super::pages::{AccountRow, account_rows, user};
use super::{Bank, instant};
use crate::credentials::User;
use crate::people::{Frame, page, same_site};
use crate::problem::Problem;
use askama::Template;
use axum::extract::{Form, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

struct AliasRow {
    alias: String,
    iban: String,
}

#[derive(Template)]
#[template(path = "bank/alias.html")]
struct Aliases {
    frame: Frame,
    rows: Vec<AliasRow>,
    accounts: Vec<AccountRow>,
    /// The alias to which a code was sent; empty for none.
    asked: String,
    /// What is wrong; empty for nothing.
    fault: &'static str,
}

async fn shown(
    bank: &Bank,
    user: &User,
    frame: Frame,
    asked: String,
    fault: &'static str,
) -> Result<Response, Problem> {
    let away = |_| Problem::busy("aliases can't be read at the moment");
    let answer =
        instant::ask_rails(bank, "/internal/aliases/list", &json!({"owner": user.name})).await.map_err(away)?;
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| AliasRow { alias: text(&row["alias"]), iban: text(&row["iban"]) };
    let rows = told["aliases"].as_array().map(|rows| rows.iter().map(row).collect()).unwrap_or_default();
    let mut accounts = account_rows(bank, user, frame.fr).await?;
    // Instant transfers reach current accounts.
    accounts.retain(|account| account.id.ends_with("-1"));
    let status = if fault.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    page(status, &Aliases { frame, rows, accounts, asked, fault })
}

pub(super) async fn aliases(State(bank): State<Bank>, headers: HeaderMap) -> Result<Response, Problem> {
    match user(&bank, &headers).await? {
        Ok(user) => shown(&bank, &user, Frame::of(&headers), String::new(), "").await,
        Err(away) => Ok(away),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Typed {
    what: What,
    alias: String,
    #[serde(default)]
    iban: String,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Claim,
    Confirm,
    End,
}

pub(super) async fn change(
    State(bank): State<Bank>,
    headers: HeaderMap,
    Form(typed): Form<Typed>,
) -> Result<Response, Problem> {
    same_site(&headers)?;
    let user = match user(&bank, &headers).await? {
        Ok(user) => user,
        Err(away) => return Ok(away),
    };
    let frame = Frame::of(&headers);
    let (owner, alias) = (&user.name, typed.alias.trim());
    let (path, body) = match typed.what {
        What::Claim => ("/internal/aliases", json!({"owner": owner, "alias": alias, "iban": typed.iban})),
        What::Confirm => {
            ("/internal/aliases/confirm", json!({"owner": owner, "alias": alias, "code": typed.code.trim()}))
        }
        What::End => ("/internal/aliases/end", json!({"owner": owner, "alias": alias})),
    };
    let away = |_| Problem::busy("aliases can't be changed at the moment");
    let answer = instant::ask_rails(&bank, path, &body).await.map_err(away)?;
    let fault = match answer.status {
        StatusCode::OK => "",
        StatusCode::FORBIDDEN => frame.say("Ce n'est pas le code envoyé.", "This is not the code that was sent."),
        StatusCode::GONE => {
            frame.say("Ce code n'est plus valable : demandez-en un autre.", "This code is no longer valid: ask again.")
        }
        StatusCode::TOO_MANY_REQUESTS => frame.say(
            "Vous avez déjà autant d'alias ou de codes en attente que possible.",
            "You have as many aliases or waiting codes as one may have.",
        ),
        StatusCode::UNPROCESSABLE_ENTITY => frame.say(
            "Écrivez un téléphone comme +33600000001 ou une adresse e-mail.",
            "Write a telephone as +33600000001 or an e-mail address.",
        ),
        _ => return Err(Problem::busy("aliases can't be changed at the moment")),
    };
    let asks = matches!(typed.what, What::Claim) && fault.is_empty()
        || matches!(typed.what, What::Confirm) && answer.status == StatusCode::FORBIDDEN;
    let asked = if asks { alias.chars().take(254).collect() } else { String::new() };
    shown(&bank, &user, frame, asked, fault).await
}
