//! Listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::super::checked::{Listener, Protocol, ProxyProtocol};
use super::super::findings::On;
use super::super::raw;
use super::{Checker, node, tls_files, unique_names, values};

pub(super) fn listeners(raw: &raw::Config, c: &mut Checker<'_>) -> Option<Vec<Arc<Listener>>> {
    unique_names("listener", raw.listener.iter().map(|l| l.name.as_str()), c);
    let mut listeners = Vec::new();
    for (i, one) in raw.listener.iter().enumerate() {
        listeners.push(listener(&format!("listener[{i}]"), one, c).map(Arc::new));
    }
    distinct(&raw.listener, c);
    listeners.into_iter().collect()
}

/// Two listeners on one port would share its connections at random.
fn distinct(listeners: &[raw::Listener], c: &mut Checker<'_>) {
    let addresses: Vec<Option<SocketAddr>> = listeners.iter().map(|l| l.address.parse().ok()).collect();
    for (i, address) in addresses.iter().enumerate() {
        let clash = addresses[..i]
            .iter()
            .position(|other| matches!((address, other), (Some(a), Some(b)) if node::overlap(*a, *b)));
        if let Some(first) = clash {
            let cause = format!("the listener '{}' is on this port already", listeners[first].name);
            let (key, other) = (format!("listener[{i}].address"), format!("listener[{first}].address"));
            c.found.error_with(On::Value, &key, &other, cause, "give one of them another port");
        }
    }
}

fn listener(at: &str, raw: &raw::Listener, c: &mut Checker<'_>) -> Option<Listener> {
    values::name(On::Value, &format!("{at}.name"), &raw.name, c);
    let address = values::address(&format!("{at}.address"), &raw.address, c);
    let trusted_proxies = trusted(at, &raw.trusted_proxies, c);
    let https = raw.protocol == raw::ListenerProtocol::Https;
    if raw.redirect_to_https && https {
        let cause = "an https listener cannot redirect to https";
        c.error(&format!("{at}.redirect_to_https"), cause, "take it out, or set protocol = \"http\"");
    }
    if c.found.is_given(&format!("{at}.https_port")) && !raw.redirect_to_https {
        let cause = "'https_port' has no effect without 'redirect_to_https'";
        c.warn(&format!("{at}.https_port"), cause, "set redirect_to_https = true, or take it out");
    }
    if raw.proxy_protocol != raw::ProxyProtocol::Off && raw.trusted_proxies.is_empty() {
        let cause = "the PROXY protocol is read from trusted networks only, and there are none";
        c.error(&format!("{at}.proxy_protocol"), cause, "name them: trusted_proxies = [\"10.0.0.0/8\"]");
    }
    if raw.trusted_hops > 0 && raw.trusted_proxies.is_empty() {
        let cause = "X-Forwarded-For is believed from trusted networks only, and there are none";
        c.error(&format!("{at}.trusted_hops"), cause, "name them: trusted_proxies = [\"10.0.0.0/8\"]");
    }
    let partner_ca = partner_ca(at, raw, c);
    Some(Listener {
        name: raw.name.clone(),
        address: address?,
        protocol: if https { Protocol::Https } else { Protocol::Http },
        redirect_to_https_port: raw.redirect_to_https.then_some(raw.https_port),
        proxy_protocol: match raw.proxy_protocol {
            raw::ProxyProtocol::Off => ProxyProtocol::Off,
            raw::ProxyProtocol::Accept => ProxyProtocol::Accept,
            raw::ProxyProtocol::Require => ProxyProtocol::Require,
        },
        trusted_proxies,
        trusted_hops: raw.trusted_hops,
        partner_ca,
        http2: raw.http2,
        backlog: raw.backlog,
    })
}

fn trusted(at: &str, given: &[String], c: &mut Checker<'_>) -> Vec<IpNet> {
    let at = format!("{at}.trusted_proxies");
    let networks = values::networks(&at, given, c);
    for i in networks.iter().enumerate().filter(|(_, network)| network.prefix_len() == 0).map(|(i, _)| i) {
        let cause = "everybody is trusted to say who he is: any address can be forged";
        c.warn(&format!("{at}[{i}]"), cause, "name only the networks of your own proxies");
    }
    networks
}

fn partner_ca(at: &str, raw: &raw::Listener, c: &mut Checker<'_>) -> Option<std::path::PathBuf> {
    if raw.partner_ca.is_empty() {
        return None;
    }
    let key = format!("{at}.partner_ca");
    if raw.protocol == raw::ListenerProtocol::Http {
        c.error(&key, "partners cannot show certificates without TLS", "set protocol = \"https\", or take it out");
    }
    tls_files::authorities(&key, &raw.partner_ca, c);
    Some(c.path(&raw.partner_ca))
}
