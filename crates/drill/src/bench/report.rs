//! Figures of a bench: medians, ratios within rounds, a table, JSON.

use super::case::Case;
use super::{BenchArgs, FRONTS};
use crate::fronts::install::Peer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// Time from the onset of a flood until a front protects what is behind it.
#[derive(Clone, Debug, Serialize)]
pub struct ProtectTime {
    /// The front.
    pub front: String,
    /// Milliseconds; `None` where it never did.
    pub time_to_protect_ms: Option<u64>,
}

/// What a bench found.
#[derive(Debug)]
pub struct Report {
    pub(super) command: String,
    pub(super) date: String,
    pub(super) rounds: usize,
    pub(super) quick: bool,
    pub(super) instructions: bool,
    pub(super) fronts: Vec<String>,
    pub(super) machine: Vec<(&'static str, String)>,
    pub(super) versions: Vec<(String, String)>,
    pub(super) protect: Vec<ProtectTime>,
    figures: BTreeMap<(Case, String), Vec<f64>>,
}

#[derive(Serialize)]
struct Json<'a> {
    command: &'a str,
    date: &'a str,
    rounds: usize,
    quick: bool,
    machine: BTreeMap<&'a str, &'a str>,
    versions: BTreeMap<&'a str, &'a str>,
    cases: Vec<JsonCase<'a>>,
    time_to_protect: &'a [ProtectTime],
}

#[derive(Serialize)]
struct JsonCase<'a> {
    case: &'a str,
    unit: &'a str,
    fronts: Vec<JsonFront<'a>>,
}

#[derive(Serialize)]
struct JsonFront<'a> {
    front: &'a str,
    median: f64,
    rounds: &'a [f64],
    /// Guichet's figure divided by this front's.
    guichet_ratio: Option<f64>,
}

impl Report {
    pub(super) fn new(args: &BenchArgs, rounds: usize, guichet: &Path, protect: Vec<ProtectTime>) -> Self {
        let mut command = String::from("cargo xtask bench");
        if args.quick {
            command.push_str(" --quick");
        } else {
            // Writing to a `String` can't fail.
            let _ = write!(command, " --rounds {rounds}");
        }
        if args.instructions {
            command.push_str(" --instructions");
        }
        if args.fronts != FRONTS {
            let _ = write!(command, " --fronts {}", args.fronts.join(","));
        }
        let versions = args.fronts.iter().map(|f| (f.clone(), version(f, guichet))).collect();
        Self {
            command,
            date: args.date.clone(),
            rounds,
            quick: args.quick,
            instructions: args.instructions,
            fronts: args.fronts.clone(),
            machine: machine(),
            versions,
            protect,
            figures: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, case: Case, front: &str, figure: f64) {
        self.figures.entry((case, front.to_owned())).or_default().push(figure);
    }

    /// The unit of a case's figures.
    pub(super) const fn unit(&self, case: Case) -> &'static str {
        if self.instructions { "instr." } else { case.unit() }
    }

    /// The median of a front's rounds.
    pub(super) fn median(&self, case: Case, front: &str) -> Option<f64> {
        self.figures.get(&(case, front.to_owned())).and_then(|rounds| median(rounds))
    }

    /// The median over rounds of Guichet's figure divided by the front's in the same round.
    pub(super) fn ratio(&self, case: Case, front: &str) -> Option<f64> {
        let own = self.figures.get(&(case, "guichet".to_owned()))?;
        let other = self.figures.get(&(case, front.to_owned()))?;
        let ratios: Vec<f64> = own.iter().zip(other).filter(|(_, o)| **o > 0.0).map(|(g, o)| g / o).collect();
        if front == "guichet" { None } else { median(&ratios) }
    }

    /// Cases that were measured.
    pub(super) fn cases(&self) -> impl Iterator<Item = Case> {
        Case::ALL.into_iter().filter(|case| self.figures.keys().any(|(c, _)| c == case))
    }

    /// A table for a terminal: medians, and Guichet's ratio to each in brackets.
    pub(super) fn table(&self) -> String {
        let mut out = format!("{:<38}{:<8}", "", "unit");
        for front in &self.fronts {
            let _ = write!(out, "{front:>18}");
        }
        out.push('\n');
        for case in self.cases() {
            let _ = write!(out, "{:<38}{:<8}", case.title(), self.unit(case));
            for front in &self.fronts {
                let _ = write!(out, "{:>18}", self.cell(case, front));
            }
            out.push('\n');
        }
        for ProtectTime { front, time_to_protect_ms } in &self.protect {
            let time = time_to_protect_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms"));
            let _ = writeln!(out, "from flood to protection, {front}: {time}");
        }
        if self.fronts.iter().any(|f| f == "guichet") {
            out.push_str("in brackets: guichet divided by that front, median of the rounds; under 1 is better\n");
        }
        out
    }

    /// A median, with Guichet's ratio to it where there is one.
    pub(super) fn cell(&self, case: Case, front: &str) -> String {
        let Some(median) = self.median(case, front) else { return "-".to_owned() };
        let figure = if median >= 1000.0 { format!("{median:.0}") } else { format!("{median:.1}") };
        self.ratio(case, front).map_or_else(|| figure.clone(), |ratio| format!("{figure} ({ratio:.2})"))
    }

    /// Everything, with each round.
    ///
    /// # Errors
    /// When a figure can't be written as JSON.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let front_of = |case: Case, front: &'_ String| -> Option<JsonFront<'_>> {
            let (name, rounds) = self.figures.get_key_value(&(case, front.clone()))?;
            let guichet_ratio = self.ratio(case, front);
            Some(JsonFront { front: &name.1, median: median(rounds)?, rounds, guichet_ratio })
        };
        let cases = self.cases().map(|case| JsonCase {
            case: case.name(),
            unit: self.unit(case),
            fronts: self.fronts.iter().filter_map(|front| front_of(case, front)).collect(),
        });
        let json = Json {
            command: &self.command,
            date: &self.date,
            rounds: self.rounds,
            quick: self.quick,
            machine: self.machine.iter().map(|(k, v)| (*k, v.as_str())).collect(),
            versions: self.versions.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect(),
            cases: cases.collect(),
            time_to_protect: &self.protect,
        };
        Ok(serde_json::to_string_pretty(&json)?)
    }
}

/// The middle; of an even number, the mean of the two in the middle.
fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(*upper) } else { Some(f64::midpoint(sorted[middle - 1], *upper)) }
}

fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map(|(_, m)| m.trim());
    // Of the machine: what this thread may use is one core by now.
    let cores = cpuinfo.lines().filter(|l| l.starts_with("processor")).count();
    vec![
        ("cores", cores.to_string()),
        ("processor", model.unwrap_or("unknown").to_owned()),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
    ]
}

/// The first line in which a front tells its version.
fn version(front: &str, guichet: &Path) -> String {
    let peer = Peer::ALL.into_iter().find(|p| p.name() == front);
    let exe = peer.map_or_else(|| Some(guichet.to_owned()), Peer::find);
    let flag = if peer.is_some_and(|p| p != Peer::Envoy) { "-v" } else { "--version" };
    let Some(exe) = exe else { return "unknown".to_owned() };
    let Ok(output) = Command::new(&exe).arg(flag).output() else { return "unknown".to_owned() };
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let line = text.lines().find(|l| l.contains(|c: char| c.is_ascii_digit())).unwrap_or("unknown");
    // Envoy puts its path first, which is of this machine and no part of its version.
    line.replace(&*exe.to_string_lossy(), "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn report(figures: &[(Case, &str, &[f64])]) -> Report {
        let args = Line::parse_from(["bench", "--fronts", "nginx,guichet"]).args;
        let mut report = Report::new(&args, 3, Path::new("/nonexistent"), Vec::new());
        for (case, front, rounds) in figures {
            rounds.iter().for_each(|f| report.add(*case, front, *f));
        }
        report
    }

    #[test]
    fn machine_and_versions_are_told_without_paths() {
        let told = machine();
        let cores = told.iter().find(|(what, _)| *what == "cores").and_then(|(_, n)| n.parse::<usize>().ok());
        assert!(cores >= Some(1), "{told:?}");
        for peer in Peer::ALL.into_iter().filter(|peer| peer.find().is_some()) {
            let version = version(peer.name(), Path::new("/nonexistent"));
            assert!(version.contains('.') && !version.starts_with('/'), "{version}");
        }
    }

    #[test]
    fn medians_are_of_rounds_and_ratios_within_rounds() {
        for (figures, expected) in
            [(&[][..], None), (&[3.0], Some(3.0)), (&[9.0, 1.0, 2.0], Some(2.0)), (&[4.0, 1.0, 2.0, 9.0], Some(3.0))]
        {
            assert_eq!(median(figures), expected, "{figures:?}");
        }
        // A round in which the machine was slow does not move the ratio, though it moves both medians.
        let report = report(&[
            (Case::H1Plain, "nginx", &[10.0, 20.0, 30.0]),
            (Case::H1Plain, "guichet", &[5.0, 10.0, 60.0]),
            (Case::IdleTls, "nginx", &[1500.0]),
        ]);
        assert_eq!(report.ratio(Case::H1Plain, "nginx"), Some(0.5));
        assert_eq!(report.ratio(Case::H1Plain, "guichet"), None);
        assert_eq!(report.cell(Case::H1Plain, "nginx"), "20.0 (0.50)");
        assert_eq!(report.cell(Case::IdleTls, "nginx"), "1500");
        assert_eq!(report.cell(Case::IdleTls, "guichet"), "-");
        assert_eq!(report.cases().collect::<Vec<_>>(), [Case::H1Plain, Case::IdleTls]);
    }
}
