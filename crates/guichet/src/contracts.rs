//! The commands of the operator about services: how each stands, and what is switched off.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use guichet_proxy::admin::ask;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::operator::Node;

/// How services stand, and how they are put in a state.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Service {
    #[command(subcommand)]
    list: Option<List>,
    /// Name of the service.
    #[arg(required = true)]
    name: Option<String>,
    /// How it is to stand.
    #[arg(required = true, value_enum)]
    state: Option<State>,
    #[command(flatten)]
    until: Until,
}

#[derive(Subcommand)]
enum List {
    /// Every service with its state, since when and why.
    List,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    /// Open, whatever is measured.
    Open,
    /// What is read goes on; what is sent is told to come back.
    ReadOnly,
    /// Kept answers, or else the fallback page; the service is not asked.
    Fallback,
    /// The fallback page and nothing else.
    Shut,
    /// Take the order back: what is measured holds again.
    Measured,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ReadOnly => "read-only",
            Self::Fallback => "fallback",
            Self::Shut => "shut",
            Self::Measured => "measured",
        }
    }
}

/// When an order ends by itself, and why it was given.
#[derive(Args)]
pub(crate) struct Until {
    /// When it ends by itself: a time of day such as 18:00 (the next one), or a date with time.
    #[arg(long, value_name = "TIME", conflicts_with = "span")]
    until: Option<String>,
    /// For how long, such as 30m or 2h; an hour where nothing is said.
    #[arg(long = "for", value_name = "SPAN")]
    span: Option<SignedDuration>,
    /// Why; shown to operators, not to visitors.
    #[arg(long, default_value = "")]
    because: String,
}

/// A costly feature that is switched off or on.
#[derive(Args)]
pub(crate) struct Switch {
    /// Name of the service.
    service: String,
    /// Path of the declared route, such as /search.
    route: String,
    /// Switch it on again.
    #[arg(long)]
    on: bool,
    #[command(flatten)]
    until: Until,
}

/// Runs `guichet service`.
pub(crate) fn service(node: &Node, order: &Service) -> anyhow::Result<ExitCode> {
    let (Some(name), Some(state)) = (&order.name, order.state) else {
        let all = ask(node.admin, "/contracts", None)?;
        return node.print(&all, || table(&all));
    };
    if matches!(state, State::Measured) {
        let done = ask(node.admin, "/contracts/end", Some(&json!({ "service": name })))?;
        return node.print(&done, || format!("{name}: what is measured holds again\n"));
    }
    let until_s = order.until.unix_s(Timestamp::now())?;
    let given = json!({
        "service": name, "state": state.name(), "until_unix_s": until_s, "because": order.until.because,
    });
    let done = ask(node.admin, "/contracts/order", Some(&given))?;
    node.print(&done, || format!("{name} is {} until {}\n", state.name(), shown(until_s)))
}

/// Runs `guichet switch-off`.
pub(crate) fn switch(node: &Node, order: &Switch) -> anyhow::Result<ExitCode> {
    let (service, route) = (&order.service, &order.route);
    if order.on {
        let done = ask(node.admin, "/contracts/switch-on", Some(&json!({ "service": service, "route": route })))?;
        return node.print(&done, || format!("{route} of {service} is on again\n"));
    }
    let until_s = order.until.unix_s(Timestamp::now())?;
    let given = json!({
        "service": service, "route": route, "until_unix_s": until_s, "because": order.until.because,
    });
    let done = ask(node.admin, "/contracts/switch-off", Some(&given))?;
    node.print(&done, || format!("{route} of {service} is off until {}\n", shown(until_s)))
}

impl Until {
    /// Seconds since 1970 at which the order ends.
    fn unix_s(&self, now: Timestamp) -> anyhow::Result<u64> {
        let at = match (&self.until, self.span) {
            (Some(text), _) => moment(text, now)?,
            (None, span) => now.checked_add(span.unwrap_or(SignedDuration::from_hours(1)))?,
        };
        anyhow::ensure!(at > now, "the order would have ended already, at {at}");
        Ok(u64::try_from(at.as_second())?)
    }
}

/// A time of day (the next one, in the time zone of this machine), a date with time there, or a timestamp.
fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let zone = TimeZone::system();
    if let Ok(at) = text.parse::<jiff::civil::DateTime>() {
        return Ok(zone.to_timestamp(at)?);
    }
    let Ok(time) = text.parse::<jiff::civil::Time>() else {
        anyhow::bail!("{text:?} is no time: write 18:00, 2026-11-27T18:00, or use --for 2h")
    };
    let today = zone.to_datetime(now).date();
    let at = zone.to_timestamp(today.to_datetime(time))?;
    if at > now { Ok(at) } else { Ok(zone.to_timestamp(today.tomorrow()?.to_datetime(time))?) }
}

fn shown(unix_s: u64) -> String {
    let at = i64::try_from(unix_s).ok().and_then(|s| Timestamp::from_second(s).ok()).unwrap_or_default();
    TimeZone::system().to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn table(all: &Value) -> String {
    let mut text = format!("{:<14} {:<10} {:<20} {}\n", "service", "state", "since", "why");
    for one in all["services"].as_array().into_iter().flatten() {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let by = &one["by"];
        let until = by["until_unix_s"].as_u64().map_or_else(String::new, |at| format!("until {}", shown(at)));
        let why = match by["kind"].as_str() {
            Some("operator") => format!("by order {until} {}", word(&by["because"])),
            Some("need") => format!("{} is away", word(&by["service"])),
            _ => "measured".to_owned(),
        };
        let since = one["since_unix_s"].as_u64().map_or_else(String::new, shown);
        let contract = if one["title"].is_null() { " (no contract)" } else { "" };
        let _ = writeln!(
            text,
            "{:<14} {:<10} {since:<20} {}{contract}",
            word(&one["service"]),
            word(&one["state"]),
            why.trim_end()
        );
        for off in one["off"].as_array().into_iter().flatten() {
            let until = off["by"]["until_unix_s"]
                .as_u64()
                .map_or_else(|| "while pressed".to_owned(), |at| format!("until {}", shown(at)));
            let _ = writeln!(text, "{:<14} {:<10} {until:<20} {}", "", "off", word(&off["route"]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_the_next_ones() {
        let zone = TimeZone::system();
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        let here = zone.to_datetime(now);
        let later = moment("23:59:59", now).unwrap();
        assert_eq!(zone.to_datetime(later).date(), here.date());
        let earlier = moment("00:00", now).unwrap();
        assert_eq!(zone.to_datetime(earlier).date(), here.date().tomorrow().unwrap());
        assert_eq!(moment("2026-11-27T18:00:00Z", now).unwrap().as_second(), 1_795_802_400);
        assert!(moment("half past six", now).is_err());
    }
}
