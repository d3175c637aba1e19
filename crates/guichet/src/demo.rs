//! The demo: the reference estate on loopback, and Guichet before it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use guichet_estate::{DATABASE_VARIABLE, Database};
use guichet_proxy::serve::{Node, Totals};

/// Services of the estate in the order of their ports, with what the demo says of each.
const SERVICES: [(&str, &str, &str); 9] = [
    ("portal", "ordinary", "web site"),
    ("app", "ordinary", "mobile application (API)"),
    ("identity", "important", "digital identity"),
    ("vault", "ordinary", "document store"),
    ("bank", "important", "online bank"),
    ("rails", "critical", "cards, SMS codes, instant transfers (partners)"),
    ("counter", "critical", "post-office counters (partners)"),
    ("parcels", "ordinary", "parcel tracking"),
    ("staff", "important", "files for staff"),
];

/// The port where the terminal looks for the rails if nothing else is said.
const CARDS_PORT: u16 = 8583;

/// The BIC of the demo's other bank.
const OTHER_BANK: &str = "OTHRDEFFXXX";

/// Where the demo listens; everything can be changed.
#[derive(Args, Debug, Clone)]
pub(crate) struct DemoArgs {
    /// Port of https.
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    https_port: u16,
    /// Port of http, which redirects to https.
    #[arg(long, value_name = "PORT", default_value_t = 8080, value_parser = clap::value_parser!(u16).range(1..))]
    http_port: u16,
    /// Address of metrics, health and status.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8444")]
    admin: SocketAddr,
    /// The estate's services listen on the nine ports after this one.
    #[arg(long, value_name = "PORT", default_value_t = 9100)]
    estate_base_port: u16,
    /// Port of the test telephone, a page that shows the text messages of the estate.
    #[arg(long, value_name = "PORT", default_value_t = 8445, value_parser = clap::value_parser!(u16).range(1..))]
    telephone_port: u16,
    /// Port where the rails take messages of card terminals and cash machines (ISO 8583).
    #[arg(long, value_name = "PORT", default_value_t = CARDS_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    cards_port: u16,
    /// Port of a counter's terminal, a page for the clerk of a post office.
    #[arg(long, value_name = "PORT", default_value_t = 8446, value_parser = clap::value_parser!(u16).range(1..))]
    till_port: u16,
    /// Port of another bank, which takes and sends instant transfers.
    #[arg(long, value_name = "PORT", default_value_t = 8447, value_parser = clap::value_parser!(u16).range(1..))]
    other_bank_port: u16,
    /// Port of the status page, which stays up whatever becomes of the services.
    #[arg(long, value_name = "PORT", default_value_t = 8448, value_parser = clap::value_parser!(u16).range(1..))]
    status_port: u16,
    /// Folder for certificates, configuration and databases; a temporary one that is removed at the end if absent.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Keep the estate's stores in PostgreSQL; takes --data too, where the keys stay.
    #[arg(long, value_name = "postgres://USER@HOST/DATABASE", env = DATABASE_VARIABLE, hide_env_values = true)]
    database: Option<Database>,
}

/// A child process that ends with the demo.
struct Estate(Child);

impl Estate {
    /// How it ended, if it did.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.0.try_wait().ok().flatten()
    }
}

impl Drop for Estate {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(self.0.id() as i32),
                nix::sys::signal::Signal::SIGTERM,
            );
            for _ in 0..100 {
                if !matches!(self.0.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Runs until Ctrl-C or TERM.
pub(crate) fn run(arguments: &DemoArgs) -> anyhow::Result<()> {
    if arguments.database.is_some() && arguments.data.is_none() {
        bail!(
            "--database (or {DATABASE_VARIABLE}) needs --data DIR: what is sealed in the database opens with the keys there"
        );
    }
    check_ports(arguments)?;
    let temporary = match arguments.data {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("guichet-demo-").tempdir().context("make a temporary folder")?),
    };
    let dir = match (&arguments.data, &temporary) {
        (Some(data), _) => data.clone(),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => unreachable!("one of the two was chosen above"),
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("make the folder {}", dir.display()))?;
    // Held until the end: two demos in one folder would write over each other's files.
    let _lock = lock(&dir)?;
    write_certificates(&dir)?;
    let config_file = dir.join("guichet.toml");
    std::fs::write(&config_file, config_text(arguments, &dir))
        .with_context(|| format!("write {}", config_file.display()))?;

    let base = arguments.estate_base_port;
    say(&format!("Starting the estate: nine services on 127.0.0.1, ports {} to {}.\n", base + 1, base + 9));
    if let Some(database) = &arguments.database {
        say(&format!("Its stores are in {database:?}, a schema each.\n"));
    }
    let mut estate = start_estate(arguments, &dir)?;
    let till = start_till(arguments, &dir)?;
    let other_bank = start_other_bank(arguments, &dir)?;
    let node = Node::start_file(&config_file)?;
    say(&directory(arguments, &dir));
    let outcome = node.run_with(Duration::from_secs(1), live_line(&mut estate, dir.join("estate.log")));
    say("\nClosed: requests under way were finished. Now the estate is stopped.\n");
    drop((till, other_bank));
    drop(estate);
    outcome
}

/// Writes to standard output. Who reads it may go away (`guichet demo | head`); that ends nothing.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn lock(dir: &Path) -> anyhow::Result<std::fs::File> {
    let path = dir.join("demo.lock");
    let file = std::fs::File::create(&path).with_context(|| format!("write {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another demo uses the folder {}; choose another with --data", dir.display())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

fn check_ports(arguments: &DemoArgs) -> anyhow::Result<()> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut wanted = vec![
        (SocketAddr::new(loopback, arguments.https_port), "--https-port"),
        (SocketAddr::new(loopback, arguments.http_port), "--http-port"),
        (arguments.admin, "--admin"),
        (SocketAddr::new(loopback, arguments.telephone_port), "--telephone-port"),
        (SocketAddr::new(loopback, arguments.cards_port), "--cards-port"),
        (SocketAddr::new(loopback, arguments.till_port), "--till-port"),
        (SocketAddr::new(loopback, arguments.other_bank_port), "--other-bank-port"),
        (SocketAddr::new(loopback, arguments.status_port), "--status-port"),
    ];
    for n in 1..=9 {
        let Some(port) = arguments.estate_base_port.checked_add(n) else {
            bail!("--estate-base-port is too high: nine ports must follow it")
        };
        wanted.push((SocketAddr::new(loopback, port), "--estate-base-port"));
    }
    for (n, (address, option)) in wanted.iter().enumerate() {
        if let Some((_, other)) = wanted[..n].iter().find(|(former, _)| former.port() == address.port()) {
            bail!("port {} is asked for twice, by {other} and {option}; choose another with {option}", address.port());
        }
        if let Err(error) = TcpListener::bind(address) {
            bail!("{address} cannot be used ({error}); choose another with {option}");
        }
    }
    Ok(())
}

fn write_certificates(dir: &Path) -> anyhow::Result<()> {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    if cert.exists() && key.exists() {
        return Ok(());
    }
    let hosts: Vec<String> = SERVICES.iter().map(|(name, ..)| format!("{name}.localhost")).collect();
    let names: Vec<&str> = hosts.iter().map(String::as_str).chain(["localhost"]).collect();
    let made = guichet_proxy::listen::tls::self_signed(&names).context("make a certificate")?;
    std::fs::write(&cert, made.cert)?;
    std::fs::write(dir.join("ca.pem"), made.ca)?;
    write_secret(&key, made.key.as_bytes()).with_context(|| format!("write {}", key.display()))
}

/// Writes a file that only its owner can read.
fn write_secret(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

fn start_estate(arguments: &DemoArgs, dir: &Path) -> anyhow::Result<Estate> {
    let mut command = estate_command("all")?;
    command
        .args(["--base-port", &arguments.estate_base_port.to_string(), "--data"])
        .arg(dir.join("estate"))
        .args(["--telephone", &format!("127.0.0.1:{}", arguments.telephone_port)])
        .args(["--cards", &format!("127.0.0.1:{}", arguments.cards_port)])
        .args(["--bank-at", &format!("{OTHER_BANK}=127.0.0.1:{}", arguments.other_bank_port)]);
    if let Some(database) = &arguments.database {
        // Not as an argument: the list of processes is everybody's to read.
        command.env(DATABASE_VARIABLE, database.connection_string());
    }
    start_child("estate", command, dir)
}

/// A terminal of a post office: a process of its own, which goes on when the estate is gone.
fn start_till(arguments: &DemoArgs, dir: &Path) -> anyhow::Result<Estate> {
    let mut command = estate_command("till")?;
    command
        .args(["--listen", &format!("127.0.0.1:{}", arguments.till_port), "--data"])
        .arg(dir.join("till"))
        .args(["--counter", &format!("127.0.0.1:{}", arguments.estate_base_port + 7), "--enrolment"])
        .arg(dir.join("estate"));
    start_child("till", command, dir)
}

/// Another bank of the scheme of instant transfers.
fn start_other_bank(arguments: &DemoArgs, dir: &Path) -> anyhow::Result<Estate> {
    let mut command = estate_command("participant")?;
    command
        .args(["--bic", OTHER_BANK, "--listen", &format!("127.0.0.1:{}", arguments.other_bank_port)])
        .args(["--rails", &format!("127.0.0.1:{}", arguments.estate_base_port + 6)]);
    start_child("other-bank", command, dir)
}

fn estate_command(what: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.args(["estate", what, "--exit-with-parent"]);
    Ok(command)
}

/// Starts a part of the demo and waits until it is ready; what it says of errors goes into a log of its own.
fn start_child(name: &str, mut command: Command, dir: &Path) -> anyhow::Result<Estate> {
    let log_file = dir.join(format!("{name}.log"));
    let log = std::fs::File::create(&log_file).with_context(|| format!("make {}", log_file.display()))?;
    let mut child = command
        // A group of its own: Ctrl-C reaches the demo alone, which lets requests finish before it stops the estate.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("start the {name}"))?;
    let Some(stdout) = child.stdout.take() else { bail!("the {name} has no output") };
    let estate = Estate(child);
    let mut ready = false;
    for line in BufReader::new(stdout).lines() {
        if line.with_context(|| format!("read from the {name}"))?.trim() == "ready" {
            ready = true;
            break;
        }
    }
    if !ready {
        let log = std::fs::read_to_string(log_file).unwrap_or_default();
        bail!("the {name} did not start: {}", log.trim());
    }
    Ok(estate)
}

fn config_text(arguments: &DemoArgs, dir: &Path) -> String {
    let mut text = format!(
        "# Written by `guichet demo`; every key is explained in docs/configuration.md\n\
         [admin]\nlisten = \"{admin}\"\n\n\
         [[listener]]\nname = \"https\"\naddress = \"127.0.0.1:{https}\"\nprotocol = \"https\"\n\n\
         [[listener]]\nname = \"http\"\naddress = \"127.0.0.1:{http}\"\nprotocol = \"http\"\nredirect_to_https = true\nhttps_port = {https}\n\n\
         [[certificate]]\ncert = {cert:?}\nkey = {key:?}\n\n\
         [log]\naccess = {log:?}\n\n\
         [notices]\ndirectory = {notices:?}\nlisten = \"127.0.0.1:{status}\"\nurl = \"http://127.0.0.1:{status}\"\ncomponents = {services:?}\n",
        admin = arguments.admin,
        https = arguments.https_port,
        http = arguments.http_port,
        cert = dir.join("cert.pem"),
        key = dir.join("key.pem"),
        log = dir.join("access.log"),
        notices = dir.join("notices"),
        status = arguments.status_port,
        services = SERVICES.map(|(name, ..)| name),
    );
    for (n, (name, criticality, _)) in SERVICES.iter().enumerate() {
        let port = usize::from(arguments.estate_base_port) + n + 1;
        // The demo lets a visitor look at the critical services too; drills reach them as partners only.
        let _ = write!(
            text,
            "\n[upstream.{name}]\nservers = [\"127.0.0.1:{port}\"]\n\
             health = {{ path = \"/health\", interval_ms = 1000, timeout_ms = 500 }}\n\n\
             [service.{name}]\nhosts = [\"{name}.localhost\"]\nupstream = \"{name}\"\ncriticality = \"{criticality}\"\n"
        );
        if !matches!(*name, "rails" | "counter" | "parcels") {
            let _ = writeln!(text, "session = {{ cookie = \"{name}_session\" }}");
        }
    }
    text.push_str(include_str!("demo_contracts.toml"));
    text
}

/// What is where, and what to try.
fn directory(arguments: &DemoArgs, dir: &Path) -> String {
    let mut text = String::from("\nGuichet is open. Each service by its name:\n\n");
    let urls = SERVICES.map(|(name, ..)| format!("https://{name}.localhost:{}/", arguments.https_port));
    let width = urls.iter().map(String::len).max().unwrap_or_default();
    for (url, (_, criticality, what)) in urls.iter().zip(SERVICES) {
        let _ = writeln!(text, "  {url:<width$}  {criticality:<9}  {what}");
    }
    let redirecting = format!("http://portal.localhost:{}/", arguments.http_port);
    let admin = format!("http://{}/", arguments.admin);
    let telephone = format!("http://127.0.0.1:{}/", arguments.telephone_port);
    let till = format!("http://127.0.0.1:{}/", arguments.till_port);
    let other_bank = format!("http://127.0.0.1:{}/transfers", arguments.other_bank_port);
    let status = format!("http://127.0.0.1:{}/", arguments.status_port);
    let _ = write!(
        text,
        "\n  {redirecting:<width$}  redirects to https\n  {admin:<width$}  metrics, health, status\n  {telephone:<width$}  a telephone: the text messages with codes\n  {till:<width$}  a post-office counter: works with everything else down\n  {other_bank:<width$}  another bank: pay +4915100000001 or anna@autre.example there\n  {status:<width$}  the status page: what works and what does not, even when all else is down\n  {files:<width$}  configuration, access log, certificates\n\n\
         Try   curl -k --http2 https://portal.localhost:{port}/\n      \
         curl -k -H 'Accept: application/json' https://nobody.localhost:{port}/\n      \
         tail -f {log}\n      \
         {program} estate terminal pay --amount 12.50{rails}\n      \
         {program} estate terminal withdraw --amount 40{rails}\n\n\
         The certificate is this demo's own: a browser asks once whether to go on.\n\
         Sign in as user0001 with password-0001: on the portal (through identity too), at bank …/espace, vault …/coffre, identity …/moi.\n\
         Ctrl-C ends all of it.\n\n",
        files = dir.display(),
        port = arguments.https_port,
        log = dir.join("access.log").display(),
        // Whoever came by cargo has no `guichet` on the path.
        program = std::env::current_exe().unwrap_or_else(|_| "guichet".into()).display(),
        rails = match arguments.cards_port {
            CARDS_PORT => String::new(),
            port => format!(" --rails 127.0.0.1:{port}"),
        },
    );
    text
}

/// Tells what the door does: one line that is rewritten on a terminal, one line every ten seconds elsewhere. That the
/// estate is gone is said at once, and on every line after.
fn live_line(estate: &mut Estate, log: PathBuf) -> impl FnMut(&Totals) {
    let terminal = std::io::stdout().is_terminal();
    let mut before = Totals::default();
    let mut beats = 0u64;
    let mut gone = false;
    move |now: &Totals| {
        beats += 1;
        if !gone && let Some(status) = estate.ended() {
            gone = true;
            say(&format!(
                "{}The estate is gone ({status}): Guichet answers in its place with error pages (502, 503).\n\
                 What it last said is in {}. Ctrl-C ends the demo; start it again to have the estate back.\n",
                if terminal { "\r\x1b[K" } else { "" },
                log.display()
            ));
        }
        let line = line(&before, now, gone);
        if terminal {
            say(&format!("\r\x1b[K{line}"));
        } else if beats % 10 == 1 {
            say(&format!("{line}\n"));
        }
        before = now.clone();
    }
}

/// The line of one second.
fn line(before: &Totals, now: &Totals, estate_gone: bool) -> String {
    let state = match (estate_gone, now.pressed.as_slice()) {
        (true, _) => "the estate is gone".to_owned(),
        (false, []) => "calm".to_owned(),
        (false, pressed) => format!("under pressure: {}", pressed.join(", ")),
    };
    format!(
        "{:>6} req/s  {:>6} served/s  {:>5} refused/s  {:>5} failed/s  {:>5} connections  {state}",
        now.requests.saturating_sub(before.requests),
        now.served.saturating_sub(before.served),
        now.refused.saturating_sub(before.refused),
        now.failed.saturating_sub(before.failed),
        now.connections,
    )
}
