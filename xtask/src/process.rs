//! Runs a program with a time limit, shows what it prints, and counts the tests that it reports.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Tests by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Of those passed, how many were end-to-end tests of the binary.
    pub(crate) end_to_end: u64,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) enum End {
    Exited(ExitStatus),
    TimedOut(Duration),
    NotStarted(std::io::Error),
}

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) end: End,
    pub(crate) counts: Counts,
}

impl Ran {
    pub(crate) fn succeeded(&self) -> bool {
        matches!(&self.end, End::Exited(status) if status.success())
    }

    /// How it ended, in words.
    pub(crate) fn why(&self) -> String {
        match &self.end {
            End::Exited(status) => status.to_string(),
            End::TimedOut(limit) => format!("ended after its limit of {} s", limit.as_secs()),
            End::NotStarted(error) => format!("could not be started: {error}"),
        }
    }
}

/// Runs `command` for at most `limit`; what it prints goes to this program's standard output.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Ran {
    let own_group = !std::io::stdin().is_terminal();
    if own_group {
        // Without a terminal nobody presses Ctrl-C, and a limit must end cargo's children too.
        command.process_group(0);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ran { end: End::NotStarted(error), counts: Counts::default() },
    };
    let (sender, lines) = channel();
    forward(child.stdout.take(), sender.clone());
    forward(child.stderr.take(), sender);
    let mut reader = Reader::default();
    let end = watch(&mut child, own_group, limit, &lines, &mut reader);
    Ran { end, counts: reader.counts() }
}

fn forward(pipe: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(pipe) = pipe else { return };
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        // Lines without end are cut, so that a program cannot fill the memory.
        while pipe.by_ref().take(1 << 16).read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
}

fn watch(child: &mut Child, own_group: bool, limit: Duration, lines: &Receiver<String>, reader: &mut Reader) -> End {
    let start = Instant::now();
    let mut exited = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(line) => {
                println!("{line}");
                reader.line(&line);
                if start.elapsed() < limit {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(20)),
        }
        // A grandchild may hold the pipes open: the program's own end counts, once nothing more comes.
        if let Some(status) = exited {
            return End::Exited(status);
        }
        match child.try_wait() {
            Ok(Some(status)) => exited = Some(status),
            Ok(None) if start.elapsed() > limit => {
                end(child, own_group);
                return End::TimedOut(limit);
            }
            Ok(None) => {}
            Err(error) => return End::NotStarted(error),
        }
    }
}

/// Ends a child, with its group where it has one of its own.
fn end(child: &mut Child, own_group: bool) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    if own_group && let Ok(pid) = i32::try_from(child.id()) {
        // Gone already is as good as ended.
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Counts tests from the lines of `cargo test` and `cargo nextest`.
#[derive(Debug, Default)]
struct Reader {
    counts: Counts,
    /// Under `cargo test`: whether the tests that run now are end-to-end ones.
    in_end_to_end: bool,
}

impl Reader {
    fn counts(&self) -> Counts {
        self.counts
    }

    fn line(&mut self, line: &str) {
        let line = line.trim_start();
        if let Some(rest) = line.strip_prefix("Running ") {
            self.in_end_to_end = rest.starts_with("tests/e2e");
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            let passed = number_before(rest, " passed");
            self.counts.passed += passed;
            self.counts.failed += number_before(rest, " failed");
            self.counts.skipped += number_before(rest, " ignored");
            if self.in_end_to_end {
                self.counts.end_to_end += passed;
            }
        } else if line.starts_with("Summary [") {
            self.counts.passed += number_before(line, " passed");
            self.counts.failed += number_before(line, " failed") + number_before(line, " timed out");
            self.counts.skipped += number_before(line, " skipped");
        } else if line.starts_with("PASS [") && binary_of(line).is_some_and(is_end_to_end) {
            self.counts.end_to_end += 1;
        }
    }
}

/// Whether a binary of nextest's holds tests that run the `guichet` program, rather than its unit tests.
fn is_end_to_end(binary: &str) -> bool {
    binary.strip_prefix("guichet::").is_some_and(|kind| !kind.starts_with("bin/"))
}

/// The number that stands before the first `what`, or 0.
fn number_before(line: &str, what: &str) -> u64 {
    let Some(end) = line.find(what) else { return 0 };
    let digits = line[..end].rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// The binary that a line of nextest is about: `PASS [ 0.1s] (1/9) guichet::e2e name`.
fn binary_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(']')?;
    rest.split_whitespace().find(|word| !word.starts_with('(') && !word.ends_with(')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str]) -> Counts {
        let mut reader = Reader::default();
        lines.iter().for_each(|line| reader.line(line));
        reader.counts()
    }

    #[test]
    fn cargo_test_is_counted() {
        let counts = count(&[
            "     Running unittests src/lib.rs (target/debug/deps/a)",
            "test result: ok. 36 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.90s",
            "     Running tests/e2e.rs (target/debug/deps/e2e)",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(counts, Counts { passed: 40, failed: 2, skipped: 1, end_to_end: 4 });
    }

    #[test]
    fn nextest_is_counted() {
        let counts = count(&[
            "        PASS [   0.005s] (1/3) guichet-proxy config::tests::a",
            "        PASS [   0.005s] (2/3) guichet::e2e answers",
            "        PASS [   0.005s] guichet::e2e answers_again",
            "        PASS [   0.005s] guichet::bin/guichet tests::a_unit",
            "     Summary [   0.9s] 37 tests run: 36 passed (1 slow), 1 failed, 2 skipped",
        ]);
        assert_eq!(counts, Counts { passed: 36, failed: 1, skipped: 2, end_to_end: 2 });
    }

    #[test]
    fn a_program_is_ended_at_its_limit() {
        let ran = run(Command::new("sleep").arg("60"), Duration::from_millis(200));
        assert!(matches!(ran.end, End::TimedOut(_)), "{ran:?}");
        assert!(run(&mut Command::new("true"), Duration::from_secs(60)).succeeded());
        assert!(!run(&mut Command::new("false"), Duration::from_secs(60)).succeeded());
        let none = run(&mut Command::new("/no/such/program"), Duration::from_secs(1));
        assert!(none.why().contains("could not be started"));
    }
}
