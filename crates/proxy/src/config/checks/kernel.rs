//! The kernel's filter.

use std::sync::Arc;
use std::time::Duration;

use guichet_core::handover::HandoverConfig;

use super::super::checked::{KernelFilter, Listener};
use super::super::problem::quoted;
use super::super::raw;
use super::Checker;

pub(super) fn kernel_filter(
    raw: &raw::Config,
    listeners: &[Arc<Listener>],
    c: &mut Checker<'_>,
) -> Option<KernelFilter> {
    let one = &raw.kernel_filter;
    if matches!(one.mode, raw::MitigationMode::Off) {
        return None;
    }
    if one.ttl_s_max < one.ttl_s {
        let cause = format!("'ttl_s_max' is {}, below 'ttl_s' of {}", one.ttl_s_max, one.ttl_s);
        c.error("kernel_filter.ttl_s_max", cause, format!("write {} or more", one.ttl_s));
    }
    if one.command.first().is_none_or(String::is_empty) {
        c.error("kernel_filter.command", "there is no command", "write [\"nft\"]");
    }
    let tail = one.table.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !tail || !one.table.starts_with(|c: char| c.is_ascii_lowercase()) || one.table.len() > 32 {
        let cause = format!("{} is no name of a table", quoted(&one.table));
        c.error("kernel_filter.table", cause, "write small letters, digits and _, such as \"guichet\"");
    }
    if !listeners.is_empty() && !listeners.iter().any(|listener| listener.is_direct()) {
        let cause = "every listener is behind proxies: what connects here is never the source itself";
        c.warn("kernel_filter.mode", cause, "leave it out here, and filter where the sources connect");
    }
    Some(KernelFilter {
        dry_run: matches!(one.mode, raw::MitigationMode::DryRun),
        command: one.command.clone(),
        table: one.table.clone(),
        handover: HandoverConfig {
            ttl: Duration::from_secs(one.ttl_s),
            ttl_most: Duration::from_secs(one.ttl_s_max),
            sources_most: one.sources_max,
        },
    })
}
