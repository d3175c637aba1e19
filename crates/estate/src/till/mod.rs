//! A terminal at a post-office counter. It works with everything else down: what it does is in its own journal, on its own
//! disk, before the receipt is printed. The counter service is told when it can be.

mod desk;
mod pages;
mod replay;

use crate::capacity::ServiceCapacity;
use crate::counter::journal;
use crate::estate_key::EstateKey;
use crate::key_file;
use crate::kit::Kit;
use crate::peers::Peers;
use crate::server;
use crate::service::Service;
use crate::store::Store;
use anyhow::{Context as _, ensure};
use clap::Args;
use desk::Desk;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

/// Options of `till`.
#[derive(Args, Debug)]
pub struct Till {
    /// Folder of the terminal's own journal and key; made if need be.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Loopback address of the clerk's page.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Where the counter service is, when it can be reached.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub counter: SocketAddr,
    /// Folder with the estate's key, from which the enrolment code is drawn; needed once, until the terminal is registered.
    #[arg(long, value_name = "DIR")]
    pub enrolment: Option<PathBuf>,
    /// Name of the office: 1 to 12 capitals and digits.
    #[arg(long, value_name = "NAME", default_value = "PARIS01")]
    pub office: String,
    /// Name of the terminal: 1 to 12 capitals and digits.
    #[arg(long, value_name = "NAME", default_value = "T1")]
    pub terminal: String,
    /// End when the process that started this one ends.
    #[arg(long, hide = true)]
    pub exit_with_parent: bool,
}

/// Runs the terminal until SIGINT or SIGTERM.
pub(crate) async fn run(options: &Till) -> anyhow::Result<ExitCode> {
    ensure!(options.listen.ip().is_loopback(), "{}: the clerk's page is for this machine alone", options.listen);
    ensure!(options.counter.ip().is_loopback(), "{}: the reference estate is on loopback addresses", options.counter);
    for (name, option) in [(&options.office, "--office"), (&options.terminal, "--terminal")] {
        ensure!(journal::name_fits(name), "{option} {name:?}: takes 1 to 12 capitals and digits");
    }
    let parent = options.exit_with_parent.then(std::os::unix::process::parent_id);
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener =
        TcpListener::bind(options.listen).await.with_context(|| format!("can't listen on {}", options.listen))?;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&options.data);
    made.with_context(|| format!("{}: can't make the folder", options.data.display()))?;
    let (store, fresh) = Store::open_named(&options.data, "till", desk::MIGRATIONS).await?;
    if let Some(tx) = fresh {
        tx.commit().await?;
    }
    // It never leaves the terminal.
    let key = key_file::signing_key(&options.data.join("till.key"), "the terminal's key")?;
    let enrolment_code = options.enrolment.as_deref().map(|dir| {
        let estate = EstateKey::load_or_make(dir)?;
        anyhow::Ok(crate::counter::terminals::enrolment_code(&estate, &options.office, &options.terminal))
    });
    let peers = Peers::new([(Service::Counter, options.counter)]);
    let kit = Kit::new(Service::Counter, store.clone(), ServiceCapacity::unmetered(), peers);
    let desk = Desk {
        kit,
        office: options.office.clone(),
        terminal: options.terminal.clone(),
        key: Arc::new(key),
        bell: Arc::new(Notify::new()),
        line: replay::Line::default(),
    };
    let (stop, stopped) = watch::channel(false);
    let replaying = tokio::spawn(replay::run(desk.clone(), enrolment_code.transpose()?, stopped.clone()));
    let address = listener.local_addr()?;
    let serving = tokio::spawn(server::serve(listener, pages::router(&desk), stopped));
    let mut out = std::io::stdout().lock();
    writeln!(out, "till http://{address}\nready")?;
    out.flush()?;
    drop(out);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = crate::cli::parent_gone(parent) => {}
    }
    let _ = stop.send(true);
    let _ = tokio::join!(serving, replaying);
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
