//! The table on the terminal: fronts as columns, services as rows.

use crate::score::{FrontScore, Scoreboard, ServiceScore};
use std::fmt::Write as _;

/// The whole table, with what failed beneath.
#[must_use]
pub fn render(board: &Scoreboard) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "\n{} (seed {}): {}\n", board.scenario, board.seed, board.description);
    let _ = writeln!(out, "Real clients' goodput during the attack, relative to the oracle's:");
    let mut head = vec!["service".to_owned(), "matters".to_owned()];
    head.extend(board.fronts.iter().map(|f| f.front.clone()));
    let mut services = Vec::new();
    for row in board.fronts.iter().flat_map(attack_rows) {
        if !services.contains(&(row.service, row.criticality)) {
            services.push((row.service, row.criticality));
        }
    }
    let mut body = Vec::new();
    for (service, criticality) in services {
        let mut line = vec![service.to_owned(), criticality.to_owned()];
        for front in &board.fronts {
            let row = attack_rows(front).find(|r| r.service == service);
            line.push(row.map_or_else(|| "-".to_owned(), |r| percent(r.relative)));
        }
        body.push(line);
    }
    let mut foot = Vec::new();
    let mut add = |label: &str, cell: &dyn Fn(&FrontScore) -> String| {
        let mut line = vec![label.to_owned(), String::new()];
        line.extend(board.fronts.iter().map(cell));
        foot.push(line);
    };
    add("all, steady", &|f| percent(overall(f.steady.iter())));
    add("time to protect", &|f| {
        f.time_to_protect_ms.map_or("never".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0))
    });
    add("false refusals", &|f| attack_rows(f).map(|r| r.refused_real).sum::<u64>().to_string());
    add("worst p99", &|f| worst_p99(f).map_or("-".to_owned(), |ms| format!("{ms:.0} ms")));
    add("attack sent", &|f| f.attack.sent.to_string());
    add("attack served", &|f| f.attack.answered_2xx.to_string());
    add("attack reached services", &|f| f.attack.reached.to_string());
    if board.fronts.iter().any(|f| f.attack.passes > 0) {
        add("passes attackers earned", &|f| f.attack.passes.to_string());
    }
    out.push_str(&boxed(&head, &[body, foot]));
    out.push_str(&operations(board));
    out.push_str(&super::visitors::render(board));
    out.push_str(&super::status::render(board));
    out.push_str(&invariants(board));
    for front in &board.fronts {
        for note in &front.notes {
            let _ = writeln!(out, "note: {note}");
        }
    }
    if !board.failed.is_empty() {
        let _ = writeln!(out, "\n{} of the scenario's expectations failed:", board.failed.len());
        for line in &board.failed {
            let _ = writeln!(out, "  ✗ {line}");
        }
    }
    out
}

/// What people came for, an operation a row.
fn operations(board: &Scoreboard) -> String {
    let mut head = vec!["what people came for".to_owned(), "service".to_owned()];
    head.extend(board.fronts.iter().map(|f| f.front.clone()));
    let rows = operation_rows(board).into_iter().map(|(what, service, shares)| {
        let mut line = vec![what.to_owned(), service.to_owned()];
        line.extend(shares.into_iter().map(percent));
        line
    });
    boxed(&head, &[rows.collect()])
}

/// Each operation that real clients did under attack, with what each front gave of the oracle's goodput.
pub(super) fn operation_rows(board: &Scoreboard) -> Vec<(&'static str, &'static str, Vec<Option<f64>>)> {
    let mut names = Vec::new();
    for row in board.fronts.iter().flat_map(|f| &f.operations) {
        if !names.contains(&(row.what, row.score.service, row.operation)) {
            names.push((row.what, row.score.service, row.operation));
        }
    }
    let share = |front: &FrontScore, service, operation| {
        let mut rows = front.operations.iter();
        rows.find(|r| r.score.service == service && r.operation == operation).and_then(|r| r.score.relative)
    };
    let shares = |service, operation| board.fronts.iter().map(|f| share(f, service, operation)).collect();
    names.into_iter().map(|(what, service, operation)| (what, service, shares(service, operation))).collect()
}

/// The estate's stores after each run: how many invariants hold, and those that do not.
fn invariants(board: &Scoreboard) -> String {
    let mut out = String::new();
    for front in board.fronts.iter().filter(|f| !f.invariants.is_empty()) {
        let broken = front.invariants.iter().filter(|i| !i.ok).count();
        let acknowledged: Vec<_> = front
            .invariants
            .iter()
            .filter(|i| i.ok && i.detail.ends_with("looked for"))
            .map(|i| format!("{} {}", i.service, i.detail.trim_end_matches(" looked for")))
            .collect();
        let _ = writeln!(
            out,
            "after {}: {} invariants of the estate hold, {broken} broken; acknowledged and there exactly once: {}",
            front.front,
            front.invariants.len() - broken,
            if acknowledged.is_empty() { "nothing".to_owned() } else { acknowledged.join(", ") }
        );
    }
    out
}

/// Rows of the attack phase.
pub(super) fn attack_rows(front: &FrontScore) -> impl Iterator<Item = &ServiceScore> {
    front.services.iter().filter(|r| r.phase == "attack")
}

/// Goodput of several rows over the oracle's.
pub(super) fn overall<'a>(rows: impl Iterator<Item = &'a ServiceScore>) -> Option<f64> {
    let (ok, oracle) = rows.fold((0.0, 0.0), |(ok, oracle), row| (ok + row.goodput, oracle + row.oracle));
    (oracle > 0.0).then(|| ok / oracle)
}

/// The worst 99th percentile of the attack phase.
pub(super) fn worst_p99(front: &FrontScore) -> Option<f64> {
    attack_rows(front).filter_map(|r| r.p99_ms).max_by(f64::total_cmp)
}

/// A share as people read it; never rounded up to 100.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |s| format!("{:.1} %", (s * 1000.0).floor() / 10.0))
}

pub(super) fn boxed(head: &[String], blocks: &[Vec<Vec<String>>]) -> String {
    let rows = || std::iter::once(head).chain(blocks.iter().flatten().map(Vec::as_slice));
    let widths: Vec<usize> = (0..head.len()).map(|c| rows().map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    let rule = |left: &str, mid: &str, right: &str| {
        let bars: Vec<String> = widths.iter().map(|w| "─".repeat(w + 2)).collect();
        format!("{left}{}{right}\n", bars.join(mid))
    };
    let line = |row: &[String]| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (cell, w))| if c < 2 { format!(" {cell:<w$} ") } else { format!(" {cell:>w$} ") })
            .collect();
        format!("│{}│\n", cells.join("│"))
    };
    let mut out = rule("┌", "┬", "┐") + &line(head);
    for block in blocks.iter().filter(|b| !b.is_empty()) {
        out += &rule("├", "┼", "┤");
        for row in block {
            out += &line(row);
        }
    }
    out + &rule("└", "┴", "┘")
}
