//! The demo: the reference estate on loopback, and Guichet before it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
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

/// Where the demo listens; everything can be changed.
#[derive(Args, Debug, Clone)]
pub(crate) struct DemoArgs {
    /// Port of https.
    #[arg(long, default_value_t = 8443)]
    https_port: u16,
    /// Port of http, which redirects to https.
    #[arg(long, default_value_t = 8080)]
    http_port: u16,
    /// Address of metrics, health and status.
    #[arg(long, default_value = "127.0.0.1:8444")]
    admin: SocketAddr,
    /// The estate's services listen on the nine ports after this one.
    #[arg(long, default_value_t = 9100)]
    estate_base_port: u16,
    /// Folder for certificates, configuration and databases; a temporary one that is removed at the end if absent.
    #[arg(long)]
    data: Option<PathBuf>,
}

/// A child process that ends with the demo.
struct Estate(Child);

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
    write_certificates(&dir)?;
    let config_file = dir.join("guichet.toml");
    std::fs::write(&config_file, config_text(arguments, &dir))
        .with_context(|| format!("write {}", config_file.display()))?;

    println!("Starting the estate (nine services on 127.0.0.1:{}..)", arguments.estate_base_port + 1);
    let estate = start_estate(arguments, &dir)?;
    let node = Node::start_file(&config_file)?;
    print_directory(arguments, &dir);
    let outcome = node.run_with(Duration::from_secs(1), live_line());
    println!("\nClosing: requests under way are finished, then the estate is stopped.");
    drop(estate);
    outcome
}

fn check_ports(arguments: &DemoArgs) -> anyhow::Result<()> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut wanted = vec![
        (SocketAddr::new(loopback, arguments.https_port), "--https-port"),
        (SocketAddr::new(loopback, arguments.http_port), "--http-port"),
        (arguments.admin, "--admin"),
    ];
    for n in 1..=9 {
        let Some(port) = arguments.estate_base_port.checked_add(n) else {
            bail!("--estate-base-port is too high: nine ports must follow it")
        };
        wanted.push((SocketAddr::new(loopback, port), "--estate-base-port"));
    }
    for (address, option) in wanted {
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
    let program = std::env::current_exe().context("find this program")?;
    let log = std::fs::File::create(dir.join("estate.log")).context("make the estate's log")?;
    let mut child = Command::new(program)
        .args(["estate", "all", "--exit-with-parent", "--base-port", &arguments.estate_base_port.to_string(), "--data"])
        .arg(dir.join("estate"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start the estate")?;
    let Some(stdout) = child.stdout.take() else { bail!("the estate has no output") };
    let estate = Estate(child);
    let mut ready = false;
    for line in BufReader::new(stdout).lines() {
        if line.context("read from the estate")?.trim() == "ready" {
            ready = true;
            break;
        }
    }
    if !ready {
        let log = std::fs::read_to_string(dir.join("estate.log")).unwrap_or_default();
        bail!("the estate did not start: {}", log.trim());
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
         [log]\naccess = {log:?}\n",
        admin = arguments.admin,
        https = arguments.https_port,
        http = arguments.http_port,
        cert = dir.join("cert.pem"),
        key = dir.join("key.pem"),
        log = dir.join("access.log"),
    );
    for (n, (name, criticality, _)) in SERVICES.iter().enumerate() {
        let port = usize::from(arguments.estate_base_port) + n + 1;
        // The demo lets a visitor look at the critical services too; drills reach them as partners only.
        let _ = write!(
            text,
            "\n[upstream.{name}]\nservers = [\"127.0.0.1:{port}\"]\n\n\
             [service.{name}]\nhosts = [\"{name}.localhost\"]\nupstream = \"{name}\"\ncriticality = \"{criticality}\"\n"
        );
        if !matches!(*name, "rails" | "counter" | "parcels") {
            let _ = writeln!(text, "session = {{ cookie = \"{name}_session\" }}");
        }
    }
    text
}

fn print_directory(arguments: &DemoArgs, dir: &Path) {
    println!("\nGuichet is open. Each service by its name:\n");
    for (name, criticality, what) in SERVICES {
        println!("  https://{name}.localhost:{:<6} {criticality:<10} {what}", arguments.https_port);
    }
    println!("\n  http  on {:<6} redirects to https", arguments.http_port);
    println!("  admin http://{}  (metrics, health, status)", arguments.admin);
    println!("  files {}  (configuration, access log, certificates)", dir.display());
    println!(
        "\nTry:  curl -k --http2 https://portal.localhost:{p}/\n      curl -k https://portal.localhost:{p}/suivi\n\
         The certificate is this demo's own: a browser asks once whether to go on.\nSign in as user0001 with password-0001. Ctrl-C ends all of it.\n",
        p = arguments.https_port
    );
}

/// Prints what the door does: one line that is rewritten on a terminal, one line every ten seconds elsewhere.
fn live_line() -> impl FnMut(&Totals) {
    let terminal = std::io::stdout().is_terminal();
    let mut before = Totals::default();
    let mut beats = 0u64;
    move |now: &Totals| {
        beats += 1;
        let line = format!(
            "{:>6} req/s  {:>6} served/s  {:>5} refused/s  {:>5} failed/s  {:>5} connections  {}",
            now.requests - before.requests,
            now.served - before.served,
            now.refused - before.refused,
            now.failed - before.failed,
            now.connections,
            if now.pressed.is_empty() {
                "calm".to_owned()
            } else {
                format!("under pressure: {}", now.pressed.join(", "))
            }
        );
        if terminal {
            print!("\r\x1b[K{line}");
            let _ = std::io::stdout().flush();
        } else if beats % 10 == 1 {
            println!("{line}");
        }
        before = now.clone();
    }
}
