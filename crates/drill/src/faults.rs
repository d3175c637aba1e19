//! The estate of a drill, and what goes wrong in it: with faults, each service is a process of its own, which is killed,
//! stopped or told to misbehave at its moment.

use crate::disk::SmallDisk;
use crate::front::stop_children;
use crate::scenario::{Fault, FaultKind};
use crate::services::SERVICES;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The environment variable that tells services of the estate where orders to misbehave are.
const ORDERS: &str = "GUICHET_ESTATE_FAULTS";
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(50);
/// The key that the services of an estate share, and how long it may take until one of them has made it.
const ESTATE_KEY: &str = "estate.key";
const KEY_WAIT: Duration = Duration::from_secs(30);

/// Processes of the estate; they end with this value.
pub(crate) struct Estate {
    /// One for all services, or one a service in the order of [`SERVICES`].
    commands: Vec<Command>,
    /// None while it is killed.
    children: Vec<Option<Child>>,
    /// For services whose disk is to be full, by the order of [`SERVICES`].
    disks: BTreeMap<usize, SmallDisk>,
    orders: PathBuf,
}

impl Drop for Estate {
    fn drop(&mut self) {
        for child in self.children.iter().flatten() {
            // One that is stopped could not end in order.
            let _ = signal(child, Signal::SIGCONT);
        }
        stop_children(&mut self.children.drain(..).flatten().collect());
        for disk in self.disks.values() {
            if let Err(error) = disk.keep() {
                eprintln!("guichet drill: {error:#}");
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    kill(pid, signal).with_context(|| format!("{signal} to a service of the estate"))
}

fn start(command: &mut Command) -> anyhow::Result<Child> {
    command.spawn().with_context(|| format!("{}: can't start the estate", command.get_program().to_string_lossy()))
}

/// Where the processes of an estate find what they need.
pub(crate) struct Setting<'a> {
    /// Orders to misbehave.
    pub(crate) orders: &'a Path,
    /// Their stores.
    pub(crate) data: &'a Path,
    /// What they say.
    pub(crate) log: &'a File,
    /// Those that have a small disk of their own, which can be filled.
    pub(crate) on_disks: BTreeSet<usize>,
}

/// A disk over the stores, with the key that the services share, which others make.
fn small_disk(data: &Path) -> anyhow::Result<SmallDisk> {
    let until = Instant::now() + KEY_WAIT;
    while !data.join(ESTATE_KEY).exists() {
        if Instant::now() > until {
            bail!("{}: the other services made no key", data.join(ESTATE_KEY).display());
        }
        std::thread::sleep(LOOK);
    }
    let disk = SmallDisk::over(data)?;
    disk.bring(ESTATE_KEY)?;
    Ok(disk)
}

impl Estate {
    /// Starts the processes. Those that have a disk of their own come when the others have made the key that all share.
    ///
    /// # Errors
    /// When one can't be started, or a disk can't be made.
    pub(crate) fn start(commands: Vec<Command>, setting: &Setting<'_>) -> anyhow::Result<Self> {
        let children = commands.iter().map(|_| None).collect();
        let mut estate = Self { commands, children, disks: BTreeMap::new(), orders: setting.orders.to_owned() };
        for at in (0..estate.commands.len()).filter(|at| !setting.on_disks.contains(at)) {
            estate.begin(at, setting)?;
        }
        for &at in &setting.on_disks {
            let disk = small_disk(setting.data)?;
            estate.commands[at] = disk.inside(&estate.commands[at])?;
            estate.disks.insert(at, disk);
            estate.begin(at, setting)?;
        }
        Ok(estate)
    }

    fn begin(&mut self, at: usize, setting: &Setting<'_>) -> anyhow::Result<()> {
        let command = &mut self.commands[at];
        command.stdin(Stdio::null()).stdout(setting.log.try_clone()?).stderr(setting.log.try_clone()?);
        // A group of its own: Ctrl-C in a terminal reaches the drill alone, which then ends its children in order.
        command.process_group(0).env(ORDERS, setting.orders);
        self.children[at] = Some(start(command)?);
        Ok(())
    }

    /// Whether one of them has ended by itself.
    pub(crate) fn ended(&mut self) -> anyhow::Result<bool> {
        for child in self.children.iter_mut().flatten() {
            if child.try_wait()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes each fault begin and end at its moment after `origin`, until all have or the run is over.
    ///
    /// # Errors
    /// When a process can't be signalled or started again, or an order can't be written.
    pub(crate) fn play(&mut self, faults: &[Fault], origin: Instant, over: &AtomicBool) -> anyhow::Result<()> {
        // Of two at the same moment, the end comes first.
        let mut moments: Vec<(u64, bool, &Fault)> =
            faults.iter().flat_map(|fault| [(fault.from_ms, true, fault), (fault.until_ms, false, fault)]).collect();
        moments.sort_by_key(|(at_ms, begins, _)| (*at_ms, *begins));
        for (at_ms, begins, fault) in moments {
            let at = origin + Duration::from_millis(at_ms);
            while let Some(left) = at.checked_duration_since(Instant::now()) {
                if over.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(left.min(LOOK));
            }
            let what = || format!("{} {}", SERVICES[fault.service].name, fault.kind.name());
            self.turn(fault, begins).with_context(what)?;
        }
        Ok(())
    }

    fn turn(&mut self, fault: &Fault, begins: bool) -> anyhow::Result<()> {
        let child = &mut self.children[fault.service];
        let order = match fault.kind {
            FaultKind::Killed if begins => {
                if let Some(mut child) = child.take() {
                    child.kill()?;
                    child.wait()?;
                }
                return Ok(());
            }
            FaultKind::Killed => {
                *child = Some(start(&mut self.commands[fault.service])?);
                return Ok(());
            }
            FaultKind::Frozen => {
                let wanted = if begins { Signal::SIGSTOP } else { Signal::SIGCONT };
                return child.as_ref().map_or(Ok(()), |child| signal(child, wanted));
            }
            FaultKind::Slow(ms) => format!("slow {ms}"),
            FaultKind::Errors(share) => format!("errors {share}"),
            FaultKind::HalfDead(share) => format!("half-dead {share}"),
            FaultKind::DiskFull => {
                let disk = self.disks.get(&fault.service).context("it has no disk of its own")?;
                return if begins { disk.fill() } else { disk.free() };
            }
        };
        let file = self.orders.join(SERVICES[fault.service].name);
        if begins {
            // Whole or not at all: the service may read at any moment.
            let new = file.with_extension("new");
            std::fs::write(&new, order)?;
            return Ok(std::fs::rename(new, file)?);
        }
        Ok(std::fs::remove_file(file)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind, from_ms: u64, until_ms: u64) -> Fault {
        Fault { service: 0, kind, from_ms, until_ms }
    }

    /// A process that goes on for longer than any test.
    fn sleeper(orders: &Path) -> Estate {
        let mut command = Command::new("sleep");
        command.arg("600");
        let log = tempfile::tempfile().unwrap();
        let setting = Setting { orders, data: orders, log: &log, on_disks: BTreeSet::new() };
        Estate::start(vec![command], &setting).unwrap()
    }

    /// The state of a process, as the kernel tells it: `S` sleeps, `T` is stopped.
    fn state(pid: u32) -> Option<char> {
        let told = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        told.rsplit_once(") ")?.1.chars().next()
    }

    fn wait_for(what: &str, seen: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !seen() {
            assert!(Instant::now() < until, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_killed_service_is_gone_and_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut estate = sleeper(dir.path());
        let first = estate.children[0].as_ref().unwrap().id();
        let killed = fault(FaultKind::Killed, 0, 1);
        estate.turn(&killed, true).unwrap();
        assert!(estate.children[0].is_none() && state(first).is_none());
        assert!(!estate.ended().unwrap(), "the drill ended it, it did not end by itself");
        estate.play(&[killed], Instant::now(), &AtomicBool::new(false)).unwrap();
        let second = estate.children[0].as_ref().unwrap().id();
        assert!(second != first && !estate.ended().unwrap());
        drop(estate);
        assert_eq!(state(second), None);
    }

    #[test]
    fn a_frozen_service_is_stopped_and_goes_on_and_ends_either_way() {
        let dir = tempfile::tempdir().unwrap();
        let mut estate = sleeper(dir.path());
        let pid = estate.children[0].as_ref().unwrap().id();
        let frozen = fault(FaultKind::Frozen, 0, 1);
        estate.turn(&frozen, true).unwrap();
        wait_for("it to stop", || state(pid) == Some('T'));
        estate.turn(&frozen, false).unwrap();
        wait_for("it to go on", || state(pid) == Some('S'));
        estate.turn(&frozen, true).unwrap();
        drop(estate);
        assert_eq!(state(pid), None, "one that is stopped is ended too");
    }

    #[test]
    fn orders_are_written_and_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut estate = sleeper(dir.path());
        let file = dir.path().join(SERVICES[0].name);
        for (kind, order) in [
            (FaultKind::Slow(300), "slow 300"),
            (FaultKind::Errors(0.5), "errors 0.5"),
            (FaultKind::HalfDead(1.0), "half-dead 1"),
        ] {
            estate.turn(&fault(kind, 0, 1), true).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), order);
            estate.turn(&fault(kind, 0, 1), false).unwrap();
            assert!(!file.exists());
        }
        // A run that is over waits for no fault.
        estate.play(&[fault(FaultKind::Killed, 600_000, 600_001)], Instant::now(), &AtomicBool::new(true)).unwrap();
        assert!(estate.children[0].is_some());
    }
}
