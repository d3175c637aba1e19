//! nginx, from `drills/peers/nginx.conf.in`.

use super::install::{self, Peer};
use super::{allowances, process};
use crate::front::{Front, FrontContext, RunningFront};
use anyhow::Context;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

const TEMPLATE: &str = include_str!("../../../../drills/peers/nginx.conf.in");

/// nginx as its manual allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nginx;

impl Front for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn missing(&self) -> Option<String> {
        install::missing(Peer::Nginx)
    }

    fn start(&self, context: &FrontContext<'_>) -> anyhow::Result<RunningFront> {
        let exe = install::ensure(Peer::Nginx)?;
        let config = write_config(context)?;
        // -p: whatever path is still relative stays inside the scratch folder; -e: errors before the file is read.
        let log = context.dir.join("start.log");
        let args: Vec<&OsStr> = vec![
            "-p".as_ref(),
            context.dir.as_os_str(),
            "-e".as_ref(),
            "stderr".as_ref(),
            "-c".as_ref(),
            config.as_os_str(),
        ];
        process::check(&exe, &[args.as_slice(), &["-t".as_ref(), "-q".as_ref()]].concat())?;
        let child = process::spawn(Command::new(exe).args(args), &log)?;
        let [http, https, admin] = process::addresses(context);
        let mut front = process::wait_listening(child, &[http, https, admin], &log).context("nginx")?;
        (front.http, front.https) = (Some(http), Some(https));
        Ok(front)
    }
}

fn write_config(context: &FrontContext<'_>) -> anyhow::Result<PathBuf> {
    let text = allowances::scope(context)?.render(TEMPLATE).context("drills/peers/nginx.conf.in")?;
    let path = context.dir.join("nginx.conf");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}
