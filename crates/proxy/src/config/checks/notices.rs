//! The status page.

use std::sync::Arc;
use std::time::Duration;

use guichet_core::bounds;
use guichet_notices::publish::Target;
use guichet_notices::publish::bucket::Bucket;
use guichet_notices::webhook::Webhook;
use guichet_notices::{Component, Language, Site, Words};

use super::super::checked::Service;
use super::super::contract::{self, Channel};
use super::super::findings::On;
use super::super::notices::{Notices, NoticesPlace};
use super::super::problem::quoted;
use super::super::raw;
use super::super::suggest;
use super::contract::{url_host, words_of};
use super::node::overlap;
use super::{Checker, values};

/// Bytes of the shortest secret of a webhook.
const SECRET_BYTES_MIN: usize = 16;

/// The status page, if there is one.
pub(super) fn notices(
    raw: &raw::Config,
    services: Option<&[Arc<Service>]>,
    channels: &[Arc<Channel>],
    c: &mut Checker<'_>,
) -> Option<Notices> {
    let given = &raw.notices;
    if given.directory.is_empty() {
        if !given.listen.is_empty() || !given.folder.is_empty() || !given.command.is_empty() || given.bucket.is_some() {
            let mend = "write `directory = \"/var/lib/guichet/notices\"`: what was said must outlive a restart";
            c.found.error(On::Key, "notices", "the status page has no 'directory' for its journal", mend);
        }
        return None;
    }
    let listen = match given.listen.as_str() {
        "" => None,
        listen => values::address("notices.listen", listen, c),
    };
    apart(raw, c);
    let targets = targets(given, c);
    let webhooks = webhooks(given, c);
    if listen.is_none() && targets.is_empty() && given.listen.is_empty() {
        let mend = "set 'listen', 'folder', 'command' or [notices.bucket]";
        c.found.warn(On::Key, "notices", "the status page is kept, and shown nowhere", mend);
    }
    if u64::from(given.valid_s) <= given.sign_of_life_s {
        let cause = "each page is old before the next one is drawn: it would always say that its source is silent";
        c.error("notices.valid_s", cause, format!("write at least {}", 2 * given.sign_of_life_s));
    }
    let directory = c.path(&given.directory);
    let key = if given.key_file.is_empty() { directory.join("notices.key") } else { c.path(&given.key_file) };
    Some(Notices {
        site: site(given, services.unwrap_or_default(), channels, c),
        place: NoticesPlace {
            directory,
            key,
            listen,
            targets,
            webhooks,
            sign_of_life: Duration::from_secs(given.sign_of_life_s),
            settle_s: given.settle_s,
        },
    })
}

/// The page must not share a port with what it outlives.
fn apart(raw: &raw::Config, c: &mut Checker<'_>) {
    let Ok(listen) = raw.notices.listen.parse() else { return };
    let others = raw.listener.iter().enumerate().map(|(i, l)| (format!("listener[{i}].address"), &l.address));
    for (other, address) in others.chain([("admin.listen".to_owned(), &raw.admin.listen)]) {
        if address.parse().is_ok_and(|address| overlap(listen, address)) {
            let cause = "the status page and another listener are on the same port".to_owned();
            c.found.error_with(On::Value, "notices.listen", &other, cause, "give one of them another port");
        }
    }
}

fn both(words: &contract::Words) -> Words {
    Words::new(words.fr.clone(), words.en.clone())
}

fn optional(words: Option<&contract::Words>) -> Words {
    words.map(both).unwrap_or_default()
}

fn site(given: &raw::Notices, services: &[Arc<Service>], channels: &[Arc<Channel>], c: &mut Checker<'_>) -> Site {
    let title = given.title.as_ref().map_or_else(
        || Words::new("État des services", "State of the services"),
        |title| both(&words_of("notices.title", title, c)),
    );
    if !given.url.is_empty() && (url_host(&given.url).is_none() || given.url.ends_with('/')) {
        let cause = format!("{} is not where a page can be", quoted(&given.url));
        c.error("notices.url", cause, "write it whole and without a slash at the end: \"https://status.example.org\"");
    }
    let plain = |ch: char| !ch.is_whitespace() && !ch.is_control() && !matches!(ch, ',' | '<' | '&');
    if given.sender.is_empty() || !given.sender.chars().all(plain) {
        let cause = format!("{} cannot be the sender of an alert", quoted(&given.sender));
        c.error("notices.sender", cause, "write an address such as \"status@example.org\"");
    }
    let area = given.area.as_ref().map_or_else(|| title.clone(), |area| both(&words_of("notices.area", area, c)));
    let mut languages: Vec<Language> = Vec::new();
    for (i, language) in given.languages.iter().enumerate() {
        let language = match language {
            raw::NoticeLanguage::Fr => Language::Fr,
            raw::NoticeLanguage::En => Language::En,
        };
        if languages.contains(&language) {
            c.error(&format!("notices.languages[{i}]"), "the language is there twice", "take one of them out");
        }
        languages.push(language);
    }
    Site {
        title,
        url: given.url.clone(),
        sender: given.sender.clone(),
        area,
        languages,
        components: components(given, services, c),
        channels: channels.iter().map(|channel| shown(channel)).collect(),
        valid_s: given.valid_s,
    }
}

fn components(given: &raw::Notices, services: &[Arc<Service>], c: &mut Checker<'_>) -> Vec<Component> {
    if given.components.is_empty() {
        let contracted = services.iter().filter(|service| service.contract.is_some());
        return contracted.take(guichet_notices::bounds::COMPONENTS_MAX).map(|service| component(service)).collect();
    }
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    let mut found = Vec::new();
    for (i, name) in given.components.iter().enumerate() {
        match services.iter().find(|service| service.name == *name) {
            Some(service) => found.push(component(service)),
            // Where a service is wrong itself, all of them are missing here, and that was told.
            None if names.is_empty() => {}
            None => {
                let mend = suggest::mend(name, &names, "services");
                c.error(&format!("notices.components[{i}]"), format!("there is no service {}", quoted(name)), mend);
            }
        }
    }
    found
}

fn component(service: &Service) -> Component {
    let Some(contract) = &service.contract else {
        let name = service.name.clone();
        return Component { key: name.clone(), name: Words::new(name.clone(), name), ways: Vec::new() };
    };
    let ways = contract.ways.iter().map(|way| way.name.clone()).collect();
    Component { key: service.name.clone(), name: both(&contract.title), ways }
}

fn shown(channel: &Channel) -> guichet_notices::Channel {
    guichet_notices::Channel {
        key: channel.name.clone(),
        name: both(&channel.title),
        hours: optional(channel.hours.as_ref()),
        address: optional(channel.address.as_ref()),
        telephone: channel.telephone.clone().unwrap_or_default(),
        url: channel.url.clone().unwrap_or_default(),
        note: optional(channel.note.as_ref()),
    }
}

fn targets(given: &raw::Notices, c: &mut Checker<'_>) -> Vec<Target> {
    let mut targets = Vec::new();
    if !given.folder.is_empty() {
        targets.push(Target::Folder(c.path(given.folder.trim_end_matches('/'))));
    }
    if let Some(bucket) = &given.bucket {
        if url_host(&bucket.endpoint).is_none() {
            let cause = format!("{} is no store's address", quoted(&bucket.endpoint));
            c.error("notices.bucket.endpoint", cause, "write it whole: \"https://s3.example.org\"");
        }
        if let Some(secret) = secret("notices.bucket.secret_file", &bucket.secret_file, c) {
            targets.push(Target::Bucket(Bucket {
                endpoint: bucket.endpoint.trim_end_matches('/').to_owned(),
                region: bucket.region.clone(),
                bucket: bucket.bucket.clone(),
                prefix: bucket.prefix.trim_matches('/').to_owned(),
                key_id: bucket.key_id.clone(),
                secret,
            }));
        }
    }
    if !given.command.is_empty() {
        targets.push(Target::Command(given.command.clone()));
    }
    targets
}

fn webhooks(given: &raw::Notices, c: &mut Checker<'_>) -> Vec<Webhook> {
    let mut webhooks = Vec::new();
    for (i, hook) in given.webhook.iter().enumerate() {
        let at = format!("notices.webhook[{i}]");
        if url_host(&hook.url).is_none() && !hook.url.is_empty() {
            let cause = format!("{} is no address that can be posted to", quoted(&hook.url));
            c.error(&format!("{at}.url"), cause, "write it whole: \"https://example.org/hook\"");
        }
        let key = format!("{at}.secret_file");
        let Some(secret) = secret(&key, &hook.secret_file, c) else { continue };
        if secret.len() < SECRET_BYTES_MIN {
            let mend = "openssl rand -hex 32 > FILE && chmod 600 FILE";
            c.error(&key, format!("the secret has fewer than {SECRET_BYTES_MIN} bytes"), mend);
        }
        webhooks.push(Webhook { url: hook.url.clone(), secret: secret.into_bytes() });
    }
    webhooks
}

/// What stands in the file of a secret.
fn secret(key: &str, file: &str, c: &mut Checker<'_>) -> Option<String> {
    if file.is_empty() {
        // That it is missing was told already.
        return None;
    }
    let path = c.path(file);
    match c.world.read(&path, bounds::PEM_BYTES_MAX) {
        Ok(bytes) => {
            if c.world.readable_by_others(&path) == Some(true) {
                c.warn(key, "others than its owner can read the secret", format!("chmod 600 {}", path.display()));
            }
            Some(String::from_utf8_lossy(&bytes).trim().to_owned())
        }
        Err(error) => {
            c.error(key, format!("cannot read {}: {error}", quoted(file)), "name a file that holds the secret");
            None
        }
    }
}
