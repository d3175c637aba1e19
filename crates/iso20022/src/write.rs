//! From a message to its document.

use crate::checks::NOT_PROVIDED;
use crate::scan::NAMESPACE;
use crate::wire::{
    Account, AccountId, Agent, Amount, Asked, Code, CreditTransfer, Document, Header, Ids, Institution, OriginalGroup,
    Other, Party, Proxy, Reason, Remittance, Settlement, StatusReport, StatusRequest, Transaction,
};
use crate::{Message, Payee, REPORT, REQUEST, Report, Request, Status, TRANSFER, Transfer, wire};

pub(crate) fn write(message: &Message) -> Result<String, String> {
    let namespace = |kind: &str| format!("{NAMESPACE}{kind}");
    let document = match message {
        Message::Transfer(it) => {
            Document { xmlns: namespace(TRANSFER), transfer: Some(transfer(it)), ..Document::default() }
        }
        Message::Report(it) => Document { xmlns: namespace(REPORT), report: Some(report(it)), ..Document::default() },
        Message::Request(it) => {
            Document { xmlns: namespace(REQUEST), request: Some(request(it)), ..Document::default() }
        }
    };
    let text = quick_xml::se::to_string(&document).map_err(|error| error.to_string())?;
    Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{text}\n"))
}

/// A time as the schemas have it, with its milliseconds.
fn time(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn agent(bic: &str) -> Agent {
    Agent { institution: Institution { bic: bic.to_owned() } }
}

fn iban(iban: &str) -> Account {
    Account { id: AccountId { iban: Some(iban.to_owned()), other: None }, proxy: None }
}

fn by_proxy(kind: &str, id: &str) -> Account {
    Account {
        id: AccountId { iban: None, other: Some(Other { id: NOT_PROVIDED.to_owned() }) },
        proxy: Some(Proxy { kind: Some(Code { code: Some(kind.to_owned()) }), id: id.to_owned() }),
    }
}

fn transfer(it: &Transfer) -> CreditTransfer {
    let header = Header {
        id: it.message.clone(),
        made: time(it.made_ms),
        count: Some("1".to_owned()),
        settlement: Some(Settlement { method: "CLRG".to_owned() }),
        from: Some(agent(&it.payer_bic)),
        to: Some(agent(&it.payee_bic)),
    };
    let party = |name: &str| Party { name: name.to_owned() };
    let one = Transaction {
        ids: Ids { end_to_end: it.end_to_end.clone(), transaction: it.id.clone() },
        amount: Amount {
            currency: "EUR".to_owned(),
            value: format!("{}.{:02}", it.amount_cents / 100, it.amount_cents % 100),
        },
        settled_on: Some(time(it.accepted_ms)[..10].to_owned()),
        accepted: time(it.accepted_ms),
        charges: "SLEV".to_owned(),
        payer: party(&it.payer_name),
        payer_account: iban(&it.payer_iban),
        payer_agent: agent(&it.payer_bic),
        payee_agent: agent(&it.payee_bic),
        payee: party(&it.payee_name),
        payee_account: match &it.payee {
            Payee::Iban(it) => iban(it),
            Payee::Telephone(it) => by_proxy("TELE", it),
            Payee::Email(it) => by_proxy("EMAL", it),
        },
        remittance: (!it.text.is_empty()).then(|| Remittance { text: vec![it.text.clone()] }),
    };
    CreditTransfer { header, transactions: vec![one] }
}

fn header(id: &str, made_ms: i64) -> Header {
    Header { id: id.to_owned(), made: time(made_ms), ..Header::default() }
}

fn original(id: &str) -> Option<OriginalGroup> {
    Some(OriginalGroup { id: id.to_owned(), kind: TRANSFER.to_owned() })
}

fn report(it: &Report) -> StatusReport {
    let status = match it.status {
        Status::Settled => "ACSC",
        Status::Accepted => "ACCP",
        Status::Pending => "PDNG",
        Status::Rejected => "RJCT",
    };
    let reason = (!it.reason.is_empty() || !it.words.is_empty()).then(|| Reason {
        reason: (!it.reason.is_empty()).then(|| Code { code: Some(it.reason.clone()) }),
        words: if it.words.is_empty() { Vec::new() } else { vec![it.words.clone()] },
    });
    let one = wire::Status {
        group: original(&it.original_message),
        end_to_end: (!it.end_to_end.is_empty()).then(|| it.end_to_end.clone()),
        transaction: Some(it.original.clone()),
        status: Some(status.to_owned()),
        reason,
        accepted: None,
    };
    StatusReport { header: header(&it.message, it.made_ms), transactions: vec![one] }
}

fn request(it: &Request) -> StatusRequest {
    let one =
        Asked { group: original(&it.original_message), transaction: Some(it.original.clone()), ..Asked::default() };
    StatusRequest { header: header(&it.message, it.made_ms), transactions: vec![one] }
}
