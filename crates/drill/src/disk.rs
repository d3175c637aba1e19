//! A small disk for one service of the estate: a tmpfs in a mount namespace that ends with the process that holds it, however
//! the drill ends. Filling it is what a full disk is to the service: real writes that find no room.

use anyhow::{Context, bail};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Size of the disk: several times what a service writes in a drill.
const DISK_MIB: u32 = 96;
/// The holder ends by itself after this long: no drill takes so many seconds.
const HOLD_S: u32 = 3600;
/// What takes all the room that is left.
const FILLER: &str = "filler";
/// In the namespace: mounts, tells that it has, and holds it.
const HOLDER: &str = r#"mount -t tmpfs -o "size=$2m,mode=700" guichet-drill "$1" && echo mounted && exec sleep "$3""#;

/// See the module.
pub(crate) struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl SmallDisk {
    /// Mounts one over a folder, seen only by what is started [inside](Self::inside).
    ///
    /// # Errors
    /// Where that is not allowed: it needs root.
    pub(crate) fn over(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
        // It dies with the thread that starts it, also where the drill is killed.
        let mut holder = Command::new("setpriv");
        holder.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            HOLDER,
            "sh",
        ]);
        holder.arg(&folder).args([DISK_MIB.to_string(), HOLD_S.to_string()]);
        let holder = holder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut disk = Self { holder: holder.context("setpriv (util-linux)")?, folder };
        let mut told = [0; 8];
        let read = disk.holder.stdout.take().map(|mut out| out.read_exact(&mut told));
        if !matches!(read, Some(Ok(()))) {
            let _ = disk.holder.kill();
            let mut why = String::new();
            if let Some(mut err) = disk.holder.stderr.take() {
                err.read_to_string(&mut why)?;
            }
            bail!("a disk of its own for a service needs root, and a kernel that mounts tmpfs: {}", why.trim());
        }
        Ok(disk)
    }

    /// A command that runs where the disk is seen, with the arguments and environment of another.
    ///
    /// # Errors
    /// Where the working directory is gone.
    pub(crate) fn inside(&self, command: &Command) -> anyhow::Result<Command> {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.holder.id()));
        // To enter a mount namespace is to stand at its root.
        let mut here = std::ffi::OsString::from("--wdns=");
        here.push(std::env::current_dir().context("the working directory")?);
        inside.arg(here).arg("--").arg(command.get_program());
        inside.args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(key, value),
                None => inside.env_remove(key),
            };
        }
        Ok(inside)
    }

    /// Where the disk is seen from outside.
    fn seen(&self) -> PathBuf {
        let below = self.folder.strip_prefix("/").unwrap_or(&self.folder);
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(below)
    }

    /// Puts a file of the folder below on the disk.
    ///
    /// # Errors
    /// When it can't be copied.
    pub(crate) fn bring(&self, name: &str) -> anyhow::Result<()> {
        std::fs::copy(self.folder.join(name), self.seen().join(name)).with_context(|| name.to_owned())?;
        Ok(())
    }

    /// Takes all the room that is left.
    ///
    /// # Errors
    /// When that fails for another reason than that there is none.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let mut filler = File::create(self.seen().join(FILLER)).context("the filler of a small disk")?;
        let block = vec![0; 64 * 1024];
        for size in [block.len(), 4096, 1] {
            loop {
                match filler.write(&block[..size]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a small disk"),
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// When the filler can't be removed.
    pub(crate) fn free(&self) -> anyhow::Result<()> {
        std::fs::remove_file(self.seen().join(FILLER)).context("the filler of a small disk")
    }

    /// Copies what a service left on the disk to the folder below, where it is looked at afterwards.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn keep(&self) -> anyhow::Result<()> {
        let _ = self.free();
        let done = Command::new("cp").arg("-a").arg(self.seen().join(".")).arg(&self.folder).status().context("cp")?;
        if !done.success() {
            bail!("what a service left on its small disk can't be copied to {}", self.folder.display());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell says that runs on the disk.
    fn told(disk: &SmallDisk, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PLACE", &disk.folder);
        let output = disk.inside(&command).unwrap().output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[test]
    fn a_small_disk_is_seen_inside_only_is_filled_and_freed_and_leaves_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "below").unwrap();
        let disk = SmallDisk::over(dir.path()).expect("tests run as root");
        disk.bring("key").unwrap();
        assert_eq!(told(&disk, "pwd"), std::env::current_dir().unwrap().display().to_string());
        assert_eq!(told(&disk, "cat $PLACE/key; echo first > $PLACE/a && echo written"), "belowwritten");
        assert!(!dir.path().join("a").exists(), "outside nothing is seen of it");
        disk.fill().unwrap();
        assert_eq!(told(&disk, "echo more > $PLACE/b && echo written || echo full"), "full");
        assert_eq!(told(&disk, "cat $PLACE/a"), "first", "what is there can be read");
        disk.free().unwrap();
        assert_eq!(told(&disk, "echo more > $PLACE/b && echo written"), "written");
        disk.keep().unwrap();
        let holder = disk.holder.id();
        drop(disk);
        assert!(!Path::new("/proc").join(holder.to_string()).exists(), "nothing holds it any more");
        assert_eq!(std::fs::read_to_string(dir.path().join("b")).unwrap(), "more\n");
        assert!(!dir.path().join(FILLER).exists());
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        assert!(!mounts.contains("guichet-drill"), "nothing is left mounted");
    }
}
