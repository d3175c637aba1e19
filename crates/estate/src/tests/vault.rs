//! The vault: sealing, versions, erasing, links, the trail, the export, WebDAV and the pages.

use super::{Answer, Lab};
use crate::bounds::{
    APP_PASSWORDS_PER_USER_MAX, LINKS_PER_DOCUMENT_MAX, TRAIL_ENTRIES_PER_USER_MAX, VERSIONS_PER_DOCUMENT_MAX,
};
use crate::once::hash;
use crate::service::Service;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::Read as _;

/// One user at the vault.
struct Owner {
    lab: Lab,
    cookie: String,
}

impl Owner {
    async fn of(lab: &Lab, n: u32) -> Self {
        Self { lab: lab.clone(), cookie: lab.cookie("/login", n).await }
    }

    async fn ask(&self, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut headers = vec![("cookie", self.cookie.as_str())];
        headers.extend_from_slice(more);
        self.lab.ask(method, path, &headers, body.to_vec()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes()).await
    }

    async fn deposit(&self, key: &str, name: &str, body: &[u8]) -> String {
        let answer = self.ask("POST", "/documents", &[("idempotency-key", key), ("x-document-name", name)], body).await;
        answer.right(201, "deposit").json()["id"].as_str().unwrap().to_owned()
    }

    /// Actor and action of each entry about one document, oldest first.
    async fn trail(&self, document: &str) -> Vec<(String, String)> {
        let told = self.get("/trail").await.right(200, "trail").json();
        let mut entries: Vec<_> = told["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["document"] == document)
            .map(|entry| (entry["actor"].as_str().unwrap().to_owned(), entry["action"].as_str().unwrap().to_owned()))
            .collect();
        entries.reverse();
        entries
    }
}

/// Flips one bit of what is sealed of a document.
async fn flip(lab: &Lab, id: &str) {
    let mut tx = lab.kit.store.begin().await.unwrap();
    let select = sqlx::query_scalar("SELECT sealed FROM version WHERE document = $1").bind(id);
    let mut sealed: Vec<u8> = select.fetch_one(&mut *tx).await.unwrap();
    sealed[20] ^= 1;
    let update = sqlx::query("UPDATE version SET sealed = $1 WHERE document = $2").bind(sealed).bind(id);
    update.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

async fn broken(lab: &Lab) -> Vec<String> {
    let findings = crate::verify::verify(lab.dir.path(), lab.database.as_ref(), None).await.unwrap();
    findings
        .into_iter()
        .filter(|finding| !finding.ok)
        .map(|finding| format!("{}: {}", finding.name, finding.detail))
        .collect()
}

#[tokio::test]
async fn nothing_readable_is_in_the_store() {
    let lab = Lab::new(Service::Vault).await;
    let owner = Owner::of(&lab, 1).await;
    let words = b"a sentence that stands nowhere else in the world";
    owner.deposit("key-00000001", "a.txt", words).await;
    lab.kit.store.close().await;
    let mut files = 0;
    for file in std::fs::read_dir(&*lab.kit.store.dir).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        files += 1;
        assert!(!bytes.windows(words.len()).any(|window| window == words));
        assert!(!bytes.windows(16).any(|window| window == b"Bulletin de paie"), "test data are sealed too");
    }
    assert!(files >= if lab.database.is_some() { 1 } else { 2 }, "a store and a key");
    let key = std::fs::metadata(lab.kit.store.dir.join("vault.key")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
}

#[tokio::test]
async fn what_was_altered_is_not_given_out() {
    for (what, sql) in [
        ("a byte of the content", ""),
        ("its key", "UPDATE version SET wrapped_key = zeroblob(60) WHERE document = 'doc-0001-1'"),
        (
            "the hash of its receipt",
            "UPDATE version SET sha256 = replace(sha256, 'a', 'b') WHERE document = 'doc-0001-1'",
        ),
        ("the key of its owner", "UPDATE user_key SET wrapped = zeroblob(60) WHERE owner = 'user0001'"),
        (
            "another's content in its place",
            "UPDATE version SET sealed = (SELECT sealed FROM version WHERE document = 'doc-0002-1'), wrapped_key =
             (SELECT wrapped_key FROM version WHERE document = 'doc-0002-1') WHERE document = 'doc-0001-1'",
        ),
        ("its owner", "UPDATE document SET owner = 'user0001', path = '/x' WHERE id = 'doc-0002-1'"),
    ] {
        let lab = Lab::new(Service::Vault).await;
        let owner = Owner::of(&lab, 1).await;
        if sql.is_empty() {
            flip(&lab, "doc-0001-1").await;
        } else {
            lab.behind(sql).await;
        }
        let id = if what == "its owner" { "doc-0002-1" } else { "doc-0001-1" };
        let answer = owner.get(&format!("/documents/{id}")).await.wrong(500, "internal");
        assert!(!answer.text().contains("Relev"), "{what}: {}", answer.text());
        assert!(owner.trail(id).await.iter().all(|(_, action)| action != "read"), "{what}");
    }
}

#[tokio::test]
async fn versions_are_kept_and_the_oldest_goes() {
    let lab = Lab::new(Service::Vault).await;
    let owner = Owner::of(&lab, 1).await;
    let id = owner.deposit("key-00000001", "a.txt", b"version 1").await;
    for n in 2..=VERSIONS_PER_DOCUMENT_MAX + 1 {
        let (key, body) = (format!("key-0000{n:04}"), format!("version {n}"));
        let put =
            async || owner.ask("PUT", &format!("/documents/{id}"), &[("idempotency-key", &key)], body.as_bytes()).await;
        assert_eq!(put().await.right(200, "revise").json()["version"], n);
        assert_eq!(put().await.right(200, "revise").json()["version"], n, "sent again, it is done once");
    }
    let told = owner.get(&format!("/documents/{id}/versions")).await.right(200, "versions").json();
    let numbers: Vec<_> =
        told["versions"].as_array().unwrap().iter().map(|row| row["version"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (2..=VERSIONS_PER_DOCUMENT_MAX + 1).rev().collect::<Vec<_>>());
    assert_eq!(owner.get(&format!("/documents/{id}?version=2")).await.right(200, "read").body, b"version 2");
    owner.get(&format!("/documents/{id}?version=1")).await.wrong(404, "not-found");
    let last = format!("version {}", VERSIONS_PER_DOCUMENT_MAX + 1);
    assert_eq!(owner.get(&format!("/documents/{id}")).await.right(200, "read").text(), last);
    assert_eq!(broken(&lab).await, [""; 0]);
}

#[tokio::test]
async fn an_erased_document_is_gone_and_its_trail_stays() {
    let lab = Lab::new(Service::Vault).await;
    let (owner, other) = (Owner::of(&lab, 1).await, Owner::of(&lab, 2).await);
    let id = owner.deposit("key-00000001", "a.txt", b"mine").await;
    let path = format!("/documents/{id}");
    let links = format!("{path}/links");
    let link = owner.post(&links, &json!({"expires_in_s": 3600, "uses_max": 5})).await.right(201, "share").json();
    other.ask("DELETE", &path, &[], b"").await.wrong(404, "not-found");
    owner.get(&path).await.right(200, "read");
    owner.ask("DELETE", &path, &[], b"").await.right(204, "erase");
    owner.ask("DELETE", &path, &[], b"").await.wrong(404, "not-found");
    owner.get(&path).await.wrong(404, "not-found");
    lab.ask("POST", link["path"].as_str().unwrap(), &[], "").await.wrong(404, "link-gone");
    let me = |action: &str| ("user0001".to_owned(), action.to_owned());
    assert_eq!(owner.trail(&id).await, [me("deposit"), me("share"), me("read"), me("erase")]);
    assert!(other.trail(&id).await.is_empty());
    let keys: Vec<Vec<u8>> = sqlx::query_scalar("SELECT wrapped_key FROM version WHERE document = $1")
        .bind(&id)
        .fetch_all(&lab.kit.store.reader)
        .await
        .unwrap();
    assert_eq!(keys, [vec![0; 60]]);
    assert_eq!(broken(&lab).await, [""; 0]);
}

#[tokio::test]
async fn a_link_works_as_often_and_as_long_as_was_said() {
    let lab = Lab::new(Service::Vault).await;
    let (owner, other) = (Owner::of(&lab, 1).await, Owner::of(&lab, 2).await);
    let links = "/documents/doc-0001-1/links";
    let make = async |uses: i64| owner.post(links, &json!({"expires_in_s": 3600, "uses_max": uses})).await;
    let link = make(2).await.right(201, "share").json();
    let path = link["path"].as_str().unwrap().to_owned();
    // To look does not use it up.
    for _ in 0..3 {
        let page = lab.get(&path, &[("accept-language", "en")]).await;
        assert!(page.status == 200 && page.text().contains("is shared with you"), "{}", page.text());
    }
    for _ in 0..2 {
        assert!(lab.ask("POST", &path, &[], "").await.right(200, "shared").text().starts_with("Relev"));
    }
    let used_up = lab.ask("POST", &path, &[], "").await.wrong(404, "link-gone");
    let guessed = lab.ask("POST", &format!("/partage/{}", "A".repeat(43)), &[], "").await.wrong(404, "link-gone");
    assert_eq!(used_up.text(), guessed.text());
    let by_link = (format!("link:{}", link["id"].as_str().unwrap()), "read".to_owned());
    assert_eq!(owner.trail("doc-0001-1").await[2..], [by_link.clone(), by_link], "each use stands in the trail");

    let expired = make(9).await.right(201, "share").json()["path"].as_str().unwrap().to_owned();
    lab.behind("UPDATE link SET expires_ms = 1 WHERE uses = 0").await;
    lab.ask("POST", &expired, &[], "").await.wrong(404, "link-gone");
    let ended = make(9).await.right(201, "share").json();
    let end = format!("/links/{}", ended["id"].as_str().unwrap());
    other.ask("DELETE", &end, &[], b"").await.wrong(404, "not-found");
    owner.ask("DELETE", &end, &[], b"").await.right(204, "share");
    lab.ask("POST", ended["path"].as_str().unwrap(), &[], "").await.wrong(404, "link-gone");

    other.post(links, &json!({"expires_in_s": 3600, "uses_max": 1})).await.wrong(404, "not-found");
    for (life, uses) in [(59, 1), (90 * 24 * 3600 + 1, 1), (3600, 0), (3600, 1001), (-1, 1)] {
        owner.post(links, &json!({"expires_in_s": life, "uses_max": uses})).await.wrong(422, "invalid");
    }
    for _ in 0..LINKS_PER_DOCUMENT_MAX {
        make(1).await.right(201, "share");
    }
    make(1).await.wrong(409, "too-many");
    let stored: i64 =
        sqlx::query_scalar("SELECT count(*) FROM link WHERE CAST(token_hash AS TEXT) LIKE '%' || $1 || '%'")
            .bind(path.rsplit('/').next().unwrap())
            .fetch_one(&lab.kit.store.reader)
            .await
            .unwrap();
    assert_eq!(stored, 0, "the token is not kept");
}

#[tokio::test]
async fn the_trail_is_a_chain_that_shows_what_was_taken_out() {
    let lab = Lab::new(Service::Vault).await;
    let owner = Owner::of(&lab, 1).await;
    for _ in 0..3 {
        owner.get("/documents/doc-0001-1").await.right(200, "read");
    }
    assert_eq!(owner.trail("doc-0001-1").await.len(), 2, "the same reading within a minute is one entry");
    for sql in ["UPDATE trail SET actor = 'x'", "DELETE FROM trail"] {
        let mut tx = lab.kit.store.begin().await.unwrap();
        let told = sqlx::query(sql).execute(&mut *tx).await.unwrap_err().to_string();
        assert!(told.contains("append-only"), "{told}");
    }
    for (sql, words) in [
        (
            "DROP TRIGGER trail_kept; UPDATE trail SET actor = 'user0003' WHERE owner = 'user0001' AND number = 2",
            "was changed",
        ),
        ("DROP TRIGGER trail_stays; DELETE FROM trail WHERE owner = 'user0002' AND number = 1", "should be number 1"),
    ] {
        let lab = Lab::new(Service::Vault).await;
        assert_eq!(broken(&lab).await, [""; 0]);
        lab.behind(sql).await;
        let told = broken(&lab).await;
        assert!(told.iter().any(|told| told.contains(words)), "{told:?}");
    }
    // At the bound nothing is done, since it could not be traced.
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query("INSERT INTO trail VALUES ('user0001', $1, 0, '', '', '', '', '', '')")
        .bind(TRAIL_ENTRIES_PER_USER_MAX)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    owner.get("/documents/doc-0001-2").await.wrong(507, "trail-full");
}

#[tokio::test]
async fn an_export_has_everything_in_open_formats() {
    let lab = Lab::new(Service::Vault).await;
    let owner = Owner::of(&lab, 1).await;
    owner.deposit("key-00000001", "same.txt", b"one").await;
    owner.deposit("key-00000002", "same.txt", b"two").await;
    let answer = owner.get("/export").await.right(200, "export");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(answer.body)).unwrap();
    let mut file = |name: &str| {
        let mut bytes = Vec::new();
        archive.by_name(name).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    let manifest: Value = serde_json::from_slice(&file("manifest.json")).unwrap();
    let documents = manifest["documents"].as_array().unwrap();
    assert_eq!((manifest["owner"].as_str(), documents.len()), (Some("user0001"), 5));
    for document in documents {
        let content = file(document["file"].as_str().unwrap());
        assert_eq!(document["sha256"], hex::encode(hash(&content)));
    }
    // The chain can be followed with nothing but the archive.
    let (mut previous, mut number) = (String::new(), 0);
    for line in String::from_utf8(file("trail.jsonl")).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        number += 1;
        assert_eq!((entry["previous"].as_str(), entry["number"].as_i64()), (Some(previous.as_str()), Some(number)));
        let told = json!([
            previous,
            "user0001",
            number,
            entry["at_ms"],
            entry["actor"],
            entry["action"],
            entry["document"],
            entry["detail"]
        ]);
        previous = hex::encode(hash(told.to_string().as_bytes()));
        assert_eq!(entry["hash"], previous);
    }
    assert_eq!(number, 6, "three at first, two deposits, the export itself");
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn webdav_is_for_the_owner_alone_by_either_password() {
    let lab = Lab::new(Service::Vault).await;
    let owner = Owner::of(&lab, 1).await;
    let made = owner.post("/app-passwords", &json!({"label": "telephone"})).await.right(201, "password").json();
    let program = basic("user0001", made["password"].as_str().unwrap());
    let own = basic("user0001", "password-0001");
    for auth in [&program, &own] {
        let answer = lab.get("/dav/releve-de-compte.txt", &[("authorization", auth)]).await.right(200, "dav");
        assert!(answer.text().starts_with("Relev"));
        assert!(answer.headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    }
    let stolen = basic("user0002", made["password"].as_str().unwrap());
    for auth in [stolen.as_str(), &basic("user0001", "wrong"), "Basic !", "Basic dXNlcg==", ""] {
        let answer = lab.get("/dav/", &[("authorization", auth)]).await;
        assert_eq!(answer.status, 401, "{auth}");
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
    }
    let mine = [("authorization", own.as_str()), ("destination", "http://x/dav/b/c.txt"), ("overwrite", "F")];
    for (method, path, status) in [
        ("PUT", "/dav/a.txt", 201),
        ("PUT", "/dav/a.txt", 204),
        ("PUT", "/dav/nowhere/a.txt", 409),
        ("MKCOL", "/dav/b", 201),
        ("MKCOL", "/dav/b", 405),
        ("COPY", "/dav/a.txt", 201),
        ("MOVE", "/dav/a.txt", 412),
        ("DELETE", "/dav/a.txt", 204),
        ("GET", "/dav/a.txt", 404),
        ("GET", "/dav/b/c.txt", 200),
        ("DELETE", "/dav/b", 204),
        ("GET", "/dav/b/c.txt", 404),
    ] {
        let answer = lab.ask(method, path, &mine, if method == "PUT" { "content" } else { "" }).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    assert_eq!(broken(&lab).await, [""; 0]);

    let end = format!("/app-passwords/{}", made["id"].as_str().unwrap());
    owner.ask("DELETE", &end, &[], b"").await.right(204, "password");
    assert_eq!(lab.get("/dav/", &[("authorization", &program)]).await.status, 401);
    for _ in 0..APP_PASSWORDS_PER_USER_MAX {
        owner.post("/app-passwords", &json!({"label": "x"})).await.right(201, "password");
    }
    owner.post("/app-passwords", &json!({"label": "x"})).await.wrong(409, "too-many");
}

#[tokio::test]
async fn people_deposit_share_and_read_the_trail_without_a_script() {
    let lab = Lab::new(Service::Vault).await;
    for (lang, sign_in) in [("fr", "Ouvrir mon coffre"), ("en", "Open my vault")] {
        let page = lab.get("/coffre", &[("accept-language", lang)]).await.right(200, "page");
        assert!(page.text().contains(sign_in) && !page.text().contains("<script"));
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let wrong = lab.ask("POST", "/coffre/connexion", &form, "user=user0001&password=x").await;
    assert!(wrong.status == 401 && wrong.text().contains("aria-invalid"));
    let owner = Owner::of(&lab, 1).await;
    let home = owner.get("/coffre").await.right(200, "page");
    let key = home.text().split("name=\"key\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"key\"\r\n\r\n{key}\r\n--b\r\ncontent-disposition: form-data; \
         name=\"file\"; filename=\"été <b>.txt\"\r\ncontent-type: text/plain\r\n\r\nhello\r\n--b--\r\n"
    );
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    for _ in 0..2 {
        assert_eq!(owner.ask("POST", "/coffre/depot", &kind, body.as_bytes()).await.status, 303);
    }
    let list = owner.get("/documents").await.json();
    let named: Vec<_> =
        list["documents"].as_array().unwrap().iter().filter(|row| row["name"] == "été <b>.txt").cloned().collect();
    assert_eq!(named.len(), 1, "the same form twice is one deposit");
    let id = named[0]["id"].as_str().unwrap();
    assert!(!owner.get("/coffre").await.text().contains("<b>"), "names are escaped");
    let download = owner.get(&format!("/documents/{id}")).await.right(200, "read");
    assert!(
        download.headers["content-disposition"]
            .to_str()
            .unwrap()
            .contains("filename*=UTF-8''%C3%A9t%C3%A9%20%3Cb%3E.txt")
    );
    let shared = owner.ask("POST", &format!("/coffre/{id}/partage"), &form, b"days=7&uses=1").await.right(200, "page");
    assert!(shared.text().contains("/partage/"));
    let cross = [form[0], ("sec-fetch-site", "cross-site")];
    let refused = owner.ask("POST", &format!("/coffre/{id}/effacer"), &cross, b"sure=yes").await;
    assert!(refused.status == 403 && refused.text().contains("<main"));
    let unsure = owner.ask("POST", &format!("/coffre/{id}/effacer"), &form, b"").await;
    assert_eq!(unsure.status, 422);
    assert_eq!(owner.ask("POST", &format!("/coffre/{id}/effacer"), &form, b"sure=yes").await.status, 303);
    let trail = owner.ask("GET", "/coffre/trace", &[("accept-language", "en")], b"").await.right(200, "page");
    assert!(trail.text().contains("Erasure") && trail.text().contains(id));
    assert_eq!(lab.get("/coffre/trace", &[]).await.status, 401);
}

#[tokio::test]
async fn an_older_store_is_sealed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let database = super::database(&dir).await;
    let place = crate::store::Place { dir: dir.path(), database: database.as_ref() };
    let (store, fresh) =
        crate::store::Store::open(place, Service::Vault, &crate::vault::MIGRATIONS[..1]).await.unwrap();
    let mut tx = fresh.unwrap();
    crate::credentials::seed(&mut tx).await.unwrap();
    for (id, content) in [("doc-1", "old one"), ("doc-2", "old two")] {
        sqlx::query("INSERT INTO document VALUES ($1, 'user0001', 'same.txt', 7, $2, 5, $3)")
            .bind(id)
            .bind(hex::encode(hash(content.as_bytes())))
            .bind(content.as_bytes())
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    store.close().await;
    let lab = Lab::at(Service::Vault, dir).await;
    let owner = Owner::of(&lab, 1).await;
    for (id, content) in [("doc-1", "old one"), ("doc-2", "old two")] {
        assert_eq!(owner.get(&format!("/documents/{id}")).await.right(200, "read").text(), content);
    }
    assert_eq!(broken(&lab).await, [""; 0]);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM document_unsealed").fetch_one(&lab.kit.store.reader).await.unwrap();
    assert_eq!(left, 0);
    // Another key than that of the store: nothing starts.
    let dir = lab.kit.store.dir.clone();
    std::fs::write(dir.join("vault.key"), "00".repeat(32)).unwrap();
    let told = format!("{:#}", crate::estate::open(lab.place(), Service::Vault).await.err().unwrap());
    assert!(told.contains("restore that one"), "{told}");
}
