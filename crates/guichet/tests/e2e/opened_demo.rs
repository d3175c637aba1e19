//! A demo that has opened, on ports that nothing else uses.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::house::{GUICHET, Process, free_ports, free_range};

/// It ends with this value.
pub(crate) struct OpenedDemo {
    pub(crate) process: Process,
    /// What it said until it was open.
    pub(crate) told: String,
    /// Its folder.
    pub(crate) data: PathBuf,
    pub(crate) https: u16,
    pub(crate) http: u16,
    pub(crate) telephone: u16,
    pub(crate) cards: u16,
    pub(crate) till: u16,
    pub(crate) status: u16,
    others: Vec<u16>,
    _range: TcpListener,
}

impl OpenedDemo {
    /// Starts it in a folder, with stores of its own or in a database.
    pub(crate) fn open(data: &Path, database: Option<&str>) -> Self {
        let [https, http, admin, telephone, cards, till, other_bank, status] = free_ports();
        let (base, range) = free_range();
        let mut command = Command::new(GUICHET);
        if let Some(url) = database {
            command.env("GUICHET_DATABASE", url);
        }
        let mut child = command
            .args(["demo", "--https-port", &https.to_string(), "--http-port", &http.to_string()])
            .args(["--admin", &format!("127.0.0.1:{admin}"), "--telephone-port", &telephone.to_string()])
            .args(["--cards-port", &cards.to_string(), "--till-port", &till.to_string()])
            .args(["--other-bank-port", &other_bank.to_string(), "--status-port", &status.to_string()])
            .args(["--estate-base-port", &base.to_string(), "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let process = Process(child);
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let until = Instant::now() + Duration::from_secs(60);
        let mut told = String::new();
        while !told.contains("Ctrl-C ends all of it") {
            let left = until.saturating_duration_since(Instant::now());
            told += &(lines.recv_timeout(left).unwrap_or_else(|_| panic!("it did not open: {told}")) + "\n");
        }
        let others = [admin, other_bank].into_iter().chain((1..=9).map(|n| base + n)).collect();
        let data = data.to_owned();
        Self { process, told, data, https, http, telephone, cards, till, status, others, _range: range }
    }

    /// Everything that it listens on.
    pub(crate) fn ports(&self) -> Vec<u16> {
        let named = [self.https, self.http, self.telephone, self.cards, self.till, self.status];
        named.iter().chain(&self.others).copied().collect()
    }

    /// A card pays, or draws cash, at a terminal that knows nothing but where the rails are; its receipt.
    pub(crate) fn card(&self, what: &str, amount: &str) -> String {
        let rails = format!("127.0.0.1:{}", self.cards);
        let mut terminal = Command::new(GUICHET);
        let done = terminal.args(["estate", "terminal", what, "--amount", amount, "--rails", &rails]).output().unwrap();
        let receipt = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{receipt}");
        receipt
    }
}
