//! HAProxy, from `drills/peers/haproxy.cfg.in`.

use super::install::{self, Peer};
use super::{allowances, process};
use crate::front::{Front, FrontContext, RunningFront};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::process::Command;

const TEMPLATE: &str = include_str!("../../../../drills/peers/haproxy.cfg.in");

/// HAProxy as its manual allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Haproxy;

impl Front for Haproxy {
    fn name(&self) -> &'static str {
        "haproxy"
    }

    fn missing(&self) -> Option<String> {
        install::missing(Peer::Haproxy)
    }

    fn start(&self, context: &FrontContext<'_>) -> anyhow::Result<RunningFront> {
        let exe = install::ensure(Peer::Haproxy)?;
        let config = write_config(&exe, context)?;
        process::check(&exe, &["-c".as_ref(), "-q".as_ref(), "-f".as_ref(), config.as_os_str()])?;
        let log = context.dir.join("haproxy.log");
        // -db: in the foreground and without a master, so that the process started is the one that works.
        let child = process::spawn(Command::new(exe).arg("-db").arg("-f").arg(config), &log)?;
        let [http, https, admin] = process::addresses(context);
        let mut front = process::wait_listening(child, &[http, https, admin], &log).context("haproxy")?;
        (front.http, front.https) = (Some(http), Some(https));
        Ok(front)
    }
}

fn write_config(exe: &Path, context: &FrontContext<'_>) -> anyhow::Result<PathBuf> {
    let pem = context.dir.join("haproxy.pem");
    concatenate(&context.tls.cert, &context.tls.key, &pem)?;
    let mut scope = allowances::scope(context)?;
    scope.set("pem", pem.display()).set("glitches", if major(exe)? >= 3 { "yes" } else { "" });
    let text = scope.render(TEMPLATE).context("drills/peers/haproxy.cfg.in")?;
    let path = context.dir.join("haproxy.cfg");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// HAProxy wants certificate and key in one file, which nobody else may read.
pub(crate) fn concatenate(cert: &Path, key: &Path, to: &Path) -> anyhow::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let bytes = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    file.write_all(&bytes).with_context(|| to.display().to_string())
}

/// The major version, for options that older ones don't know.
fn major(exe: &Path) -> anyhow::Result<u32> {
    let output = Command::new(exe).arg("-v").output().with_context(|| exe.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let number = version.and_then(|v| v.split('.').next()).and_then(|n| n.parse().ok());
    number.with_context(|| format!("no version in: {}", text.lines().next().unwrap_or_default()))
}
