//! The identity service as an OpenID Provider: with a foreign client (Authlib), and with the services of the estate that rely
//! on it.

mod support;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use support::{Estate, Running, exchange, packages};

fn change(data: &Path, service: &str, sql: &'static str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = support::store(data, service).await;
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    });
}

#[test]
fn a_foreign_client_signs_in_renews_and_is_refused_what_was_stolen() {
    let dir = tempfile::tempdir().unwrap();
    let estate = Estate::start(&["identity", "--listen", "127.0.0.1:0"], dir.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openid_client.py");
    let mut command = Command::new("python3");
    command.arg("-B").arg(script).arg(packages("python", "authlib")).arg(format!("http://{}", estate.at("identity")));
    let (mut client, mut input) = Running::with_input(&mut command);
    for step in [
        "discovery",
        "code with PKCE",
        "pushed request",
        "claims",
        "single sign-on",
        "refresh",
        "a refresh token that is shown twice ends them all",
        "a code that is shown twice ends its tokens",
        "revocation",
        "before rotation",
    ] {
        assert_eq!(client.line(step, |line| Some(line.to_owned())), format!("ok {step}"));
    }
    // The key is old: the next token is signed by another, and this one stays published.
    change(dir.path(), "identity", "UPDATE signing_key SET made_ms = made_ms - 7 * 24 * 3600 * 1000");
    writeln!(input, "changed").unwrap();
    assert_eq!(client.line("rotation", |line| Some(line.to_owned())), "ok rotation of keys");
    assert!(client.child.wait().unwrap().success());
    drop(estate);
    let checked =
        Command::new(env!("CARGO_BIN_EXE_guichet-estate")).args(["verify", "--data"]).arg(dir.path()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Address and path of a URL of the estate.
fn parts(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}"));
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    (address.parse().unwrap(), format!("/{path}"))
}

fn form(address: SocketAddr, path: &str, body: &str) -> (u16, String, String) {
    let kind = "content-type: application/x-www-form-urlencoded";
    exchange(address, &format!("POST {path} HTTP/1.1\r\nhost: {address}\r\n{kind}\r\n"), body)
}

fn get(address: SocketAddr, path: &str, headers: &str) -> (u16, String, String) {
    exchange(address, &format!("GET {path} HTTP/1.1\r\n{headers}"), "")
}

/// A sign-in at the portal up to the answer of the identity service: where it leads, and the portal's mark in the browser.
fn to_the_portal_s_door(portal: SocketAddr) -> (String, String) {
    to_the_door(portal, "portal", "/connexion/identite")
}

fn to_the_door(service: SocketAddr, client: &str, begin: &str) -> (String, String) {
    let host = format!("host: {service}\r\n");
    let (status, head, body) = get(service, begin, &host);
    assert_eq!(status, 303, "{body}");
    let mark = header(&head, "set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let (identity, path) = parts(header(&head, "location").unwrap());
    assert!(path.starts_with(&format!("/authorize?client_id={client}&request_uri=")), "{path}");
    let (status, _, page) = get(identity, &path, &format!("host: {identity}\r\n"));
    assert!(status == 200 && page.contains(&format!("<strong>{client}</strong>")), "{page}");
    let (status, head, body) = form(identity, &path, "user=user0007&password=password-0007");
    assert_eq!(status, 303, "{body}");
    (header(&head, "location").unwrap().to_owned(), mark)
}

#[test]
fn the_portal_signs_in_through_it_and_goes_on_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let identity = Estate::start(&["identity", "--listen", "127.0.0.1:0"], data);
    let peer = format!("identity={}", identity.at("identity"));
    let portal = Estate::start(&["portal", "--listen", "127.0.0.1:0", "--peer", &peer], data);
    let app = Estate::start(&["app", "--listen", "127.0.0.1:0", "--peer", &peer], data);
    let at = portal.at("portal");
    let host = format!("host: {at}\r\n");
    let (back, mark) = to_the_portal_s_door(at);
    let (_, path) = parts(&back);
    // In another browser, or with another state, it is nothing.
    assert_eq!(get(at, &path, &host).0, 400);
    assert_eq!(get(at, &path.replace("state=", "state=x"), &format!("{host}cookie: {mark}\r\n")).0, 400);
    let (status, head, body) = get(at, &path, &format!("{host}cookie: {mark}\r\n"));
    assert_eq!(status, 303, "{body}");
    let session = head.lines().find_map(|line| line.strip_prefix("set-cookie: portal_session=")).unwrap();
    let session = format!("{host}cookie: portal_session={}\r\n", session.split(';').next().unwrap());
    let (status, _, page) = get(at, "/compte", &session);
    assert!(status == 200 && page.contains("Hugo Martin") && page.contains("1947-08-08"), "{page}");
    // Once.
    assert_eq!(get(at, &path, &format!("{host}cookie: {mark}\r\n")).0, 400);
    // An answer of somebody else's issuer is none.
    let (back, mark) = to_the_portal_s_door(at);
    let (other, _) = parts(&back);
    let (start, iss) = parts(&back).1.split_once("&iss=").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert!(!iss.is_empty() && other == at);
    let mixed = format!("{start}&iss=https%3A%2F%2Fevil.example");
    assert_eq!(get(at, &mixed, &format!("{host}cookie: {mark}\r\n")).0, 400);

    // The application takes tokens of its own, and no others.
    let token = token_for_app(identity.at("identity"));
    let home = |token: &str| get(app.at("app"), "/v1/home", &format!("host: x\r\nauthorization: Bearer {token}\r\n"));
    let (status, _, body) = home(&token.0);
    assert!(status == 200 && body.contains("user0008"), "{body}");
    assert_eq!(home(&token.1).0, 401, "an ID token is no access token");
    let mut forged = token.0.clone();
    forged.replace_range(token.0.len() - 4.., "AAAA");
    assert_eq!(home(&forged).0, 401);

    // The identity service is gone: who is in stays in, tokens are still read, nobody new comes in this way.
    drop(identity);
    assert_eq!(get(at, "/compte", &session).0, 200);
    assert_eq!(home(&token.0).0, 200);
    let (status, _, page) = get(at, "/connexion/identite", &host);
    assert!(status == 503 && page.contains("<main"), "{page}");
    let (status, head, _) = form(at, "/connexion", "user=user0007&password=password-0007");
    assert!(status == 303 && header(&head, "location") == Some("/compte"), "{head}");
}

#[test]
fn the_vault_is_opened_through_it_and_stays_open_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Estate::start(&["identity", "--listen", "127.0.0.1:0"], dir.path());
    let peer = format!("identity={}", identity.at("identity"));
    let vault = Estate::start(&["vault", "--listen", "127.0.0.1:0", "--peer", &peer], dir.path());
    let at = vault.at("vault");
    let host = format!("host: {at}\r\n");
    let (back, mark) = to_the_door(at, "vault", "/coffre/identite");
    let (_, path) = parts(&back);
    assert_eq!(get(at, &path, &host).0, 400, "in another browser");
    let (status, head, body) = get(at, &path, &format!("{host}cookie: {mark}\r\n"));
    assert!(status == 303 && header(&head, "location") == Some("/coffre"), "{body}");
    let session = head.lines().find_map(|line| line.strip_prefix("set-cookie: vault_session=")).unwrap();
    let session = format!("{host}cookie: vault_session={}\r\n", session.split(';').next().unwrap());
    drop(identity);
    let (status, _, body) = get(at, "/documents", &session);
    assert!(status == 200 && body.contains("doc-0007-") && !body.contains("doc-0001-"), "{body}");
    let (status, _, page) = get(at, "/coffre", &session);
    assert!(status == 200 && page.contains("doc-0007-"), "{page}");
}

/// An access token and an ID token for the application.
fn token_for_app(identity: SocketAddr) -> (String, String) {
    // The challenge is SHA-256 of forty-three times "a", as RFC 7636 has it.
    let verifier = "a".repeat(43);
    let challenge = "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA";
    let path = format!(
        "/authorize?response_type=code&client_id=app&redirect_uri=fr.guichet.app%3A%2Fcallback&scope=openid%20profile\
         &code_challenge_method=S256&code_challenge={challenge}"
    );
    let (status, head, body) = form(identity, &path, "user=user0008&password=password-0008");
    assert_eq!(status, 303, "{body}");
    let location = header(&head, "location").unwrap();
    let code = location.split("code=").nth(1).unwrap().split('&').next().unwrap();
    assert!(location.starts_with("fr.guichet.app:/callback?code="), "{location}");
    let body = format!(
        "grant_type=authorization_code&client_id=app&redirect_uri=fr.guichet.app%3A%2Fcallback&code={code}&code_verifier={verifier}"
    );
    let (status, _, body) = form(identity, "/token", &body);
    assert_eq!(status, 200, "{body}");
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    (text("access_token"), text("id_token"))
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
