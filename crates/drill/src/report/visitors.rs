//! What visitors got before, during and after each fault, for every front: on the terminal and on the page.

use super::html::escape;
use super::table::boxed;
use crate::score::Scoreboard;
use crate::visitors::VisitorScore;
use std::fmt::Write as _;

const HEAD: [&str; 9] =
    ["fault", "visitors of", "front", "when", "right", "stale", "other ways", "bare error", "nothing"];

/// Fault, visitors, front and phase; then the share of each kind of answer.
fn rows(board: &Scoreboard) -> Vec<Vec<String>> {
    let mut keys: Vec<(&str, &str, &str)> = Vec::new();
    for row in board.fronts.iter().flat_map(|front| &front.visitors) {
        if !keys.contains(&(&row.fault, row.service, row.phase)) {
            keys.push((&row.fault, row.service, row.phase));
        }
    }
    // By fault and visitors, then by phase, so that fronts stand beneath each other.
    let mut list = Vec::new();
    for key in keys {
        for front in &board.fronts {
            let mut scores = front.visitors.iter();
            if let Some(score) = scores.find(|row| (row.fault.as_str(), row.service, row.phase) == key) {
                list.push(row(&front.front, score));
            }
        }
    }
    list
}

fn row(front: &str, score: &VisitorScore) -> Vec<String> {
    let mut line = vec![score.fault.clone(), score.service.to_owned(), front.to_owned(), score.phase.to_owned()];
    for count in [score.right, score.stale, score.fallback, score.error, score.nothing] {
        line.push(match count {
            0 => "-".to_owned(),
            // What is not all is never shown as all, nor as none.
            _ => format!("{:.1} %", (count as f64 * 1000.0 / score.offered.max(1) as f64).floor().max(1.0) / 10.0),
        });
    }
    line
}

/// The table on the terminal; empty without faults.
pub(super) fn render(board: &Scoreboard) -> String {
    let rows = rows(board);
    if rows.is_empty() {
        return String::new();
    }
    "What visitors got:\n".to_owned() + &boxed(&HEAD.map(str::to_owned), &[rows])
}

/// The table on the page; empty without faults.
pub(super) fn section(board: &Scoreboard) -> String {
    let rows = rows(board);
    if rows.is_empty() {
        return String::new();
    }
    let mut out = "<section><h2>What visitors got</h2><p>Before, during and after each fault: the right answer from the service, an \
                   earlier one with its age, a page that names other ways, an error that names none, or nothing.</p>\
                   <div class=\"scroll\"><table><thead><tr>"
        .to_owned();
    for (column, title) in HEAD.iter().enumerate() {
        let class = if column < 4 { "" } else { " class=\"num\"" };
        let _ = write!(out, "<th scope=\"col\"{class}>{title}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let cell = escape(cell);
            let _ = match column {
                0 => write!(out, "<th scope=\"row\">{cell}</th>"),
                1..4 => write!(out, "<td>{cell}</td>"),
                _ => write!(out, "<td class=\"num\">{cell}</td>"),
            };
        }
        out.push_str("</tr>");
    }
    out + "</tbody></table></div></section>"
}
