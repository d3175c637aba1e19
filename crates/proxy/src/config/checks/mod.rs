//! Raw -> checked: what makes sense together.

mod contract;
mod hosts;
mod kernel;
mod link;
mod listener;
mod node;
mod notices;
mod partner;
mod service;
mod tls_files;
mod upstream;
mod values;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::checked::Config;
use super::findings::{Findings, On};
use super::raw;
use super::sources::Surroundings;

/// What the checks share.
pub(super) struct Checker<'a> {
    pub(super) found: &'a mut Findings,
    pub(super) world: &'a dyn Surroundings,
    /// Folder of the main file: relative paths start there.
    pub(super) base: &'a Path,
}

impl Checker<'_> {
    /// An error under a key's value.
    fn error(&mut self, key: &str, cause: impl Into<String>, mend: impl Into<String>) {
        self.found.error(On::Value, key, cause, mend);
    }

    /// A warning under a key's value.
    fn warn(&mut self, key: &str, cause: impl Into<String>, mend: impl Into<String>) {
        self.found.warn(On::Value, key, cause, mend);
    }

    /// A path of the files, made absolute by the main file's folder.
    fn path(&self, given: &str) -> PathBuf {
        self.base.join(given)
    }
}

/// Checks everything; the configuration counts only if no error was found.
pub(super) fn check(raw: &raw::Config, world: &dyn Surroundings, main: &Path, found: &mut Findings) -> Option<Config> {
    let base = main.parent().unwrap_or(Path::new(""));
    let mut c = Checker { found, world, base };
    let node = node::node(&raw.node, main, &mut c);
    let admin = node::admin(&raw.admin, &mut c);
    let listeners = listener::listeners(raw, &mut c);
    let names = tls_files::certificates(raw, &mut c);
    let limits = node::limits(&raw.limits, &raw.node, &mut c);
    let log = node::log(&raw.log, &mut c);
    let trace = node::trace(&raw.trace, &mut c);
    let upstreams = upstream::upstreams(raw, &mut c);
    let channels = contract::channels(raw, &mut c);
    let services = service::services(raw, &channels, &mut c);
    contract::circles(raw, &mut c);
    hosts::unique(raw, &mut c);
    hosts::covered(raw, names.as_ref(), &mut c);
    let partners = partner::partners(raw, &mut c);
    let mitigations = node::mitigations(&raw.mitigations, &mut c);
    let kernel_filter = kernel::kernel_filter(raw, listeners.as_deref().unwrap_or_default(), &mut c);
    let link = link::link(raw, &mut c);
    let health = link::health(&raw.health, &mut c);
    let cache = contract::cache(&raw.cache, &mut c);
    let notices = notices::notices(raw, services.as_deref(), &channels, &mut c);
    node::admin_apart(raw, &mut c);
    Some(Config {
        node: node?,
        admin: admin?,
        listeners: listeners?,
        certificates: tls_files::files(raw, &c),
        limits: limits?.into(),
        log: log?,
        trace: trace?,
        upstreams: upstreams?,
        services: services?,
        partners: partners?,
        mitigations,
        kernel_filter,
        link: link?,
        health,
        channels,
        cache,
        notices,
    })
}

/// Tells names that are used twice in an array of tables.
fn unique_names<'r>(kind: &str, names: impl Iterator<Item = &'r str>, c: &mut Checker<'_>) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, name) in names.enumerate().filter(|(_, name)| !name.is_empty()) {
        match seen.get(name) {
            Some(first) => c.found.error_with(
                On::Value,
                &format!("{kind}[{i}].name"),
                &format!("{kind}[{first}].name"),
                format!("two of [[{kind}]] are called '{name}'"),
                "give each a name of its own",
            ),
            None => drop(seen.insert(name, i)),
        }
    }
}
