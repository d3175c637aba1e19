//! The staff service: passkeys, two people, lock-down, and an audit that shows what was cut from it.

use super::{Answer, Lab};
use crate::bounds::{EXPORT_FILES_MAX, EXPORTS_PER_AGENT_MAX, FILE_READS_PER_HOUR_MAX};
use crate::ids;
use crate::service::Service;
use passkey::authenticator::{Authenticator, UiHint, UserCheck, UserValidationMethod};
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey_types::Passkey;
use passkey_types::ctap2::{Aaguid, Ctap2Error};
use serde_json::{Value, json};
use std::io::Read as _;
use webauthn_rs::prelude::Url;

/// A person at a software authenticator, who is verified where that is asked for.
pub(super) struct Person;

#[async_trait::async_trait]
impl UserValidationMethod for Person {
    type PasskeyItem = Passkey;

    async fn check_user<'a>(
        &self,
        _: UiHint<'a, Passkey>,
        _: bool,
        verification: bool,
    ) -> Result<UserCheck, Ctap2Error> {
        Ok(UserCheck { presence: true, verification })
    }

    fn is_verification_enabled(&self) -> Option<bool> {
        Some(true)
    }

    fn is_presence_enabled(&self) -> bool {
        true
    }
}

/// An agent with a passkey of their own.
struct Agent {
    lab: Lab,
    cookie: String,
}

const ORIGIN: &str = "https://staff.localhost:8443";

/// Registers a passkey and signs in by it. `verified`: whether the authenticator verified its user.
async fn by_passkey(lab: &Lab, n: u32, verified: bool) -> Result<Agent, Answer> {
    let password = lab.cookie("/login", n).await;
    let headers = [("cookie", password.as_str())];
    let origin: Url = ORIGIN.parse().unwrap();
    let key = Authenticator::new(Aaguid::new_empty(), None::<Passkey>, Person, RustCryptoBackend);
    let mut client = Client::new(key);
    let begun = lab.post("/passkeys/registration/start", &headers, &json!({})).await.right(200, "passkey").json();
    assert_eq!(begun["options"]["publicKey"]["authenticatorSelection"]["userVerification"], "required");
    let options = serde_json::from_value(begun["options"].clone()).unwrap();
    let made = client.register(&origin, options, DefaultClientData).await.unwrap();
    let body = json!({"ceremony": begun["ceremony"], "credential": serde_json::to_value(&made).unwrap()});
    let finished = lab.post("/passkeys/registration/finish", &headers, &body).await;
    finished.right(201, "passkey");
    lab.post("/passkeys/registration/finish", &headers, &body).await.wrong(401, "passkey-refused");
    // A second one takes the privilege of the first.
    lab.post("/passkeys/registration/start", &headers, &json!({})).await.wrong(403, "passkey-needed");
    // The password's session has no privilege.
    lab.get("/audit", &headers).await.wrong(403, "passkey-needed");

    let begun =
        lab.post("/passkeys/sign-in/start", &[], &json!({"agent": ids::user(n)})).await.right(200, "passkey").json();
    assert_eq!(begun["options"]["publicKey"]["userVerification"], "required");
    let mut wanted = begun["options"].clone();
    if !verified {
        // A client that leaves the verification out, whatever the service asked for.
        wanted["publicKey"]["userVerification"] = "discouraged".into();
    }
    let signed =
        client.authenticate(&origin, serde_json::from_value(wanted).unwrap(), DefaultClientData).await.unwrap();
    let body = json!({"ceremony": begun["ceremony"], "credential": serde_json::to_value(&signed).unwrap()});
    let answer = lab.post("/passkeys/sign-in/finish", &[], &body).await;
    if answer.status != 200 {
        return Err(answer);
    }
    lab.post("/passkeys/sign-in/finish", &[], &body).await.wrong(401, "passkey-refused");
    let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    Ok(Agent { lab: lab.clone(), cookie })
}

impl Agent {
    async fn of(lab: &Lab, n: u32) -> Self {
        by_passkey(lab, n, true).await.unwrap_or_else(|answer| panic!("{}", answer.text()))
    }

    async fn get(&self, path: &str) -> Answer {
        self.lab.get(path, &[("cookie", &self.cookie)]).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.lab.post(path, &[("cookie", &self.cookie)], body).await
    }
}

#[tokio::test]
async fn a_passkey_gives_a_privilege_that_ends() {
    let lab = Lab::new(Service::Staff).await;
    let agent = Agent::of(&lab, 5).await;
    agent.get("/audit").await.right(200, "audit");
    agent.post("/passkeys/registration/start", &json!({})).await.right(200, "passkey");
    lab.behind("UPDATE privilege SET until_ms = 1").await;
    agent.get("/audit").await.wrong(403, "passkey-needed");
    agent.get("/files/file-0001?case=CASE-2026-0001").await.right(200, "file");
    lab.post("/passkeys/sign-in/start", &[], &json!({"agent": "user0006"})).await.wrong(401, "passkey-refused");
    let unverified = by_passkey(&lab, 8, false).await.err().expect("a user who was not verified is refused");
    unverified.wrong(401, "passkey-refused");
    // A ceremony that waited too long, and one that was altered.
    let begun =
        lab.post("/passkeys/sign-in/start", &[], &json!({"agent": "user0005"})).await.right(200, "passkey").json();
    lab.behind("UPDATE ceremony SET made_ms = 1").await;
    let credential = json!({
        "id": "AA", "rawId": "AA", "type": "public-key", "extensions": {},
        "response": {"authenticatorData": "AA", "clientDataJSON": "AA", "signature": "AA", "userHandle": null},
    });
    let body = json!({"ceremony": begun["ceremony"], "credential": credential});
    lab.post("/passkeys/sign-in/finish", &[], &body).await.wrong(401, "passkey-refused");
    let begun =
        lab.post("/passkeys/sign-in/start", &[], &json!({"agent": "user0005"})).await.right(200, "passkey").json();
    let body = json!({"ceremony": begun["ceremony"], "credential": credential});
    lab.post("/passkeys/sign-in/finish", &[], &body).await.wrong(401, "passkey-refused");
}

#[tokio::test]
async fn many_files_take_two_people_and_leave_once() {
    let lab = Lab::new(Service::Staff).await;
    let (asker, other) = (Agent::of(&lab, 5).await, Agent::of(&lab, 6).await);
    let wanted =
        json!({"case": "CASE-2026-0001", "reason": "a court order", "files": ["file-0001", "file-0002", "file-0001"]});
    let password = lab.cookie("/login", 7).await;
    lab.post("/exports", &[("cookie", &password)], &wanted).await.wrong(403, "passkey-needed");
    let many: Vec<_> = (0..=EXPORT_FILES_MAX).map(|n| format!("file-{n:04}")).collect();
    for (name, value) in
        [("files", json!([])), ("files", json!(many)), ("files", json!(["../x"])), ("reason", json!(""))]
    {
        let mut wrong = wanted.clone();
        wrong[name] = value;
        asker.post("/exports", &wrong).await.wrong(422, "invalid");
    }
    let asked = asker.post("/exports", &wanted).await.right(201, "export").json();
    let path = |what: &str| format!("/exports/{}/{what}", asked["id"].as_str().unwrap());
    asker.get(&path("package")).await.wrong(404, "not-found");
    asker.post(&path("approval"), &json!({})).await.wrong(403, "second-person");
    other.post(&path("approval"), &json!({})).await.right(200, "export");
    other.get(&path("package")).await.wrong(404, "not-found");
    let package = asker.get(&path("package")).await.right(200, "export");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(package.body)).unwrap();
    let mut text = String::new();
    archive.by_name("file-0002.json").unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("user0002") && archive.len() == 3);
    asker.get(&path("package")).await.wrong(404, "not-found");
    let audit = other.get("/audit").await.right(200, "audit").json();
    let told: Vec<_> = audit["entries"].as_array().unwrap()[..5]
        .iter()
        .map(|row| (row["agent"].as_str().unwrap(), row["verdict"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("user0005", "bulk-fetched"),
            ("user0005", "bulk"),
            ("user0005", "bulk"),
            ("user0006", "bulk-approved"),
            ("user0005", "bulk-asked")
        ]
    );
    // What was approved too long ago does not leave.
    let late = asker.post("/exports", &wanted).await.right(201, "export").json();
    other.post(&format!("/exports/{}/approval", late["id"].as_str().unwrap()), &json!({})).await.right(200, "export");
    lab.behind("UPDATE bulk SET expires_ms = 1").await;
    asker.get(&format!("/exports/{}/package", late["id"].as_str().unwrap())).await.wrong(404, "not-found");
    for _ in 0..EXPORTS_PER_AGENT_MAX {
        asker.post("/exports", &wanted).await.right(201, "export");
    }
    asker.post("/exports", &wanted).await.wrong(409, "too-many");
}

#[tokio::test]
async fn a_lock_down_stops_all_reading_but_of_the_audit() {
    let lab = Lab::new(Service::Staff).await;
    let (officer, one, two) = (Agent::of(&lab, 0).await, Agent::of(&lab, 5).await, Agent::of(&lab, 6).await);
    let file = "/files/file-0001?case=CASE-2026-0001";
    let wanted = json!({"reason": "odd readings", "minutes": 30});
    one.post("/lockdown", &json!({"reason": "x", "minutes": 0})).await.wrong(422, "invalid");
    two.post("/lockdown/agreement", &json!({})).await.wrong(409, "second-person");
    // One alone is not enough, but for the officer.
    assert_eq!(one.post("/lockdown", &wanted).await.right(201, "lockdown").json()["state"], "asked");
    one.post("/lockdown/agreement", &json!({})).await.wrong(409, "second-person");
    one.get(file).await.right(200, "file");
    two.post("/lockdown/agreement", &json!({})).await.right(200, "lockdown");
    let refused = one.get(file).await.wrong(423, "locked-down");
    assert!(!refused.text().contains("user0001"));
    one.get("/audit").await.right(200, "audit");
    assert_eq!(one.get("/lockdown").await.right(200, "lockdown").json()["state"], "locked-down");
    let end = async |agent: &Agent| lab.ask("DELETE", "/lockdown", &[("cookie", &agent.cookie)], "").await;
    end(&one).await.wrong(403, "officer-needed");
    end(&officer).await.right(204, "lockdown");
    one.get(file).await.right(200, "file");
    // A package that was refused is in the audit, and may be fetched when the lock-down is over.
    let asked = json!({"case": "CASE-2026-0001", "reason": "a court order", "files": ["file-0001"]});
    let asked = one.post("/exports", &asked).await.right(201, "export").json();
    let (id, package) = (asked["id"].as_str().unwrap(), format!("/exports/{}/package", asked["id"].as_str().unwrap()));
    two.post(&format!("/exports/{id}/approval"), &json!({})).await.right(200, "export");
    let told = async || {
        let audit = one.get("/audit").await.right(200, "audit").json();
        let last = &audit["entries"][0];
        (last["agent"].clone(), last["file"].clone(), last["verdict"].clone())
    };
    assert_eq!(told().await.2, "bulk-approved");
    // The officer alone; it ends by itself.
    assert_eq!(officer.post("/lockdown", &wanted).await.right(201, "lockdown").json()["state"], "locked-down");
    one.get(file).await.wrong(423, "locked-down");
    one.get(&package).await.wrong(423, "locked-down");
    assert_eq!(told().await, (json!("user0005"), json!(id), json!("locked-down")));
    lab.behind("UPDATE lockdown SET until_ms = 1 WHERE ended_ms IS NULL").await;
    one.get(file).await.right(200, "file");
    // So is one that would be more than an agent reads in an hour.
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         INSERT INTO audit SELECT NULL, $2, 'user0005', 'file-0001', 'CASE-1', 'read', '', '' FROM n",
    )
    .bind(FILE_READS_PER_HOUR_MAX)
    .bind(crate::store::now_ms())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    one.get(&package).await.wrong(429, "over-quota");
    assert_eq!(told().await, (json!("user0005"), json!(id), json!("over-quota")));
}

#[tokio::test]
async fn an_audit_that_was_cut_or_rewritten_is_found_at_the_next_start() {
    for (what, sql) in [
        ("untouched", "SELECT 1"),
        ("cut", "DROP TRIGGER audit_stays; DELETE FROM audit WHERE id = 3"),
        ("rewritten", "DROP TRIGGER audit_kept; UPDATE audit SET hash = 'x' WHERE id = 3"),
    ] {
        let lab = Lab::new(Service::Staff).await;
        let cookie = lab.cookie("/login", 3).await;
        for n in 1..=3 {
            lab.get(&format!("/files/file-000{n}?case=CASE-2026-0001"), &[("cookie", &cookie)])
                .await
                .right(200, "file");
        }
        let head = lab.get("/audit/head", &[("cookie", &cookie)]).await.right(200, "audit").json();
        assert_eq!(head["entries"], 3);
        lab.behind(sql).await;
        let opened = crate::estate::open(lab.place(), Service::Staff).await;
        match opened {
            Ok(_) => assert_eq!(what, "untouched"),
            Err(error) => assert!(what != "untouched" && format!("{error:#}").contains("entry 3"), "{what}: {error:#}"),
        }
    }
}

#[tokio::test]
async fn the_page_for_agents_runs_only_its_own_script() {
    let lab = Lab::new(Service::Staff).await;
    let page = lab.get("/agents", &[("accept-language", "en")]).await.right(200, "page");
    assert!(page.text().contains("Sign in by a passkey") && page.text().contains("/agents.js"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && policy.contains("default-src 'none'"));
    let script = lab.get("/agents.js", &[]).await;
    assert!(script.status == 200 && script.text().contains("navigator.credentials"));
}
