//! Messages of instant transfers: pacs.008.001.08 (the transfer), pacs.002.001.10 (what became of it) and pacs.028.001.03 (asking
//! what became of it), as XML.
//!
//! What is read is checked by the rules of the schemas that matter and by those of euro transfers: one transaction a message,
//! lengths, check digits of IBANs, euros with two decimals. Nothing is fetched, and no entity is expanded.

mod bounds;
mod checks;
mod scan;
mod wire;
mod write;

pub use bounds::{AMOUNT_CENTS_MAX, MESSAGE_BYTES_MAX};
pub use checks::{bic_fits, email_fits, iban_checked, telephone_fits};

/// The message kinds, by the names that they have in each other.
pub const TRANSFER: &str = "pacs.008.001.08";
/// As [`TRANSFER`].
pub const REPORT: &str = "pacs.002.001.10";
/// As [`TRANSFER`].
pub const REQUEST: &str = "pacs.028.001.03";

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// pacs.008
    Transfer(Transfer),
    /// pacs.002
    Report(Report),
    /// pacs.028
    Request(Request),
}

/// Whom a transfer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payee {
    /// An account, in electronic form.
    Iban(String),
    /// Whoever has this telephone (`+` and digits) in the directory.
    Telephone(String),
    /// Whoever has this address in the directory.
    Email(String),
}

/// A transfer between two banks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Of the message.
    pub message: String,
    /// When the message was made, milliseconds since 1970.
    pub made_ms: i64,
    /// Of the transaction: what both banks know it by.
    pub id: String,
    /// The payer's own reference.
    pub end_to_end: String,
    /// In euros; more than nothing.
    pub amount_cents: i64,
    /// When the payer's bank took it: from then the seconds are counted. Milliseconds since 1970.
    pub accepted_ms: i64,
    /// Who pays.
    pub payer_name: String,
    /// From which account.
    pub payer_iban: String,
    /// At which bank.
    pub payer_bic: String,
    /// Whom the payer thinks to pay.
    pub payee_name: String,
    /// At which bank.
    pub payee_bic: String,
    /// To which account.
    pub payee: Payee,
    /// What it is for; may be empty.
    pub text: String,
}

/// What became of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// ACSC: the payee has the money.
    Settled,
    /// ACCP, ACSP, ACTC, ACWC: taken; the payee will have the money.
    Accepted,
    /// PDNG, RCVD: not yet decided.
    Pending,
    /// RJCT: it is not done.
    Rejected,
}

/// What a bank says of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of the message.
    pub message: String,
    /// When it was made, milliseconds since 1970.
    pub made_ms: i64,
    /// Of the message that the transfer came in.
    pub original_message: String,
    /// Of the transaction.
    pub original: String,
    /// The payer's reference, where told.
    pub end_to_end: String,
    /// What became of it.
    pub status: Status,
    /// Why not: a code of the external list of ISO 20022, as AC01; empty where there is none.
    pub reason: String,
    /// Why not, in words; may be empty.
    pub words: String,
}

/// Asks what became of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Of the message.
    pub message: String,
    /// When it was made, milliseconds since 1970.
    pub made_ms: i64,
    /// Of the message that the transfer came in.
    pub original_message: String,
    /// Of the transaction.
    pub original: String,
}

/// A transfer that can't be carried out as it stands, and can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Of the message.
    pub message: String,
    /// Of the transaction.
    pub transaction: String,
    /// The payer's reference; may be empty.
    pub end_to_end: String,
    /// The code of the reason.
    pub reason: &'static str,
    /// The element, and what it takes.
    pub words: String,
}

/// Why a message can't be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing in it can be answered: no XML, no known message, or without ids. Place and mend.
    Unreadable(String),
    /// A transfer with something wrong in it.
    Refused(Refusal),
}

impl Message {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is none, or is one that breaks a rule.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let text = scan::scan(bytes).map_err(Fault::Unreadable)?;
        let document: wire::Document = quick_xml::de::from_str(text).map_err(|error| {
            let words: String = error.to_string().chars().take(200).collect();
            Fault::Unreadable(format!("the document does not follow its schema: {words}"))
        })?;
        checks::checked(document)
    }

    /// Writes a message; what was read is written so that it is read as the same.
    ///
    /// # Errors
    /// When a text can't stand in XML.
    pub fn write(&self) -> Result<String, String> {
        write::write(self)
    }
}

#[cfg(test)]
mod tests;
