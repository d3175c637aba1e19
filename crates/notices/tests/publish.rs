//! Where the page goes: whole after any kill, into a real S3 server, by command, to subscribers; and its own listener.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use guichet_notices::publish::bucket::Bucket;
use guichet_notices::publish::{Target, folder};
use guichet_notices::sign::{Key, PublicKey, verify_folder};
use guichet_notices::watch::Reading;
use guichet_notices::webhook::{Webhook, signature};
use guichet_notices::{Notices, Order, Place, Settings, Source, Words};
use object_store::{Attribute, GetOptions, ObjectStore as _};

#[path = "outside/support.rs"]
mod support;

/// A generous bound for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PUBLISH_INTO: &str = "GUICHET_TEST_PUBLISH_INTO";

fn wait(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "did not come: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// All services can be reached, and nobody asks.
struct Quiet;

impl Source for Quiet {
    fn readings(&self) -> HashMap<String, Reading> {
        let well = || Reading { reachable: true, ..Reading::default() };
        support::site().components.iter().map(|component| (component.key.clone(), well())).collect()
    }
}

fn settings(dir: &Path) -> Settings {
    Settings {
        site: support::site(),
        place: Place {
            directory: dir.to_owned(),
            key: dir.join("key"),
            listen: None,
            targets: Vec::new(),
            webhooks: Vec::new(),
            sign_of_life: Duration::from_secs(5),
            settle_s: 2,
        },
    }
}

fn order(notices: &Notices, order: Order) -> Result<u32, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(notices.order(order))
}

fn open(text: &str) -> Order {
    let (title, text) = (Words::new("Panne", "Outage"), Words::new(text, text));
    Order::Open { title, text, components: vec![], impact: None, stage: None, data: None, planned: None }
}

/// Not a test: what the next one kills. It publishes without end where it is told to.
#[test]
fn publisher() {
    let Some(link) = std::env::var_os(PUBLISH_INTO) else { return };
    let mut edition = support::edition();
    for second in 0.. {
        edition.drawn_at = support::at(second);
        folder::publish(Path::new(&link), &edition).unwrap();
    }
}

#[test]
fn killed_in_the_midst_of_publishing_the_page_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("page");
    let key = Key::from_seed(support::SEED).public();
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["publisher", "--exact"])
            .env(PUBLISH_INTO, &link)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait("something is published", || std::fs::symlink_metadata(&link).is_ok());
        // Spread over what one publication takes.
        std::thread::sleep(Duration::from_micros(3_000 + round * 1_700));
        child.kill().unwrap();
        child.wait().unwrap();
        verify_folder(&link, &key).unwrap_or_else(|error| panic!("after kill {round}: {error}"));
    }
    // What kills left behind is cleared by the next editions.
    let mut edition = support::edition();
    for second in 0..3 {
        edition.drawn_at = support::at(1_000_000 + second);
        folder::publish(&link, &edition).unwrap();
    }
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(left <= 4, "{left} entries: the link, its edition and two before");
}

#[test]
fn what_stands_in_the_place_of_the_page_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("precious");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("file"), "mine").unwrap();
    let mut settings = settings(dir.path());
    settings.place.targets = vec![Target::Folder(taken.clone())];
    let notices = Notices::start(settings, Arc::new(Quiet)).unwrap();
    wait("it is told", || notices.degraded().iter().any(|told| told.contains("precious") && told.contains("no link")));
    assert_eq!(std::fs::read_to_string(taken.join("file")).unwrap(), "mine");
    // It refuses nobody: orders are taken all the same.
    assert_eq!(order(&notices, open("x")), Ok(1));
}

#[test]
fn a_command_gets_the_page_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "test -e {0}/ready || {{ echo not yet >&2; exit 3; }}; cp -r \"$1\" {0}/copy.new && mv -T {0}/copy.new {0}/copy-$$",
        dir.path().display()
    );
    let mut settings = settings(dir.path());
    settings.place.targets = vec![Target::Command(["sh", "-c", &script, "sh"].map(str::to_owned).to_vec())];
    let notices = Notices::start(settings, Arc::new(Quiet)).unwrap();
    wait("it is told", || {
        notices.degraded().iter().any(|told| told.contains("the command sh") && told.contains("not yet"))
    });
    std::fs::write(dir.path().join("ready"), "").unwrap();
    let copies = || {
        let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.to_string_lossy().contains("/copy-")).collect::<Vec<PathBuf>>()
    };
    wait("the page is there", || !copies().is_empty());
    wait("it works again", || notices.degraded().is_empty());
    let key = PublicKey::parse(notices.public_key()).unwrap();
    verify_folder(&copies()[0], &key).unwrap();
}

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that speaks S3 (moto), on a port that it drew.
fn s3() -> Server {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")).unwrap_or_default();
    let packages = std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from).join("guichet/python");
    let mut child = Command::new("python3")
        .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
        .env("PYTHONPATH", packages)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut said = String::new();
    let port = lines.find_map(|line| {
        said += &line;
        line.split("http://127.0.0.1:").nth(1)?.trim().parse().ok()
    });
    let port = port.unwrap_or_else(|| {
        panic!(
            "no S3 server: python3 -m pip install --target ~/.cache/guichet/python 'moto[s3]' flask flask-cors ({said})"
        )
    });
    // It goes on writing; nobody who reads would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    Server { child, port }
}

/// One HTTP exchange by hand: head and body.
fn http(port: u16, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who is turned away may hear of it while writing.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_ascii_lowercase(), body.to_owned())
}

fn get(port: u16, path: &str) -> (String, String) {
    http(port, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
}

#[test]
fn a_bucket_holds_the_page_signed() {
    let dir = tempfile::tempdir().unwrap();
    let server = s3();
    let bucket = Bucket {
        endpoint: format!("http://127.0.0.1:{}", server.port),
        region: "us-east-1".into(),
        bucket: "etat".into(),
        prefix: "poste".into(),
        key_id: "test".into(),
        secret: "test".into(),
    };
    let store = bucket.open().unwrap();
    let mut settings = settings(dir.path());
    settings.place.targets = vec![Target::Bucket(bucket)];
    let notices = Notices::start(settings, Arc::new(Quiet)).unwrap();
    wait("that there is no bucket is told", || {
        notices.degraded().iter().any(|told| told.contains("the bucket etat") && !told.contains('\n'))
    });
    let made =
        http(server.port, "PUT /etat HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(made.0.starts_with("http/1.1 200"), "{made:?}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let read = |name: &str| {
        let name = object_store::path::Path::from(format!("poste/{name}"));
        let got = runtime.block_on(store.get_opts(&name, GetOptions::default())).ok()?;
        let media_type = got.attributes.get(&Attribute::ContentType).map(|value| value.as_ref().to_owned());
        let bytes = runtime.block_on(got.bytes()).ok()?;
        Some((media_type.unwrap_or_default(), String::from_utf8(bytes.to_vec()).unwrap()))
    };
    wait("it is there", || read("manifest.json.minisig").is_some());
    wait("it works again", || notices.degraded().is_empty());
    let page = read("index.html").unwrap();
    assert_eq!(page.0, "text/html; charset=utf-8");
    assert!(page.1.contains("Tous les services fonctionnent"), "{page:?}");
    // What was put there is what was signed, once an edition is whole.
    let key = PublicKey::parse(notices.public_key()).unwrap();
    wait("manifest and signature fit", || {
        let (manifest, signature) = (read("manifest.json").unwrap(), read("manifest.json.minisig").unwrap());
        key.verify(manifest.1.as_bytes(), &signature.1).is_ok()
    });
}

/// Takes requests and answers them with the statuses given, the last for ever; gives head and body of each.
fn subscriber(statuses: Vec<u16>) -> (u16, Receiver<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|count| count > 0) {}
            let length = head
                .to_ascii_lowercase()
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            let status = statuses.get(n).or(statuses.last()).copied().unwrap_or(200);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = reader.get_mut().write_all(answer.as_bytes());
            if tell.send((head, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (port, told)
}

#[test]
fn subscribers_hear_each_revision_signed_and_again_where_they_failed() {
    let dir = tempfile::tempdir().unwrap();
    let (port, heard) = subscriber(vec![500, 302, 204]);
    let secret = b"sixteen bytes at least".to_vec();
    let mut settings = settings(dir.path());
    let url = format!("http://127.0.0.1:{port}/hook/with-a-token");
    settings.place.webhooks = vec![Webhook { url, secret: secret.clone() }];
    let notices = Notices::start(settings, Arc::new(Quiet)).unwrap();
    order(&notices, open("un <b>")).unwrap();
    order(&notices, Order::Resolve { id: 1, text: Words::default(), data: None }).unwrap();
    let next = || heard.recv_timeout(PATIENCE).expect("a message");
    let header = |head: &str, name: &str| {
        let lower = head.to_ascii_lowercase();
        lower
            .lines()
            .find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
            .unwrap_or_else(|| panic!("{head}"))
    };
    // The first is tried until it is taken: a refusal and a redirect are no taking.
    let tries = [next(), next(), next()];
    for (head, body) in &tries {
        assert_eq!(body, &tries[0].1);
        assert_eq!(header(head, "guichet-delivery:"), "1-1");
        let signed = header(head, "guichet-signature:");
        let second: i64 = signed.split(['=', ',']).nth(1).unwrap().parse().unwrap();
        assert_eq!(signed, signature(&secret, second, body));
    }
    let (head, body) = next();
    assert_eq!(header(&head, "guichet-delivery:"), "1-2");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["notice"]["resolved"], true);
    assert_eq!(body["notice"]["revision"]["by"], "operator");
    wait("all is well again", || notices.degraded().is_empty());
}

#[test]
fn the_listener_answers_within_its_bounds() {
    use guichet_notices::bounds::CONNECTIONS_PER_SOURCE_MAX;
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.place.listen = Some(([127, 0, 0, 1], 0).into());
    let notices = Notices::start(settings, Arc::new(Quiet)).unwrap();
    let port = notices.local_addr().unwrap().port();
    let status = |path: &str| get(port, path).0.get(9..12).unwrap_or_default().to_owned();
    for path in ["/", "/index.en.html", "/feed.atom", "/api/v2/summary.json", "/page.css", "/manifest.json.minisig"] {
        assert_eq!(status(path), "200", "{path}");
    }
    for path in ["/key", "/../key", "/%2e%2e/key", "/notices.journal", "//"] {
        assert_eq!(status(path), "404", "{path}");
    }
    let posted = http(port, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    assert!(posted.0.starts_with("http/1.1 405") && posted.0.contains("allow: get, head"), "{posted:?}");
    let (head, body) = get(port, "/");
    assert!(head.contains("content-security-policy: default-src 'none'") && head.contains("age: "), "{head}");
    assert!(body.contains("hidden data-until-old"), "{body}");

    // Those who only hold connections get no more than their share, and others are answered.
    let held: Vec<TcpStream> =
        (0..CONNECTIONS_PER_SOURCE_MAX).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    wait("the share is used up", || get(port, "/").0.is_empty());
    drop(held);
    wait("it is free again", || status("/") == "200");
}

#[test]
fn a_page_that_nobody_keeps_says_so() {
    // The keeper is gone, and the listener has what it drew last.
    let edition = support::edition();
    let (editions, seen) = tokio::sync::watch::channel(Arc::new(edition));
    let door = guichet_notices::door::Door::open(([127, 0, 0, 1], 0).into(), seen).unwrap();
    drop(editions);
    let page = get(door.local_addr().port(), "/").1;
    // It was drawn in September 2026, or the clock of this machine is far behind.
    assert!(jiff::Timestamp::now() > support::at(500), "the clock of this machine is behind");
    assert!(page.contains("role=\"alert\">Cette page n’est plus tenue à jour"), "{page}");
}
