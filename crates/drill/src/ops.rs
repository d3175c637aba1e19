//! The operations of the estate, as its clients ask for them.
//!
//! Each right answer carries the declared status and `x-estate-op: NAME`; a fallback page has no such header, so a drill
//! can tell the service's answer from anything that a front serves in its place.

/// One operation of a service.
#[derive(Debug, PartialEq, Eq)]
pub struct Op {
    /// The service.
    pub service: &'static str,
    /// The operation, as in `x-estate-op`.
    pub name: &'static str,
    /// What it is to the person who does it.
    pub what: &'static str,
    /// HTTP method.
    pub method: &'static str,
    /// Statuses that are right.
    pub statuses: &'static [u16],
    /// Whether it needs the cookie that the service's login gives.
    pub needs_session: bool,
}

const fn op(
    service: &'static str,
    name: &'static str,
    method: &'static str,
    statuses: &'static [u16],
    what: &'static str,
) -> Op {
    Op { service, name, what, method, statuses, needs_session: false }
}

const fn with_session(op: Op) -> Op {
    Op { needs_session: true, ..op }
}

const OK: &[u16] = &[200];
const MADE: &[u16] = &[200, 201, 202];
const LOGGED_IN: &[u16] = &[200, 201, 303];

/// Every operation; `root` is `GET /` on any service, for attackers.
pub const OPS: &[Op] = &[
    op("portal", "home", "GET", OK, "read the front page"),
    op("portal", "track", "GET", OK, "track a parcel"),
    op("portal", "search", "GET", OK, "search the site"),
    op("portal", "login", "POST", LOGGED_IN, "sign in on the portal"),
    with_session(op("portal", "account", "GET", OK, "see one's own page")),
    op("portal", "root", "GET", OK, "ask for the root"),
    op("app", "login", "POST", LOGGED_IN, "open the app"),
    with_session(op("app", "home", "GET", OK, "see the app's home")),
    with_session(op("app", "parcel", "GET", OK, "see a parcel in the app")),
    with_session(op("app", "approve", "POST", MADE, "approve a payment in the app")),
    op("app", "root", "GET", OK, "ask for the root"),
    op("identity", "discovery", "GET", OK, "let a service find the identity"),
    op("identity", "login", "POST", LOGGED_IN, "sign in with the identity"),
    with_session(op("identity", "userinfo", "GET", OK, "be told who signed in")),
    op("identity", "root", "GET", OK, "ask for the root"),
    op("vault", "login", "POST", LOGGED_IN, "open the vault"),
    with_session(op("vault", "list", "GET", OK, "list one's documents")),
    with_session(op("vault", "read", "GET", OK, "read a document")),
    with_session(op("vault", "deposit", "POST", MADE, "deposit a document")),
    op("vault", "root", "GET", OK, "ask for the root"),
    op("bank", "login", "POST", LOGGED_IN, "sign in at the bank"),
    with_session(op("bank", "accounts", "GET", OK, "see one's accounts")),
    with_session(op("bank", "statement", "GET", OK, "read a statement")),
    with_session(op("bank", "transfer", "POST", MADE, "ask for a transfer")),
    op("bank", "root", "GET", OK, "ask for the root"),
    op("rails", "card", "POST", MADE, "pay by card"),
    op("rails", "cash", "POST", MADE, "withdraw cash"),
    op("rails", "sms", "POST", MADE, "get a code by SMS"),
    op("rails", "instant", "POST", MADE, "pay somebody at once"),
    op("rails", "root", "GET", OK, "ask for the root"),
    op("counter", "operation", "POST", MADE, "be served at the counter"),
    op("counter", "receipt", "GET", OK, "get a receipt again"),
    op("counter", "root", "GET", OK, "ask for the root"),
    op("parcels", "scan", "POST", MADE, "scan a parcel"),
    op("parcels", "tracking", "GET", OK, "ask the tracking service"),
    op("parcels", "quote", "POST", OK, "ask for a price"),
    op("parcels", "root", "GET", OK, "ask for the root"),
    op("staff", "login", "POST", LOGGED_IN, "sign in as an agent"),
    with_session(op("staff", "file", "GET", OK, "read a file for a case")),
    op("staff", "root", "GET", OK, "ask for the root"),
];

/// The operation of this name.
#[must_use]
pub fn find(service: &str, name: &str) -> Option<&'static Op> {
    OPS.iter().find(|o| o.service == service && o.name == name)
}

/// All operations of a service.
pub fn of_service(service: &str) -> impl Iterator<Item = &'static Op> {
    OPS.iter().filter(move |o| o.service == service)
}

/// Who asks, and for which of the many things of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Number of the test user (taken modulo 1000).
    pub user: u32,
    /// Random bits of this request: identifiers, amounts.
    pub draw: u64,
    /// Logs in with a wrong password, as attackers do.
    pub wrong_password: bool,
}

/// A request without the headers of its client's profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Path and query.
    pub path: String,
    /// Body; empty for GET.
    pub body: String,
    /// Content type of the body; empty without one.
    pub content_type: &'static str,
    /// Headers that the operation itself demands.
    pub headers: Vec<(&'static str, String)>,
}

impl Ask {
    fn get(path: String) -> Self {
        Self { path, ..Self::default() }
    }

    fn json(path: &str, body: String) -> Self {
        Self { path: path.to_owned(), body, content_type: "application/json", headers: Vec::new() }
    }

    /// The operation's own id, made by the client before it sends: a repetition books nothing twice.
    fn once(mut self, draw: u64) -> Self {
        self.headers.push(("idempotency-key", format!("drill-{draw:016x}")));
        self
    }
}

impl Op {
    /// What to send for this operation.
    #[must_use]
    pub fn ask(&self, asker: &Asker) -> Ask {
        let user = asker.user % 1000;
        let draw = asker.draw;
        match (self.service, self.name) {
            ("portal", "track") => Ask::get(format!("/suivi?id={}", parcel_id(draw % PARCELS))),
            ("portal", "search") => Ask::get(format!("/recherche?q={}", WORDS[(draw % WORDS.len() as u64) as usize])),
            ("portal", "login") => Ask {
                path: "/connexion".to_owned(),
                body: format!("user=user{user:04}&password={}", password(asker)),
                content_type: "application/x-www-form-urlencoded",
                headers: Vec::new(),
            },
            ("portal", "account") => Ask::get("/compte".to_owned()),
            ("app", "login") => Ask::json("/v1/sessions", credentials(asker)),
            ("app", "home") => Ask::get("/v1/home".to_owned()),
            ("app", "parcel") => Ask::get(format!("/v1/parcels/{}", parcel_id(u64::from(user) + draw % 2 * 1000))),
            ("app", "approve") => {
                let path = format!("/v1/approvals/apr-{user:04}-{}", 1 + draw % 3);
                Ask::json(&path, "{\"decision\":\"approve\"}".to_owned())
            }
            ("identity", "discovery") => Ask::get("/.well-known/openid-configuration".to_owned()),
            ("identity", "userinfo") => Ask::get("/userinfo".to_owned()),
            ("vault", "list") => Ask::get("/documents".to_owned()),
            ("vault", "read") => Ask::get(format!("/documents/doc-{user:04}-{}", 1 + draw % 3)),
            ("vault", "deposit") => deposit(draw),
            ("bank", "accounts") => Ask::get("/accounts".to_owned()),
            ("bank", "statement") => Ask::get(format!("/accounts/acc-{user:04}-{}/statement", 1 + draw % 2)),
            ("bank", "transfer") => Ask::json("/transfers", transfer(user, draw)).once(draw),
            ("rails", "card") => Ask::json("/authorisations", card(draw)),
            ("rails", "cash") => Ask::json("/withdrawals", card(draw)),
            ("rails", "sms") => {
                let body = format!("{{\"to\":\"+336000{user:05}\",\"text\":\"Code {:06}\"}}", draw % 1_000_000);
                Ask::json("/sms-codes", body).once(draw)
            }
            ("rails", "instant") => Ask::json("/instant", instant(user, draw)).once(draw),
            ("counter", "operation") => Ask::json("/operations", counter_operation(draw)).once(draw),
            ("counter", "receipt") => Ask::get(format!("/operations/op-{:04}", draw % 1000)),
            ("parcels", "scan") => Ask::json("/scans", scan(draw)),
            ("parcels", "tracking") => Ask::get(format!("/tracking/{}?lang=fr_FR", parcel_id(draw % PARCELS))),
            ("parcels", "quote") => Ask::json("/quotes", quote(draw)),
            ("staff", "file") => Ask::get(format!("/files/file-{:04}?case=CASE-2026-{:04}", draw % 1000, draw % 9999)),
            (_, "login") => Ask::json("/login", credentials(asker)),
            _ => Ask::get("/".to_owned()),
        }
    }
}

impl Op {
    /// Route and key under which the estate keeps the answer to this request, if it is one that must be done exactly once.
    #[must_use]
    pub fn kept_as(&self, draw: u64) -> Option<(&'static str, String)> {
        let key = format!("drill-{draw:016x}");
        Some(match (self.service, self.name) {
            ("vault", "deposit") => ("documents", key),
            ("bank", "transfer") => ("transfers", key),
            ("rails", "sms") => ("sms-codes", key),
            ("rails", "instant") => ("instant", key),
            ("counter", "operation") => ("operations", key),
            ("rails", "cash") => ("withdrawals", format!("T{:04}-{:06}", draw % 10_000, draw / 10_000 % 1_000_000)),
            ("rails", "card") => ("authorisations", format!("T{:04}-{:06}", draw % 10_000, draw / 10_000 % 1_000_000)),
            ("parcels", "scan") => ("scans", format!("scan-{draw:016x}")),
            _ => return None,
        })
    }
}

/// Parcels that the estate is filled with.
const PARCELS: u64 = 2000;

const WORDS: [&str; 8] = ["colis", "timbre", "lettre", "recommande", "livret", "bureau", "horaires", "reclamation"];

fn password(asker: &Asker) -> String {
    let user = asker.user % 1000;
    if asker.wrong_password { format!("wrong-{:08x}", asker.draw as u32) } else { format!("password-{user:04}") }
}

fn credentials(asker: &Asker) -> String {
    format!("{{\"user\":\"user{:04}\",\"password\":\"{}\"}}", asker.user % 1000, password(asker))
}

/// S10 identifier of parcel `n` (weights 8 6 4 2 3 5 9 7; 11 - sum mod 11, where 10 becomes 0 and 11 becomes 5).
fn parcel_id(n: u64) -> String {
    let serial = 10_000_000 + n;
    format!("CG{serial:08}{}FR", s10_check(serial))
}

fn s10_check(serial: u64) -> u64 {
    let (mut sum, mut rest) = (0, serial);
    for weight in [7, 9, 5, 3, 2, 4, 6, 8] {
        sum += rest % 10 * weight;
        rest /= 10;
    }
    match 11 - sum % 11 {
        10 => 0,
        11 => 5,
        other => other,
    }
}

/// IBAN of account `k` of user `n` at the estate's bank: RIB key, then the check digits modulo 97.
fn iban(n: u32, k: u32) -> String {
    let account = u64::from(n) * 10 + u64::from(k);
    let key = 97 - (89 * 20_041 + 15 * 1005 + 3 * account) % 97;
    let bban = format!("2004101005{account:011}{key:02}");
    // "FR00" behind the number, letters as 15 and 27.
    let rest = format!("{bban}152700").bytes().fold(0_u32, |r, digit| (r * 10 + u32::from(digit - b'0')) % 97);
    format!("FR{:02}{bban}", 98 - rest)
}

/// Card number of user `n`, with its Luhn digit.
fn pan(n: u64) -> String {
    let body = format!("4970100{n:08}");
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(digit - b'0');
            let doubled = if i % 2 == 0 { digit * 2 } else { digit };
            doubled / 10 + doubled % 10
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

fn deposit(draw: u64) -> Ask {
    let ask = Ask {
        path: "/documents".to_owned(),
        body: format!("letter {draw:016x}\n"),
        content_type: "text/plain",
        headers: vec![("x-document-name", format!("letter-{:08x}.txt", draw as u32))],
    };
    ask.once(draw)
}

fn transfer(user: u32, draw: u64) -> String {
    let payee = iban((user + 1 + (draw % 997) as u32) % 1000, 1);
    format!("{{\"amount_cents\":{},\"payee_iban\":\"{payee}\",\"reference\":\"drill\"}}", 100 + draw % 900)
}

fn card(draw: u64) -> String {
    // Terminal and number of the transaction together are drawn from 10^10: no two requests of a drill are the same.
    let (terminal, stan) = (draw % 10_000, draw / 10_000 % 1_000_000);
    format!(
        "{{\"pan\":\"{}\",\"amount_cents\":{},\"currency\":\"EUR\",\"terminal\":\"T{terminal:04}\",\"stan\":\"{stan:06}\",\
         \"merchant\":\"BOULANGERIE\"}}",
        pan(draw % 1000),
        100 + draw % 2000
    )
}

fn instant(user: u32, draw: u64) -> String {
    let payee = (user + 1 + (draw % 997) as u32) % 1000;
    format!(
        "{{\"payer_alias\":\"+336000{user:05}\",\"payee_alias\":\"+336000{payee:05}\",\"amount_cents\":{}}}",
        1 + draw % 500
    )
}

fn counter_operation(draw: u64) -> String {
    format!(
        "{{\"office\":\"BUR{:03}\",\"terminal\":\"G{:02}\",\"kind\":\"stamps\",\"amount_cents\":{},\"reference\":\"drill\"}}",
        draw % 100,
        draw % 10,
        129 + draw % 5000
    )
}

fn scan(draw: u64) -> String {
    format!(
        "{{\"scan_id\":\"scan-{draw:016x}\",\"parcel\":\"{}\",\"code\":\"ET1\",\"site\":\"Paris Louvre\",\
         \"event_at\":\"2026-01-05T10:00:00Z\"}}",
        parcel_id(draw % PARCELS)
    )
}

fn quote(draw: u64) -> String {
    format!(
        "{{\"from_postcode\":\"75001\",\"to_country\":\"FR\",\"weight_g\":{},\"length_mm\":300,\"width_mm\":200,\"height_mm\":{}}}",
        50 + draw % 29_000,
        10 + draw % 500
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_check_digit() {
        assert_eq!(s10_check(47_312_482), 9);
        assert_eq!(parcel_id(0), "CG100000003FR");
    }

    #[test]
    fn card_and_account_numbers_check() {
        // Luhn: every second digit from the right doubled, digits of the products added, divisible by ten.
        for n in [0, 1, 42, 999] {
            let sum: u32 = pan(n)
                .bytes()
                .rev()
                .enumerate()
                .map(|(i, b)| u32::from(b - b'0') * if i % 2 == 1 { 2 } else { 1 })
                .map(|d| d / 10 + d % 10)
                .sum();
            assert_eq!((pan(n).len(), sum % 10), (16, 0), "{}", pan(n));
            // IBAN: first four characters to the end, F = 15, R = 27, modulo 97 is 1.
            let iban = iban(n as u32, 1);
            let rest = format!("{}1527{}", &iban[4..], &iban[2..4]);
            let rest = rest.bytes().fold(0_u32, |r, b| (r * 10 + u32::from(b - b'0')) % 97);
            assert_eq!((iban.len(), rest), (27, 1), "{iban}");
        }
    }

    #[test]
    fn every_operation_can_be_asked_for() {
        for op in OPS {
            let ask = op.ask(&Asker { user: 1234, draw: 99, wrong_password: false });
            assert!(ask.path.starts_with('/'), "{op:?}");
            assert_eq!(ask.body.is_empty(), op.method == "GET", "{op:?}");
            assert_eq!(ask.content_type.is_empty(), ask.body.is_empty(), "{op:?}");
            assert!(crate::services::index_of(op.service).is_some(), "{op:?}");
            if let Some((_, key)) = op.kept_as(99) {
                let sent = format!("{}{:?}", ask.body, ask.headers);
                let found = key.split('-').all(|part| sent.contains(part));
                assert!(found, "{op:?}: {key} is none of what is sent: {sent}");
            }
            if op.name == "login" {
                assert!(ask.body.contains("password-0234"), "{}", ask.body);
                let wrong = op.ask(&Asker { user: 1234, draw: 99, wrong_password: true });
                assert!(wrong.body.contains("wrong-"), "{}", wrong.body);
            }
        }
    }
}
