//! Arbitrary bytes as the small things that are read from a request: trace context, request ids, reference codes,
//! Accept, Accept-Language, a target to be sent on to https, text for the log.
#![no_main]

use guichet_core::bounds::TRACESTATE_BYTES_MAX;
use guichet_proxy::config::ClientKind;
use guichet_proxy::pages::{Kind, Language, kind_for, language_for, redirect_to_https};
use guichet_proxy::record::trace::{parse_traceparent, tracestate_is_valid};
use guichet_proxy::record::{Escaped, Reference, RequestId, parse_reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    trace(bytes);
    for service in [ClientKind::Browser, ClientKind::Api] {
        let kind = kind_for(Some(bytes), service);
        assert!(Kind::ALL.contains(&kind));
    }
    assert!(["en", "fr"].contains(&language_for(Some(bytes)).tag()));
    assert_eq!(language_for(None), Language::English);
    let escaped = Escaped::word(bytes, 64).to_string();
    assert!(escaped.bytes().all(|b| b.is_ascii_graphic() && b != b'"') && escaped.len() <= 66, "{escaped}");
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    reference(text);
    redirect(text);
});

fn trace(bytes: &[u8]) {
    if let Some(parent) = parse_traceparent(bytes) {
        assert!(parent.trace_id != [0; 16] && parent.parent_id != [0; 8] && parent.flags <= 3);
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let text = format!("00-{}-{}-{:02x}", hex(&parent.trace_id), hex(&parent.parent_id), parent.flags);
        assert_eq!(parse_traceparent(text.as_bytes()), Some(parent));
    }
    if tracestate_is_valid(bytes) {
        assert!(bytes.len() <= TRACESTATE_BYTES_MAX && bytes.contains(&b'='));
        assert!(http::HeaderValue::from_bytes(bytes).is_ok(), "could not be passed on");
    }
    if let Some(id) = RequestId::from_trusted(bytes) {
        assert_eq!(RequestId::from_trusted(id.to_string().as_bytes()), Some(id));
    }
}

fn reference(text: &str) {
    let Ok(parsed) = parse_reference(text) else { return };
    let mut id = [0; 16];
    id[..4].copy_from_slice(&(parsed.id_part << 2).to_be_bytes());
    assert!(parsed.matches(RequestId(id)));
    assert_eq!(parse_reference(Reference::new(parsed.reason, RequestId(id)).as_str()), Ok(parsed));
}

/// A line for the host, a line for the target.
fn redirect(text: &str) {
    let Some((host, target)) = text.split_once('\n') else { return };
    let Some(answer) = redirect_to_https(host, 8443, target) else { return };
    let location = answer.headers()["location"].to_str().expect("the location is text");
    let rest = location.strip_prefix("https://").expect("the location is https");
    let authority = rest.split('/').next().unwrap_or_default();
    assert!(authority.ends_with(":8443") && !authority.contains('@'), "{location}");
    assert!(host.starts_with(authority.trim_end_matches(":8443")), "{host} became {location}");
}
