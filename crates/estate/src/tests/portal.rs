use super::{Answer, Lab};
use crate::capacity::CapacityModel;
use crate::estate::{Estate, Options};
use crate::ids;
use crate::peers::Peers;
use crate::service::Service;
use serde_json::json;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What every page must have, whatever it says.
#[track_caller]
fn check_page(answer: &Answer, lang: &str) {
    let text = answer.text();
    let ids: Vec<_> = text.match_indices(" id=\"").map(|(at, _)| text[at + 5..].split('"').next().unwrap()).collect();
    let unique: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "ids are unique: {ids:?}");
    for piece in [
        format!("<html lang=\"{lang}\">").as_str(),
        "<title>",
        "<header",
        "<nav aria-label=",
        "<main id=\"contenu\"",
        "<footer",
        "class=\"skip\" href=\"#contenu\"",
        "name=\"viewport\"",
    ] {
        assert!(text.contains(piece), "{piece} is missing");
    }
    assert_eq!(text.matches("<h1").count(), 1);
    assert!(!text.contains("<script") && !text.contains(" style=\"") && !text.contains("src=\"http"));
    let hidden = ["hidden", "submit"];
    for input in text.split("<input ").skip(1) {
        let tag = input.split('>').next().unwrap();
        let id = tag.split("id=\"").nth(1).unwrap().split('"').next().unwrap();
        assert!(hidden.contains(&id) || text.contains(&format!("<label for=\"{id}\"")), "{id} has no label");
    }
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("sha256-"), "{policy}");
}

#[tokio::test]
async fn pages_are_whole_in_both_languages() {
    let lab = Lab::new(Service::Portal).await;
    let (known, unknown) = (ids::parcel(4), ids::parcel(2000));
    for (path, status, op, fr, en) in [
        ("/".to_owned(), 200, Some("home"), "Suivre un envoi", "Track an item"),
        ("/suivi".to_owned(), 200, Some("track"), "Numéro de suivi", "Tracking number"),
        (format!("/suivi?id={known}"), 200, Some("track"), "Distribué", "Delivered"),
        (format!("/suivi?id={}", known.to_lowercase()), 200, Some("track"), "Distribué", "Delivered"),
        (format!("/suivi?id={unknown}"), 503, None, "ne répond pas", "does not answer"),
        ("/suivi?id=CG100000004FR".to_owned(), 400, None, "Un chiffre de ce num", "One digit of this number is wrong"),
        ("/suivi?id=%3Cscript%3E".to_owned(), 400, None, "deux lettres", "two letters"),
        ("/recherche?q=colis".to_owned(), 200, Some("search"), "Suivre un colis", "Nothing fits"),
        ("/recherche?q=PARCEL".to_owned(), 200, Some("search"), "Rien ne correspond", "Track a parcel"),
        ("/recherche?q=republique".to_owned(), 200, Some("search"), "Lille République", "Lille République"),
        ("/recherche?q=%25".to_owned(), 200, Some("search"), "Rien ne correspond", "Nothing fits"),
        (format!("/recherche?q={}", "x".repeat(81)), 400, None, "trop longue", "too long"),
        ("/connexion".to_owned(), 200, Some("login"), "Mot de passe", "Password"),
        ("/nulle-part".to_owned(), 404, None, "existe pas", "no such page"),
        ("/suivi?id=%ff".to_owned(), 400, None, "", ""),
    ] {
        for (lang, words) in [("fr", fr), ("en", en)] {
            let answer = lab.get(&path, &[("accept-language", lang)]).await;
            assert_eq!((answer.status, answer.op()), (status, op), "{path}");
            assert!(answer.text().contains(words), "{path} in {lang}: {words}\n{}", answer.text());
            check_page(&answer, lang);
        }
    }
}

#[tokio::test]
async fn signing_in_leads_to_ones_own_page_and_out_again() {
    let lab = Lab::new(Service::Portal).await;
    let login = |user: &str, password: &str| {
        let (lab, body) = (lab.clone(), format!("user={user}&password={password}"));
        async move { lab.ask("POST", "/connexion", &[FORM], body).await }
    };
    for (user, password) in [("user0001", "wrong"), ("nobody", "password-0001"), ("", ""), ("%22%3E%3Cscript%3E", "x")]
    {
        let answer = login(user, password).await;
        assert_eq!((answer.status, answer.op()), (401, None));
        assert!(answer.text().contains("role=\"alert\""));
        check_page(&answer, "fr");
    }
    let away = lab.get("/compte", &[]).await;
    assert_eq!((away.status, away.op(), &away.headers["location"]), (303, None, &"/connexion".parse().unwrap()));

    let answer = login("user0001", "password-0001").await.right(303, "login");
    assert_eq!(answer.headers["location"], "/compte");
    let cookie = answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let account = lab.get("/compte", &[("cookie", &cookie)]).await.right(200, "account");
    check_page(&account, "fr");
    assert!(account.text().contains(&ids::parcel(1)) && account.text().contains(&ids::parcel(1001)));
    assert!(!account.text().contains(&ids::parcel(2)));
    // What the carrier's list has, without asking anybody; parcel 1 is on its way.
    let key = crate::estate_key::EstateKey::load_or_make(&lab.kit.store.dir).unwrap();
    let code = crate::delivery::code(&key, &ids::parcel(1));
    assert!(account.text().contains(&format!("<strong class=\"id\">{code}</strong>")), "{}", account.text());

    let cross = lab.ask("POST", "/deconnexion", &[("cookie", &cookie), ("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(cross.status, 403);
    lab.ask("POST", "/deconnexion", &[("cookie", &cookie)], "").await.right(303, "logout");
    assert_eq!(lab.get("/compte", &[("cookie", &cookie)]).await.status, 303);
    let cross = lab
        .ask("POST", "/connexion", &[FORM, ("sec-fetch-site", "cross-site")], "user=user0001&password=password-0001")
        .await;
    assert_eq!((cross.status, cross.headers.get("set-cookie")), (403, None));
    let wrong_shape = lab.ask("POST", "/connexion", &[FORM], "user=a").await;
    assert_eq!(wrong_shape.status, 422);
    check_page(&wrong_shape, "fr");
}

#[tokio::test]
async fn the_home_page_links_to_the_others_and_is_known_by_its_tag() {
    let lab = Lab::new(Service::Portal).await;
    for (host, link) in [
        ("portal.localhost:8443", "//bank.localhost:8443/"),
        ("portal.localhost", "//bank.localhost/"),
        ("portal.localhost:1\"><script>", "//bank.localhost/"),
    ] {
        let home = lab.get("/", &[("host", host)]).await.right(200, "home");
        assert!(home.text().contains(&format!("href=\"{link}\"")), "{host}");
    }
    for path in ["/", "/favicon.svg"] {
        let first = lab.get(path, &[]).await;
        let tag = first.headers["etag"].to_str().unwrap();
        let again = lab.get(path, &[("if-none-match", tag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(lab.get(path, &[("if-none-match", "\"other\"")]).await.status, 200);
    }
    let english = lab.get("/", &[("accept-language", "en")]).await;
    assert_ne!(english.headers["etag"], lab.get("/", &[]).await.headers["etag"]);
}

/// What the page of an item says.
async fn tracked(portal: &Lab, id: &str) -> Answer {
    portal.get(&format!("/suivi?id={id}"), &[("accept-language", "fr")]).await
}

#[tokio::test]
async fn tracking_is_live_and_the_last_known_when_the_parcel_service_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        listen: vec![(Service::Parcels, "127.0.0.1:0".parse().unwrap())],
        data: dir.path().join("data"),
        database: None,
        elsewhere: Vec::new(),
        message_centre: None,
        banks: Vec::new(),
        telephone: None,
        cards: None,
        capacity: CapacityModel::default(),
    };
    let parcels = Estate::start(&options).await.unwrap();
    let peers = Peers::new(parcels.addresses().iter().copied());
    let portal = Lab::with_peers(Service::Portal, peers.clone()).await;
    let (asked, never_asked, unknown) = (ids::parcel(0), ids::parcel(7), ids::parcel(2000));
    let scan = json!({
        "scan_id": "scan-live-1", "parcel": asked, "code": "MD2", "site": "Ouessant (île)", "event_at": "2026-01-05T10:00:00+01:00",
    });
    let json = [("content-type", "application/json")];
    let scanned = peers.call(Service::Parcels, "POST", "/scans", &json, scan.to_string()).await.unwrap();
    assert_eq!(scanned.status, 201);
    let answer = tracked(&portal, &asked).await.right(200, "track");
    check_page(&answer, "fr");
    for words in ["Ouessant", "Mis en distribution", "2026-01-05T09:00:00Z"] {
        assert!(answer.text().contains(words), "{words}: {}", answer.text());
    }
    assert!(!answer.text().contains("ne répond pas"));
    assert!(tracked(&portal, &unknown).await.text().contains("nous est inconnu"));
    assert_eq!(tracked(&portal, &unknown).await.status, 404);

    parcels.stop().await;
    // Told a moment ago: still fresh, and the parcel service is not asked.
    assert!(!tracked(&portal, &asked).await.right(200, "track").text().contains("ne répond pas"));
    let mut tx = portal.kit.store.begin().await.unwrap();
    sqlx::query("UPDATE asked SET at_ms = at_ms - 3600000").execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    for (id, words) in [(&asked, "Ouessant"), (&never_asked, "Strasbourg")] {
        let answer = tracked(&portal, id).await.right(200, "track");
        assert!(answer.text().contains(words) && answer.text().contains("ne répond pas"), "{}", answer.text());
    }
    assert_eq!(tracked(&portal, &unknown).await.status, 503, "it may well exist");
}
