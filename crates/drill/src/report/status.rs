//! How the status page did: on the terminal and on the page.

use super::html::escape;
use super::table::{boxed, percent};
use crate::score::Scoreboard;
use crate::status::StatusScore;
use std::fmt::Write as _;

const HEAD: [&str; 4] = ["status page", "front", "told after", "end told after"];

/// Fault and front; then when the page told of it, and of its end.
fn rows(board: &Scoreboard) -> Vec<Vec<String>> {
    let seconds = |ms: Option<u64>, none: &str| ms.map_or(none.to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
    let fronts = board.fronts.iter().filter_map(|front| Some((&front.front, front.status.as_ref()?)));
    fronts
        .flat_map(|(front, status)| {
            status.faults.iter().map(move |fault| {
                let (told, back) =
                    (seconds(fault.right_after_ms, "never"), seconds(fault.back_after_ms, "not in time"));
                vec![fault.fault.clone(), front.clone(), told, back]
            })
        })
        .collect()
}

/// One sentence a front: whether the page was there, and where it was wrong.
fn sentences(board: &Scoreboard) -> Vec<String> {
    let fronts = board.fronts.iter().filter_map(|front| Some((&front.front, front.status.as_ref()?)));
    fronts.map(|(front, status)| format!("{front}: {}", sentence(status))).collect()
}

fn sentence(status: &StatusScore) -> String {
    let mut out = format!("the status page was there at {} of {} looks", percent(Some(status.up_share)), status.looks);
    if status.gap_ms > 0 {
        let _ = write!(out, ", away for up to {:.1} s", status.gap_ms as f64 / 1000.0);
    }
    if status.wrong.is_empty() {
        out.push_str("; it never said of a service that it does not work as it should while it did");
    }
    for wrong in &status.wrong {
        let seconds = wrong.for_ms as f64 / 1000.0;
        let _ = write!(
            out,
            "; for {seconds:.1} s it said of {} that it does not work as it should though it did",
            wrong.service
        );
    }
    out + "."
}

/// The table and the sentences on the terminal; empty without a status page.
pub(super) fn render(board: &Scoreboard) -> String {
    let mut out = String::new();
    let rows = rows(board);
    if !rows.is_empty() {
        out += &boxed(&HEAD.map(str::to_owned), &[rows]);
    }
    for sentence in sentences(board) {
        let _ = writeln!(out, "{sentence}");
    }
    out
}

/// The same on the page; empty without a status page.
pub(super) fn section(board: &Scoreboard) -> String {
    let sentences = sentences(board);
    if sentences.is_empty() {
        return String::new();
    }
    let mut out =
        "<section><h2>The status page</h2><p>Read four times a second during the whole run, as people and as programs \
                   read it.</p>"
            .to_owned();
    for sentence in sentences {
        let _ = write!(out, "<p>{}</p>", escape(&sentence));
    }
    let rows = rows(board);
    if rows.is_empty() {
        return out + "</section>";
    }
    out.push_str("<div class=\"scroll\"><table><thead><tr>");
    for (column, title) in ["fault", "front", "told after", "end told after"].iter().enumerate() {
        let class = if column < 2 { "" } else { " class=\"num\"" };
        let _ = write!(out, "<th scope=\"col\"{class}>{title}</th>");
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        let [fault, front, told, back] = row.as_slice() else { continue };
        let _ = write!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"num\">{told}</td><td class=\"num\">{back}</td></tr>",
            escape(fault),
            escape(front)
        );
    }
    out + "</tbody></table></div></section>"
}
