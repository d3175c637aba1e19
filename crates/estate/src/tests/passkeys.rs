//! Passkeys at the identity service, with a software authenticator.

use super::Answer;
use super::identity::{House, asked, borrowed, parameter};
use super::staff::Person;
use crate::bounds::{CEREMONIES_DONE_MAX, PASSKEYS_PER_PERSON_MAX};
use crate::identity::with_parameters;
use crate::ids;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passkey::authenticator::Authenticator;
use passkey::client::{Client, DefaultClientData};
use passkey::crypto::rust_crypto::RustCryptoBackend;
use passkey_types::Passkey;
use passkey_types::ctap2::Aaguid;
use serde_json::{Value, json};
use webauthn_rs::prelude::Url;

const ORIGIN: &str = "https://identity.localhost:8443";
const START: &str = "/passkeys/sign-in/start";

/// What a device keeps.
type Device = Option<Passkey>;

fn authenticator(device: Device) -> Authenticator<Device, Person, RustCryptoBackend> {
    Authenticator::new(Aaguid::new_empty(), device, Person, RustCryptoBackend)
}

fn origin() -> Url {
    ORIGIN.parse().unwrap()
}

/// What a browser sends at the end of a ceremony.
struct Shown {
    ceremony: String,
    credential: String,
}

impl Shown {
    fn fields(&self) -> [(&str, &str); 2] {
        [("ceremony", &self.ceremony), ("credential", &self.credential)]
    }
}

fn ceremony(begun: &Value) -> String {
    begun["ceremony"].as_str().unwrap().to_owned()
}

/// A new device, and what it answers to the beginning of a registration.
async fn making(house: &House, cookie: &str) -> (Device, Shown) {
    let begun = house.lab.post("/passkeys/registration/start", &[("cookie", cookie)], &json!({})).await;
    let begun = begun.right(200, "passkey").json();
    assert_eq!(begun["options"]["publicKey"]["authenticatorSelection"]["userVerification"], "required");
    let mut client = Client::new(authenticator(None));
    let options = serde_json::from_value(begun["options"].clone()).unwrap();
    let made = client.register(&origin(), options, DefaultClientData).await.unwrap();
    let shown = Shown { ceremony: ceremony(&begun), credential: serde_json::to_string(&made).unwrap() };
    (client.authenticator().store().clone(), shown)
}

async fn make(house: &House, cookie: &str) -> Device {
    let (device, shown) = making(house, cookie).await;
    house.form("/moi/cles", &[("cookie", cookie)], &shown.fields()).await.right(303, "page");
    let again = house.form("/moi/cles", &[("cookie", cookie)], &shown.fields()).await;
    assert_eq!(again.status, 401, "a ceremony works once");
    device
}

/// What a device answers to the beginning of a sign-in. `verified`: whether it makes sure who holds it.
async fn signing(house: &House, device: &Device, user: u32, verified: bool) -> Shown {
    let begun = house.lab.post(START, &[], &json!({"user": ids::user(user)})).await.right(200, "passkey").json();
    assert_eq!(begun["options"]["publicKey"]["userVerification"], "required");
    let mut options = begun["options"].clone();
    if !verified {
        options["publicKey"]["userVerification"] = "discouraged".into();
    }
    let options = serde_json::from_value(options).unwrap();
    let mut client = Client::new(authenticator(device.clone()));
    let signed = client.authenticate(&origin(), options, DefaultClientData).await.unwrap();
    Shown { ceremony: ceremony(&begun), credential: serde_json::to_string(&signed).unwrap() }
}

/// The form of the sign-in page for the portal.
async fn enter(house: &House, user: u32, shown: &Shown) -> Answer {
    let path = with_parameters("/authorize", &borrowed(&asked(&[])));
    let user = ids::user(user);
    let fields: Vec<_> = [("user", user.as_str())].into_iter().chain(shown.fields()).collect();
    house.form(&path, &[], &fields).await
}

async fn count(house: &House, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&house.lab.kit.store.reader).await.unwrap()
}

#[tokio::test]
async fn a_passkey_stands_for_both_steps_and_works_once() {
    let house = House::new().await;
    let cookie = house.lab.cookie("/login", 5).await;
    let device = make(&house, &cookie).await;
    // Whatever the password alone would not do.
    house.change("INSERT INTO totp (\"user\", salt, confirmed_ms) VALUES ('user0005', 'x', 1)").await;
    let first = signing(&house, &device, 5, true).await;
    for _ in 0..50 {
        house.lab.post(START, &[], &json!({"user": "user0005"})).await.right(200, "passkey");
    }
    assert_eq!(count(&house, "SELECT count(*) FROM ceremony_done").await, 1, "only that of the registration");
    let done = enter(&house, 5, &first).await.right(303, "authorize");
    let told = house.token(&[], &parameter(&done, "code").unwrap()).await.right(200, "token").json();
    let claims = told["id_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!((&claims["sub"], &claims["amr"]), (&json!("user0005"), &json!(["mfa", "user"])));
    let session = done.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let me = house.lab.get("/moi", &[("cookie", &session)]).await.right(200, "page");
    assert!(me.text().contains("/moi/cles/fin") && me.text().contains("utilisée le"));
    let again = enter(&house, 5, &first).await;
    assert!(
        again.status == 401 && again.text().contains("role=\"alert\"") && !again.headers.contains_key("set-cookie")
    );
}

#[tokio::test]
async fn nobody_learns_who_has_a_passkey() {
    let house = House::new().await;
    let cookie = house.lab.cookie("/login", 5).await;
    let device = make(&house, &cookie).await;
    let begin = async |user: &str| {
        let begun = house.lab.post(START, &[], &json!({"user": user})).await.right(200, "passkey").json();
        let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let asked = &begun["options"]["publicKey"];
        let allowed = asked["allowCredentials"].as_array().unwrap();
        assert_eq!(allowed.len(), 1);
        let id = allowed[0]["id"].as_str().unwrap().to_owned();
        (id, (names(&begun), names(asked), names(&allowed[0]), ceremony(&begun).len()))
    };
    let (has, as_told) = begin("user0005").await;
    let (has_none, also_told) = begin("user0006").await;
    let (nobody, told_too) = begin("nobody").await;
    assert_eq!(
        (&as_told, has.len()),
        (&also_told, has_none.len()),
        "the one that has a passkey, and one that has none"
    );
    assert_eq!((&as_told, has.len()), (&told_too, nobody.len()));
    assert!(has != has_none && has_none != nobody);
    assert_eq!(begin("user0006").await.0, has_none, "the same each time, as a real one");
    house.lab.post(START, &[], &json!({"user": "x".repeat(65)})).await.wrong(401, "passkey-refused");
    // What was begun so opens nothing, whatever is shown.
    let real = signing(&house, &device, 5, true).await;
    let begun = house.lab.post(START, &[], &json!({"user": "user0006"})).await.right(200, "passkey").json();
    let mixed = Shown { ceremony: ceremony(&begun), credential: real.credential };
    let refused = enter(&house, 6, &mixed).await;
    assert!(refused.status == 401 && !refused.headers.contains_key("set-cookie"), "{}", refused.text());
}

#[tokio::test]
async fn one_person_s_passkey_is_never_another_s() {
    let house = House::new().await;
    let (five, six) = (house.lab.cookie("/login", 5).await, house.lab.cookie("/login", 6).await);
    house.lab.post("/passkeys/registration/start", &[], &json!({})).await.wrong(401, "unauthenticated");
    // A ceremony that another began, and one of another kind.
    let (_, stolen) = making(&house, &five).await;
    assert_eq!(house.form("/moi/cles", &[("cookie", &six)], &stolen.fields()).await.status, 401);
    let (of_five, of_six) = (make(&house, &five).await, make(&house, &six).await);
    let (for_five, for_six) = (signing(&house, &of_five, 5, true).await, signing(&house, &of_six, 6, true).await);
    let mixed = [
        Shown { ceremony: for_five.ceremony.clone(), credential: for_six.credential.clone() },
        Shown { ceremony: for_six.ceremony.clone(), credential: for_five.credential.clone() },
        Shown { ceremony: stolen.ceremony.clone(), credential: for_five.credential.clone() },
        Shown { ceremony: String::new(), credential: for_five.credential.clone() },
        Shown { ceremony: for_five.ceremony.clone(), credential: "{}".to_owned() },
        Shown { ceremony: for_five.ceremony.clone(), credential: "x".to_owned() },
    ];
    for (n, shown) in mixed.iter().enumerate() {
        assert_eq!(enter(&house, 5, shown).await.status, 401, "{n}");
    }
    let unverified = signing(&house, &of_five, 5, false).await;
    assert_eq!(enter(&house, 5, &unverified).await.status, 401, "a device that did not make sure who holds it");
    // The name in the form is not what counts.
    let done = enter(&house, 6, &for_five).await.right(303, "authorize");
    let session = done.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let told = house.lab.get("/userinfo", &[("cookie", &session)]).await.right(200, "userinfo").json();
    assert_eq!(told["sub"], "user0005");

    // One that is ended opens nothing, and nobody else can end it.
    let late = signing(&house, &of_five, 5, true).await;
    let page = house.lab.get("/moi", &[("cookie", &five)]).await.right(200, "page");
    let id = page.text().split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("id", id.as_str())];
    assert_eq!(house.form("/moi/cles/fin", &[("cookie", &six)], &fields).await.status, 404);
    let crossing = [("cookie", five.as_str()), ("sec-fetch-site", "cross-site")];
    assert_eq!(house.form("/moi/cles/fin", &crossing, &fields).await.status, 403);
    house.form("/moi/cles/fin", &[("cookie", &five)], &fields).await.right(303, "page");
    assert_eq!(enter(&house, 5, &late).await.status, 401);
    enter(&house, 6, &for_six).await.right(303, "authorize");
}

#[tokio::test]
async fn an_open_browser_makes_no_passkey_and_their_number_is_bounded() {
    let house = House::new().await;
    let cookie = house.lab.cookie("/login", 5).await;
    let device = make(&house, &cookie).await;
    let shown = signing(&house, &device, 5, true).await;
    let (_, one_more) = making(&house, &cookie).await;

    // Others signed in by passkeys, as many as may.
    house
        .change(
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 50000)
             INSERT INTO ceremony_done SELECT CAST('n' || x AS BLOB), 9000000000000000 FROM n WHERE x > (SELECT count(*) FROM ceremony_done)",
        )
        .await;
    assert_eq!(count(&house, "SELECT count(*) FROM ceremony_done").await, CEREMONIES_DONE_MAX);
    let full = enter(&house, 5, &shown).await;
    assert!(full.status == 503 && full.headers.contains_key("retry-after"), "{}", full.text());
    house.change("UPDATE ceremony_done SET expires_ms = 1").await;
    enter(&house, 5, &shown).await.right(303, "authorize");

    house
        .change(
            "WITH RECURSIVE n (x) AS (SELECT 2 UNION ALL SELECT x + 1 FROM n WHERE x < 8)
             INSERT INTO passkey (id, \"user\", passkey, made_ms) SELECT 'fake' || x, 'user0005', '{}', x FROM n",
        )
        .await;
    assert_eq!(count(&house, "SELECT count(*) FROM passkey").await, PASSKEYS_PER_PERSON_MAX);
    let answer = house.form("/moi/cles", &[("cookie", &cookie)], &one_more.fields()).await;
    assert!(answer.status == 409 && answer.text().contains("8 passkeys at most"), "{}", answer.text());
    house.change("DELETE FROM passkey WHERE id LIKE 'fake%'").await;
    house.form("/moi/cles", &[("cookie", &cookie)], &one_more.fields()).await.right(303, "page");

    house.change("UPDATE session SET created_ms = created_ms - 11 * 60 * 1000").await;
    let inside = [("cookie", cookie.as_str())];
    house.lab.post("/passkeys/registration/start", &inside, &json!({})).await.wrong(403, "sign-in-again");
    assert_eq!(house.form("/moi/cles/fin", &inside, &[("id", "x")]).await.status, 403);
    house.lab.get("/moi", &inside).await.right(200, "page");
}

#[tokio::test]
async fn the_pages_run_only_their_own_script() {
    let house = House::new().await;
    let page = house.lab.get(&with_parameters("/authorize", &borrowed(&asked(&[]))), &[]).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && policy.contains("default-src 'none'"), "{policy}");
    assert!(page.text().contains("src=\"/identite.js\"") && page.text().contains("<section class=\"card\" hidden>"));
    let script = house.lab.get("/identite.js", &[]).await;
    assert!(script.status == 200 && script.text().contains("navigator.credentials"));
}
