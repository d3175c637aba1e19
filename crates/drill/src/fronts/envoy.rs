//! Envoy, from `drills/peers/envoy.yaml.in`.

use super::install::{self, Peer};
use super::{allowances, process};
use crate::front::{Front, FrontContext, RunningFront};
use anyhow::Context;
use std::path::PathBuf;
use std::process::Command;

const TEMPLATE: &str = include_str!("../../../../drills/peers/envoy.yaml.in");

/// Envoy as its manual allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envoy;

impl Front for Envoy {
    fn name(&self) -> &'static str {
        "envoy"
    }

    fn missing(&self) -> Option<String> {
        install::missing(Peer::Envoy)
    }

    fn start(&self, context: &FrontContext<'_>) -> anyhow::Result<RunningFront> {
        let exe = install::ensure(Peer::Envoy)?;
        let config = write_config(context)?;
        process::check(
            &exe,
            &[
                "--mode".as_ref(),
                "validate".as_ref(),
                "-l".as_ref(),
                "error".as_ref(),
                "-c".as_ref(),
                config.as_os_str(),
            ],
        )?;
        let log = context.dir.join("envoy.log");
        // Hot restart needs shared memory under a name that two drills would fight for.
        let mut command = Command::new(exe);
        command.args(["--disable-hot-restart", "-l", "error", "--concurrency", &context.workers.max(1).to_string()]);
        let child = process::spawn(command.arg("-c").arg(config), &log)?;
        let [http, https, admin] = process::addresses(context);
        let mut front = process::wait_listening(child, &[http, https, admin], &log).context("envoy")?;
        (front.http, front.https) = (Some(http), Some(https));
        Ok(front)
    }
}

fn write_config(context: &FrontContext<'_>) -> anyhow::Result<PathBuf> {
    let text = allowances::scope(context)?.render(TEMPLATE).context("drills/peers/envoy.yaml.in")?;
    let path = context.dir.join("envoy.yaml");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}
