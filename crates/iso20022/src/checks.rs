//! From the elements of a document to a message, by the rules of the schemas and of euro transfers.

use crate::bounds::AMOUNT_CENTS_MAX;
use crate::{Fault, Message, Payee, Refusal, Report, Request, Status, Transfer, wire};
use iban::IbanLike as _;

/// What stands in the place of an IBAN that the payer's bank does not know.
pub(crate) const NOT_PROVIDED: &str = "NOTPROVIDED";

/// Whether a text is a BIC (ISO 9362).
#[must_use]
pub fn bic_fits(text: &str) -> bool {
    let bytes = text.as_bytes();
    matches!(bytes.len(), 8 | 11)
        && bytes.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        && bytes[4..6].iter().all(u8::is_ascii_uppercase)
}

/// Whether a text is a telephone number as directories have it: `+` and 8 to 15 digits.
#[must_use]
pub fn telephone_fits(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (8..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is an e-mail address as directories have it: in small letters, one `@`, a dot in the domain.
#[must_use]
pub fn email_fits(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let plain = |part: &str, also: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.as_bytes().contains(&byte))
            && !part.starts_with('.')
            && !part.ends_with('.')
            && !part.contains("..")
    };
    text.len() <= 254
        && local.len() <= 64
        && plain(local, ".!#$%&'*+/=?^_`{|}~-")
        && plain(domain, ".-")
        && domain.contains('.')
}

/// The electronic form of an IBAN whose check digits are right.
#[must_use]
pub fn iban_checked(text: &str) -> Option<String> {
    if text.len() > 64 {
        return None;
    }
    text.parse::<iban::Iban>().ok().map(|iban| iban.electronic_str().to_owned())
}

fn unreadable(words: &str) -> Fault {
    Fault::Unreadable(words.to_owned())
}

/// An id of the schemas: 1 to 35 characters, here those that all banks take.
fn id(text: &str, element: &str) -> Result<String, Fault> {
    let text = text.trim();
    let fits = (1..=35).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-?:().,'+ _".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err(Fault::Unreadable(format!("{element} takes 1 to 35 plain characters"))) }
}

fn time_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > 40 {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond).filter(|ms| *ms >= 0)
}

fn only<T>(mut many: Vec<T>, element: &str) -> Result<T, Fault> {
    match (many.pop(), many.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => Err(Fault::Unreadable(format!("a message has one {element}"))),
    }
}

pub(crate) fn checked(document: wire::Document) -> Result<Message, Fault> {
    match (document.transfer, document.report, document.request) {
        (Some(it), None, None) => transfer(it).map(Message::Transfer),
        (None, Some(it), None) => report(it).map(Message::Report),
        (None, None, Some(it)) => request(it).map(Message::Request),
        _ => Err(unreadable("a Document has one of FIToFICstmrCdtTrf, FIToFIPmtStsRpt and FIToFIPmtStsReq")),
    }
}

fn transfer(it: wire::CreditTransfer) -> Result<Transfer, Fault> {
    let message = id(&it.header.id, "GrpHdr/MsgId")?;
    let one = only(it.transactions, "CdtTrfTxInf")?;
    let transaction = id(&one.ids.transaction, "PmtId/TxId")?;
    let end_to_end = one.ids.end_to_end.trim().to_owned();
    let no = |(reason, words): (&'static str, &str)| {
        let (message, transaction) = (message.clone(), transaction.clone());
        let end_to_end = if id(&end_to_end, "").is_ok() { end_to_end.clone() } else { String::new() };
        Fault::Refused(Refusal { message, transaction, end_to_end, reason, words: words.to_owned() })
    };
    if id(&end_to_end, "").is_err() {
        return Err(no(("FF01", "PmtId/EndToEndId takes 1 to 35 plain characters")));
    }
    let made_ms =
        time_ms(&it.header.made).ok_or_else(|| no(("DT01", "GrpHdr/CreDtTm takes a time with its offset")))?;
    if it.header.count.as_deref().map(str::trim) != Some("1") || it.header.settlement.is_none() {
        return Err(no(("FF01", "GrpHdr/NbOfTxs takes 1, and GrpHdr has SttlmInf")));
    }
    let amount_cents = cents(&one.amount).map_err(no)?;
    let accepted_ms = time_ms(&one.accepted).ok_or_else(|| no(("DT01", "AccptncDtTm takes a time with its offset")))?;
    if one.charges.trim() != "SLEV" {
        return Err(no(("FF01", "ChrgBr takes SLEV")));
    }
    let payer_name = line(&one.payer.name, 1, 140).ok_or_else(|| no(("FF01", "Dbtr/Nm takes 1 to 140 characters")))?;
    let payee_name = line(&one.payee.name, 1, 140).ok_or_else(|| no(("FF01", "Cdtr/Nm takes 1 to 140 characters")))?;
    let payer_iban = one.payer_account.id.iban.as_deref().and_then(iban_checked);
    let payer_iban = payer_iban.ok_or_else(|| no(("AC02", "DbtrAcct/Id/IBAN is no valid IBAN")))?;
    let payee = payee(&one.payee_account).map_err(no)?;
    let bic = |agent: &wire::Agent, words| {
        let bic = agent.institution.bic.trim();
        if bic_fits(bic) { Ok(bic.to_owned()) } else { Err(no(("RC01", words))) }
    };
    let payer_bic = bic(&one.payer_agent, "DbtrAgt/FinInstnId/BICFI takes a BIC")?;
    let payee_bic = bic(&one.payee_agent, "CdtrAgt/FinInstnId/BICFI takes a BIC")?;
    let text = one.remittance.map(|it| it.text).unwrap_or_default();
    let text = match text.as_slice() {
        [] => Some(String::new()),
        [text] => line(text, 0, 140),
        _ => None,
    };
    let text = text.ok_or_else(|| no(("FF01", "RmtInf/Ustrd comes once, with 140 characters at most")))?;
    Ok(Transfer {
        message: message.clone(),
        made_ms,
        id: transaction.clone(),
        end_to_end: end_to_end.clone(),
        amount_cents,
        accepted_ms,
        payer_name,
        payer_iban,
        payer_bic,
        payee_name,
        payee_bic,
        payee,
        text,
    })
}

fn line(text: &str, chars_min: usize, chars_max: usize) -> Option<String> {
    let text = text.trim();
    let fits = (chars_min..=chars_max).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

fn cents(amount: &wire::Amount) -> Result<i64, (&'static str, &'static str)> {
    if amount.currency.trim() != "EUR" {
        return Err(("AM03", "IntrBkSttlmAmt/@Ccy takes EUR"));
    }
    let wrong = ("AM12", "IntrBkSttlmAmt takes digits, with two decimals at most");
    let value = amount.value.trim();
    let (euros, cents) = value.split_once('.').unwrap_or((value, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(euros) || !digits(cents) || value.len() > 19 || cents.len() > 2 {
        return Err(wrong);
    }
    let tens = if cents.len() == 1 { 10 } else { 1 };
    let euros: i64 = euros.parse().map_err(|_| wrong)?;
    let rest: i64 = cents.parse().map_err(|_| wrong)?;
    match euros.checked_mul(100).and_then(|euros| euros.checked_add(rest * tens)) {
        Some(0) => Err(("AM01", "IntrBkSttlmAmt is nothing")),
        Some(cents) if cents <= AMOUNT_CENTS_MAX => Ok(cents),
        _ => Err(("AM02", "IntrBkSttlmAmt is more than one transfer may have")),
    }
}

fn payee(account: &wire::Account) -> Result<Payee, (&'static str, &'static str)> {
    if let Some(iban) = &account.id.iban {
        return iban_checked(iban).map(Payee::Iban).ok_or(("AC01", "CdtrAcct/Id/IBAN is no valid IBAN"));
    }
    let wrong = ("BE06", "CdtrAcct takes an IBAN, or NOTPROVIDED with a Prxy of type TELE or EMAL");
    let (Some(other), Some(proxy)) = (&account.id.other, &account.proxy) else { return Err(wrong) };
    let kind = proxy.kind.as_ref().and_then(|kind| kind.code.as_deref()).unwrap_or_default();
    let (id, kind) = (proxy.id.trim().to_owned(), kind.trim());
    match kind {
        _ if other.id.trim() != NOT_PROVIDED => Err(wrong),
        "TELE" if telephone_fits(&id) => Ok(Payee::Telephone(id)),
        "EMAL" if email_fits(&id.to_ascii_lowercase()) => Ok(Payee::Email(id.to_ascii_lowercase())),
        _ => Err(wrong),
    }
}

fn report(it: wire::StatusReport) -> Result<Report, Fault> {
    let message = id(&it.header.id, "GrpHdr/MsgId")?;
    let made_ms = time_ms(&it.header.made).ok_or_else(|| unreadable("GrpHdr/CreDtTm takes a time with its offset"))?;
    let one = only(it.transactions, "TxInfAndSts")?;
    let group = one.group.unwrap_or_default();
    let status = match one.status.as_deref().map_or("", str::trim) {
        "ACSC" => Status::Settled,
        "ACCP" | "ACSP" | "ACTC" | "ACWC" => Status::Accepted,
        "PDNG" | "RCVD" => Status::Pending,
        "RJCT" => Status::Rejected,
        _ => return Err(unreadable("TxSts takes ACSC, ACCP, ACSP, ACTC, ACWC, PDNG, RCVD or RJCT")),
    };
    let why = one.reason.unwrap_or_default();
    let code = why.reason.and_then(|reason| reason.code).unwrap_or_default();
    let code = code.trim();
    if code.len() > 4 || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(unreadable("StsRsnInf/Rsn/Cd takes a code of four characters"));
    }
    let words = why.words.into_iter().next().unwrap_or_default();
    let words = line(&words, 0, 105).ok_or_else(|| unreadable("StsRsnInf/AddtlInf takes 105 characters"))?;
    let end_to_end = one.end_to_end.filter(|text| !text.trim().is_empty());
    Ok(Report {
        message,
        made_ms,
        original_message: id(&group.id, "OrgnlGrpInf/OrgnlMsgId")?,
        original: id(&one.transaction.unwrap_or_default(), "OrgnlTxId")?,
        end_to_end: end_to_end.map(|text| id(&text, "OrgnlEndToEndId")).transpose()?.unwrap_or_default(),
        status,
        reason: code.to_owned(),
        words,
    })
}

fn request(it: wire::StatusRequest) -> Result<Request, Fault> {
    let made_ms = time_ms(&it.header.made).ok_or_else(|| unreadable("GrpHdr/CreDtTm takes a time with its offset"))?;
    let message = id(&it.header.id, "GrpHdr/MsgId")?;
    let one = only(it.transactions, "TxInf")?;
    let group = one.group.unwrap_or_default();
    Ok(Request {
        message,
        made_ms,
        original_message: id(&group.id, "OrgnlGrpInf/OrgnlMsgId")?,
        original: id(&one.transaction.unwrap_or_default(), "OrgnlTxId")?,
    })
}
