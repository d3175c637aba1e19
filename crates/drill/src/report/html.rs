//! The report: one page that opens offline, with plots, the figures beneath them, and no scripts.

use super::plot::{Line, Plot};
use super::table::{attack_rows, overall, percent, worst_p99};
use super::tables;
use crate::score::{FrontScore, Scoreboard, Series};
use crate::services::SERVICES;
use std::fmt::Write as _;

/// Text for HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = include_str!("style.css");

/// The whole page.
#[must_use]
pub fn render(board: &Scoreboard) -> String {
    let mut out = String::with_capacity(256 * 1024);
    let name = escape(&board.scenario);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><title>Drill {name}</title><style>{STYLE}</style></head><body>\
         <header><p class=\"kicker\">Guichet drill</p><h1>{name}</h1><p class=\"lead\">{}</p>\
         <p class=\"meta\">seed {} · {} s before, {} s attack, {} s after</p></header><main>",
        escape(&board.description),
        board.seed,
        board.phases_ms[0] / 1000,
        board.phases_ms[1] / 1000,
        board.phases_ms[2] / 1000
    );
    out.push_str(&verdict(board));
    out.push_str(&cards(board));
    out.push_str(&matrix(board));
    out.push_str(&legend(board));
    let _ = write!(
        out,
        "<section><h2>Who was served</h2><p>Right answers a second to real clients, against the oracle's: what a front that knows who is who would have served.</p><div class=\"grid2\">"
    );
    for service in services(board) {
        let _ = write!(
            out,
            "<figure>{}<figcaption><b>{}</b> <span class=\"tag {}\">{}</span></figcaption></figure>",
            goodput(board, service).svg(),
            SERVICES[service].name,
            SERVICES[service].criticality.name(),
            SERVICES[service].criticality.name()
        );
    }
    let _ = write!(
        out,
        "</div></section><section><h2>The attack</h2><figure>{}<figcaption>Attack requests sent a second. A front that answers slowly \
         slows down attackers that wait for answers, too.</figcaption></figure></section>\
         <section><h2>How long people waited</h2><p>99th percentile of right answers, milliseconds from the moment at which the \
         request was meant to be made; a gap means that nobody was answered.</p><div class=\"grid2\">",
        attack(board).svg()
    );
    for service in services(board) {
        let _ = write!(
            out,
            "<figure>{}<figcaption><b>{}</b></figcaption></figure>",
            latency(board, service).svg(),
            SERVICES[service].name
        );
    }
    out.push_str("</div></section>");
    out.push_str(&tables::operations(board));
    out.push_str(&super::visitors::section(board));
    out.push_str(&super::status::section(board));
    out.push_str(&tables::invariants(board));
    out.push_str(&figures(board));
    out.push_str("<section><h2>Notes</h2><ul>");
    for note in board.notes.iter().chain(board.fronts.iter().flat_map(|f| &f.notes)) {
        let _ = write!(out, "<li>{}</li>", escape(note));
    }
    out.push_str("</ul></section></main></body></html>\n");
    out
}

fn verdict(board: &Scoreboard) -> String {
    if board.expected == 0 {
        return "<p class=\"verdict\">The scenario expects nothing of these fronts.</p>".to_owned();
    }
    if board.failed.is_empty() {
        return "<p class=\"verdict good\">Every expectation of the scenario held.</p>".to_owned();
    }
    let items: String = board.failed.iter().map(|f| format!("<li>{}</li>", escape(f))).collect();
    format!("<div class=\"verdict bad\"><b>{} expectations failed</b><ul>{items}</ul></div>", board.failed.len())
}

fn protect(front: &FrontScore) -> String {
    front.time_to_protect_ms.map_or("never".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0))
}

fn refused(front: &FrontScore) -> u64 {
    attack_rows(front).map(|r| r.refused_real).sum()
}

fn cards(board: &Scoreboard) -> String {
    let mut out = "<section class=\"cards\">".to_owned();
    for (i, front) in board.fronts.iter().enumerate() {
        let all = overall(attack_rows(front));
        let critical = overall(attack_rows(front).filter(|r| r.criticality == "critical"));
        let _ = write!(
            out,
            "<article class=\"card\"><h3><span class=\"dot b{i}\"></span>{}</h3><p class=\"big\">{}</p><p class=\"sub\">of the oracle's \
             goodput under attack</p><dl><dt>critical services</dt><dd>{}</dd><dt>time to protect</dt><dd>{}</dd><dt>false refusals</dt>\
             <dd>{}</dd><dt>worst p99</dt><dd>{}</dd></dl></article>",
            escape(&front.front),
            percent(all),
            percent(critical),
            protect(front),
            refused(front),
            worst_p99(front).map_or("–".to_owned(), |ms| format!("{ms:.0} ms"))
        );
    }
    out + "</section>"
}

/// Services that real clients use, by position.
fn services(board: &Scoreboard) -> Vec<usize> {
    let mut list: Vec<usize> = board.fronts.iter().flat_map(|f| f.series.iter().map(|s| s.service)).collect();
    // Most important first, then as the estate lists them.
    list.sort_by_key(|s| (std::cmp::Reverse(SERVICES[*s].criticality), *s));
    list.dedup();
    list
}

fn matrix(board: &Scoreboard) -> String {
    let mut out =
        "<section><h2>Goodput under attack, relative to the oracle</h2><div class=\"scroll\"><table><thead><tr>\
                   <th scope=\"col\">service</th><th scope=\"col\">matters</th>"
            .to_owned();
    for front in &board.fronts {
        let _ = write!(out, "<th scope=\"col\" class=\"num\">{}</th>", escape(&front.front));
    }
    out.push_str("</tr></thead><tbody>");
    for service in services(board) {
        let (name, level) = (SERVICES[service].name, SERVICES[service].criticality.name());
        let _ = write!(out, "<tr><th scope=\"row\">{name}</th><td><span class=\"tag {level}\">{level}</span></td>");
        for front in &board.fronts {
            let relative = attack_rows(front).find(|r| r.service == name).and_then(|r| r.relative);
            out.push_str(&share_cell(relative));
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div></section>"
}

/// A share of the oracle's goodput as a cell, in the colour of how good it is.
pub(super) fn share_cell(relative: Option<f64>) -> String {
    let class = match relative {
        Some(r) if r >= 0.99 => "hi",
        Some(r) if r >= 0.9 => "mid",
        Some(_) => "lo",
        None => "",
    };
    format!("<td class=\"num {class}\">{}</td>", percent(relative))
}

fn legend(board: &Scoreboard) -> String {
    let mut out = "<nav class=\"legend\" aria-label=\"Colours of the plots\">".to_owned();
    for (i, front) in board.fronts.iter().enumerate() {
        let _ = write!(
            out,
            "<span><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path class=\"f{i}\" d=\"M0 4L28 4\"/></svg>{}</span>",
            escape(&front.front)
        );
    }
    out + "<span><svg viewBox=\"0 0 28 8\" aria-hidden=\"true\"><path class=\"oracle\" d=\"M0 4L28 4\"/></svg>oracle</span></nav>"
}

fn attack_s(board: &Scoreboard) -> (f64, f64) {
    let [before, attack, _] = board.phases_ms;
    (before as f64 / 1000.0, (before + attack) as f64 / 1000.0)
}

fn of_service(front: &FrontScore, service: usize) -> Option<&Series> {
    front.series.iter().find(|s| s.service == service)
}

fn goodput(board: &Scoreboard, service: usize) -> Plot<'_> {
    let counts = |values: &[u32]| values.iter().map(|v| Some(f64::from(*v))).collect();
    let mut lines = Vec::new();
    if let Some(series) = board.fronts.iter().find_map(|f| of_service(f, service)) {
        lines.push(Line { class: "oracle".to_owned(), label: "oracle", values: counts(&series.oracle) });
    }
    for (i, front) in board.fronts.iter().enumerate() {
        if let Some(series) = of_service(front, service) {
            lines.push(Line { class: format!("f{i}"), label: &front.front, values: counts(&series.ok) });
        }
    }
    let name = SERVICES[service].name;
    Plot {
        id: format!("good-{name}"),
        title: format!("Goodput of {name}"),
        desc: format!("Right answers a second to real clients of {name}, for each front and for the oracle."),
        unit: "/s",
        attack_s: attack_s(board),
        lines,
        logarithmic: false,
    }
}

fn latency(board: &Scoreboard, service: usize) -> Plot<'_> {
    let lines = board.fronts.iter().enumerate().filter_map(|(i, front)| {
        let series = of_service(front, service)?;
        Some(Line { class: format!("f{i}"), label: &front.front, values: series.p99_ms.clone() })
    });
    let name = SERVICES[service].name;
    Plot {
        id: format!("p99-{name}"),
        title: format!("Latency of {name}"),
        desc: format!(
            "99th percentile of the latency of right answers of {name}, second by second, logarithmic scale."
        ),
        unit: "ms",
        attack_s: attack_s(board),
        lines: lines.collect(),
        logarithmic: true,
    }
}

fn attack(board: &Scoreboard) -> Plot<'_> {
    let lines = board.fronts.iter().enumerate().map(|(i, front)| Line {
        class: format!("f{i}"),
        label: &front.front,
        values: front.attack.sent_per_s.iter().map(|v| Some(f64::from(*v))).collect(),
    });
    Plot {
        id: "attack".to_owned(),
        title: "Attack rate".to_owned(),
        desc: "Attack requests sent a second, for each front.".to_owned(),
        unit: "/s",
        attack_s: attack_s(board),
        lines: lines.collect(),
        logarithmic: false,
    }
}

fn figures(board: &Scoreboard) -> String {
    let mut out = "<section><h2>All figures</h2>".to_owned();
    for front in &board.fronts {
        let attack = &front.attack;
        let _ = write!(
            out,
            "<details open><summary>{}</summary><p>Attack: {} sent, {} answered with 2xx or 3xx, {} answered by services, {} refused, {} errors, {} held back, {} \
             connections, {} cut.</p><div class=\"scroll\"><table><thead><tr><th scope=\"col\">service</th><th scope=\"col\">phase</th>",
            escape(&front.front),
            attack.sent,
            attack.answered_2xx,
            attack.reached,
            attack.refused,
            attack.errors,
            attack.held_back,
            attack.connections,
            attack.cut
        );
        for head in ["offered", "ok", "goodput /s", "oracle /s", "relative", "refused", "late", "p50 ms", "p99 ms"] {
            let _ = write!(out, "<th scope=\"col\" class=\"num\">{head}</th>");
        }
        out.push_str("</tr></thead><tbody>");
        let ms = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v}"));
        for row in front.services.iter().chain(&front.steady) {
            let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td>", row.service, row.phase);
            let cells = [
                row.offered.to_string(),
                row.ok.to_string(),
                format!("{:.1}", row.goodput),
                format!("{:.1}", row.oracle),
                percent(row.relative),
                row.refused_real.to_string(),
                row.late.to_string(),
                ms(row.p50_ms),
                ms(row.p99_ms),
            ];
            for cell in cells {
                let _ = write!(out, "<td class=\"num\">{cell}</td>");
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div></details>");
    }
    out + "</section>"
}
