//! `guichet status` and `guichet hand-on`: where the trouble is, and what others are asked to stop.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use guichet_proxy::admin::ask;
use serde_json::{Value, json};

use crate::operator::{Node, number, seconds, word};

/// What is handed on to those who can stop traffic before it gets here.
#[derive(Subcommand)]
pub(crate) enum HandOn {
    /// Routes that are proposed or stand, and those that ended of late.
    List,
    /// Propose a route; it is announced when it is confirmed, or at once where the configuration waives that.
    Propose {
        /// The [[hand_on]] to ask.
        target: String,
        /// Own address or network that the traffic goes to.
        to: String,
        /// Where it comes from, such as 198.51.100.0/24.
        #[arg(long)]
        from: Option<String>,
        /// tcp, udp or icmp.
        #[arg(long)]
        protocol: Option<String>,
        /// Destination port.
        #[arg(long)]
        port: Option<u16>,
        /// For how long, such as 30m or 2h; left out: as the target says.
        #[arg(long = "for", value_name = "SPAN")]
        span: Option<jiff::SignedDuration>,
        /// Why; shown to whoever lists them.
        #[arg(long, default_value = "")]
        because: String,
    },
    /// Announce what was proposed; what stands already stands as long again.
    Confirm {
        /// Its number.
        id: u32,
    },
    /// Withdraw what stands, or take back what was proposed.
    Withdraw {
        /// Its number.
        id: u32,
    },
}

/// Runs `guichet hand-on`.
pub(crate) fn hand_on(node: &Node, action: &HandOn) -> anyhow::Result<ExitCode> {
    match action {
        HandOn::List => {
            let all = ask(node.admin, "/hand-on", None)?;
            node.print(&all, || routes(&all["routes"], true))
        }
        HandOn::Propose { target, to, from, protocol, port, span, because } => {
            let order = json!({
                "target": target,
                "to": to,
                "from": from,
                "protocol": protocol,
                "port": port,
                "for_s": span.map(seconds).transpose()?,
                "because": because,
            });
            let done = ask(node.admin, "/hand-on/propose", Some(&order))?;
            node.print(&done, || told(&done))
        }
        HandOn::Confirm { id } => {
            let done = ask(node.admin, "/hand-on/confirm", Some(&json!({ "id": id })))?;
            node.print(&done, || told(&done))
        }
        HandOn::Withdraw { id } => {
            let done = ask(node.admin, "/hand-on/withdraw", Some(&json!({ "id": id })))?;
            node.print(&done, || told(&done))
        }
    }
}

fn told(route: &Value) -> String {
    let mut text = routes(&Value::Array(vec![route.clone()]), true);
    if route["state"] == "proposed" {
        let _ = writeln!(text, "nothing is announced yet: guichet hand-on confirm {}", route["id"]);
    }
    text
}

fn routes(all: &Value, ended: bool) -> String {
    let all: Vec<_> = all.as_array().into_iter().flatten().filter(|r| ended || r["state"] != "ended").collect();
    if all.is_empty() {
        return "nothing is handed on\n".to_owned();
    }
    let mut text = format!("{:>5}  {:<12} {:<12} {:>8}  {}\n", "id", "target", "state", "ends in", "route");
    for route in all {
        let ends = route["ends_in_s"].as_u64().map_or_else(|| "-".to_owned(), |s| format!("{s} s"));
        let dry = if route["dry_run"] == true { " (dry run: nothing is announced)" } else { "" };
        let _ = writeln!(
            text,
            "{:>5}  {:<12} {:<12} {:>8}  {}{dry}",
            route["id"],
            word(&route["target"]),
            word(&route["state"]),
            ends,
            word(&route["route"])
        );
        for (label, key) in [("because", "because"), ("ended", "ended"), ("error", "error")] {
            if let Some(why) = route[key].as_str().filter(|why| !why.is_empty()) {
                let _ = writeln!(text, "{:>7}{label}: {why}", "");
            }
        }
    }
    text
}

/// Runs `guichet status`.
pub(crate) fn status(node: &Node) -> anyhow::Result<ExitCode> {
    let mut status = ask(node.admin, "/status", None)?;
    status["mitigations"] = ask(node.admin, "/mitigations", None)?["mitigations"].take();
    status["hand_on"] = ask(node.admin, "/hand-on", None)?["routes"].take();
    node.print(&status, || summary(&status))
}

fn summary(status: &Value) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", word(&status["link"]["sentence"]));
    let _ = writeln!(
        text,
        "\nguichet {} is {}, up {:.0} s, {} workers",
        word(&status["version"]),
        word(&status["state"]),
        number(&status["uptime_s"]),
        status["workers"]
    );
    for what in list(&status["degraded"]) {
        let _ = writeln!(text, "degraded: {}", word(what));
    }
    measures(&status["link"], &mut text);
    let _ = writeln!(
        text,
        "\n{:<14} {:>9}  {:>8} {:>6} {:>7}  servers",
        "service", "pressure", "in flight", "limit", "queued"
    );
    for service in list(&status["services"]) {
        let pressure = match number(&service["pressure"]) {
            p if p >= 1.0 => "pressed",
            p if p > 0.0 => "elevated",
            _ => "calm",
        };
        let pool = list(&status["upstreams"]).find(|pool| pool["name"] == service["upstream"]);
        let servers: Vec<_> = pool.map(|pool| list(&pool["servers"]).collect()).unwrap_or_default();
        let well = servers.iter().filter(|s| s["healthy"] == true && s["ejected"] == false).count();
        let _ = writeln!(
            text,
            "{:<14} {pressure:>9}  {:>8} {:>7.0} {:>7}  {well} of {}",
            word(&service["name"]),
            service["in_flight"],
            number(&service["limit"]),
            service["queued"],
            servers.len()
        );
    }
    let mitigations = list(&status["mitigations"]).count();
    let _ = match mitigations {
        0 => writeln!(text, "\nno mitigation is in force"),
        1 => writeln!(text, "\n1 mitigation is in force: guichet mitigations list"),
        more => writeln!(text, "\n{more} mitigations are in force: guichet mitigations list"),
    };
    text += &routes(&status["hand_on"], false);
    text
}

/// What of the line and the host is worth a line: the lines, and what is at least half full.
fn measures(link: &Value, text: &mut String) {
    for measure in list(&link["evidence"]) {
        let subject = word(&measure["subject"]);
        let of_service = subject.starts_with("service") || subject == "demand";
        if subject.starts_with("line") || (!of_service && number(&measure["share"]) >= 0.5) {
            let _ = writeln!(text, "  {}", word(&measure["words"]));
        }
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
