//! Guichet itself: `guichet serve -c FILE`.

use super::{contracts, process};
use crate::front::{Contracts, Front, FrontContext, Ports, RunningFront, ServiceTarget};
use anyhow::{Context, bail};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Guichet, with the features of this repository.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guichet;

/// How long it may take until it says that it is ready.
const READY_WAIT: Duration = Duration::from_secs(15);

impl Front for Guichet {
    fn name(&self) -> &'static str {
        "guichet"
    }

    fn missing(&self) -> Option<String> {
        None
    }

    fn start(&self, context: &FrontContext<'_>) -> anyhow::Result<RunningFront> {
        if !context.guichet_exe.is_file() {
            bail!("no guichet binary at {}: build it with `cargo build --release`", context.guichet_exe.display());
        }
        let config = context.dir.join("guichet.toml");
        std::fs::write(&config, guichet_toml(context)?).with_context(|| config.display().to_string())?;
        process::check(context.guichet_exe, &["check".as_ref(), "-c".as_ref(), config.as_os_str()])?;
        let log = context.dir.join("guichet.log");
        let child = process::spawn(Command::new(context.guichet_exe).args(["serve", "-c"]).arg(&config), &log)?;
        let [http, https, admin] = process::addresses(context);
        let mut front = process::wait_listening(child, &[admin, http, https], &log).context("guichet")?;
        wait_ready(admin)?;
        (front.http, front.https) = (Some(http), Some(https));
        if context.contracts != Contracts::None {
            front.status = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, context.status_port)));
        }
        Ok(front)
    }
}

/// Asks the admin listener until it answers 200 to `GET /health/ready`.
///
/// # Errors
/// When it doesn't within fifteen seconds.
pub(crate) fn wait_ready(admin: SocketAddr) -> anyhow::Result<()> {
    let until = Instant::now() + READY_WAIT;
    while Instant::now() < until {
        if matches!(ready_status(admin), Ok(true)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("guichet is not ready on {admin} after {READY_WAIT:?}")
}

fn ready_status(admin: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&admin, Duration::from_millis(200))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(&head[..] == b"HTTP/1.1 200")
}

/// The configuration that Guichet gets in drills: the same knowledge of the services as the peers get.
///
/// # Errors
/// When the partner's certificate can't be read.
pub fn guichet_toml(context: &FrontContext<'_>) -> anyhow::Result<String> {
    let mut toml = node(context.workers, context.ports, context.tls.partner_ca.as_path());
    certificate(&mut toml, &context.tls.cert, &context.tls.key);
    let partner_services: Vec<_> =
        context.services.iter().filter(|s| s.partner_only).map(|s| quoted(&s.name)).collect();
    let der = CertificateDer::from_pem_file(&context.tls.partner_cert)
        .with_context(|| format!("certificate {}", context.tls.partner_cert.display()))?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let hex: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let _ = write!(
        toml,
        "[[partner]]\nname = \"drill\"\ncertificate_sha256 = [\"{hex}\"]\nservices = [{}]\n\n",
        partner_services.join(", ")
    );
    let contracts = context.contracts;
    if contracts != Contracts::None {
        toml.push_str(contracts::CHANNELS);
        let notices = context.dir.join("notices");
        // What an earlier drill left in a kept directory would be told again.
        if notices.exists() {
            std::fs::remove_dir_all(&notices).with_context(|| notices.display().to_string())?;
        }
        toml.push_str(&contracts::notices(&notices, context.status_port));
    }
    for target in context.services {
        service(&mut toml, target);
        if contracts != Contracts::None {
            contracts::contract(&mut toml, &target.name, contracts == Contracts::Kept);
        }
    }
    Ok(toml)
}

/// Node, admin, listeners, limits and log. Writing to a `String` can't fail, here and below.
fn node(workers: usize, ports: Ports, partner_ca: &Path) -> String {
    let Ports { http, https, admin } = ports;
    let partner_ca = quoted(partner_ca.display());
    format!(
        "[node]\nworkers = {workers}\ndrain_s = 2\n\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\n\
         [[listener]]\nname = \"http\"\naddress = \"127.0.0.1:{http}\"\nprotocol = \"http\"\nbacklog = 4096\n\n\
         [[listener]]\nname = \"https\"\naddress = \"127.0.0.1:{https}\"\nprotocol = \"https\"\nbacklog = 4096\n\
         partner_ca = {partner_ca}\n\n\
         [limits]\n# Sources of a drill are neighbours in 127.0.0.0/8: their networks tell nothing.\n\
         connections_per_network = 20000\n\n[log]\naccess = \"off\"\n\n"
    )
}

pub(crate) fn certificate(toml: &mut String, cert: &Path, key: &Path) {
    let _ = write!(toml, "[[certificate]]\ncert = {}\nkey = {}\n\n", quoted(cert.display()), quoted(key.display()));
}

fn service(toml: &mut String, target: &ServiceTarget) {
    let ServiceTarget { name, host, upstream, .. } = target;
    let criticality = target.criticality.name();
    let workers = target.workers.max(1);
    let (initial, max) = (workers + workers.div_ceil(2), workers * 4);
    let _ = write!(
        toml,
        "[upstream.{name}]\nservers = [\"{upstream}\"]\n\n\
         [service.{name}]\nhosts = [{}]\nupstream = \"{name}\"\ncriticality = \"{criticality}\"\npartner_only = {}\n\
         concurrency = {{ initial = {initial}, min = {}, max = {max} }}\n",
        quoted(host),
        target.partner_only,
        workers.div_ceil(2),
    );
    if let Some(cookie) = &target.session_cookie {
        let login = login_path(name);
        let _ = writeln!(toml, "session = {{ cookie = {}, issued_on = [\"{login}\"], life_s = 3600 }}", quoted(cookie));
    }
    toml.push('\n');
    for (path, cost) in costly(name) {
        let _ = write!(
            toml,
            "[[service.{name}.route]]\npath = \"{path}\"\ncost = {cost:.1}\ncriticality = \"{criticality}\"\n\n"
        );
    }
}

/// Where a service of the estate signs people in.
fn login_path(service: &str) -> &'static str {
    match service {
        "portal" => "/connexion",
        "app" => "/v1/sessions",
        _ => "/login",
    }
}

/// The operations that cost most, as the peers' configurations know them, and how many ordinary requests an operator
/// would say that one counts for.
fn costly(service: &str) -> &'static [(&'static str, f64)] {
    match service {
        "portal" => &[("/recherche", 8.0), ("/connexion", 4.0)],
        "app" => &[("/v1/sessions", 3.0)],
        "identity" => &[("/login", 8.0)],
        "vault" | "bank" | "staff" => &[("/login", 2.5)],
        "parcels" => &[("/quotes", 8.0)],
        _ => &[],
    }
}

/// A basic TOML string: JSON's quoting is valid TOML for anything that a path or a name can hold.
pub(crate) fn quoted(text: impl ToString) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::test_certificates;
    use guichet_core::Criticality;

    #[test]
    fn the_configuration_says_what_the_services_are() {
        let dir = tempfile::tempdir().unwrap();
        let service = |name: &str, partner_only: bool, cookie: Option<&str>| ServiceTarget {
            name: name.to_owned(),
            host: format!("{name}.localhost"),
            upstream: "127.0.0.1:9101".parse().unwrap(),
            criticality: if partner_only { Criticality::Critical } else { Criticality::Ordinary },
            partner_only,
            session_cookie: cookie.map(str::to_owned),
            workers: 5,
            capacity_rps: 50.0,
        };
        let context = FrontContext {
            dir: dir.path(),
            tls: &test_certificates(dir.path()),
            services: &[service("portal", false, Some("portal_session")), service("rails", true, None)],
            ports: Ports { http: 8080, https: 8443, admin: 8444 },
            workers: 2,
            guichet_exe: Path::new("guichet"),
            contracts: Contracts::Kept,
            status_port: 8445,
        };
        let text = guichet_toml(&context).unwrap();
        let found: toml::Table = text.parse().unwrap();
        let at = |path: &str| {
            path.split('.').fold(toml::Value::Table(found.clone()), |value, step| match step.parse::<usize>() {
                Ok(index) => value[index].clone(),
                Err(_) => value[step].clone(),
            })
        };
        for (path, expected) in [
            ("node.workers", "2"),
            ("admin.listen", "\"127.0.0.1:8444\""),
            ("listener.0.address", "\"127.0.0.1:8080\""),
            ("listener.1.address", "\"127.0.0.1:8443\""),
            ("upstream.portal.servers.0", "\"127.0.0.1:9101\""),
            ("service.portal.hosts.0", "\"portal.localhost\""),
            ("service.portal.session.cookie", "\"portal_session\""),
            ("service.portal.session.issued_on.0", "\"/connexion\""),
            ("service.portal.concurrency.initial", "8"),
            ("service.portal.route.0.path", "\"/recherche\""),
            ("service.portal.contract.fallback", "\"page\""),
            ("service.rails.contract.ways.0", "\"counter\""),
            ("notices.listen", "\"127.0.0.1:8445\""),
            ("channel.telephone.telephone", "\"3639\""),
            ("service.rails.partner_only", "true"),
            ("service.rails.criticality", "\"critical\""),
            ("partner.0.services.0", "\"rails\""),
        ] {
            assert_eq!(at(path).to_string(), expected, "{path}");
        }
        let digest = at("partner.0.certificate_sha256.0");
        assert_eq!(digest.as_str().map(str::len), Some(64), "a SHA-256 in hex");
    }
}
