//! `guichet notice`: what the operator says on the status page, and what others verify of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use guichet_notices::sign::{PublicKey, verify_folder};
use guichet_notices::{DataKnown, Impact, Language, Measured, Notice, Order, Planned, Settings, Stage, Words, offline};
use guichet_proxy::admin::ask;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::operator::Node;

/// What is done with notices.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Say that something is wrong, or announce work with --from and --until.
    Open {
        /// In a few words, in English.
        #[arg(long, default_value = "")]
        title_en: String,
        /// In a few words, in French.
        #[arg(long, default_value = "")]
        title_fr: String,
        #[command(flatten)]
        said: Said,
        /// A service that it is about; may be given several times.
        #[arg(long = "service", value_name = "SERVICE")]
        services: Vec<String>,
        /// When planned work begins, such as 2026-12-01T02:00:00Z.
        #[arg(long, requires = "until")]
        from: Option<Timestamp>,
        /// When planned work ends.
        #[arg(long, requires = "from")]
        until: Option<Timestamp>,
    },
    /// Say more about it. Nothing that was said is ever changed.
    Update {
        /// Its number.
        id: u32,
        #[command(flatten)]
        said: Said,
    },
    /// Take what was measured for your own words.
    Confirm {
        /// Its number.
        id: u32,
    },
    /// Say that it is over. What was opened by measurement ends by itself.
    Resolve {
        /// Its number.
        id: u32,
        #[command(flatten)]
        said: Said,
    },
    /// Those that are open, and what is measured; with --all also those that are over.
    List {
        /// Also those that are over.
        #[arg(long)]
        all: bool,
    },
    /// All that was said in one of them.
    Show {
        /// Its number.
        id: u32,
    },
    /// Draw the page into a new folder, signed.
    Render {
        /// A folder that is not there yet.
        into: PathBuf,
    },
    /// Verify a page that was published: its signature, and each file. Exit 0 if all is as it was signed, 1 if not.
    Verify {
        /// The folder.
        folder: PathBuf,
        /// The public key, or a file that holds it (minisign's form); `guichet serve` prints it at its start.
        #[arg(long)]
        key: String,
    },
}

/// What is said, in one language at least.
#[derive(Args)]
pub(crate) struct Said {
    /// What is said, in English.
    #[arg(long, default_value = "")]
    text_en: String,
    /// What is said, in French.
    #[arg(long, default_value = "")]
    text_fr: String,
    /// How far the work is: investigating, identified, monitoring or resolved.
    #[arg(long, value_parser = stage)]
    stage: Option<Stage>,
    /// How much it hurts: none, minor, major or critical.
    #[arg(long, value_parser = impact)]
    impact: Option<Impact>,
    /// What is known about people's data, in English.
    #[arg(long, default_value = "")]
    data_en: String,
    /// What is known about people's data, in French.
    #[arg(long, default_value = "")]
    data_fr: String,
    /// On what evidence, in English.
    #[arg(long, default_value = "")]
    evidence_en: String,
    /// On what evidence, in French.
    #[arg(long, default_value = "")]
    evidence_fr: String,
}

fn stage(name: &str) -> Result<Stage, String> {
    Stage::named(name).ok_or_else(|| "it must be investigating, identified, monitoring or resolved".to_owned())
}

fn impact(name: &str) -> Result<Impact, String> {
    Impact::named(name).ok_or_else(|| "it must be none, minor, major or critical".to_owned())
}

impl Said {
    fn text(&self) -> Words {
        Words::new(self.text_fr.clone(), self.text_en.clone())
    }

    fn data(&self) -> Option<DataKnown> {
        let known = Words::new(self.data_fr.clone(), self.data_en.clone());
        let evidence = Words::new(self.evidence_fr.clone(), self.evidence_en.clone());
        (!known.is_empty() || !evidence.is_empty()).then_some(DataKnown { known, evidence })
    }
}

/// Runs `guichet notice`; `config` where the node is not running, and its journal is used directly.
pub(crate) fn run(node: &Node, config: Option<&Path>, action: Action) -> anyhow::Result<ExitCode> {
    let order = match action {
        Action::List { all } => return list(node, config, all),
        Action::Show { id } => return show(node, config, id),
        Action::Render { into } => return render(node, config, &into),
        Action::Verify { folder, key } => return verify(node, &folder, &key),
        Action::Open { title_en, title_fr, said, services, from, until } => Order::Open {
            title: Words::new(title_fr, title_en),
            text: said.text(),
            components: services,
            impact: said.impact,
            stage: said.stage,
            data: said.data(),
            planned: from.zip(until).map(|(from, until)| Planned { from, until }),
        },
        Action::Update { id, said } => {
            Order::Update { id, text: said.text(), impact: said.impact, stage: said.stage, data: said.data() }
        }
        Action::Confirm { id } => Order::Confirm { id },
        Action::Resolve { id, said } => Order::Resolve { id, text: said.text(), data: said.data() },
    };
    let done = match config {
        None => ask(node.admin, "/notices/order", Some(&serde_json::to_value(&order)?))?,
        Some(config) => {
            let id = offline::order(&settings(config)?, order).map_err(anyhow::Error::msg)?;
            json!({ "done": true, "id": id })
        }
    };
    let when = if config.is_some() { "it is published when the node starts" } else { "it is on the page" };
    node.print(&done, || format!("notice {}: {when}\n", done["id"]))
}

fn settings(config: &Path) -> anyhow::Result<Settings> {
    let loaded = guichet_proxy::config::load(config).map_err(|report| anyhow::anyhow!("{}", report.render(false)))?;
    loaded.config.notices.context("the configuration has no [notices] with a 'directory'")
}

/// What the node knows, or the journal where it is not running.
fn known(node: &Node, config: Option<&Path>) -> anyhow::Result<Value> {
    let Some(config) = config else { return Ok(ask(node.admin, "/notices", None)?) };
    let (notices, journal) = offline::read(&settings(config)?.place.journal()).map_err(anyhow::Error::msg)?;
    Ok(json!({ "notices": notices, "measured": [], "journal": journal }))
}

fn notices(known: &Value) -> anyhow::Result<Vec<Notice>> {
    serde_json::from_value(known["notices"].clone()).context("read the notices")
}

fn list(node: &Node, config: Option<&Path>, all: bool) -> anyhow::Result<ExitCode> {
    let known = known(node, config)?;
    let notices = notices(&known)?;
    node.print(&known, || {
        let mut text = String::new();
        for one in known["measured"].as_array().into_iter().flatten() {
            let (measured, word) = (&one["measured"], |value: &Value| value.as_str().unwrap_or_default().to_owned());
            let goodput = measured["goodput"].as_f64().map_or_else(String::new, |share| {
                format!(", {:.1} % of {} requests answered", 100.0 * share, measured["requests"])
            });
            let (service, condition) = (word(&one["service"]), word(&measured["condition"]));
            let _ = writeln!(text, "{service:<14} {condition:<10} since {}{goodput}", word(&measured["since"]));
        }
        for notice in notices.iter().rev().filter(|notice| all || !notice.is_resolved()) {
            let draft = if notice.is_draft() && !notice.is_resolved() { "  (measured; not confirmed)" } else { "" };
            let last = notice.last();
            let (stage, impact) = (last.stage.name(), last.impact.name());
            let title = notice.title.text(Language::En);
            let _ = writeln!(text, "{:>5}  {stage:<14} {impact:<9} {}  {title}{draft}", notice.id, last.at);
        }
        if text.is_empty() { "no notice is open\n".to_owned() } else { text }
    })
}

fn show(node: &Node, config: Option<&Path>, id: u32) -> anyhow::Result<ExitCode> {
    let known = known(node, config)?;
    let notices = notices(&known)?;
    let Some(notice) = notices.iter().find(|notice| notice.id == id) else {
        bail!("there is no notice {id}; `guichet notice list --all` shows those that are known")
    };
    let value = serde_json::to_value(notice)?;
    node.print(&value, || {
        let mut text = format!("notice {id}: {}\n", notice.title.text(Language::En));
        if !notice.components.is_empty() {
            let _ = writeln!(text, "  services  {}", notice.components.join(", "));
        }
        for revision in &notice.revisions {
            let by = serde_json::to_value(revision.by).unwrap_or_default();
            let by = by.as_str().unwrap_or_default();
            let _ =
                writeln!(text, "  {}  {} ({}), by {by}", revision.at, revision.stage.name(), revision.impact.name());
            for (language, words) in [("en", &revision.text.en), ("fr", &revision.text.fr)] {
                if !words.is_empty() {
                    let _ = writeln!(text, "      {language}  {words}");
                }
            }
            if let Some(data) = &revision.data {
                let (known, evidence) = (data.known.text(Language::En), data.evidence.text(Language::En));
                let _ = writeln!(text, "      data  {known}  evidence: {evidence}");
            }
        }
        text
    })
}

fn render(node: &Node, config: Option<&Path>, into: &Path) -> anyhow::Result<ExitCode> {
    let Some(path) = config else { bail!("give the configuration with --config: it says what the page is called") };
    let settings = settings(path)?;
    // A node that runs knows what is measured; without one, that is said to be unknown.
    let known = ask(node.admin, "/notices", None).or_else(|_| known(node, config))?;
    let measured = |key: &str| {
        let one = known["measured"].as_array()?.iter().find(|one| one["service"] == key)?;
        serde_json::from_value::<Measured>(one["measured"].clone()).ok()
    };
    let chain = known["journal"].as_str().unwrap_or_default();
    let valid = offline::render(&settings, &notices(&known)?, chain, measured, into).map_err(anyhow::Error::msg)?;
    let value = json!({ "folder": into, "valid_until": valid });
    node.print(&value, || format!("{} holds the page, valid until {valid}\n", into.display()))
}

fn verify(node: &Node, folder: &Path, key: &str) -> anyhow::Result<ExitCode> {
    let text = if Path::new(key).exists() { std::fs::read_to_string(key)? } else { key.to_owned() };
    let key = PublicKey::parse(&text)?;
    let manifest = verify_folder(folder, &key)?;
    let old = Timestamp::now() > manifest.valid_until;
    let files = manifest.files.len();
    let value = json!({
        "good": true, "files": files, "drawn_at": manifest.drawn_at, "valid_until": manifest.valid_until, "old": old,
    });
    let age = if old { "; IT IS OLD: its source was silent since" } else { "" };
    node.print(&value, || {
        let (drawn, valid) = (manifest.drawn_at, manifest.valid_until);
        format!("{files} files are as they were signed, drawn at {drawn}, valid until {valid}{age}\n")
    })
}
