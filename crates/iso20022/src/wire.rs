//! The elements of the schemas that instant transfers use, as they stand in the document. What else the schemas allow is passed
//! over.

use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename = "Document")]
pub(crate) struct Document {
    #[serde(rename = "@xmlns", default)]
    pub(crate) xmlns: String,
    #[serde(rename = "FIToFICstmrCdtTrf", skip_serializing_if = "Option::is_none")]
    pub(crate) transfer: Option<CreditTransfer>,
    #[serde(rename = "FIToFIPmtStsRpt", skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<StatusReport>,
    #[serde(rename = "FIToFIPmtStsReq", skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<StatusRequest>,
}

/// pacs.008
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CreditTransfer {
    #[serde(rename = "GrpHdr")]
    pub(crate) header: Header,
    #[serde(rename = "CdtTrfTxInf", default)]
    pub(crate) transactions: Vec<Transaction>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Header {
    #[serde(rename = "MsgId", default)]
    pub(crate) id: String,
    #[serde(rename = "CreDtTm", default)]
    pub(crate) made: String,
    #[serde(rename = "NbOfTxs", skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<String>,
    #[serde(rename = "SttlmInf", skip_serializing_if = "Option::is_none")]
    pub(crate) settlement: Option<Settlement>,
    #[serde(rename = "InstgAgt", skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<Agent>,
    #[serde(rename = "InstdAgt", skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Agent>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Settlement {
    #[serde(rename = "SttlmMtd", default)]
    pub(crate) method: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Transaction {
    #[serde(rename = "PmtId", default)]
    pub(crate) ids: Ids,
    #[serde(rename = "IntrBkSttlmAmt", default)]
    pub(crate) amount: Amount,
    #[serde(rename = "IntrBkSttlmDt", skip_serializing_if = "Option::is_none")]
    pub(crate) settled_on: Option<String>,
    #[serde(rename = "AccptncDtTm", default)]
    pub(crate) accepted: String,
    #[serde(rename = "ChrgBr", default)]
    pub(crate) charges: String,
    #[serde(rename = "Dbtr", default)]
    pub(crate) payer: Party,
    #[serde(rename = "DbtrAcct", default)]
    pub(crate) payer_account: Account,
    #[serde(rename = "DbtrAgt", default)]
    pub(crate) payer_agent: Agent,
    #[serde(rename = "CdtrAgt", default)]
    pub(crate) payee_agent: Agent,
    #[serde(rename = "Cdtr", default)]
    pub(crate) payee: Party,
    #[serde(rename = "CdtrAcct", default)]
    pub(crate) payee_account: Account,
    #[serde(rename = "RmtInf", skip_serializing_if = "Option::is_none")]
    pub(crate) remittance: Option<Remittance>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Ids {
    #[serde(rename = "EndToEndId", default)]
    pub(crate) end_to_end: String,
    #[serde(rename = "TxId", default)]
    pub(crate) transaction: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Amount {
    #[serde(rename = "@Ccy", default)]
    pub(crate) currency: String,
    #[serde(rename = "$text", default)]
    pub(crate) value: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Party {
    #[serde(rename = "Nm", default)]
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Account {
    #[serde(rename = "Id", default)]
    pub(crate) id: AccountId,
    #[serde(rename = "Prxy", skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<Proxy>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct AccountId {
    #[serde(rename = "IBAN", skip_serializing_if = "Option::is_none")]
    pub(crate) iban: Option<String>,
    #[serde(rename = "Othr", skip_serializing_if = "Option::is_none")]
    pub(crate) other: Option<Other>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Other {
    #[serde(rename = "Id", default)]
    pub(crate) id: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Proxy {
    #[serde(rename = "Tp", skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Code>,
    #[serde(rename = "Id", default)]
    pub(crate) id: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Code {
    #[serde(rename = "Cd", skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Agent {
    #[serde(rename = "FinInstnId", default)]
    pub(crate) institution: Institution,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Institution {
    #[serde(rename = "BICFI", default)]
    pub(crate) bic: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Remittance {
    #[serde(rename = "Ustrd", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) text: Vec<String>,
}

/// pacs.002
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StatusReport {
    #[serde(rename = "GrpHdr")]
    pub(crate) header: Header,
    #[serde(rename = "TxInfAndSts", default)]
    pub(crate) transactions: Vec<Status>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Status {
    #[serde(rename = "OrgnlGrpInf", skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<OriginalGroup>,
    #[serde(rename = "OrgnlEndToEndId", skip_serializing_if = "Option::is_none")]
    pub(crate) end_to_end: Option<String>,
    #[serde(rename = "OrgnlTxId", skip_serializing_if = "Option::is_none")]
    pub(crate) transaction: Option<String>,
    #[serde(rename = "TxSts", skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    #[serde(rename = "StsRsnInf", skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Reason>,
    #[serde(rename = "AccptncDtTm", skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct OriginalGroup {
    #[serde(rename = "OrgnlMsgId", default)]
    pub(crate) id: String,
    #[serde(rename = "OrgnlMsgNmId", default)]
    pub(crate) kind: String,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Reason {
    #[serde(rename = "Rsn", skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Code>,
    #[serde(rename = "AddtlInf", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) words: Vec<String>,
}

/// pacs.028
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct StatusRequest {
    #[serde(rename = "GrpHdr")]
    pub(crate) header: Header,
    #[serde(rename = "TxInf", default)]
    pub(crate) transactions: Vec<Asked>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Asked {
    #[serde(rename = "OrgnlGrpInf", skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<OriginalGroup>,
    #[serde(rename = "OrgnlEndToEndId", skip_serializing_if = "Option::is_none")]
    pub(crate) end_to_end: Option<String>,
    #[serde(rename = "OrgnlTxId", skip_serializing_if = "Option::is_none")]
    pub(crate) transaction: Option<String>,
    #[serde(rename = "AccptncDtTm", skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<String>,
}
