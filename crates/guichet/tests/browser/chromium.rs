//! Chromium without a head, driven over the DevTools protocol through a pipe: JSON messages, each ended by a zero byte.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// Names by which the browser is looked for.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// Longest wait for an answer or an event.
const PATIENCE: Duration = Duration::from_secs(20);
/// Events kept until somebody asks for them.
const EVENTS_MAX: usize = 4096;

pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Receiver<Value>,
    events: VecDeque<Value>,
    last_id: u64,
    session: Option<String>,
    profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it with one empty page, in which scripts do not run. It trusts the key whose SHA-256 stands in `key.sha256` of
    /// this folder as it would trust a real certificate: told to ignore all errors instead, it would break off each first
    /// handshake, which no real visitor does.
    pub(crate) fn start(certificates: &Path) -> Self {
        let found = PROGRAMS.iter().find(|name| {
            let known = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            known.is_ok_and(|status| status.success())
        });
        let Some(program) = found else { panic!("no browser: install one (Debian: apt-get install chromium)") };
        let profile = tempfile::tempdir().unwrap();
        let trusted = std::fs::read_to_string(certificates.join("key.sha256")).unwrap();
        // The shell only moves our pipes to the descriptors that DevTools reads and writes.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh", program])
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-sync"])
            .args(["--disable-component-update", "--force-color-profile=srgb"])
            .arg(format!("--ignore-certificate-errors-spki-list={trusted}"))
            // Names under localhost lead here; all others lead nowhere.
            .arg("--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            // What it leaves behind goes with the profile.
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the browser");
        let input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let (tell, messages) = channel();
        std::thread::spawn(move || {
            let (mut buffer, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
            while let Ok(count @ 1..) = output.read(&mut chunk) {
                buffer.extend_from_slice(&chunk[..count]);
                while let Some(end) = buffer.iter().position(|byte| *byte == 0) {
                    let message: Vec<u8> = buffer.drain(..=end).collect();
                    let Ok(message) = serde_json::from_slice(&message[..end]) else { return };
                    if tell.send(message).is_err() {
                        return;
                    }
                }
            }
        });
        let events = VecDeque::new();
        let mut browser = Self { child, input, messages, events, last_id: 0, session: None, profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let session = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = Some(session["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page.enable", "Network.enable", "Log.enable"] {
            browser.call(domain, json!({}));
        }
        browser.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
        browser
    }

    /// Sends a command and waits for its answer.
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.input.write_all(&bytes).expect("the browser runs");
        let until = Instant::now() + PATIENCE;
        loop {
            let message = self.next(until, method);
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.keep(message);
        }
    }

    fn next(&self, until: Instant, what: &str) -> Value {
        let left = until.saturating_duration_since(Instant::now());
        self.messages.recv_timeout(left).unwrap_or_else(|_| panic!("the browser did not answer: {what}"))
    }

    fn keep(&mut self, event: Value) {
        assert!(self.events.len() < EVENTS_MAX, "too many events");
        self.events.push_back(event);
    }

    fn wait_for_load(&mut self) {
        let until = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.next(until, "load");
            self.keep(event);
        }
    }

    /// Opens a page at a width, in a language; gives what was seen meanwhile.
    pub(crate) fn open(&mut self, url: &str, width: u32, language: &str) -> Visit {
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        self.call("Network.setExtraHTTPHeaders", json!({ "headers": { "Accept-Language": language } }));
        self.events.clear();
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.wait_for_load();
        self.visit()
    }

    /// Types into the field that a selector finds, presses Enter, and gives the page that comes.
    pub(crate) fn submit(&mut self, field: &str, text: &str) -> Visit {
        self.evaluate(&format!("document.querySelector({}).focus()", json!(field)));
        self.call("Input.insertText", json!({ "text": text }));
        self.events.clear();
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({ "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" });
            self.call("Input.dispatchKeyEvent", key);
        }
        self.wait_for_load();
        self.visit()
    }

    /// Presses the button that a selector finds, and gives the page that comes.
    pub(crate) fn press(&mut self, button: &str) -> Visit {
        self.events.clear();
        self.evaluate(&format!("document.querySelector({}).click()", json!(button)));
        self.wait_for_load();
        self.visit()
    }

    /// Adds an authenticator that makes sure who holds it, and says yes.
    pub(crate) fn add_authenticator(&mut self) {
        let options = json!({
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true,
            "isUserVerified": true, "automaticPresenceSimulation": true,
        });
        self.call("WebAuthn.enable", json!({}));
        self.call("WebAuthn.addVirtualAuthenticator", json!({ "options": options }));
    }

    /// Lets the pages' own scripts run, or not.
    pub(crate) fn run_scripts(&mut self, run: bool) {
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !run }));
    }

    fn visit(&mut self) -> Visit {
        let of = |method: &str| self.events.iter().filter(|event| event["method"] == method).collect::<Vec<_>>();
        let requests = of("Network.requestWillBeSent")
            .iter()
            .map(|event| event["params"]["request"]["url"].as_str().unwrap_or_default().to_owned())
            .collect();
        let document = of("Network.responseReceived").into_iter().find(|event| event["params"]["type"] == "Document");
        let status = document.and_then(|event| event["params"]["response"]["status"].as_u64()).unwrap_or_default();
        let protocol = document.and_then(|event| event["params"]["response"]["protocol"].as_str());
        let protocol = protocol.unwrap_or_default().to_owned();
        // What the page's policy forbids shows here. A refusal's own status does too, and is no complaint.
        let complaints = of("Log.entryAdded")
            .iter()
            .filter(|event| event["params"]["entry"]["source"] != "network")
            .map(|event| event["params"]["entry"]["text"].to_string())
            .collect();
        Visit { status, protocol, requests, complaints }
    }

    /// The value of an expression in the page; ours, not the page's, so it runs although scripts do not.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The words that the page shows; none while the next page is on its way and has no body yet.
    pub(crate) fn text(&mut self) -> String {
        let text = self.evaluate("document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// What axe-core finds wrong with the page as people who do not see it, or can't use a mouse, meet it: WCAG 2.2, A and AA.
    pub(crate) fn barriers(&mut self) -> Vec<String> {
        let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, |home| PathBuf::from(home).join(".cache"));
        let cache = std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from);
        let file = cache.join("guichet/npm/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(&file)
            .unwrap_or_else(|_| panic!("{} is missing: `cargo xtask test` installs axe-core", file.display()));
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": false }));
        self.evaluate(&format!("{axe}; true"));
        let tags = json!(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]);
        let run = format!(
            "axe.run(document, {{ runOnly: {tags} }}).then(r => r.violations.map(v => \
             v.id + ': ' + v.nodes.map(n => n.html + ' ' + n.failureSummary).join(' | ')))"
        );
        let parameters = json!({ "expression": run, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", parameters);
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
        assert!(answer["exceptionDetails"].is_null(), "axe: {answer}");
        let found = answer["result"]["value"].as_array().unwrap_or_else(|| panic!("axe: {answer}"));
        found.iter().map(|found| found.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Writes a picture of the whole page.
    pub(crate) fn picture(&mut self, file: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser's own children write to the profile too: all of them end, or its folder could not be removed.
        let group = nix::unistd::Pid::from_raw(self.child.id() as i32);
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
        let until = Instant::now() + PATIENCE;
        while std::fs::remove_dir_all(self.profile.path()).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What the browser did to show a page.
#[derive(Debug)]
pub(crate) struct Visit {
    /// Status of the document.
    pub(crate) status: u64,
    /// `h2`, `http/1.1`.
    pub(crate) protocol: String,
    /// All addresses asked for.
    pub(crate) requests: Vec<String>,
    /// Violations of the page's policy, and other errors.
    pub(crate) complaints: Vec<String>,
}
