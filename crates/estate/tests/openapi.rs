//! The descriptions of the interfaces held against the real services, by requests that schemathesis generates from them:
//! right ones and wrong ones, with and without a session, in sequences where one answer leads to the next request.

mod support;

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How many requests are generated for each operation in each phase.
const EXAMPLES: &str = "10";
/// Seconds that one run may take; a few are enough.
const TIME_MAX_S: &str = "300";

/// A running service; killed when dropped.
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

fn start(service: &str, data: &Path) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guichet-estate"));
    command.args([service, "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut address = None;
    while let Some(line) = lines.next().transpose().unwrap() {
        if line == "ready" {
            return Running { child, address: address.unwrap() };
        }
        address = line.split_once(" http://").and_then(|(_, address)| address.parse().ok());
    }
    let _ = child.wait();
    panic!("{service} ended before it was ready");
}

fn ask(address: SocketAddr, request: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// A token of a session of user 1; each service also takes the content of its cookie as a bearer token.
fn token(address: SocketAddr, login: &str) -> String {
    let body = r#"{"user":"user0001","password":"password-0001"}"#;
    let (head, _) = ask(address, &format!("POST {login}"), body);
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
    cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
}

/// Whether schemathesis found nothing, and what it said.
fn schemathesis(folder: &Path, schema: &str, address: SocketAddr, token: Option<&str>) -> (Option<i32>, String) {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from);
    let python = cache.join("guichet/python");
    assert!(
        python.join("schemathesis").is_dir(),
        "schemathesis is missing: `cargo xtask test` installs it, or: python3 -m pip install --upgrade --target {} \
         schemathesis==4.32.5",
        python.display()
    );
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let path = std::env::join_paths([&python, &tests]).unwrap();
    let mut command = Command::new("timeout");
    command
        .args([
            TIME_MAX_S,
            "python3",
            "-B",
            "-m",
            "schemathesis.cli",
            "run",
            schema,
            "--url",
            &format!("http://{address}"),
            "--no-color",
        ])
        .args(["--max-examples", EXAMPLES, "--request-timeout", "60"])
        // The same requests each time; what is slow is no fault here. The hooks bring their form of the check left out.
        .args(["--generation-deterministic", "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"])
        .args(["--exclude-checks", "positive_data_acceptance"]);
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    // What it keeps for a next run goes away with the folder.
    let command = command.current_dir(folder).env("PYTHONPATH", path).env("SCHEMATHESIS_HOOKS", "openapi_hooks");
    let output = command.stdin(Stdio::null()).output().expect("python3");
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.code(), told)
}

fn check(service: &str, login: Option<&str>, operations: usize) {
    let dir = tempfile::tempdir().unwrap();
    let running = start(service, &dir.path().join("data"));
    let token = login.map(|path| token(running.address, path));
    let schema = format!("http://{}/openapi.json", running.address);
    let (code, told) = schemathesis(dir.path(), &schema, running.address, token.as_deref());
    assert_eq!(code, Some(0), "{service}: {told}");
    assert!(told.contains(&format!("Tested: {operations}\n")), "{service}: {told}");
    assert!(told.contains("✅ Coverage") && told.contains("✅ Fuzzing"), "{service}: {told}");
}

#[test]
fn the_application_is_as_described() {
    check("app", Some("/v1/sessions"), 5);
}

#[test]
fn identity_is_as_described() {
    check("identity", Some("/login"), 4);
}

#[test]
fn the_vault_is_as_described() {
    check("vault", Some("/login"), 7);
}

#[test]
fn the_bank_is_as_described() {
    check("bank", Some("/login"), 8);
}

#[test]
fn the_rails_are_as_described() {
    check("rails", None, 8);
}

#[test]
fn the_counter_is_as_described() {
    check("counter", None, 3);
}

#[test]
fn parcels_are_as_described() {
    check("parcels", None, 4);
}

#[test]
fn the_staff_service_is_as_described() {
    check("staff", Some("/login"), 3);
}

#[test]
fn a_wrong_description_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let running = start("parcels", &dir.path().join("data"));
    let (_, text) = ask(running.address, "GET /openapi.json", "");
    let right: Value = serde_json::from_str(&text).unwrap();
    let answer = "/paths/~1quotes/post/responses/200/content/application~1json/schema/properties/zone";
    let body = "/paths/~1quotes/post/requestBody/content/application~1json/schema/properties/weight_g/maximum";
    for (place, wrong, finding) in [
        (answer, json!({"type": "string"}), "Response violates schema"),
        (body, json!(10_000_000), "Schema-valid request rejected"),
    ] {
        let mut document = right.clone();
        *document.pointer_mut(place).expect(place) = wrong;
        let file = dir.path().join("wrong.json");
        std::fs::write(&file, document.to_string()).unwrap();
        let (code, told) = schemathesis(dir.path(), file.to_str().unwrap(), running.address, None);
        assert!(code == Some(1) && told.contains(finding), "{place}: {told}");
    }
}

#[test]
fn the_same_on_postgres() {
    support::again_on_postgres(&[]);
}
