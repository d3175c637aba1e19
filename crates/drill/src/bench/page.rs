//! docs/benchmarks.md, rendered from the figures.

use super::report::{ProtectTime, Report};
use crate::fronts::template::Scope;

const PAGE: &str = include_str!("page.md.in");

/// The page. Its template is part of this program, so that it renders is tested and not handed on as an error.
pub(crate) fn render(report: &Report) -> String {
    let flag = |condition: bool| if condition { "yes" } else { "" };
    let mut scope = Scope::default();
    let has_figures = report.cases().next().is_some();
    let machine: Vec<_> = report.machine.iter().map(|(what, value)| format!("{what} {value}")).collect();
    scope
        .set("command", &report.command)
        .set("date", &report.date)
        .set("rounds", report.rounds)
        .set("quick", if report.quick { " (quick: shows that it works, not how fast)" } else { "" })
        .set("machine", machine.join(", "))
        .set("figures", flag(has_figures))
        .set("no_figures", flag(!has_figures))
        .set("no_protect", flag(report.protect.is_empty()))
        .set("head", format!("| | unit | {} |", report.fronts.join(" | ")))
        .set("rule", format!("|-|-|{}", "-|".repeat(report.fronts.len())));
    let one = |values: &[(&'static str, String)]| {
        let mut scope = Scope::default();
        for (name, value) in values {
            scope.set(name, value);
        }
        scope
    };
    let versions = report.versions.iter().map(|(f, v)| one(&[("front", f.clone()), ("version", v.clone())]));
    scope.list("versions", versions.collect());
    let rows = report.cases().map(|case| {
        let cells: Vec<_> = report.fronts.iter().map(|front| report.cell(case, front)).collect();
        one(&[("row", format!("| {} | {} | {} |", case.title(), report.unit(case), cells.join(" | ")))])
    });
    scope.list("rows", rows.collect());
    let protect = report.protect.iter().map(|ProtectTime { front, time_to_protect_ms }| {
        let time = time_to_protect_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
        one(&[("front", front.clone()), ("time", time)])
    });
    scope.list("protect", protect.collect());
    scope.render(PAGE).unwrap_or_else(|error| format!("The page can't be rendered: {error}\n"))
}
