//! The nine services: names, numbers and what each can be asked, in one table.

/// One service of the estate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// The public website.
    Portal,
    /// The interface behind the mobile application.
    App,
    /// Who is who.
    Identity,
    /// The document vault.
    Vault,
    /// The online bank.
    Bank,
    /// Cards, SMS codes and instant transfers, for partners.
    Rails,
    /// Operations at post office counters, for partners.
    Counter,
    /// Scans, tracking and prices of parcels.
    Parcels,
    /// Files read by the staff.
    Staff,
}

/// One operation of a service.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Its name: in `x-estate-op`, in the capacity file and in drills.
    pub name: &'static str,
    /// Method and path.
    pub route: &'static str,
    /// What it does, in a few words.
    pub what: &'static str,
}

const fn op(name: &'static str, route: &'static str, what: &'static str) -> Op {
    Op { name, route, what }
}

const ABOUT: Op = op("about", "GET /", "this description");

const PORTAL: &[Op] = &[
    op("home", "GET /", "home page"),
    op("track", "GET /suivi?id=", "where a parcel is"),
    op("search", "GET /recherche?q=", "search of help pages and post offices"),
    op("login", "GET, POST /connexion", "sign in"),
    op("sign-in", "GET /connexion/identite", "sign in through the identity service"),
    op("signed-in", "GET /oidc/retour", "back from the identity service"),
    op("account", "GET /compte", "one's own page"),
    op("logout", "POST /deconnexion", "sign out"),
];
const APP: &[Op] = &[
    op("login", "POST /v1/sessions", "open a session"),
    op("home", "GET /v1/home", "parcels and approvals that wait"),
    op("parcel", "GET /v1/parcels/{id}", "one of one's own parcels"),
    op("approve", "POST /v1/approvals/{id}", "approve or refuse a payment"),
    ABOUT,
];
const IDENTITY: &[Op] = &[
    op("discovery", "GET /.well-known/openid-configuration", "what this issuer offers"),
    op("login", "POST /login", "check a password, open a session"),
    op("userinfo", "GET /userinfo", "claims about the user"),
    op("authorize", "GET, POST /authorize", "sign in for another service (OpenID Connect)"),
    op("par", "POST /par", "push an authorisation request (RFC 9126)"),
    op("token", "POST /token", "tokens for a code or a refresh token"),
    op("revoke", "POST /revoke", "end a token (RFC 7009)"),
    op("jwks", "GET /jwks", "the keys that tokens are signed by"),
    op("logout", "GET, POST /logout", "sign out everywhere"),
    op("passkey", "POST /passkeys/{registration,sign-in}/start", "begin to make a passkey, or to sign in by one"),
    op("page", "GET, POST /moi", "one's own page, one-time passwords, passkeys"),
    ABOUT,
];
const VAULT: &[Op] = &[
    op("login", "POST /login", "open a session"),
    op("list", "GET /documents", "one's own documents"),
    op("read", "GET /documents/{id}", "one document, its hash checked"),
    op("deposit", "POST /documents", "put a document, get a receipt"),
    op("revise", "PUT /documents/{id}", "put a new version of a document"),
    op("versions", "GET /documents/{id}/versions", "its versions; ?version= reads an old one"),
    op("erase", "DELETE /documents/{id}", "destroy the keys of a document; its trail stays"),
    op("share", "GET, POST /documents/{id}/links", "share by a link; DELETE /links/{id} ends it"),
    op("shared", "GET, POST /partage/{token}", "what a link shares, for those who have no account"),
    op("trail", "GET /trail", "who did what with one's documents"),
    op("export", "GET /export", "all documents and the trail as a ZIP archive"),
    op("password", "POST /app-passwords", "a password for one program; DELETE /app-passwords/{id} ends it"),
    op("dav", "/dav/", "the vault as a WebDAV folder"),
    op("page", "GET, POST /coffre", "pages for people"),
    ABOUT,
];
const BANK: &[Op] = &[
    op("login", "POST /login", "open a session"),
    op("accounts", "GET /accounts", "one's own accounts"),
    op("statement", "GET /accounts/{id}/statement", "latest entries of an account"),
    op("payee", "POST /payees/verification", "whether an account is of whom the payer thinks"),
    op("transfer", "POST /transfers", "ask for a transfer; it waits for a code"),
    op("outbox", "GET /transfers/{id}/sms", "the text message that carries the code"),
    op("confirm", "POST /transfers/{id}/confirm", "book a transfer with its code"),
    op("page", "GET, POST /espace", "pages for people"),
    ABOUT,
];
const RAILS: &[Op] = &[
    op("card", "POST /authorisations", "approve or decline a card payment"),
    op("cash", "POST /withdrawals", "approve or decline a withdrawal at a cash machine"),
    op("stop", "POST /stopped-cards", "stop a card that was lost or stolen"),
    op("sms", "POST /sms-codes", "queue a text message"),
    op("payment", "POST /payments", "pay online by card; it waits for a code"),
    op("payment-code", "POST /payments/{id}/confirm", "decide a payment online with its code"),
    op("instant", "POST /instant", "instant transfer between two telephones"),
    op("pacs", "POST /pacs", "messages of other banks: instant transfers and what became of them (ISO 20022)"),
    ABOUT,
];
const COUNTER: &[Op] = &[
    op("operation", "POST /operations", "record an operation"),
    op("receipt", "GET /operations/{id}", "its receipt, its hash checked"),
    op("register", "POST /terminals", "register the key of a terminal that works offline"),
    op("journal", "GET, POST /journals/{office}/{terminal}", "take what a terminal did, each entry once"),
    op("range", "POST /journals/{office}/{terminal}/ranges", "give S10 identifiers ahead"),
    op(
        "closing",
        "GET /journals/{office}/{terminal}/statement?closing=",
        "a day's statement, as the terminal prints it",
    ),
    ABOUT,
];
const PARCELS: &[Op] = &[
    op("scan", "POST /scans", "record a scan"),
    op("tracking", "GET /tracking/{id}", "where a parcel is"),
    op("idships", "GET /suivi/v2/idships/{ids}", "where items are, in the shape that existing clients know"),
    op("quote", "POST /quotes", "price of sending a parcel"),
    ABOUT,
];
const STAFF: &[Op] = &[
    op("login", "POST /login", "open a session"),
    op("file", "GET /files/{id}?case=", "read a file for a case; audited"),
    op("passkey", "POST /passkeys/{registration,sign-in}/{start,finish}", "register a passkey, sign in by it"),
    op(
        "export",
        "GET, POST /exports",
        "ask for many files; POST /exports/{id}/approval by another, GET /exports/{id}/package once",
    ),
    op(
        "lockdown",
        "GET, POST, DELETE /lockdown",
        "stop all reading but of the audit; POST /lockdown/agreement by another",
    ),
    op("audit", "GET /audit, /audit/head", "the audit, and its signed head"),
    op("page", "GET /agents", "the page for agents"),
    ABOUT,
];

impl Service {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Portal,
        Self::App,
        Self::Identity,
        Self::Vault,
        Self::Bank,
        Self::Rails,
        Self::Counter,
        Self::Parcels,
        Self::Staff,
    ];

    /// Its name; `NAME.localhost` is its host.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::App => "app",
            Self::Identity => "identity",
            Self::Vault => "vault",
            Self::Bank => "bank",
            Self::Rails => "rails",
            Self::Counter => "counter",
            Self::Parcels => "parcels",
            Self::Staff => "staff",
        }
    }

    /// Where its pages for people begin, beside what it offers to programs.
    #[must_use]
    pub const fn pages(self) -> Option<&'static str> {
        match self {
            Self::Vault => Some("/coffre"),
            Self::Bank => Some("/espace"),
            Self::Staff => Some("/agents"),
            Self::Identity => Some("/moi"),
            Self::Portal | Self::App | Self::Rails | Self::Counter | Self::Parcels => None,
        }
    }

    /// Its number, 1 to 9: its port is the base port plus this.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16 + 1
    }

    /// The service of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|service| service.name() == name)
    }

    /// What it can be asked.
    #[must_use]
    pub const fn ops(self) -> &'static [Op] {
        match self {
            Self::Portal => PORTAL,
            Self::App => APP,
            Self::Identity => IDENTITY,
            Self::Vault => VAULT,
            Self::Bank => BANK,
            Self::Rails => RAILS,
            Self::Counter => COUNTER,
            Self::Parcels => PARCELS,
            Self::Staff => STAFF,
        }
    }

    /// The names of its operations.
    #[must_use]
    pub fn op_names(self) -> Vec<&'static str> {
        self.ops().iter().map(|op| op.name).collect()
    }

    /// Who uses it, in a few words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Portal => "the public website",
            Self::App => "the interface behind the mobile application",
            Self::Identity => "who is who: passwords and claims",
            Self::Vault => "documents, each for its owner alone",
            Self::Bank => "accounts and transfers",
            Self::Rails => "cards, SMS codes and instant transfers, for partners",
            Self::Counter => "operations at post office counters, for partners",
            Self::Parcels => "scans, tracking and prices of parcels",
            Self::Staff => "files read by the staff, each reading audited",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_contract() {
        for (place, service) in Service::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(service.number()), place + 1);
            assert_eq!(Service::from_name(service.name()), Some(service));
        }
        assert_eq!(Service::from_name("nothing"), None);
    }
}
