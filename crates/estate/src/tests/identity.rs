//! The identity service as an OpenID Provider: what it refuses, and how.

use super::{Answer, Lab};
use crate::identity::clients;
use crate::identity::with_parameters;
use crate::once::hash;
use crate::service::Service;
use crate::{bounds, estate_key::EstateKey, ids};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
pub(super) const RETURN: &str = "https://portal.localhost:8443/oidc/retour";
const VERIFIER: &str = "a-verifier-of-forty-three-characters-or-more-0";

fn challenge() -> String {
    URL_SAFE_NO_PAD.encode(hash(VERIFIER.as_bytes()))
}

/// A right request of the portal, with some parameters changed; an empty value leaves one out.
pub(super) fn asked(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let challenge = challenge();
    let right = [
        ("response_type", "code"),
        ("client_id", "portal"),
        ("redirect_uri", RETURN),
        ("scope", "openid profile offline_access"),
        ("state", "s&1"),
        ("nonce", "n1"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    let mut all: Vec<(String, String)> = right.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for (name, value) in changes {
        all.retain(|(known, _)| known != name);
        if !value.is_empty() {
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    all
}

pub(super) fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub(super) struct House {
    pub(super) lab: Lab,
    secret: String,
}

impl House {
    pub(super) async fn new() -> Self {
        let lab = Lab::new(Service::Identity).await;
        let key = EstateKey::load_or_make(&lab.kit.store.dir).unwrap();
        let secret = clients::secret(&key, "portal");
        Self { lab, secret }
    }

    pub(super) async fn form(&self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Answer {
        let body = with_parameters("", fields).trim_start_matches('?').to_owned();
        let headers: Vec<_> = [FORM, ("host", "identity.localhost:8443"), ("x-forwarded-proto", "https")]
            .iter()
            .chain(headers)
            .copied()
            .collect();
        self.lab.ask("POST", path, &headers, body).await
    }

    async fn sign_in(&self, changes: &[(&str, &str)], user: u32) -> Answer {
        let path = with_parameters("/authorize", &borrowed(&asked(changes)));
        let (user, password) = (ids::user(user), ids::password(user));
        self.form(&path, &[], &[("user", &user), ("password", &password)]).await
    }

    async fn code(&self) -> String {
        let answer = self.sign_in(&[], 1).await.right(303, "authorize");
        parameter(&answer, "code").unwrap()
    }

    pub(super) async fn token(&self, changes: &[(&str, &str)], code: &str) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("client_id", "portal"),
            ("client_secret", self.secret.as_str()),
            ("redirect_uri", RETURN),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            if !value.is_empty() {
                fields.push((name, value));
            }
        }
        self.form("/token", &[], &fields).await
    }

    pub(super) async fn change(&self, sql: &'static str) {
        self.lab.behind(sql).await;
    }
}

/// A parameter of the address to which an answer leads.
pub(super) fn parameter(answer: &Answer, name: &str) -> Option<String> {
    let location = answer.headers["location"].to_str().unwrap();
    let query = location.split_once('?')?.1;
    query.split('&').find_map(|pair| Some(pair.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{}", answer.text());
    assert!(answer.op().is_none() && answer.headers["cache-control"] == "no-store");
}

#[tokio::test]
async fn what_is_wrong_about_the_client_is_told_to_the_person_and_the_rest_to_the_client() {
    let house = House::new().await;
    for changes in [
        &[("client_id", "nobody")][..],
        &[("client_id", "")],
        &[("redirect_uri", "https://evil.example/oidc/retour")],
        &[("redirect_uri", "https://bank.localhost:8443/oidc/retour")],
        &[("redirect_uri", "")],
        &[("request_uri", "urn:ietf:params:oauth:request_uri:made-up")],
        &[("request_uri", "https://evil.example/request")],
    ] {
        let path = with_parameters("/authorize", &borrowed(&asked(changes)));
        let answer = house.lab.get(&path, &[]).await;
        assert!(answer.status == 400 && answer.text().contains("<main"), "{changes:?}: {}", answer.text());
        assert!(!answer.headers.contains_key("location"), "{changes:?}");
    }
    for (changes, error) in [
        (&[("response_type", "token")][..], "unsupported_response_type"),
        (&[("scope", "profile")], "invalid_scope"),
        (&[("code_challenge", "")], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("code_challenge", "short")], "invalid_request"),
        (&[("prompt", "none")], "login_required"),
        (&[("prompt", "none login")], "invalid_request"),
        (&[("max_age", "-1")], "invalid_request"),
        (&[("request", "a.b.c")], "request_not_supported"),
    ] {
        let path = with_parameters("/authorize", &borrowed(&asked(changes)));
        let answer = house.lab.get(&path, &[("host", "identity.localhost:8443"), ("x-forwarded-proto", "https")]).await;
        assert!(answer.headers["location"].to_str().unwrap().starts_with(RETURN), "{changes:?}");
        let told = ["error", "state", "iss"].map(|name| parameter(&answer, name).unwrap_or_default());
        assert_eq!(told, [error, "s%261", "https%3A%2F%2Fidentity.localhost%3A8443"], "{changes:?}");
    }
    // A page, and a form whose answer may lead to the client.
    let path = with_parameters("/authorize", &borrowed(&asked(&[])));
    let page = house.lab.get(&path, &[("accept-language", "en")]).await;
    assert!(page.status == 200 && page.op().is_none() && page.text().contains("Sign in"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https://portal.localhost:8443;"), "{policy}");
    let wrong = house.form(&path, &[], &[("user", "user0001"), ("password", "no")]).await;
    assert!(wrong.status == 401 && wrong.text().contains("role=\"alert\""));
    let crossing = [("sec-fetch-site", "cross-site")];
    let answer = house.form(&path, &crossing, &[("user", "user0001"), ("password", "password-0001")]).await;
    assert_eq!(answer.status, 403);
}

#[tokio::test]
async fn a_code_is_for_one_client_one_address_one_verifier_and_one_minute() {
    let house = House::new().await;
    for (changes, status, error) in [
        (&[("client_id", "nobody")][..], 401, "invalid_client"),
        (&[("client_secret", "wrong")], 401, "invalid_client"),
        (&[("client_secret", "")], 401, "invalid_client"),
        (&[("client_id", "app"), ("client_secret", "")], 400, "invalid_grant"),
        (&[("grant_type", "password")], 400, "unsupported_grant_type"),
        (&[("grant_type", "")], 400, "invalid_request"),
        (&[("code", "")], 400, "invalid_request"),
        (&[("code", "made-up")], 400, "invalid_grant"),
        (&[("code_verifier", "")], 400, "invalid_request"),
        (&[("code_verifier", "another-verifier-of-forty-three-characters-00")], 400, "invalid_grant"),
        (&[("redirect_uri", "https://portal.localhost:8444/oidc/retour")], 400, "invalid_grant"),
    ] {
        let code = house.code().await;
        refused(&house.token(changes, &code).await, status, error);
    }
    let code = house.code().await;
    house.change("UPDATE code SET expires_ms = 0").await;
    refused(&house.token(&[], &code).await, 400, "invalid_grant");
    // By Basic it goes as well; in both ways at once it does not.
    let code = house.code().await;
    let basic = format!("Basic {}", STANDARD.encode(format!("portal:{}", house.secret)));
    let headers = [("authorization", basic.as_str())];
    let fields = [
        ("grant_type", "authorization_code"),
        ("redirect_uri", RETURN),
        ("code_verifier", VERIFIER),
        ("code", code.as_str()),
    ];
    let both: Vec<_> = fields.iter().chain(&[("client_secret", house.secret.as_str())]).copied().collect();
    refused(&house.form("/token", &headers, &both).await, 400, "invalid_request");
    let answer = house.form("/token", &headers, &fields).await.right(200, "token");
    assert_eq!((&answer.json()["token_type"], &answer.json()["expires_in"]), (&"Bearer".into(), &300.into()));
    let bad = house.lab.ask("POST", "/token", &[FORM], "grant_type=%ff").await;
    refused(&bad, 401, "invalid_client");
    let other = house.lab.ask("POST", "/token", &[("content-type", "application/json")], "{}").await;
    refused(&other, 400, "invalid_request");
}

#[tokio::test]
async fn pushed_requests_are_used_once_and_by_their_client() {
    let house = House::new().await;
    let push = async |changes: &[(&str, &str)]| {
        let mut fields = asked(changes);
        if !changes.iter().any(|(name, _)| *name == "client_secret") {
            fields.push(("client_secret".to_owned(), house.secret.clone()));
        }
        house.form("/par", &[], &borrowed(&fields)).await
    };
    refused(&push(&[("client_secret", "wrong")]).await, 401, "invalid_client");
    refused(&push(&[("redirect_uri", "https://evil.example/")]).await, 400, "invalid_request");
    refused(&push(&[("scope", "email")]).await, 400, "invalid_scope");
    refused(&push(&[("request_uri", "urn:x")]).await, 400, "invalid_request");
    let uri = push(&[]).await.right(201, "par").json()["request_uri"].as_str().unwrap().to_owned();
    let of = |client: &str| with_parameters("/authorize", &[("client_id", client), ("request_uri", &uri)]);
    assert_eq!(house.lab.get(&of("app"), &[]).await.status, 400, "another client's");
    let fields = [("user", "user0001"), ("password", "password-0001")];
    house.form(&of("portal"), &[], &fields).await.right(303, "authorize");
    assert_eq!(house.form(&of("portal"), &[], &fields).await.status, 400, "used");
    let late = push(&[]).await.json()["request_uri"].as_str().unwrap().to_owned();
    house.change("UPDATE pushed SET expires_ms = 0").await;
    let path = with_parameters("/authorize", &[("client_id", "portal"), ("request_uri", &late)]);
    assert_eq!(house.lab.get(&path, &[]).await.status, 400, "out of date");
}

#[tokio::test]
async fn sign_ins_of_one_user_are_bounded_and_the_oldest_ends() {
    let house = House::new().await;
    let first = house.code().await;
    for _ in 0..bounds::FAMILIES_PER_USER_MAX {
        house.code().await;
    }
    let kept: i64 =
        sqlx::query_scalar("SELECT count(*) FROM family").fetch_one(&house.lab.kit.store.reader).await.unwrap();
    assert_eq!(kept, bounds::FAMILIES_PER_USER_MAX);
    refused(&house.token(&[], &first).await, 400, "invalid_grant");
}

/// A one-time password, some steps of 30 s from now.
fn one_time(secret: &str, steps: i64) -> String {
    let secret = totp_rs::Secret::try_from_base32(secret).unwrap();
    let totp = totp_rs::Builder::new().with_secret(secret).build().unwrap();
    totp.generate(u64::try_from(crate::store::now_ms() / 1000 + steps * 30).unwrap()).to_string()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap_or_else(|| panic!("no {start}: {text}")).1.split(end).next().unwrap()
}

#[tokio::test]
async fn one_time_passwords_are_a_second_step_each_good_once() {
    let house = House::new().await;
    let cookie = house.lab.cookie("/login", 5).await;
    let elsewhere = house.lab.cookie("/login", 5).await;
    let inside = [("cookie", cookie.as_str())];
    let page = house.form("/moi/totp", &inside, &[]).await.right(200, "page");
    let secret = between(page.text(), "<p class=\"id\">", "<").to_owned();
    // Not in force before it is confirmed.
    assert_eq!(house.sign_in(&[], 5).await.status, 303);
    let wrong = house.form("/moi/totp/confirmation", &inside, &[("code", "000000")]).await;
    assert_eq!(wrong.status, 422);
    let confirmed = house.form("/moi/totp/confirmation", &inside, &[("code", &one_time(&secret, -1))]).await;
    let recovery = between(confirmed.right(200, "page").text(), "<li class=\"id\">", "<").to_owned();

    // One step is not enough any more: not for a new session, and not in one that is open elsewhere.
    let password = serde_json::json!({"user": ids::user(5), "password": ids::password(5)});
    house.lab.post("/login", &[], &password).await.wrong(403, "second-step");
    let quiet = with_parameters("/authorize", &borrowed(&asked(&[("prompt", "none")])));
    let elsewhere = [("cookie", elsewhere.as_str())];
    let answer = house.lab.get(&quiet, &elsewhere).await;
    assert_eq!(parameter(&answer, "error").as_deref(), Some("login_required"));
    house.lab.get("/userinfo", &elsewhere).await.wrong(401, "unauthenticated");
    assert!(house.lab.get("/moi", &elsewhere).await.op().is_none(), "asked to sign in");
    assert!(parameter(&house.lab.get(&quiet, &inside).await, "code").is_some());

    let path = with_parameters("/authorize", &borrowed(&asked(&[])));
    let half = async || {
        let answer = house.sign_in(&[], 5).await;
        assert_eq!((answer.status, answer.op()), (200, None));
        between(answer.text(), "name=\"half\" value=\"", "\"").to_owned()
    };
    let step = async |half: &str, code: &str| house.form(&path, &[], &[("half", half), ("code", code)]).await;
    let first = half().await;
    let now = one_time(&secret, 0);
    assert_eq!(step(&first, "123").await.status, 401);
    let done = step(&first, &now).await.right(303, "authorize");
    let told = house.token(&[], &parameter(&done, "code").unwrap()).await.right(200, "token").json();
    let claims = told["id_token"].as_str().unwrap().split('.').nth(1).unwrap().to_owned();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["amr"], serde_json::json!(["pwd", "otp"]));
    // Used: the same is wrong. The code on paper opens once.
    assert_eq!(step(&first, &now).await.status, 401);
    step(&first, &recovery).await.right(303, "authorize");
    assert_eq!(step(&first, &recovery).await.status, 401);
    // A made-up first step, another user's, one that is too old.
    for forged in ["", "user0005.9999999999999.00", &first.replace("user0005", "user0006"), "user0005"] {
        assert_eq!(step(forged, &one_time(&secret, 1)).await.status, 401, "{forged}");
    }
    // After five wrong ones a right one is wrong too, for a while.
    for _ in 0..bounds::TOTP_TRIES_MAX {
        assert_eq!(step(&first, "000000").await.status, 401);
    }
    assert_eq!(step(&first, &one_time(&secret, 1)).await.status, 401);
    house.change("UPDATE totp SET rests_until_ms = 0").await;
    step(&first, &one_time(&secret, 1)).await.right(303, "authorize");
    // Only who has a code can end it.
    assert_eq!(house.form("/moi/totp/fin", &inside, &[("code", "000000")]).await.status, 422);
    house.change("UPDATE totp SET last_step = 0, fails = 0").await;
    house.form("/moi/totp/fin", &inside, &[("code", &one_time(&secret, 0))]).await.right(303, "page");
    assert_eq!(house.sign_in(&[], 5).await.status, 303);
}

#[tokio::test]
async fn signing_out_is_asked_for_unless_the_client_shows_whose_session_it_is() {
    let house = House::new().await;
    let answer = house.sign_in(&[], 6).await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let token = house.token(&[], &parameter(&answer, "code").unwrap()).await.json();
    let inside = [("cookie", cookie.as_str())];
    let asked = house.lab.get("/logout", &inside).await.right(200, "logout");
    assert!(asked.text().contains("<form action=\"/logout\""));
    assert_eq!(house.lab.get("/userinfo", &inside).await.status, 200, "asked, not done");
    let end = |uri: &str| {
        let hint = token["id_token"].as_str().unwrap();
        with_parameters("/logout", &[("id_token_hint", hint), ("post_logout_redirect_uri", uri), ("state", "s1")])
    };
    let away = house.lab.get(&end("https://portal.localhost:8443/"), &inside).await.right(303, "logout");
    assert_eq!(away.headers["location"], "https://portal.localhost:8443/?state=s1");
    assert_eq!(house.lab.get("/userinfo", &inside).await.status, 401);
    let stay = house.lab.get(&end("https://evil.example/"), &inside).await.right(200, "logout");
    assert!(!stay.headers.contains_key("location"));
}
