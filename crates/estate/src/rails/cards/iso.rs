//! What messages of ISO 8583 ask for, and how they are answered.
//!
//! | request | what | answer |
//! |---|---|---|
//! | 0100 | hold for a purchase | 0110 |
//! | 0120 | hold that the terminal approved by itself | 0130 |
//! | 0200 | purchase (processing code 00), cash (01), balance (31) | 0210 |
//! | 0220 | takes what the message of data element 90 held; without it, a purchase that the terminal approved | 0230 |
//! | 0400, 0420 | reverses the message of data element 90, down to the amount in 95 if there is one | 0410, 0430 |
//! | 0800 | sign on, sign off, echo (data element 70) | 0810 |
//!
//! A type that ends with 1 is a repeat. A message is named by data elements 7, 11, 32 and 41.

use super::{Ask, Cards, Decision, What};
use crate::once::hash;
use crate::problem::Problem;
use guichet_iso8583::Message;

/// Data elements that an answer repeats.
const REPEATED: [u8; 14] = [2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49, 70, 90];
const EURO: &str = "978";

/// Why a request is answered with no before anybody is asked: the code, and the data element at fault.
struct Wrong(&'static str, u8);

/// The answer to a message, or `None` for what is no request.
pub(super) async fn answer(cards: &Cards, request: &Message) -> Option<Message> {
    let digits = request.kind.as_bytes();
    let asks = digits.first() == Some(&b'0') && matches!(digits.get(2), Some(b'0' | b'2'));
    // 2 to 5 come from the card's side, 1 repeats.
    if !asks || !matches!(digits.get(3), Some(b'0' | b'1')) {
        return None;
    }
    let function = char::from(digits[2] + 1);
    let answer = REPEATED
        .into_iter()
        .filter_map(|number| Some((number, request.get(number)?)))
        .fold(Message::new(&format!("{}{function}0", &request.kind[..2])), |answer, (number, value)| {
            answer.with(number, value)
        });
    Some(match decide(cards, request).await {
        Ok(Ok(decision)) => told(answer, request, &decision),
        Ok(Err(Wrong(code, number))) => answer.with(39, code).with(44, format!("DE {number}")),
        // The store failed: nobody knows what happened; the terminal reverses.
        Err(_) => answer.with(39, "96"),
    })
}

fn told(answer: Message, request: &Message, decision: &Decision) -> Message {
    let mut answer = answer.with(39, decision.code.as_str());
    if let Some(approval) = &decision.approval {
        answer = answer.with(38, approval.as_str());
    }
    if let Some(cents) = decision.available_cents {
        let account = request.get(3).and_then(|code| code.get(2..4)).unwrap_or("00");
        let sign = if cents < 0 { 'D' } else { 'C' };
        // Account type, what can be spent, currency, sign, amount.
        answer = answer.with(54, format!("{account}02{EURO}{sign}{:012}", cents.unsigned_abs()));
    }
    answer
}

async fn decide(cards: &Cards, request: &Message) -> Result<Result<Decision, Wrong>, Problem> {
    let plain = |code: &str| Ok(Ok(Decision { code: code.to_owned(), approval: None, available_cents: None }));
    match &request.kind[..3] {
        "080" => plain("00"),
        "010" => match ask(request, What::Hold) {
            Ok(ask) => cards.authorise(&ask).await.map(Ok),
            Err(wrong) => Ok(Err(wrong)),
        },
        "012" => match ask(request, What::Hold) {
            Ok(ask) => cards.take_note(&ask).await.map(Ok),
            Err(wrong) => Ok(Err(wrong)),
        },
        "020" => match what(request).and_then(|what| ask(request, what)) {
            Ok(ask) => cards.authorise(&ask).await.map(Ok),
            Err(wrong) => Ok(Err(wrong)),
        },
        "022" => match (ask(request, What::Purchase), original(request)) {
            (Err(wrong), _) => Ok(Err(wrong)),
            (Ok(ask), Ok(key)) => plain(cards.capture(&key, ask.amount_cents).await?),
            (Ok(ask), Err(_)) if request.get(90).is_none() => cards.take_note(&ask).await.map(Ok),
            (Ok(_), Err(wrong)) => Ok(Err(wrong)),
        },
        "040" | "042" => match (original(request), kept_cents(request)) {
            (Ok(key), Ok(keep_cents)) => plain(cards.reverse(&key, keep_cents).await?),
            (Err(wrong), _) | (_, Err(wrong)) => Ok(Err(wrong)),
        },
        _ => Ok(Err(Wrong("12", 0))),
    }
}

/// The processing code: its first two digits say what is asked for.
fn what(request: &Message) -> Result<What, Wrong> {
    match need(request, 3)?.get(..2) {
        Some("00") => Ok(What::Purchase),
        Some("01") => Ok(What::Cash),
        Some("31") => Ok(What::Balance),
        _ => Err(Wrong("12", 3)),
    }
}

fn need(request: &Message, number: u8) -> Result<&str, Wrong> {
    request.get(number).ok_or(Wrong("30", number))
}

/// A name for a message: when it was sent, its trace number, who sent it, by which terminal. Leading zeros are left out of
/// the sender's number, since data element 90 fills it up with them.
fn key(sent: &str, trace: &str, sender: &str, terminal: &str) -> String {
    format!("{sent}-{trace}-{}-{}", sender.trim_start_matches('0'), terminal.trim_end())
}

fn ask(request: &Message, what: What) -> Result<Ask, Wrong> {
    let (sent, trace, terminal) = (need(request, 7)?, need(request, 11)?, need(request, 41)?);
    let amount_cents = match what {
        What::Balance => 0,
        What::Purchase | What::Cash | What::Online | What::Hold => {
            if need(request, 49)? != EURO {
                return Err(Wrong("12", 49));
            }
            need(request, 4)?.parse().map_err(|_| Wrong("13", 4))?
        }
    };
    if amount_cents == 0 && what != What::Balance {
        return Err(Wrong("13", 4));
    }
    let merchant = request.get(43).or_else(|| request.get(42)).unwrap_or("").trim();
    // All but the last digit of the type, which a repeat changes.
    let mut asked = request.kind[..3].to_owned();
    for number in request.numbers() {
        asked.push_str(&format!("\n{number} {}", request.get(number).unwrap_or("")));
    }
    Ok(Ask {
        key: key(sent, trace, request.get(32).unwrap_or(""), terminal),
        what,
        pan: need(request, 2)?.to_owned(),
        amount_cents,
        terminal: terminal.trim().to_owned(),
        merchant: merchant.to_owned(),
        body_hash: hash(asked.as_bytes()),
    })
}

/// The message that data element 90 names: type (4), trace number (6), when it was sent (10), sender (11), forwarder (11).
fn original(request: &Message) -> Result<String, Wrong> {
    let original = need(request, 90)?;
    let part = |from: usize, to: usize| original.get(from..to).ok_or(Wrong("30", 90));
    Ok(key(part(10, 20)?, part(4, 10)?, part(20, 31)?, need(request, 41)?))
}

/// What stays of the original amount: the first twelve digits of data element 95, or nothing.
fn kept_cents(request: &Message) -> Result<i64, Wrong> {
    let Some(replacement) = request.get(95) else { return Ok(0) };
    replacement.get(..12).and_then(|digits| digits.parse().ok()).filter(|cents| *cents >= 0).ok_or(Wrong("30", 95))
}
