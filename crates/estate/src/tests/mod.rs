//! Each service through its routes, with a store in a temporary folder.

mod bank;
mod counter;
mod documents;
mod holds;
mod identity;
mod partners;
mod passkeys;
mod people;
mod portal;
#[path = "../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "tests of the whole program use the rest")]
pub(crate) mod postgres;
mod staff;
mod vault;
#[path = "../../tests/support/wait.rs"]
mod wait;

use crate::capacity::ServiceCapacity;
use crate::kit::Kit;
use crate::peers::Peers;
use crate::service::Service;
use crate::store::{Database, Place};
use crate::{estate, ids};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// One service with fresh test data.
#[derive(Clone)]
struct Lab {
    kit: Kit,
    router: Router,
    dir: std::sync::Arc<tempfile::TempDir>,
    database: Option<Database>,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn op(&self) -> Option<&str> {
        self.headers.get("x-estate-op").map(|value| value.to_str().unwrap())
    }

    /// Asserts that it is the right answer of an operation.
    #[track_caller]
    fn right(self, status: u16, op: &str) -> Self {
        assert_eq!((self.status, self.op()), (status, Some(op)), "{}", self.text());
        self
    }

    /// Asserts that it is a problem of some status and code, and nothing else.
    #[track_caller]
    fn wrong(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.op(), None);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(
            (self.json()["code"].as_str(), self.json()["status"].as_u64()),
            (Some(code), Some(u64::from(status)))
        );
        self
    }
}

impl Lab {
    async fn new(service: Service) -> Self {
        Self::with_peers(service, Peers::new([])).await
    }

    /// A service that can ask others.
    async fn with_peers(service: Service, peers: Peers) -> Self {
        Self::in_folder(service, peers, tempfile::tempdir().unwrap()).await
    }

    /// A service with the stores of a folder.
    async fn at(service: Service, dir: tempfile::TempDir) -> Self {
        Self::in_folder(service, Peers::new([]), dir).await
    }

    async fn in_folder(service: Service, peers: Peers, dir: tempfile::TempDir) -> Self {
        let database = database(&dir).await;
        let place = Place { dir: dir.path(), database: database.as_ref() };
        let store = estate::open(place, service).await.unwrap();
        let kit = Kit::new(service, store, ServiceCapacity::unmetered(), peers);
        let router = estate::router(&kit);
        Self { kit, router, dir: std::sync::Arc::new(dir), database }
    }

    /// Where its store is.
    fn place(&self) -> Place<'_> {
        Place { dir: self.dir.path(), database: self.database.as_ref() }
    }

    /// Changes the store behind the service's back: statements as SQLite has them.
    async fn behind(&self, sql: &str) {
        let mut sql = sql.to_owned();
        if self.database.is_some() {
            sql = crate::store::dialect::tables(&sql);
            // A trigger is named after its table.
            if let Some(at) = sql.find("DROP TRIGGER ") {
                let name = sql[at + 13..].split(';').next().unwrap().to_owned();
                sql = sql.replacen(&name, &format!("{name} ON {}", name.rsplit_once('_').unwrap().0), 1);
            }
        }
        let mut tx = self.kit.store.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "").await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers: Vec<_> = [("content-type", "application/json")].iter().chain(headers).copied().collect();
        self.ask("POST", path, &headers, body.to_string()).await
    }

    /// Signs user `n` in and gives its cookie.
    async fn cookie(&self, path: &str, n: u32) -> String {
        let answer = self.post(path, &[], &json!({"user": ids::user(n), "password": ids::password(n)})).await;
        assert!(answer.status < 300 && answer.op() == Some("login"), "{}", answer.text());
        let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with(&format!("{}_session=", self.kit.service.name())));
        cookie
    }
}

/// The environment variable with a database in whose server each lab makes one of its own.
const SERVER: &str = "GUICHET_LABS_DATABASE";

/// The database of a lab, where labs are on PostgreSQL.
async fn database(dir: &tempfile::TempDir) -> Option<Database> {
    let server = std::env::var(SERVER).ok()?;
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    Some(postgres::make(&server, name).await.parse().unwrap())
}

#[test]
fn all_the_same_on_postgres() {
    postgres::again(SERVER, |test| {
        test.starts_with("tests::") && !test.contains("on_postgres") && !test.contains("tests::wait")
    });
}

#[tokio::test]
async fn each_service_says_what_it_is_and_refuses_what_it_is_not() {
    for service in Service::ALL {
        let lab = Lab::new(service).await;
        let health = lab.get("/health", &[]).await;
        assert_eq!((health.status, health.op()), (200, None));
        let op = if service == Service::Portal { "home" } else { "about" };
        lab.get("/", &[]).await.right(200, op);
        let (lost, method) = (lab.get("/nowhere", &[]).await, lab.ask("DELETE", "/", &[], "").await);
        let invalid = lab.get("/%ff", &[]).await;
        if service == Service::Portal {
            for (answer, status) in [(&lost, 404), (&method, 405), (&invalid, 404)] {
                assert_eq!((answer.status, answer.op()), (status, None));
                assert!(answer.text().contains("<main"), "a page for people");
            }
        } else {
            lost.wrong(404, "not-found");
            method.wrong(405, "method");
            invalid.wrong(404, "not-found");
            let html = lab.get("/", &[("accept", "text/html")]).await.right(200, "about");
            assert!(html.text().contains("<h1>"));
        }
    }
}

#[tokio::test]
async fn sign_in_is_checked_alike_everywhere() {
    for (service, path, inside) in [
        (Service::App, "/v1/sessions", "/v1/home"),
        (Service::Identity, "/login", "/userinfo"),
        (Service::Vault, "/login", "/documents"),
        (Service::Bank, "/login", "/accounts"),
        (Service::Staff, "/login", "/files/file-0001?case=CASE-2026-0001"),
    ] {
        let lab = Lab::new(service).await;
        for (user, password) in [("user0001", "password-0002"), ("user0001", ""), ("nobody", "password-0001"), ("", "")]
        {
            let body = json!({"user": user, "password": password});
            lab.post(path, &[], &body).await.wrong(401, "wrong-credentials");
        }
        let long = json!({"user": "user0001", "password": "x".repeat(300)});
        lab.post(path, &[], &long).await.wrong(401, "wrong-credentials");
        lab.post(path, &[], &json!({"user": "user0001"})).await.wrong(422, "invalid");
        lab.post(path, &[], &json!({"user": "a", "password": "b", "admin": true})).await.wrong(422, "invalid");
        lab.ask("POST", path, &[("content-type", "application/json")], "{\"user\"").await.wrong(400, "malformed");
        lab.ask("POST", path, &[], "{}").await.wrong(415, "media-type");
        let large = lab.ask("POST", path, &[("content-type", "application/json")], vec![b' '; 70_000]).await;
        large.wrong(413, "body-too-large");

        lab.get(inside, &[]).await.wrong(401, "unauthenticated");
        let cookie = lab.cookie(path, 1).await;
        assert_eq!(lab.get(inside, &[("cookie", &cookie)]).await.status, 200);
        let token = cookie.split_once('=').unwrap().1;
        let bearer = format!("Bearer {token}");
        assert_eq!(lab.get(inside, &[("authorization", &bearer)]).await.status, 200);
        let mixed = format!("a=b; {cookie}; c=d");
        assert_eq!(lab.get(inside, &[("cookie", &mixed)]).await.status, 200);
        // Another service's cookie, and a token that nobody was given, are nothing.
        lab.get(inside, &[("cookie", &format!("other_session={token}"))]).await.wrong(401, "unauthenticated");
        let forged = format!("{}_session={}", service.name(), "A".repeat(43));
        lab.get(inside, &[("cookie", &forged)]).await.wrong(401, "unauthenticated");
    }
}

#[tokio::test]
async fn sessions_end_and_are_bounded() {
    let lab = Lab::new(Service::Bank).await;
    let first = lab.cookie("/login", 5).await;
    let max = usize::try_from(crate::bounds::SESSIONS_PER_USER_MAX).unwrap();
    let mut last = String::new();
    for _ in 0..max {
        last = lab.cookie("/login", 5).await;
    }
    lab.get("/accounts", &[("cookie", &first)]).await.wrong(401, "unauthenticated");
    lab.get("/accounts", &[("cookie", &last)]).await.right(200, "accounts");
    for (what, sql) in [
        ("idle", "UPDATE session SET seen_ms = seen_ms - 300001"),
        ("expired", "UPDATE session SET seen_ms = seen_ms + 300001, expires_ms = 0"),
    ] {
        let mut tx = lab.kit.store.begin().await.unwrap();
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let answer = lab.get("/accounts", &[("cookie", &last)]).await;
        assert_eq!(answer.status, 401, "{what}");
    }
}
