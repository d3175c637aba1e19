use bytes::Bytes;
use guichet_core::Reason;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body_util::BodyExt;
use serde_json::Value;

use super::*;
use crate::body::Body;
use crate::config::ClientKind;
use crate::record::{Reference, RequestId};

const ID: RequestId = RequestId(*b"\x3a\x07\x41\xb2............");

fn context<'a>(reason: Reason, accept: &'a str, language: &'a str, service_name: &'a str) -> RefusalContext<'a> {
    RefusalContext {
        accept: Some(accept.as_bytes()),
        accept_language: Some(language.as_bytes()),
        kind: ClientKind::Browser,
        reference: Reference::new(reason, ID),
        service_name,
        head: false,
        allow: None,
    }
}

fn text(response: Response<Body>) -> String {
    let collected = futures_util::FutureExt::now_or_never(response.into_body().collect()).unwrap();
    let bytes: Bytes = collected.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A small reader of HTML, strict enough for pages of ours: tags balance, attributes are quoted, text holds no bare
/// `<`, `>` or `&`. Returns the names of the elements with their attributes and text.
fn elements(page: &str) -> Vec<(String, String, String)> {
    let page = page.strip_prefix("<!DOCTYPE html>\n").expect("a doctype");
    let (mut all, mut open) = (Vec::<(String, String, String)>::new(), Vec::<usize>::new());
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        let end = tag.find('>').expect("tags end");
        let inner = &tag[1..end];
        if let Some(last) = open.last() {
            all[*last].2.push_str(before);
        }
        rest = &tag[end + 1..];
        if let Some(name) = inner.strip_prefix('/') {
            let closed = open.pop().expect("a tag to close");
            assert_eq!(all[closed].0, name, "tags nest");
            continue;
        }
        let (name, attributes) = inner.split_once(' ').unwrap_or((inner, ""));
        assert!(attributes.matches('"').count().is_multiple_of(2), "{inner}");
        all.push((name.to_owned(), attributes.to_owned(), String::new()));
        if !matches!(name, "meta" | "link") {
            open.push(all.len() - 1);
        }
    }
    assert!(open.is_empty(), "open at the end: {open:?}");
    for (name, _, text) in all.iter().filter(|(name, ..)| name != "style") {
        let plain = text
            .replace("&amp;", "")
            .replace("&lt;", "")
            .replace("&gt;", "")
            .replace("&quot;", "")
            .replace("&#39;", "");
        assert!(!plain.contains(['&', '>']), "{name}: {text}");
    }
    all
}

#[test]
fn every_page_is_whole_and_accessible() {
    for reason in Reason::ALL {
        for language in ["en", "fr"] {
            let response = refusal(*reason, &context(*reason, "text/html", language, "portal"));
            let status = response.status().as_u16();
            assert!(reason.status() == 0 || status == reason.status(), "{reason:?}");
            assert!(status >= 400, "{reason:?}");
            check_headers(*reason, response.headers(), "text/html; charset=utf-8", language);
            let page = text(response);
            let all = elements(&page);
            let of = |name: &str| all.iter().filter(|(n, ..)| n == name).collect::<Vec<_>>();
            let visitor = reason.visitor_text();
            let title = if language == "en" { visitor.title_en } else { visitor.title_fr };
            assert_eq!(of("html")[0].1, format!("lang=\"{language}\""));
            for once in ["title", "h1", "header", "main", "footer", "style"] {
                assert_eq!(of(once).len(), 1, "{reason:?} {language}: {once}");
            }
            assert_eq!(of("h1")[0].2.replace("&#39;", "'"), title);
            assert_eq!(of("title")[0].2, of("h1")[0].2);
            assert!(!of("li").is_empty(), "{reason:?}: nothing to do for the visitor");
            assert_eq!(of("strong")[0].2, Reference::new(*reason, ID).as_str());
            assert!(page.contains("width=device-width"), "it must fit a telephone");
            assert_eq!(
                of("a").len(),
                usize::from(reason.retry_after_s().is_some()),
                "{reason:?}: honest about trying again"
            );
            for forbidden in [
                "://",
                "<script",
                "src=",
                "@import",
                "url(",
                "http-equiv",
                " on",
                "{s}",
                reason.label(),
                reason.operator_text(),
            ] {
                let allowed = forbidden == " on" && !all.iter().any(|(_, attributes, _)| attributes.starts_with("on"));
                assert!(allowed || !page.contains(forbidden), "{reason:?} {language}: {forbidden}");
            }
        }
    }
}

#[test]
fn every_problem_document_is_rfc_9457() {
    for reason in Reason::ALL {
        for language in ["en", "fr"] {
            let response = refusal(*reason, &context(*reason, "application/json", language, "portal"));
            let status = response.status().as_u16();
            check_headers(*reason, response.headers(), "application/problem+json", language);
            let document: Value = serde_json::from_str(&text(response)).unwrap();
            assert_eq!(document["status"], status);
            let visitor = reason.visitor_text();
            let wanted = if language == "en" { visitor.text_en } else { visitor.text_fr };
            assert_eq!(document["detail"], wanted);
            assert!(document["type"].as_str().unwrap().ends_with(reason.problem_type()));
            document["type"].as_str().unwrap().parse::<http::Uri>().map_or_else(
                |_| assert!(document["type"].as_str().unwrap().starts_with("tag:")),
                |uri| assert_eq!(uri.scheme_str(), Some("https")),
            );
            let instance = document["instance"].as_str().unwrap();
            assert!(instance.ends_with(Reference::new(*reason, ID).as_str()), "{instance}");
            assert_eq!(document.get("retry_after_s").and_then(Value::as_u64), reason.retry_after_s().map(u64::from));
            for secret in [reason.label(), reason.operator_text()] {
                assert!(!document.to_string().contains(&format!("\"{secret}\"")), "{reason:?}: {secret}");
            }
        }
    }
}

fn check_headers(reason: Reason, headers: &HeaderMap, content_type: &str, language: &str) {
    let check = |name: &str, wanted: &str| assert_eq!(headers[name], wanted, "{reason:?}: {name}");
    check("content-type", content_type);
    check("content-language", language);
    check("cache-control", "no-store");
    check("vary", "accept, accept-language");
    check("x-content-type-options", "nosniff");
    check("referrer-policy", "no-referrer");
    let retry = headers.get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(retry, reason.retry_after_s().map(|seconds| seconds.to_string()), "{reason:?}");
    assert!(headers["proxy-status"].to_str().unwrap().starts_with("guichet; error="), "{reason:?}");
    assert_eq!(headers.contains_key(header::CONTENT_SECURITY_POLICY), content_type.starts_with("text/html"));
    assert_eq!(headers.contains_key(header::ALLOW), reason == Reason::MethodNotAllowed, "{reason:?}");
}

#[test]
fn the_policy_fits_the_style() {
    let response = refusal(Reason::Overload, &context(Reason::Overload, "text/html", "en", ""));
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    let page = text(response);
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash);
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!page.contains("style=\""), "an attribute would need a policy of its own");
}

#[test]
fn the_wait_is_told_in_words_that_fit_the_number() {
    let check = |reason, language, wanted: &str| {
        let page = text(refusal(reason, &context(reason, "text/html", language, "portal")));
        assert!(page.contains(wanted), "{reason:?} {language}: {page}");
    };
    check(Reason::TooManyStreams, "en", "Wait about 1\u{a0}second, then");
    check(Reason::TooManyStreams, "fr", "Patientez environ 1\u{a0}seconde, puis");
    check(Reason::Suspect, "en", "Wait about 30\u{a0}seconds, then");
    check(Reason::UpstreamFirstByte, "fr", "Patientez environ 10\u{a0}secondes, puis");
}

#[test]
fn nothing_of_a_service_name_gets_out_of_its_place() {
    let evil = "<script>alert('1')</script>\"&\r\n";
    let page = text(refusal(Reason::Overload, &context(Reason::Overload, "text/html", "en", evil)));
    elements(&page);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    let long = "é".repeat(10_000);
    let page = text(refusal(Reason::Overload, &context(Reason::Overload, "text/html", "en", &long)));
    assert!(page.matches('é').count() < 64);
}

#[test]
fn a_head_has_the_headers_of_a_get_and_no_body() {
    let mut head = context(Reason::UnknownHost, "text/html", "fr", "portail é");
    let get = text(refusal(Reason::UnknownHost, &head));
    head.head = true;
    let response = refusal(Reason::UnknownHost, &head);
    assert_eq!(response.headers()[header::CONTENT_LENGTH], get.len().to_string().as_str());
    assert_eq!(text(response), "");
}

#[test]
fn the_context_is_read_from_a_request() {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static("fr"));
    let reference = Reference::new(Reason::MethodNotAllowed, ID);
    let mut context = RefusalContext::of_request(&Method::HEAD, &headers, ClientKind::Browser, reference, "portal");
    assert!(context.head);
    let allow = HeaderValue::from_static("GET, HEAD");
    context.allow = Some(&allow);
    context.head = false;
    let response = refusal(Reason::MethodNotAllowed, &context);
    assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    assert_eq!(response.headers()[header::CONTENT_LANGUAGE], "fr");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
}

#[test]
fn rules_of_admission_look_alike_to_a_proxy_before_us() {
    let values: std::collections::HashSet<_> =
        Reason::ALL.iter().filter(|reason| reason.code() < 200).map(|reason| proxy_status(*reason)).collect();
    assert_eq!(values.len(), 1);
}

/// Relative luminance and contrast as WCAG 2.2 defines them.
fn contrast(a: &str, b: &str) -> f64 {
    let luminance = |colour: &str| {
        let digits = colour.strip_prefix('#').unwrap();
        let full: String =
            if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.into() };
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&full[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[test]
fn colours_can_be_read_in_light_and_dark() {
    let style = include_str!("style.css");
    let (mut schemes, mut checked) = (style.split(":root{"), 0);
    let _before = schemes.next();
    for scheme in schemes {
        let scheme = scheme.split_once('}').unwrap().0;
        let colour = |name: &str| {
            let pair = scheme.split(';').find_map(|pair| pair.strip_prefix(&format!("--{name}:")));
            pair.unwrap_or_else(|| panic!("no {name} in {scheme}"))
        };
        for (text, ground) in [("ink", "card"), ("soft", "card"), ("ink", "paper"), ("onmark", "mark")] {
            let found = contrast(colour(text), colour(ground));
            assert!(found >= 4.5, "{text} on {ground}: {found:.2}");
            checked += 1;
        }
    }
    assert_eq!(checked, 8);
    assert!((contrast("#000", "#ffffff") - 21.0).abs() < 1e-9);
}

/// The golden pages; after a change that is meant, write them anew with GUICHET_GOLDEN=write and read the difference.
#[test]
fn golden_pages() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages/golden");
    for (language, accept, name) in [
        ("en", "text/html", "busy.en.html"),
        ("fr", "text/html", "busy.fr.html"),
        ("en", "application/json", "busy.en.json"),
        ("fr", "application/json", "busy.fr.json"),
    ] {
        let reason = Reason::BelowThreshold;
        let page = text(refusal(reason, &context(reason, accept, language, "portal")));
        let path = folder.join(name);
        if std::env::var_os("GUICHET_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(page, golden, "{name} differs; see this test's comment");
    }
}

/// Not an assertion on speed: prints what a refusal costs. `cargo test --release -p guichet-proxy refusal_cost --
/// --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a test"]
fn refusal_cost() {
    warm();
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
    for accept in [browser, "application/json"] {
        let context = context(Reason::FairShare, accept, "fr-FR,fr;q=0.9,en-US;q=0.8,en;q=0.7", "portal");
        let rounds = 200_000_u32;
        let began = std::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(refusal(Reason::FairShare, std::hint::black_box(&context)));
        }
        println!("{accept}: {:?} a refusal", began.elapsed() / rounds);
    }
}
