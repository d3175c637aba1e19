//! Tables of the report: what people came for, and what must hold in the estate afterwards.

use super::html::{escape, share_cell};
use super::table::operation_rows;
use crate::score::Scoreboard;
use std::fmt::Write as _;

/// An operation a row, a front a column.
pub(super) fn operations(board: &Scoreboard) -> String {
    let mut out = "<section><h2>What people came for</h2><p>Right answers under attack, relative to the oracle's.</p>\
                   <div class=\"scroll\"><table><thead><tr><th scope=\"col\">what</th><th scope=\"col\">service</th>"
        .to_owned();
    for front in &board.fronts {
        let _ = write!(out, "<th scope=\"col\" class=\"num\">{}</th>", escape(&front.front));
    }
    out.push_str("</tr></thead><tbody>");
    for (what, service, shares) in operation_rows(board) {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td>", escape(what), escape(service));
        shares.into_iter().for_each(|share| out.push_str(&share_cell(share)));
        out.push_str("</tr>");
    }
    out + "</tbody></table></div></section>"
}

/// An invariant a row, a front a column; beneath, what is wrong where one is broken.
pub(super) fn invariants(board: &Scoreboard) -> String {
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for invariant in board.fronts.iter().flat_map(|f| &f.invariants) {
        if !rows.contains(&(&invariant.service, &invariant.name)) {
            rows.push((&invariant.service, &invariant.name));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut out = "<section><h2>What must hold in the estate</h2><p>Looked at in its stores after each run: no money came or went, \
                   nothing that was acknowledged is lost or there twice, no document or journal was changed.</p>\
                   <div class=\"scroll\"><table><thead><tr><th scope=\"col\">service</th><th scope=\"col\">holds</th>"
        .to_owned();
    for front in &board.fronts {
        let _ = write!(out, "<th scope=\"col\" class=\"num\">{}</th>", escape(&front.front));
    }
    out.push_str("</tr></thead><tbody>");
    for (service, name) in rows {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td>", escape(service), escape(name));
        for front in &board.fronts {
            let found = front.invariants.iter().find(|i| i.service == service && i.name == name);
            let (class, text) = match found {
                Some(i) if i.ok && i.detail.is_empty() => ("hi", "yes".to_owned()),
                Some(i) if i.ok => ("hi", format!("yes: {}", i.detail)),
                Some(i) => ("lo", format!("no: {}", i.detail)),
                None => ("", "–".to_owned()),
            };
            let _ = write!(out, "<td class=\"num {class}\">{}</td>", escape(&text));
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div></section>"
}
