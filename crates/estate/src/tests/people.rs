//! Application and identity.

use super::Lab;
use crate::ids;
use crate::service::Service;
use serde_json::json;

#[tokio::test]
async fn the_application_shows_and_decides_only_what_is_ones_own() {
    let lab = Lab::new(Service::App).await;
    let cookie = lab.cookie("/v1/sessions", 1).await;
    let mine = [("cookie", cookie.as_str())];
    let home = lab.get("/v1/home", &mine).await.right(200, "home").json();
    let approvals = |home: &serde_json::Value| home["approvals"].as_array().unwrap().len();
    assert_eq!((home["parcels"].as_array().unwrap().len(), approvals(&home)), (2, 3));
    for n in [1, 1001] {
        let parcel = lab.get(&format!("/v1/parcels/{}", ids::parcel(n)), &mine).await.right(200, "parcel").json();
        assert_eq!(parcel["id"], ids::parcel(n));
    }
    lab.get(&format!("/v1/parcels/{}", ids::parcel(2)), &mine).await.wrong(404, "not-found");
    lab.get("/v1/parcels/nothing", &mine).await.wrong(400, "malformed");

    let first = lab.ask("POST", "/v1/approvals/apr-0001-1", &mine, "").await.right(200, "approve");
    assert_eq!(first.json()["status"], "approved");
    assert_eq!(lab.ask("POST", "/v1/approvals/apr-0001-1", &mine, "").await.right(200, "approve").text(), first.text());
    lab.post("/v1/approvals/apr-0001-1", &mine, &json!({"decision": "refuse"})).await.wrong(409, "decided");
    let refused =
        lab.post("/v1/approvals/apr-0001-2", &mine, &json!({"decision": "refuse"})).await.right(200, "approve");
    assert_eq!(refused.json()["status"], "refused");
    lab.post("/v1/approvals/apr-0001-3", &mine, &json!({"decision": "perhaps"})).await.wrong(422, "invalid");
    lab.ask("POST", "/v1/approvals/apr-0002-1", &mine, "").await.wrong(404, "not-found");
    lab.ask("POST", "/v1/approvals/apr-0001-3", &[], "").await.wrong(401, "unauthenticated");
    assert_eq!(approvals(&lab.get("/v1/home", &mine).await.json()), 1);
}

#[tokio::test]
async fn discovery_announces_only_what_is_there() {
    let lab = Lab::new(Service::Identity).await;
    let path = "/.well-known/openid-configuration";
    for (host, scheme, issuer) in [
        ("identity.localhost:8443", "https", "https://identity.localhost:8443"),
        ("127.0.0.1:9103", "http", "http://127.0.0.1:9103"),
        ("evil.example", "http", "http://identity.localhost"),
        ("identity.localhost:80@evil", "http", "http://identity.localhost"),
    ] {
        let document =
            lab.get(path, &[("host", host), ("x-forwarded-proto", scheme)]).await.right(200, "discovery").json();
        assert_eq!(document["issuer"], issuer, "{host}");
    }
    let document = lab.get(path, &[]).await.json();
    for (field, value) in document.as_object().unwrap() {
        if field.ends_with("_endpoint") {
            let path = value.as_str().unwrap().strip_prefix("http://identity.localhost").unwrap();
            assert_ne!(lab.get(path, &[]).await.status, 404, "{field}");
        }
    }
}

#[tokio::test]
async fn userinfo_is_about_the_bearer() {
    let lab = Lab::new(Service::Identity).await;
    let login =
        lab.post("/login", &[], &json!({"user": "user0042", "password": "password-0042"})).await.right(200, "login");
    let bearer = format!("Bearer {}", login.json()["access_token"].as_str().unwrap());
    let info = lab.get("/userinfo", &[("authorization", &bearer)]).await.right(200, "userinfo").json();
    assert_eq!((info["sub"].as_str(), info["email"].as_str()), (Some("user0042"), Some("user0042@example.invalid")));
    let secure = lab
        .post("/login", &[("x-forwarded-proto", "https")], &json!({"user": "user0042", "password": "password-0042"}))
        .await;
    for (answer, expected) in [(&login, false), (&secure, true)] {
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        assert!(cookie.contains("HttpOnly") && cookie.contains("Path=/;"), "{cookie}");
        assert_eq!(cookie.contains("; Secure"), expected, "{cookie}");
    }
}
