//! Partners: who they are, how they prove it, and where it counts.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::checked::{Credential, Partner};
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::super::suggest;
use super::super::tree::join;
use super::{Checker, unique_names, values};

pub(super) fn partners(raw: &raw::Config, c: &mut Checker<'_>) -> Option<Vec<Arc<Partner>>> {
    unique_names("partner", raw.partner.iter().map(|p| p.name.as_str()), c);
    let mut owners: HashMap<String, String> = HashMap::new();
    let mut partners = Vec::new();
    for (i, one) in raw.partner.iter().enumerate() {
        let at = format!("partner[{i}]");
        values::name(On::Value, &format!("{at}.name"), &one.name, c);
        let credentials = credentials(&at, one, &mut owners, c);
        certificates_are_asked_for(&at, one, raw, c);
        partners.push(Arc::new(Partner { name: one.name.clone(), credentials, services: services(&at, one, raw, c) }));
    }
    Some(partners)
}

fn credentials(
    at: &str,
    raw: &raw::Partner,
    owners: &mut HashMap<String, String>,
    c: &mut Checker<'_>,
) -> Vec<Credential> {
    let mut given = Vec::new();
    for (i, text) in raw.certificate_sha256.iter().enumerate() {
        let key = format!("{at}.certificate_sha256[{i}]");
        let plain = text.replace(':', "");
        let mend = "write what `openssl x509 -fingerprint -sha256` prints";
        given.push((hash(&key, &plain, mend, c).map(Credential::CertificateSha256), key));
    }
    if !raw.subject.is_empty() {
        let key = format!("{at}.subject");
        let name = raw.subject.strip_prefix("CN=").unwrap_or(&raw.subject).trim();
        let flawed = name.is_empty() || name.contains(['=', ',']);
        if flawed {
            let cause = format!("{} is no single common name", quoted(&raw.subject));
            c.error(&key, cause, "write the common name alone: subject = \"CN=cash-machines\"");
        }
        given.push(((!flawed).then(|| Credential::CommonName(name.to_owned())), key));
    }
    if !raw.key_sha256.is_empty() {
        let key = format!("{at}.key_sha256");
        let mend = "write what `printf %s KEY | sha256sum` prints";
        given.push((hash(&key, &raw.key_sha256, mend, c).map(Credential::KeySha256), key));
    }
    let said = ["certificate_sha256", "subject", "key_sha256"].map(|k| c.found.is_given(&format!("{at}.{k}")));
    if given.is_empty() && (!said.contains(&true) || raw.certificate_sha256.is_empty()) {
        let cause = format!("the partner {} cannot prove who it is", quoted(&raw.name));
        c.found.error(On::Key, at, cause, "add certificate_sha256, subject or key_sha256");
    }
    for (credential, key) in &given {
        let Some(credential) = credential else { continue };
        if let Some(first) = owners.insert(format!("{credential:?}"), key.clone()) {
            let cause = "two partners have the same credential".to_owned();
            c.found.error_with(On::Value, key, &first, cause, "leave it to one of them");
        }
    }
    given.into_iter().filter_map(|(credential, _)| credential).collect()
}

fn hash(key: &str, text: &str, mend: &str, c: &mut Checker<'_>) -> Option<[u8; 32]> {
    let bytes = values::hex_32(text);
    if bytes.is_none() {
        let cause = format!("a SHA-256 has 64 hexadecimal digits, and this is not one ({} characters)", text.len());
        c.error(key, cause, mend);
    }
    bytes
}

/// A certificate counts only where a listener asks for one.
fn certificates_are_asked_for(at: &str, partner: &raw::Partner, raw: &raw::Config, c: &mut Checker<'_>) {
    let asked = raw
        .listener
        .iter()
        .enumerate()
        .any(|(i, l)| !l.partner_ca.is_empty() || c.found.is_given(&format!("listener[{i}].partner_ca")));
    if asked {
        return;
    }
    let key = if !partner.certificate_sha256.is_empty() {
        "certificate_sha256"
    } else if !partner.subject.is_empty() {
        "subject"
    } else {
        return;
    };
    let cause = "no listener asks for client certificates";
    c.error(&format!("{at}.{key}"), cause, "set partner_ca = \"\u{2026}\" on an https listener");
}

fn services(at: &str, partner: &raw::Partner, raw: &raw::Config, c: &mut Checker<'_>) -> Vec<usize> {
    let mut services = Vec::new();
    for (i, name) in partner.services.iter().enumerate() {
        match raw.service.get_index_of(name) {
            Some(position) => services.push(position),
            None if c.found.is_given(&join("service", name)) => {}
            None => {
                let names: Vec<&str> = raw.service.keys().map(String::as_str).collect();
                let cause = format!("there is no service {}", quoted(name));
                c.error(&format!("{at}.services[{i}]"), cause, suggest::mend(name, &names, "services declared"));
            }
        }
    }
    services
}
