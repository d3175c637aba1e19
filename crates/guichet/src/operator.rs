//! The commands of the operator to a running node: mitigations, whom they never touch, and what a reference code means.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use guichet_proxy::admin::ask;
use serde_json::{Value, json};

/// How to reach the node, and what to print.
#[derive(Args)]
pub(crate) struct Node {
    /// Address of the node's admin listener ([admin] listen).
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8444", env = "GUICHET_ADMIN", global = true)]
    pub(crate) admin: SocketAddr,
    /// Print what the node answers, as JSON.
    #[arg(long, global = true)]
    json: bool,
}

/// What is done about attackers.
#[derive(Subcommand)]
pub(crate) enum Mitigations {
    /// Those there are; with --ended also those that ended lately.
    List {
        /// Also those that ended.
        #[arg(long)]
        ended: bool,
    },
    /// One of them, with its evidence.
    Show {
        /// Its number.
        id: u32,
    },
    /// Act on a signature of your own, such as: add portal challenge agent=Floodmaker method=GET.
    Add {
        /// Service; * for connections, before any service is asked for.
        service: String,
        /// The step: observe, deprioritise, challenge, limit or refuse.
        step: String,
        /// What to match: up to four of DIMENSION=VALUE, as `show` writes them.
        #[arg(required = true, value_name = "DIMENSION=VALUE")]
        signature: Vec<String>,
        /// For how long, such as 30m or 2h.
        #[arg(long = "for", value_name = "SPAN", default_value = "1h")]
        span: jiff::SignedDuration,
    },
    /// Hold it at a step: observe, deprioritise, challenge, limit or refuse.
    Pin {
        /// Its number.
        id: u32,
        /// The step.
        step: String,
        /// For how long, such as 30m or 2h.
        #[arg(long = "for", value_name = "SPAN", default_value = "1h")]
        span: jiff::SignedDuration,
    },
    /// Sources that the kernel's filter drops now ([kernel_filter]).
    Dropped,
    /// Drop a source, or all within a network, no longer.
    Lift {
        /// Such as 192.0.2.7.
        network: String,
    },
    /// End it; it may be found again after five minutes.
    End {
        /// Its number.
        id: u32,
    },
    /// End it, and do not find it again.
    Forbid {
        /// Its number.
        id: u32,
        /// For how long, such as 30m or 2h.
        #[arg(long = "for", value_name = "SPAN", default_value = "24h")]
        span: jiff::SignedDuration,
    },
}

/// Networks that no mitigation touches.
#[derive(Subcommand)]
pub(crate) enum Allow {
    /// Those there are.
    List,
    /// Allow a network or an address for a while.
    Add {
        /// Such as 192.0.2.0/24.
        network: String,
        /// For how long, such as 30m or 2h.
        #[arg(long = "for", value_name = "SPAN", default_value = "24h")]
        span: jiff::SignedDuration,
        /// Why; shown to whoever lists them.
        #[arg(long, default_value = "")]
        because: String,
    },
    /// Do not allow it any more.
    Remove {
        /// As it was given.
        network: String,
    },
}

/// Codes that let somebody in.
#[derive(Subcommand)]
pub(crate) enum Pass {
    /// Print a code for somebody for whom nothing else works; it is typed on the page that asks for a pass.
    Issue {
        /// How often it may be used: 1, 2, 5, 10, 20, 50, 100 or 500; others are rounded up.
        #[arg(long, default_value_t = 1)]
        uses: u16,
        /// For how long, such as 30m or 2h; at most 30 days, rounded up to a whole hour.
        #[arg(long = "for", value_name = "SPAN", default_value = "24h")]
        span: jiff::SignedDuration,
    },
}

/// Runs `guichet pass`.
pub(crate) fn pass(node: &Node, action: &Pass) -> anyhow::Result<ExitCode> {
    let Pass::Issue { uses, span } = action;
    let order = json!({ "uses": uses, "for_s": seconds(*span)? });
    let issued = ask(node.admin, "/passes/issue", Some(&order))?;
    node.print(&issued, || format!("{}   (good {} times, for {span:#})\n", word(&issued["code"]), issued["uses"]))
}

/// Runs `guichet mitigations`.
pub(crate) fn mitigations(node: &Node, action: &Mitigations) -> anyhow::Result<ExitCode> {
    match action {
        Mitigations::List { ended } => {
            let all = ask(node.admin, "/mitigations", None)?;
            node.print(&all, || table(&all, *ended))
        }
        Mitigations::Show { id } => {
            let all = ask(node.admin, "/mitigations", None)?;
            let known = ["mitigations", "ended"].iter().flat_map(|part| all[*part].as_array()).flatten();
            let Some(one) = known.into_iter().find(|m| m["id"] == *id) else {
                anyhow::bail!(
                    "there is no mitigation {id}; `guichet mitigations list --ended` shows those that are known"
                )
            };
            node.print(one, || whole(one))
        }
        Mitigations::Pin { id, step, span } => {
            let order = json!({ "id": id, "step": step, "for_s": seconds(*span)? });
            let done = ask(node.admin, "/mitigations/pin", Some(&order))?;
            node.print(&done, || format!("mitigation {id} is held at {step} for {span:#}\n"))
        }
        Mitigations::Add { service, step, signature, span } => {
            let mut parts = Vec::new();
            for part in signature {
                let Some((dimension, value)) = part.split_once('=') else {
                    anyhow::bail!("{part:?} is not DIMENSION=VALUE, such as agent=curl")
                };
                parts.push([dimension, value]);
            }
            let order = json!({ "service": service, "step": step, "signature": parts, "for_s": seconds(*span)? });
            let done = ask(node.admin, "/mitigations/add", Some(&order))?;
            node.print(&done, || format!("mitigation {} is at {step} for {span:#}\n", done["id"]))
        }
        Mitigations::Dropped => {
            let all = ask(node.admin, "/mitigations/dropped", None)?;
            node.print(&all, || dropped(&all))
        }
        Mitigations::Lift { network } => {
            let done = ask(node.admin, "/mitigations/lift", Some(&json!({ "network": network })))?;
            node.print(&done, || format!("{network}: {} sources are not dropped any more\n", done["sources"]))
        }
        Mitigations::End { id } => {
            let done = ask(node.admin, "/mitigations/end", Some(&json!({ "id": id })))?;
            node.print(&done, || format!("mitigation {id} ended; it may be found again after five minutes\n"))
        }
        Mitigations::Forbid { id, span } => {
            let order = json!({ "id": id, "for_s": seconds(*span)? });
            let done = ask(node.admin, "/mitigations/forbid", Some(&order))?;
            node.print(&done, || format!("mitigation {id} ended; its signature is not acted upon for {span:#}\n"))
        }
    }
}

/// Runs `guichet allow`.
pub(crate) fn allow(node: &Node, action: &Allow) -> anyhow::Result<ExitCode> {
    match action {
        Allow::List => {
            let all = ask(node.admin, "/allow", None)?;
            node.print(&all, || networks(&all))
        }
        Allow::Add { network, span, because } => {
            let order = json!({ "network": network, "for_s": seconds(*span)?, "because": because });
            let done = ask(node.admin, "/allow/add", Some(&order))?;
            node.print(&done, || format!("{network}: no mitigation touches it for {span:#}\n"))
        }
        Allow::Remove { network } => {
            let done = ask(node.admin, "/allow/remove", Some(&json!({ "network": network })))?;
            node.print(&done, || format!("{network} is not allowed any more\n"))
        }
    }
}

/// Runs `guichet explain`.
pub(crate) fn explain(node: &Node, code: &str) -> anyhow::Result<ExitCode> {
    let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let told = ask(node.admin, &format!("/explain?code={code}"), None)?;
    node.print(&told, || explained(&told))
}

impl Node {
    pub(crate) fn print(&self, value: &Value, words: impl FnOnce() -> String) -> anyhow::Result<ExitCode> {
        let text = if self.json { format!("{value:#}\n") } else { words() };
        std::io::stdout().lock().write_all(text.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(crate) fn seconds(span: jiff::SignedDuration) -> anyhow::Result<u64> {
    let seconds = u64::try_from(span.as_secs()).unwrap_or(0);
    anyhow::ensure!(seconds > 0, "--for must be at least a second");
    Ok(seconds)
}

fn table(all: &Value, ended: bool) -> String {
    let mut text =
        format!("{:>5}  {:<12} {:<13} {:>8}  {:>9}  {}\n", "id", "service", "step", "req/s", "ends in", "signature");
    let mut lines = 0;
    let mut add = |m: &Value| {
        let step = match (m["ended"].as_str(), m["pinned_s"].is_null(), m["dry_run"].as_bool()) {
            (Some(_), ..) => format!("({})", m["ended"].as_str().unwrap_or_default()),
            (None, false, _) => format!("{} (held)", word(&m["step"])),
            (None, true, Some(true)) => format!("{} (dry)", word(&m["step"])),
            (None, true, _) => word(&m["step"]).to_owned(),
        };
        let ends = if m["ended"].is_null() { format!("{:.0} s", number(&m["ends_in_s"])) } else { "-".to_owned() };
        let rate = number(&m["requests_per_s"]);
        let _ = writeln!(
            text,
            "{:>5}  {:<12} {:<13} {:>8.1}  {:>9}  {}",
            m["id"],
            word(&m["service"]),
            step,
            rate,
            ends,
            signature(m)
        );
        lines += 1;
    };
    all["mitigations"].as_array().into_iter().flatten().for_each(&mut add);
    if ended {
        all["ended"].as_array().into_iter().flatten().for_each(&mut add);
    }
    if lines == 0 { "no mitigation is in force: nothing unusual was found\n".to_owned() } else { text }
}

fn whole(m: &Value) -> String {
    let e = &m["evidence"];
    let mut text = String::new();
    let _ = writeln!(text, "mitigation {} at {}: {}", m["id"], word(&m["service"]), signature(m));
    let _ = writeln!(
        text,
        "  step       {} (harshest so far: {}), since {:.0} s",
        word(&m["step"]),
        word(&m["peak"]),
        number(&m["at_step_s"])
    );
    if let Some(why) = m["ended"].as_str() {
        let _ = writeln!(text, "  ended      {why}");
    } else {
        let _ = writeln!(text, "  ends       in {:.0} s, unless it is needed again", number(&m["ends_in_s"]));
    }
    if !m["pinned_s"].is_null() {
        let _ = writeln!(text, "  held       by the operator, for {:.0} s more", number(&m["pinned_s"]));
    }
    if m["dry_run"] == true {
        let _ = writeln!(text, "  dry run    this service only watches: nothing is done");
    }
    let _ = writeln!(
        text,
        "  matches    {:.1} requests/s now, about {} so far (estimated from samples)",
        number(&m["requests_per_s"]),
        m["requests"]
    );
    let _ = writeln!(
        text,
        "  evidence   {:.0} % of the strangers' requests, {:.1}/s where {:.1}/s were usual: {:.0} times its usual share",
        100.0 * number(&e["coverage"]),
        number(&e["requests_per_s"]),
        number(&e["usual_per_s"]),
        number(&e["lift"])
    );
    match e["ending"].as_str() {
        Some("failed_sign_ins") => {
            let right = 100.0 * number(&e["right"]);
            let _ = writeln!(
                text,
                "  ending     failed sign-ins; {right:.0} % of those that reached the service were right"
            );
        }
        Some(ending) => drop(writeln!(text, "  ending     most of them: {ending}")),
        None => {}
    }
    let _ = writeln!(
        text,
        "  collateral {:.2} % of {} requests of proven standing would match",
        100.0 * number(&e["collateral"]),
        e["compared_with"]
    );
    let seen = if m["known"] == true { "was known from before" } else { "was found by itself" };
    let _ = writeln!(text, "  signature  {seen}, {:.0} s ago", number(&m["age_s"]));
    text
}

fn dropped(all: &Value) -> String {
    let mut text = format!("{:<40} {:>10} {:>8} {:>8}  {}\n", "source", "mitigation", "since", "ends in", "times");
    let sources = all["dropped"].as_array().map_or(&[][..], Vec::as_slice);
    for source in sources {
        let _ = writeln!(
            text,
            "{:<40} {:>10} {:>6.0} s {:>6.0} s  {}",
            word(&source["source"]),
            source["mitigation"],
            number(&source["age_s"]),
            number(&source["ends_in_s"]),
            source["times"]
        );
    }
    if sources.is_empty() { "the kernel's filter drops nobody\n".to_owned() } else { text }
}

fn networks(all: &Value) -> String {
    let mut text = String::new();
    for network in all["configured"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{:<40} from the configuration", word(network));
    }
    for allowed in all["by_order"].as_array().into_iter().flatten() {
        let because = word(&allowed["because"]);
        let _ = writeln!(text, "{:<40} for {} s more  {because}", word(&allowed["network"]), allowed["ends_in_s"]);
    }
    if text.is_empty() { "no network is allowed whatever it does\n".to_owned() } else { text }
}

fn explained(told: &Value) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} ({}): status {}, for {}",
        word(&told["reason"]),
        told["code"],
        told["status"],
        word(&told["fault"])
    );
    let _ = writeln!(text, "  for you      {}", word(&told["operator"]));
    let _ = writeln!(text, "  they read    {}", word(&told["visitor"]["en"]));
    let _ = writeln!(text, "  ils lisent   {}", word(&told["visitor"]["fr"]));
    let refusal = &told["refusal"];
    if refusal.is_null() {
        let _ = writeln!(
            text,
            "  this one     is not remembered here: look for the code in the access log (field `reference`)"
        );
        return text;
    }
    let service = refusal["service"].as_str().unwrap_or("no service");
    let _ = writeln!(
        text,
        "  this one     {} s ago, at {service}, standing {}",
        refusal["ago_s"],
        word(&refusal["standing"])
    );
    let by = &refusal["mitigation"];
    if !by.is_null() {
        text += &whole(by);
    }
    text
}

fn signature(m: &Value) -> String {
    let parts = m["signature"].as_array().into_iter().flatten();
    parts.map(|part| format!("{}={}", word(&part["dimension"]), word(&part["value"]))).collect::<Vec<_>>().join(" & ")
}

pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}
