//! Contracts: channels, what a service needs, what is kept of its answers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use guichet_core::{Pressure, bounds};
use http::HeaderName;

use super::super::checked::HostPattern;
use super::super::contract::{Cache, Channel, Contract, Fallback, Need, RouteCache, SwitchOff, Words};
use super::super::findings::On;
use super::super::problem::quoted;
use super::super::raw;
use super::super::suggest;
use super::super::tree::join;
use super::{Checker, values};

/// The channels, in the order of the files.
pub(super) fn channels(raw: &raw::Config, c: &mut Checker<'_>) -> Vec<Arc<Channel>> {
    raw.channel
        .iter()
        .map(|(name, one)| {
            let at = join("channel", name);
            values::name(On::Key, &at, name, c);
            Arc::new(channel(&at, name, one, c))
        })
        .collect()
}

fn channel(at: &str, name: &str, raw: &raw::Channel, c: &mut Checker<'_>) -> Channel {
    let optional = |key: &str, words: &Option<raw::Words>, c: &mut Checker<'_>| {
        words.as_ref().map(|given| words_of(&format!("{at}.{key}"), given, c))
    };
    let telephone = raw.telephone.trim();
    if !telephone.is_empty() && telephone_flawed(telephone) {
        let cause = format!("{} is no telephone number", quoted(telephone));
        c.error(
            &format!("{at}.telephone"),
            cause,
            "write digits and spaces, such as \"+33 1 23 45 67 89\" or \"3639\"",
        );
    }
    if !raw.url.is_empty() && url_host(&raw.url).is_none() {
        let cause = format!("{} is no address of a page", quoted(&raw.url));
        c.error(&format!("{at}.url"), cause, "write it whole: \"https://example.org/counters\"");
    }
    Channel {
        name: name.to_owned(),
        title: words_of(&format!("{at}.name"), &raw.name, c),
        hours: optional("hours", &raw.hours, c),
        address: optional("address", &raw.address, c),
        telephone: (!telephone.is_empty()).then(|| telephone.to_owned()),
        url: (!raw.url.is_empty()).then(|| raw.url.clone()),
        note: optional("note", &raw.note, c),
    }
}

/// The contract of one service. Names of services are checked here, circles in [`circles`].
pub(super) fn contract(
    at: &str,
    hosts: &[HostPattern],
    raw: &raw::Contract,
    all: &raw::Config,
    channels: &[Arc<Channel>],
    c: &mut Checker<'_>,
) -> Contract {
    let mut ways: Vec<Arc<Channel>> = Vec::new();
    for (i, name) in raw.ways.iter().enumerate() {
        let key = format!("{at}.ways[{i}]");
        let Some(channel) = channel_of(&key, name, channels, c) else { continue };
        if ways.iter().any(|known| known.name == channel.name) {
            c.error(&key, format!("the way {} is there twice", quoted(name)), "take one of them out");
        } else {
            ways.push(channel);
        }
    }
    Contract {
        title: words_of(&format!("{at}.name"), &raw.name, c),
        ways,
        needs: needs(at, raw, all, channels, c),
        fallback: fallback(&format!("{at}.fallback"), &raw.fallback, hosts, c),
        stale_if_error: Duration::from_secs(raw.stale.if_error_s),
        failures: raw.stale.statuses.clone(),
        stale_while_revalidate: Duration::from_secs(raw.stale.while_revalidate_s),
        read_only: raw.read_only,
        patience: Duration::from_millis(raw.patience_ms),
        down_after: Duration::from_secs(raw.down_after_s),
        up_after: Duration::from_secs(raw.up_after_s),
    }
}

fn channel_of(key: &str, name: &str, channels: &[Arc<Channel>], c: &mut Checker<'_>) -> Option<Arc<Channel>> {
    let found = channels.iter().find(|channel| channel.name == name).cloned();
    if found.is_none() && !c.found.is_given(&join("channel", name)) {
        let names: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
        let mend = suggest::mend(name, &names, "channels declared");
        c.error(key, format!("there is no channel {}", quoted(name)), mend);
    }
    found
}

fn needs(
    at: &str,
    raw: &raw::Contract,
    all: &raw::Config,
    channels: &[Arc<Channel>],
    c: &mut Checker<'_>,
) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for (i, need) in raw.needs.iter().enumerate() {
        let key = format!("{at}.needs[{i}]");
        let (service, instead, service_key) = match need {
            raw::Need::Service(service) => (service, "", key.clone()),
            raw::Need::WithInstead(need) => (&need.service, need.instead.as_str(), format!("{key}.service")),
        };
        if !all.service.contains_key(service) && !c.found.is_given(&join("service", service)) {
            let names: Vec<&str> = all.service.keys().map(String::as_str).collect();
            let mend = suggest::mend(service, &names, "services declared");
            c.error(&service_key, format!("there is no service {}", quoted(service)), mend);
            continue;
        }
        if needs.iter().any(|known| known.service == *service) {
            let cause = format!("the service {} is needed already", quoted(service));
            c.error(&service_key, cause, "take one of them out");
            continue;
        }
        let instead = (!instead.is_empty())
            .then(|| channel_of(&format!("{key}.instead"), instead, channels, c))
            .flatten()
            .map(|channel| channel.name.clone());
        needs.push(Need { service: service.clone(), instead });
    }
    needs
}

/// Tells services that need themselves, by however long a way. Each circle is told once, where it closes.
pub(super) fn circles(raw: &raw::Config, c: &mut Checker<'_>) {
    let mut done: HashSet<&str> = HashSet::new();
    for start in raw.service.keys() {
        // A walk with its own stack: the way to here, and which need of each is next.
        let mut way: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, next)) = way.last_mut() {
            let name = *name;
            let contract = raw.service.get(name).and_then(|service| service.contract.as_ref());
            let Some(need) = contract.and_then(|contract| contract.needs.get(*next)) else {
                done.insert(name);
                way.pop();
                continue;
            };
            let (at, needed) = (*next, need.service());
            *next += 1;
            if let Some(position) = way.iter().position(|(known, _)| *known == needed) {
                let mut names: Vec<&str> = way[position..].iter().map(|(name, _)| *name).collect();
                names.push(needed);
                let cause = format!("these services need each other in a circle: {}", names.join(" -> "));
                let key = format!("{}.contract.needs[{at}]", join("service", name));
                c.error(&key, cause, "take one of these needs out: name only what does not work without the other");
            } else if !done.contains(needed)
                && let Some((known, _)) = raw.service.get_key_value(needed)
            {
                way.push((known, 0));
            }
        }
    }
}

fn fallback(key: &str, given: &str, hosts: &[HostPattern], c: &mut Checker<'_>) -> Fallback {
    if given == "page" {
        return Fallback::Page;
    }
    if given.contains("://") {
        match url_host(given) {
            None => {
                let cause = format!("{} is no address to send people to", quoted(given));
                c.error(key, cause, "write it whole: \"https://status.example.org/\"");
            }
            Some(host) if hosts.iter().any(|pattern| covers(pattern, &host)) => {
                let cause = format!("{} is this service itself: people would be sent round in a circle", quoted(given));
                c.error(key, cause, "name an address that another way in answers");
            }
            Some(_) => {}
        }
        return Fallback::Redirect(given.to_owned());
    }
    let path = c.path(given);
    let bytes = match c.world.read(&path, bounds::FALLBACK_FILE_BYTES_MAX) {
        Ok(bytes) if bytes.len() > bounds::FALLBACK_FILE_BYTES_MAX => {
            let cause = format!("{} is larger than a fallback page may be", quoted(given));
            c.error(key, cause, format!("keep it within {} bytes", bounds::FALLBACK_FILE_BYTES_MAX));
            Vec::new()
        }
        Ok(bytes) => {
            if std::str::from_utf8(&bytes).is_err() {
                c.error(key, format!("{} is not in UTF-8", quoted(given)), "save the page in UTF-8");
            }
            bytes
        }
        Err(error) => {
            let cause = format!("cannot read {}: {error}", quoted(given));
            let mend =
                format!("write \"page\", an address with https://, or a file that is there ({})", path.display());
            c.error(key, cause, mend);
            Vec::new()
        }
    };
    Fallback::File(path, bytes.into())
}

fn covers(pattern: &HostPattern, host: &str) -> bool {
    match pattern {
        HostPattern::Exact(name) => name == host,
        HostPattern::Suffix(suffix) => host.ends_with(suffix.as_str()),
    }
}

/// The host of an `http` or `https` address, in lower case, if it is one.
pub(super) fn url_host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || url.len() > bounds::WORDS_BYTES_MAX {
        return None;
    }
    let host = uri.host()?;
    (values::is_host_name(host) || host.starts_with('[')).then(|| host.to_ascii_lowercase())
}

fn telephone_flawed(number: &str) -> bool {
    let good = |ch: char| ch.is_ascii_digit() || matches!(ch, '+' | ' ' | '-' | '.' | '(' | ')');
    number.len() > 32 || !number.chars().all(good) || !number.chars().any(|ch| ch.is_ascii_digit())
}

pub(super) fn words_of(at: &str, raw: &raw::Words, c: &mut Checker<'_>) -> Words {
    for (key, text) in [("en", &raw.en), ("fr", &raw.fr)] {
        let key = format!("{at}.{key}");
        if text.trim().is_empty() {
            // What was not given, or not as text, was told already.
            if c.found.is_given(&key) {
                c.error(&key, "people would read nothing here", "write the text, in this language");
            }
        } else if text.len() > bounds::WORDS_BYTES_MAX {
            let mend = format!("keep it within {} bytes", bounds::WORDS_BYTES_MAX);
            c.error(&key, "the text is too long for a page of ways", mend);
        } else if text.chars().any(char::is_control) {
            c.error(&key, "the text has control characters", "write it on one line");
        }
    }
    Words { en: raw.en.trim().to_owned(), fr: raw.fr.trim().to_owned() }
}

/// Which answers of a route are kept.
pub(super) fn route_cache(at: &str, raw: &raw::RouteCache, c: &mut Checker<'_>) -> RouteCache {
    let mut query: Vec<String> = Vec::new();
    for (i, name) in raw.query.iter().enumerate() {
        let key = format!("{at}.query[{i}]");
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~[]".contains(&b);
        if name.is_empty() || name.len() > bounds::NAME_BYTES_MAX || !name.bytes().all(plain) {
            let cause = format!("{} is no name of a query parameter", quoted(name));
            c.error(&key, cause, "write the name alone, as it comes in addresses: \"page\"");
        } else if query.contains(name) {
            c.error(&key, format!("{} is there twice", quoted(name)), "take one of them out");
        } else {
            query.push(name.clone());
        }
    }
    query.sort();
    let mut vary = Vec::new();
    for (i, name) in raw.vary.iter().enumerate() {
        let key = format!("{at}.vary[{i}]");
        match name.parse::<HeaderName>() {
            Ok(name) if name == http::header::COOKIE || name == http::header::AUTHORIZATION => {
                let cause = format!("answers that vary by {} are for one person each", quoted(name.as_str()));
                c.error(&key, cause, "take it out: such answers are never kept");
            }
            Ok(name) => vary.push(name),
            Err(_) => {
                c.error(&key, format!("{} is no header name", quoted(name)), "write one such as \"accept-language\"")
            }
        }
    }
    RouteCache { query, ttl: raw.ttl_s.map(Duration::from_secs), vary }
}

/// A costly feature that can be switched off.
pub(super) fn switch_off(at: &str, raw: &raw::SwitchOff, c: &mut Checker<'_>) -> SwitchOff {
    SwitchOff {
        at_pressure: raw.at_pressure.map(|name| match name {
            raw::PressureName::Elevated => Pressure::Elevated,
            raw::PressureName::Pressed => Pressure::Pressed,
        }),
        title: raw.name.as_ref().map(|words| words_of(&format!("{at}.name"), words, c)),
    }
}

/// The store of answers.
pub(super) fn cache(raw: &raw::Cache, c: &mut Checker<'_>) -> Cache {
    if raw.bytes_max > 0 && raw.answer_bytes_max as u64 > raw.bytes_max {
        let cause = format!("one answer may have more bytes than the whole store ({})", raw.bytes_max);
        let key = if c.found.is_given("cache.answer_bytes_max") { "answer_bytes_max" } else { "bytes_max" };
        c.error(&format!("cache.{key}"), cause, "lower 'answer_bytes_max', or raise 'bytes_max'");
    }
    Cache {
        bytes_max: raw.bytes_max,
        entries_max: raw.entries_max,
        answer_bytes_max: raw.answer_bytes_max,
        directory: (!raw.directory.is_empty()).then(|| c.path(&raw.directory)),
        directory_bytes_max: raw.directory_bytes_max,
    }
}
