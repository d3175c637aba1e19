//! What a reload changes, and what waits for a restart.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::checked::{Config, Listener};

/// When a change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// With the reload.
    Reload,
    /// Only when Guichet is started again.
    Restart,
}

/// One change between two configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changed, such as `service.portal` or `listener https address`.
    pub what: String,
    /// When it takes effect.
    pub effect: Effect,
}

impl Config {
    /// What differs from `old` to `new`, in the order of the configuration; empty: nothing.
    ///
    /// What needs a restart: the sockets (listeners added, removed, or with another address, protocol or backlog; the
    /// admin address), the worker threads, and the seed, since sessions are signed with it. All else is reloaded.
    #[must_use]
    pub fn diff(old: &Self, new: &Self) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        changes.note("node.workers", Effect::Restart, &old.node.workers, &new.node.workers);
        changes.note("node.seed", Effect::Restart, &old.node.seed, &new.node.seed);
        changes.note("node.orders_file", Effect::Restart, &old.node.orders_file, &new.node.orders_file);
        changes.note("node.drain_s", Effect::Reload, &old.node.drain, &new.node.drain);
        let most = |c: &Self| (c.node.connections_max, c.node.requests_in_flight_max);
        changes.note("node maxima", Effect::Reload, &most(old), &most(new));
        changes.note("admin.listen", Effect::Restart, &old.admin.listen, &new.admin.listen);
        changes.listeners(&old.listeners, &new.listeners);
        changes.note("certificates", Effect::Reload, &old.certificates, &new.certificates);
        changes.note("limits", Effect::Reload, &old.limits, &new.limits);
        changes.note("log", Effect::Reload, &old.log, &new.log);
        changes.note("trace", Effect::Reload, &old.trace, &new.trace);
        changes.note("link", Effect::Reload, &old.link, &new.link);
        changes.note("health", Effect::Restart, &old.health, &new.health);
        changes.note("mitigations", Effect::Reload, &old.mitigations, &new.mitigations);
        changes.note("kernel_filter", Effect::Restart, &old.kernel_filter, &new.kernel_filter);
        // What is kept stays kept over a reload, so the store keeps its size and its folder.
        changes.note("cache", Effect::Restart, &old.cache, &new.cache);
        let place = |c: &Self| c.notices.as_ref().map(|notices| notices.place.clone());
        changes.note("notices", Effect::Restart, &place(old), &place(new));
        let site = |c: &Self| c.notices.as_ref().map(|notices| notices.site.clone());
        changes.note("notices' texts", Effect::Reload, &site(old), &site(new));
        changes.named("channel", &by_name(&old.channels, |c| &c.name), &by_name(&new.channels, |c| &c.name));
        changes.named("upstream", &by_name(&old.upstreams, |u| &u.name), &by_name(&new.upstreams, |u| &u.name));
        // Services and partners point at others by position, which is no change of theirs: names are compared.
        changes.named("service", &services(old), &services(new));
        changes.named("partner", &partners(old), &partners(new));
        changes.0
    }
}

struct Changes(Vec<Change>);

impl Changes {
    fn note<T: PartialEq>(&mut self, what: &str, effect: Effect, old: &T, new: &T) {
        if old != new {
            self.0.push(Change { what: what.to_owned(), effect });
        }
    }

    fn named<T: PartialEq>(&mut self, kind: &str, old: &BTreeMap<&str, T>, new: &BTreeMap<&str, T>) {
        let mut push = |name: &str, how: &str| {
            self.0.push(Change { what: format!("{kind}.{name}{how}"), effect: Effect::Reload });
        };
        for (name, was) in old {
            match new.get(name) {
                Some(is) if is == was => {}
                Some(_) => push(name, ""),
                None => push(name, " (removed)"),
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            push(name, " (added)");
        }
    }

    fn listeners(&mut self, old: &[Arc<Listener>], new: &[Arc<Listener>]) {
        let (old, new) = (by_name(old, |l| &l.name), by_name(new, |l| &l.name));
        let mut push = |what: String, effect| self.0.push(Change { what, effect });
        for (name, was) in &old {
            match new.get(name) {
                None => push(format!("listener {name} (removed)"), Effect::Restart),
                Some(is) if is == was => {}
                Some(is) => {
                    let socket = |l: &Listener| (l.address, l.protocol, l.backlog);
                    if socket(is) == socket(was) {
                        push(format!("listener {name}"), Effect::Reload);
                    } else {
                        push(format!("listener {name} address, protocol or backlog"), Effect::Restart);
                    }
                }
            }
        }
        for name in new.keys().filter(|name| !old.contains_key(*name)) {
            push(format!("listener {name} (added)"), Effect::Restart);
        }
    }
}

fn by_name<'c, T: Debug>(items: &'c [Arc<T>], name: impl Fn(&'c T) -> &'c String) -> BTreeMap<&'c str, &'c T> {
    items.iter().map(|item| (name(item).as_str(), item.as_ref())).collect()
}

/// Services with the name of their upstream in place of its position.
fn services(config: &Config) -> BTreeMap<&str, (super::Service, &str)> {
    let pool = |at: usize| config.upstreams.get(at).map_or("", |u| u.name.as_str());
    let plain = |service: &super::Service| super::Service { upstream: 0, ..service.clone() };
    config.services.iter().map(|s| (s.name.as_str(), (plain(s), pool(s.upstream)))).collect()
}

/// Partners with the names of their services in place of the positions.
fn partners(config: &Config) -> BTreeMap<&str, (&[super::Credential], Vec<&str>)> {
    let name = |at: &usize| config.services.get(*at).map_or("", |s| s.name.as_str());
    config
        .partners
        .iter()
        .map(|p| (p.name.as_str(), (p.credentials.as_slice(), p.services.iter().map(name).collect())))
        .collect()
}
