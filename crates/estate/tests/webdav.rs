//! The vault as WebDAV clients see it: litmus, the protocol's own suite, and cadaver against the real program; and a deposit
//! that was acknowledged is there after a kill.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running vault; killed when dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(data: &Path) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guichet-estate"));
    command.args(["vault", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut address = None;
    // To the last line: a program whose reader has gone can't say that it is ready.
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line == "ready" {
            break;
        }
        address = line.strip_prefix("vault http://").map(|address| address.parse().unwrap());
    }
    let address = address.expect("it tells where it is");
    Running { child, address }
}

/// Runs an outside program within a bound of time, and gives all that it said.
fn outside(command: &mut Command, package: &str) -> (bool, String) {
    let program = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let output = spawned.unwrap_or_else(|error| panic!("{program}: {error}; install it: apt-get install {package}"));
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&told).into_owned())
}

#[test]
fn litmus_finds_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir.path().join("data"));
    let url = format!("http://{}/dav/", running.address);
    let mut command = Command::new("timeout");
    command.args(["300", "litmus", "-k", &url, "user0001", "password-0001"]).current_dir(dir.path());
    let (right, told) = outside(&mut command, "litmus");
    let failed: Vec<_> = told.lines().filter(|line| line.contains("FAIL")).collect();
    assert!(right && failed.is_empty(), "litmus (apt-get install litmus): {failed:?}\n{told}");
    for suite in ["basic", "copymove", "props", "locks", "http"] {
        assert!(told.contains(&format!("summary for `{suite}': of")), "{suite} was not run: {told}");
    }
}

#[test]
fn cadaver_puts_and_gets() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(&dir.path().join("data"));
    let home = dir.path().join("home");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join(".netrc"), "machine 127.0.0.1 login user0002 password password-0002\n").unwrap();
    std::fs::write(dir.path().join("in.txt"), "as it was put in").unwrap();
    std::fs::write(
        home.join("script"),
        "mkcol letters\nput in.txt letters/a.txt\nmove letters/a.txt letters/b.txt\nget letters/b.txt out.txt\nquit\n",
    )
    .unwrap();
    let mut command = Command::new("timeout");
    command.args(["60", "cadaver", "-r"]).arg(home.join("script")).arg(format!("http://{}/dav/", running.address));
    let (_, told) = outside(command.env("HOME", &home).current_dir(dir.path()), "cadaver");
    let out = std::fs::read_to_string(dir.path().join("out.txt"));
    assert_eq!(out.ok().as_deref(), Some("as it was put in"), "cadaver (apt-get install cadaver): {told}");
}

/// The status line, headers and body of an answer; an error where the service went away meanwhile.
fn exchange(address: SocketAddr, request: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn dav(method: &str, name: &str, body: &str) -> Vec<u8> {
    let auth = STANDARD.encode("user0003:password-0003");
    let length = body.len();
    format!(
        "{method} /dav/{name} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Basic {auth}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn each_put_that_was_acknowledged_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut told: Vec<String> = Vec::new();
    for round in 0..3 {
        let mut running = start(&data);
        let address = running.address;
        let (note, noted) = std::sync::mpsc::channel();
        let writers: Vec<_> = (0..3)
            .map(|writer| {
                let note = note.clone();
                std::thread::spawn(move || {
                    // Bounded: it is killed long before.
                    for n in 0..10_000 {
                        let name = format!("r{round}-w{writer}-{n}.txt");
                        match exchange(address, &dav("PUT", &name, &format!("content of {name}"))) {
                            Ok(answer) if answer.starts_with("HTTP/1.1 201") => drop(note.send(name)),
                            Ok(answer) if answer.is_empty() => return,
                            Ok(answer) => panic!("{answer}"),
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        drop(note);
        for _ in 0..40 {
            told.push(noted.recv_timeout(Duration::from_secs(60)).expect("puts are acknowledged"));
        }
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        told.extend(noted.try_iter());
    }
    let running = start(&data);
    for name in &told {
        let answer = exchange(running.address, &dav("GET", name, "")).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("content of {name}")),
            "{name}: {answer}"
        );
    }
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
