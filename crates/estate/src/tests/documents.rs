//! Vault and staff: what only some may read.

use super::Lab;
use crate::once::hash;
use crate::service::Service;
use crate::{bounds, ids};

#[tokio::test]
async fn a_document_comes_back_as_it_was_put_in() {
    let lab = Lab::new(Service::Vault).await;
    let cookie = lab.cookie("/login", 1).await;
    let put = |key: &'static str, name: &'static str, body: &'static [u8]| {
        let (lab, cookie) = (lab.clone(), cookie.clone());
        async move {
            let headers = [("cookie", cookie.as_str()), ("idempotency-key", key), ("x-document-name", name)];
            lab.ask("POST", "/documents", &headers, body).await
        }
    };
    let first = put("key-00000001", "scan.pdf", b"%PDF \x00\xff").await.right(201, "deposit");
    let receipt = first.json();
    assert_eq!(receipt["sha256"], hex::encode(hash(b"%PDF \x00\xff")));
    let id = receipt["id"].as_str().unwrap();
    let read = lab.get(&format!("/documents/{id}"), &[("cookie", &cookie)]).await.right(200, "read");
    assert_eq!(read.body, b"%PDF \x00\xff");
    assert_eq!(read.headers["x-content-sha256"], receipt["sha256"].as_str().unwrap());

    assert_eq!(put("key-00000001", "scan.pdf", b"%PDF \x00\xff").await.right(201, "deposit").text(), first.text());
    put("key-00000001", "scan.pdf", b"other").await.wrong(422, "key-reused");
    put("key-00000001", "other.pdf", b"%PDF \x00\xff").await.wrong(422, "key-reused");
    put("key-00000002", "../../etc/passwd", b"x").await.wrong(400, "malformed");
    put("key-00000002", "a\"b.txt", b"x").await.wrong(400, "malformed");
    put("key-00000002", ".hidden", b"x").await.wrong(400, "malformed");
    put("key-00000002", "empty.txt", b"").await.wrong(422, "invalid");

    // A document that was changed on the disk is not given out.
    lab.behind(&format!("UPDATE version SET sealed = zeroblob(1) WHERE document = '{id}'")).await;
    lab.get(&format!("/documents/{id}"), &[("cookie", &cookie)]).await.wrong(500, "internal");
}

#[tokio::test]
async fn a_deposit_has_a_size_limit() {
    let lab = Lab::new(Service::Vault).await;
    let cookie = lab.cookie("/login", 1).await;
    let headers = [("cookie", cookie.as_str()), ("idempotency-key", "key-00000001"), ("x-document-name", "big.bin")];
    let max = bounds::DOCUMENT_BYTES_MAX;
    lab.ask("POST", "/documents", &headers, vec![7; max + 1]).await.wrong(413, "body-too-large");
    lab.ask("POST", "/documents", &headers, vec![7; max]).await.right(201, "deposit");
}

#[tokio::test]
async fn a_document_is_its_owners_alone() {
    let lab = Lab::new(Service::Vault).await;
    let (mine, theirs) = (lab.cookie("/login", 1).await, lab.cookie("/login", 2).await);
    lab.get("/documents/doc-0001-1", &[("cookie", &mine)]).await.right(200, "read");
    let refused = lab.get("/documents/doc-0001-1", &[("cookie", &theirs)]).await.wrong(404, "not-found");
    let unknown = lab.get("/documents/doc-9999-1", &[("cookie", &theirs)]).await.wrong(404, "not-found");
    assert_eq!(refused.text(), unknown.text(), "that it exists is not told either");
    lab.get("/documents/doc-0001-1", &[]).await.wrong(401, "unauthenticated");
    let list = lab.get("/documents", &[("cookie", &theirs)]).await.right(200, "list").json();
    let ids: Vec<_> =
        list["documents"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["doc-0002-1", "doc-0002-2", "doc-0002-3"]);
}

#[tokio::test]
async fn no_file_leaves_without_an_audit_entry() {
    let lab = Lab::new(Service::Staff).await;
    let cookie = lab.cookie("/login", 3).await;
    let read = async |path: &str| lab.get(path, &[("cookie", &cookie)]).await;
    let first = read("/files/file-0007?case=CASE-2026-0001").await.right(200, "file").json();
    read("/files/file-9999?case=CASE-2026-0001").await.wrong(404, "not-found");
    for case in ["", "?case=", "?case=short", "?case=lower-case", "?case=CASE%0A2026"] {
        read(&format!("/files/file-0007{case}")).await.wrong(400, "malformed");
    }
    let rows: Vec<(i64, String, String, String, String, String, String)> =
        sqlx::query_as("SELECT id, agent, file, case_reference, verdict, previous, hash FROM audit ORDER BY id")
            .fetch_all(&lab.kit.store.reader)
            .await
            .unwrap();
    let told: Vec<_> =
        rows.iter().map(|row| (row.1.as_str(), row.2.as_str(), row.3.as_str(), row.4.as_str())).collect();
    let case = "CASE-2026-0001";
    assert_eq!(told, [("user0003", "file-0007", case, "read"), ("user0003", "file-9999", case, "unknown")]);
    assert_eq!(first["audit"], rows[0].0);
    assert_eq!((rows[0].5.as_str(), &rows[1].5), ("", &rows[0].6), "chained");

    // When the audit can't be written, nothing is read.
    lab.behind("CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'disk full'); END;").await;
    let refused = read("/files/file-0007?case=CASE-2026-0001").await.wrong(500, "internal");
    assert!(!refused.text().contains(&ids::user(7)) && !refused.text().contains("disk full"));
}

#[tokio::test]
async fn an_agent_has_a_quota() {
    let lab = Lab::new(Service::Staff).await;
    let cookie = lab.cookie("/login", 3).await;
    let mut tx = lab.kit.store.begin().await.unwrap();
    sqlx::query(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
         INSERT INTO audit SELECT NULL, $2, 'user0003', 'file-0001', 'CASE-1', 'read', '', '' FROM n",
    )
    .bind(bounds::FILE_READS_PER_HOUR_MAX)
    .bind(crate::store::now_ms())
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    lab.get("/files/file-0001?case=CASE-2026-0001", &[("cookie", &cookie)]).await.wrong(429, "over-quota");
    let other = lab.cookie("/login", 4).await;
    lab.get("/files/file-0001?case=CASE-2026-0001", &[("cookie", &other)]).await.right(200, "file");
}
