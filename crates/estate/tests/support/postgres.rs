//! A PostgreSQL server of the test: in a temporary folder, on a port of its own, killed when dropped.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::Connection as _;

use super::wait::{port, wait_for};

/// Tests that are run again at once.
const AT_ONCE: usize = 2;
const PASSWORD: &str = "only-for-this-test";

/// A running server with an empty database.
pub(crate) struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program of the server; it is in no path on Debian.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = versions.map(|version| version.path().join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let anywhere: Vec<PathBuf> = std::env::split_paths(&path).map(|dir| dir.join(name)).collect();
    let found = debian.chain(anywhere).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: `apt-get install postgresql`, or `cargo xtask test` does it"))
}

/// The server refuses to run as root: then it runs as `nobody`.
fn command(name: &str) -> Command {
    if !nix::unistd::geteuid().is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(program(name));
    command
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if nix::unistd::geteuid().is_root() {
            let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("the user nobody");
            for path in [dir.path(), &password] {
                std::os::unix::fs::chown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
            }
        }
        let mut make = command("initdb");
        make.args(["-U", "estate", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--pwfile"]).arg(&password);
        let made = make.arg("-D").arg(dir.path().join("data")).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = port();
        let server = serve(dir.path(), port);
        let mut postgres = Self { dir, port, server };
        postgres.ready();
        postgres
    }

    /// The connection string, with the password.
    pub(crate) fn url(&self) -> String {
        format!("postgres://estate:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// The connection string of an empty database made for it.
    pub(crate) fn fresh(&self, name: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(make(&self.url(), name))
    }

    /// From now on it takes connections over TLS only, and shows this certificate; PEM both.
    pub(crate) fn take_tls_only(&mut self, certificate: &str, key: &str) {
        self.kill();
        let data = self.dir.path().join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            if nix::unistd::geteuid().is_root() {
                let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("the user nobody");
                std::os::unix::fs::chown(&path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).unwrap();
            }
        }
        std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
        let settings = data.join("postgresql.conf");
        let before = std::fs::read_to_string(&settings).unwrap();
        std::fs::write(settings, before + "\nssl = on\n").unwrap();
        self.start_again();
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }

    /// Starts it again after [`Postgres::kill`].
    pub(crate) fn start_again(&mut self) {
        self.server = serve(self.dir.path(), self.port);
        self.ready();
    }

    /// Waits until it takes connections. It ends at once while processes of a killed one are still ending.
    fn ready(&mut self) {
        wait_for("the PostgreSQL server", || {
            if self.server.try_wait().unwrap().is_some() {
                self.server = serve(self.dir.path(), self.port);
            }
            let mut asked = command("pg_isready");
            let asked = asked.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]).current_dir("/").status();
            (asked.unwrap().success() && TcpStream::connect(("127.0.0.1", self.port)).is_ok()).then_some(())
        });
    }
}

/// Makes an empty database of this name where `url` is, unless it is there, and gives its connection string.
pub(crate) async fn make(url: &str, name: &str) -> String {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
    if let Err(error) = sqlx::raw_sql(sql).execute(&mut connection).await {
        // Another service of the same folder made it.
        assert_eq!(error.as_database_error().and_then(|told| told.code()).as_deref(), Some("42P04"), "{name}: {error}");
    }
    format!("{}/{name}", url.rsplit_once('/').unwrap().0)
}

/// Runs tests of this very program again, each in a process of its own with `variable` naming a fresh database of one
/// server: all that `wanted` takes. None may fail, and there are some.
pub(crate) fn again(variable: &str, wanted: impl Fn(&str) -> bool) {
    let program = std::env::current_exe().unwrap();
    let listed = Command::new(&program).args(["--list", "--format", "terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let tests: Vec<_> =
        listed.lines().filter_map(|line| line.strip_suffix(": test")).filter(|name| wanted(name)).collect();
    assert!(!tests.is_empty(), "no test to run again: {listed}");
    let postgres = Postgres::start();
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(test) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = test.replace("::", "_");
                    let url = postgres.fresh(&name[name.len().saturating_sub(60)..]);
                    let mut run = Command::new("timeout");
                    run.arg("300").arg(&program).args(["--exact", "--nocapture", test]).env(variable, url);
                    run.env("RUST_BACKTRACE", "0");
                    let ran = run.output().unwrap();
                    if !ran.status.success() {
                        let told = [ran.stdout, ran.stderr].concat();
                        *failed.lock().unwrap() += &format!("--- {test}\n{}\n", String::from_utf8_lossy(&told));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "on PostgreSQL:\n{failed}");
}

fn serve(dir: &Path, port: u16) -> Child {
    let mut server = command("postgres");
    server.arg("-D").arg(dir.join("data")).arg("-k").arg(dir).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    server.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
