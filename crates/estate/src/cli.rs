//! The command line: `guichet-estate all ...`, or one service alone; also embedded as `guichet estate`.

use crate::capacity::CapacityModel;

use crate::delivery::{self, Delivery};
use crate::estate::{Estate, Options};
use crate::participant::{self, Participant};
use crate::seed_large::{self, Seed};
use crate::service::Service;
use crate::store::roles::{self, Roles};
use crate::store::{DATABASE_VARIABLE, Database};
use crate::terminal::{self, Terminal};
use crate::terminals::{self, Terminals};
use crate::till::{self, Till};
use crate::verify;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The reference postal bank that drills protect.
#[derive(Debug, Parser)]
#[command(name = "guichet-estate", version)]
pub struct Cli {
    /// What to start.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be started.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// All nine services, each with a listener of its own: base port + 1 (portal) to base port + 9 (staff).
    All(All),
    /// The public website.
    Portal(One),
    /// The interface behind the mobile application.
    App(One),
    /// Who is who.
    Identity(One),
    /// The document vault.
    Vault(One),
    /// The online bank.
    Bank(One),
    /// Cards, SMS codes and instant transfers.
    Rails(One),
    /// Operations at post office counters.
    Counter(One),
    /// Scans, tracking and prices of parcels.
    Parcels(One),
    /// Files read by the staff.
    Staff(One),
    /// Check what must hold in the stores of a data folder: a table, and exit status 1 if anything is broken.
    Verify(Verify),
    /// Be a card terminal or a cash machine: one payment, withdrawal or balance, over ISO 8583.
    Terminal(Terminal),
    /// Be a terminal at a post-office counter, with a page for the clerk: it works with everything else down.
    Till(Till),
    /// Terminals of counters: list them, revoke one.
    Terminals(Terminals),
    /// Be another bank that takes and sends instant transfers, for tests and the demo.
    Participant(Participant),
    /// Delivery codes: make the list of a round, check a code at the door.
    Delivery(Delivery),
    /// Make the stores with their test data, small or large.
    Seed(Seed),
    /// Make a role of PostgreSQL for each service, and one that only reads, before the first start on that database.
    Roles(Roles),
    /// Write the verifiers of the published test passwords (`seed/verifiers.bin` of the source).
    #[command(hide = true)]
    MakeVerifiers {
        /// The file to write.
        file: PathBuf,
    },
}

/// Options of `all`.
#[derive(Args, Debug)]
pub struct All {
    /// Services listen on this port plus their number, 1 to 9; 0: each on a free port.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=65526))]
    pub base_port: u16,
    /// Loopback address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// What each service takes besides.
    #[command(flatten)]
    pub common: Common,
}

/// Options of one service.
#[derive(Args, Debug)]
pub struct One {
    /// Loopback address and port to listen on.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// What each service takes besides.
    #[command(flatten)]
    pub common: Common,
}

/// Options of `verify`.
#[derive(Args, Debug)]
pub struct Verify {
    /// Folder of the databases; the services may be running.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// The stores are in PostgreSQL.
    #[arg(long, value_name = "postgres://USER@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
    pub database: Option<Database>,
    /// What clients were told is done: lines of `SERVICE ROUTE KEY`. Each must be there exactly once.
    #[arg(long, value_name = "FILE")]
    pub acknowledged: Option<PathBuf>,
    /// Print the findings as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of each service.
#[derive(Args, Debug)]
pub struct Common {
    /// Folder of the databases, one file a service; made if need be.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Keep the stores in PostgreSQL, a schema a service; keys stay in the folder.
    #[arg(long, value_name = "postgres://USER@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
    pub database: Option<Database>,
    /// Declared capacity (TOML), for drills; without it there are no artificial costs.
    #[arg(long, value_name = "FILE")]
    pub capacity: Option<PathBuf>,
    /// A service that runs elsewhere, for those here that ask it; may be given several times.
    #[arg(long = "peer", value_name = "SERVICE=ADDRESS:PORT", value_parser = peer)]
    pub peers: Vec<(Service, SocketAddr)>,
    /// Message centre to which the rails hand text messages, over SMPP 3.4; without it they wait in the rails' store.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub message_centre: Option<SocketAddr>,
    /// Be the message centre too, and show the text messages on a page at this loopback address, as a test telephone.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "message_centre")]
    pub telephone: Option<SocketAddr>,
    /// Loopback address where the rails take messages of card terminals and cash machines: ISO 8583 over TCP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub cards: Option<SocketAddr>,
    /// Another bank that takes instant transfers (pacs.008 at `/pacs`), on a loopback address; may be given several times.
    #[arg(long = "bank-at", value_name = "BIC=ADDRESS:PORT", value_parser = bank_at)]
    pub banks: Vec<(String, SocketAddr)>,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

fn peer(text: &str) -> Result<(Service, SocketAddr), String> {
    let (name, address) = text.split_once('=').ok_or("takes SERVICE=ADDRESS:PORT, as rails=127.0.0.1:9006")?;
    let service = Service::ALL.into_iter().find(|service| service.name() == name);
    let service = service.ok_or_else(|| format!("there is no service called {name:?}"))?;
    let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
    Ok((service, address))
}

fn bank_at(text: &str) -> Result<(String, SocketAddr), String> {
    let (bic, address) = text.split_once('=').ok_or("takes BIC=ADDRESS:PORT, as OTHRFRPP=127.0.0.1:9120")?;
    if !guichet_iso20022::bic_fits(bic) {
        return Err(format!("{bic:?} is no BIC: takes 8 or 11 capitals and digits"));
    }
    let address: SocketAddr = address.parse().map_err(|error| format!("{address}: {error}"))?;
    if !address.ip().is_loopback() {
        return Err(format!("{address}: other banks are on loopback addresses only"));
    }
    Ok((bic.to_owned(), address))
}

impl Command {
    /// Which service at which address, and the other options; `None` for what starts nothing.
    fn listen(&self) -> Option<(Vec<(Service, SocketAddr)>, &Common)> {
        let one = |service, one: &'_ One| vec![(service, one.listen)];
        Some(match self {
            Self::All(all) => {
                let port = |service: Service| if all.base_port == 0 { 0 } else { all.base_port + service.number() };
                let listen = Service::ALL.map(|service| (service, SocketAddr::new(all.bind, port(service))));
                (listen.to_vec(), &all.common)
            }
            Self::Portal(options) => (one(Service::Portal, options), &options.common),
            Self::App(options) => (one(Service::App, options), &options.common),
            Self::Identity(options) => (one(Service::Identity, options), &options.common),
            Self::Vault(options) => (one(Service::Vault, options), &options.common),
            Self::Bank(options) => (one(Service::Bank, options), &options.common),
            Self::Rails(options) => (one(Service::Rails, options), &options.common),
            Self::Counter(options) => (one(Service::Counter, options), &options.common),
            Self::Parcels(options) => (one(Service::Parcels, options), &options.common),
            Self::Staff(options) => (one(Service::Staff, options), &options.common),
            Self::Verify(_)
            | Self::Terminal(_)
            | Self::Till(_)
            | Self::Participant(_)
            | Self::Terminals(_)
            | Self::Delivery(_)
            | Self::Seed(_)
            | Self::Roles(_)
            | Self::MakeVerifiers { .. } => {
                return None;
            }
        })
    }
}

/// Does what the command line asks for, until SIGINT or SIGTERM. Makes its own runtime: not to be called from one.
///
/// # Errors
/// When the capacity file is wrong, a port is taken, or the data folder can't be used.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("can't start the runtime")?;
    let done = runtime.block_on(run_async(cli));
    // Detached work (a slow body) must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// As [`run`], on the caller's runtime.
///
/// # Errors
/// As [`run`].
pub async fn run_async(cli: Cli) -> anyhow::Result<ExitCode> {
    match &cli.command {
        Command::MakeVerifiers { file } => {
            let verifiers = crate::credentials::make_verifiers()?;
            std::fs::write(file, verifiers).with_context(|| format!("{}: can't write", file.display()))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Verify(options) => return verify_stores(options).await,
        Command::Terminal(options) => return terminal::run(options).await,
        Command::Seed(options) => return seed_large::run(options).await,
        Command::Roles(options) => return roles::run(options).await,
        Command::Delivery(options) => return delivery::run(options),
        Command::Till(options) => return till::run(options).await,
        Command::Terminals(options) => return terminals::run(options).await,
        Command::Participant(options) => return participant::run(options).await,
        _ => {}
    }
    let Some((listen, common)) = cli.command.listen() else { return Ok(ExitCode::SUCCESS) };
    let capacity = common.capacity.as_deref().map(CapacityModel::load).transpose()?.unwrap_or_default();
    // The parent is the one of now: if it ends during the start, that counts.
    let parent = common.exit_with_parent.then(std::os::unix::process::parent_id);
    // Before the start, so that a signal in between is not lost.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    raise_file_limit();
    let elsewhere = common.peers.clone();
    let (message_centre, telephone, cards) = (common.message_centre, common.telephone, common.cards);
    let (data, banks) = (common.data.clone(), common.banks.clone());
    let database = common.database.clone();
    let options = Options { listen, data, database, capacity, elsewhere, message_centre, telephone, cards, banks };
    let estate = Estate::start(&options).await?;
    announce(&estate)?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = parent_gone(parent) => {}
    }
    estate.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// Exit status 1 says that an invariant is broken; what can't be read at all is an error.
async fn verify_stores(options: &Verify) -> anyhow::Result<ExitCode> {
    let findings = verify::verify(&options.data, options.database.as_ref(), options.acknowledged.as_deref()).await?;
    let text = if options.json { serde_json::to_string(&findings)? + "\n" } else { verify::table(&findings) };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(if findings.iter().all(|finding| finding.ok) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn announce(estate: &Estate) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (service, address) in estate.addresses() {
        writeln!(out, "{} http://{address}", service.name())?;
    }
    if let Some(page) = estate.telephone() {
        writeln!(out, "telephone http://{page}")?;
    }
    if let Some(cards) = estate.cards() {
        writeln!(out, "cards tcp://{cards}")?;
    }
    writeln!(out, "ready")?;
    Ok(out.flush()?)
}

/// Ends when the given process is no longer the parent of this one; never without one.
pub(crate) async fn parent_gone(parent: Option<u32>) {
    let Some(parent) = parent else { return std::future::pending().await };
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    while std::os::unix::process::parent_id() == parent {
        tick.tick().await;
    }
}

/// Nine services with thousands of connections need more descriptors than the usual soft limit.
fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        eprintln!("guichet-estate: can't raise the limit on open files above {soft}: {error}");
    }
}
