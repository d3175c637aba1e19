//! The page as others see it: feedparser, xmllint with schemas, JSON schemas, minisign.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use guichet_notices::edition::Edition;
use guichet_notices::publish::folder;
use guichet_notices::sign::{Key, PublicKey, VerifyError, verify_folder};
use support::{SEED, edition};

fn text(edition: &Edition, path: &str) -> String {
    let page = edition.files.get(path).unwrap_or_else(|| panic!("no {path} in {:?}", edition.files.keys()));
    String::from_utf8(page.bytes.to_vec()).unwrap()
}

fn ran(command: &mut Command, install: &str) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{:?}: {error}; install {install}", command.get_program()));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err} (needs {install})");
    output
}

fn packages() -> PathBuf {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")).unwrap_or_default();
    std::env::var_os("XDG_CACHE_HOME").map_or(home, PathBuf::from).join("guichet/python")
}

fn python(code: &str, folder: &Path) -> String {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages()).arg("-c").arg(code).arg(folder);
    let output =
        ran(&mut command, "feedparser and jsonschema: python3 -m pip install --target ~/.cache/guichet/python");
    String::from_utf8(output.stdout).unwrap()
}

/// The page in a folder, as it is hosted.
fn published() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("site");
    folder::publish(&link, &edition()).unwrap();
    (dir, link)
}

fn schema(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside/schemas").join(name)
}

#[test]
fn alerts_and_feeds_hold_against_their_schemas() {
    let (_dir, site) = published();
    for (kind, schema, names) in [
        ("--schema", schema("cap-1.2.xsd"), ["cap/1.xml", "cap/2.xml", "cap/3.xml"].as_slice()),
        ("--relaxng", schema("atom.rng"), &["feed.atom", "feed.en.atom"]),
    ] {
        for name in names {
            let mut command = Command::new("xmllint");
            ran(command.args(["--noout", "--nonet", kind]).arg(&schema).arg(site.join(name)), "libxml2-utils");
            // A schema that takes anything would prove nothing.
            let broken =
                text(&edition(), name).replacen("identifier>", "identity>", 2).replacen("updated>", "renewed>", 2);
            let file = site.join("broken.xml");
            std::fs::write(&file, broken).unwrap();
            let mut command = Command::new("xmllint");
            let output = command.args(["--noout", "--nonet", kind]).arg(&schema).arg(&file).output().unwrap();
            assert!(!output.status.success(), "{name} broken is taken by {}", schema.display());
        }
    }
}

#[test]
fn feedparser_reads_the_feed() {
    let (_dir, site) = published();
    let told = python(
        "import feedparser, json, sys\n\
         f = feedparser.parse(sys.argv[1] + '/feed.en.atom')\n\
         print(json.dumps({'bozo': bool(f.bozo), 'title': f.feed.title, 'lang': f.feed.get('language'), 'entries': \
         [{'id': e.id, 'title': e.title, 'updated': e.updated_parsed is not None, 'text': e.content[0].value, 'link': e.link} for e in f.entries]}))",
        &site,
    );
    let feed: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(feed["bozo"], false, "{feed:#}");
    assert_eq!(feed["lang"], "en");
    let entries = feed["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    // The newest first; a title that is there in one language only is shown in that.
    assert_eq!(entries[0]["title"], "Travaux");
    assert_eq!(entries[1]["id"], "https://etat.example/notice/2");
    assert_eq!(entries[1]["link"], "https://etat.example/index.en.html#notice-2");
    let text = entries[1]["text"].as_str().unwrap();
    assert!(text.contains("An attack floods <the site>; the other services & more live."), "{text}");
    assert!(text.contains("No data was read. (Access log, verified.)"), "{text}");
    assert!(text.contains("(measured): Measured."), "{text}");
}

#[test]
fn statuspage_clients_find_what_they_look_for() {
    let (_dir, site) = published();
    let schemas = schema("statuspage.json");
    let code = format!(
        "import json, sys, jsonschema\n\
         schemas = json.load(open({:?}))\n\
         for name, part in schemas['files'].items():\n\
         \x20   data = json.load(open(sys.argv[1] + '/api/v2/' + name))\n\
         \x20   jsonschema.validate(data, {{**part, '$defs': schemas['$defs']}}, format_checker=jsonschema.FormatChecker())\n\
         \x20   try:\n\
         \x20       jsonschema.validate({{**data, 'page': 1}}, {{**part, '$defs': schemas['$defs']}})\n\
         \x20   except jsonschema.ValidationError: pass\n\
         \x20   else: raise SystemExit('anything is taken for ' + name)\n\
         print(len(schemas['files']))",
        schemas.display().to_string()
    );
    assert_eq!(python(&code, &site).trim(), "8");
    let edition = edition();
    let summary: serde_json::Value = serde_json::from_str(&text(&edition, "api/v2/summary.json")).unwrap();
    assert_eq!(summary["status"]["indicator"], "major");
    assert_eq!(summary["components"][0]["status"], "major_outage");
    assert_eq!(summary["components"][2]["status"], "operational");
    assert_eq!(summary["incidents"][0]["status"], "identified");
    assert_eq!(summary["incidents"][0]["incident_updates"].as_array().unwrap().len(), 2);
    assert_eq!(summary["incidents"].as_array().unwrap().len(), 1, "what is over is not in the summary");
    assert_eq!(summary["scheduled_maintenances"][0]["status"], "scheduled");
    let all: serde_json::Value = serde_json::from_str(&text(&edition, "api/v2/incidents.json")).unwrap();
    assert_eq!(all["incidents"][1]["status"], "resolved");
    assert!(all["incidents"][1]["resolved_at"].is_string());
}

#[test]
fn minisign_verifies_what_we_signed_and_we_find_what_was_changed() {
    let (_dir, site) = published();
    let key = Key::from_seed(SEED).public();
    let mut command = Command::new("minisign");
    ran(command.arg("-Vm").arg(site.join("manifest.json")).args(["-P", &key.line()]), "minisign");
    let manifest = verify_folder(&site, &key).unwrap();
    assert_eq!(manifest.files.len() + 2, edition().files.len(), "all but the manifest and its signature are named");
    assert_eq!(PublicKey::parse(&key.text()).unwrap(), key);

    let other = Key::from_seed([8; 32]).public();
    assert!(matches!(verify_folder(&site, &other), Err(VerifyError::Signature)));
    let page = site.join("index.html");
    let good = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&page, good.replace("36 39", "08 99")).unwrap();
    assert!(matches!(verify_folder(&site, &key), Err(VerifyError::Changed(name)) if name == "index.html"));
    std::fs::write(&page, good).unwrap();
    verify_folder(&site, &key).unwrap();
    let manifest = site.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("valid_until\": \"2", "valid_until\": \"3", 1)).unwrap();
    assert!(matches!(verify_folder(&site, &key), Err(VerifyError::Signature)));
}

#[test]
fn the_page_says_what_people_need() {
    let edition = edition();
    let fr = text(&edition, "index.html");
    let en = text(&edition, "index.en.html");
    let has = |page: &str, wanted: &str| assert!(page.contains(wanted), "{wanted:?} is not in {page}");
    has(&fr, "Certains services sont indisponibles, d’autres fonctionnent");
    has(&en, "Some services are unavailable, others work");
    has(&fr, "Bureau de poste");
    has(&en, "Monday to Saturday, 9:00 – 17:00");
    has(&en, "No data was read.");
    has(&en, "Access log, verified.");
    // Three in a hundred is no four, and not quite all is not all.
    has(&fr, "3,1 % des 1234 demandes");
    has(&en, "99.9 % of the 1234 requests");
    has(&en, "data-valid-until=\"2026-09-21T");
    // Words that are there in French only are marked on the English page.
    has(&en, "lang=\"fr\">Travaux de nuit.");
    assert!(!fr.contains("<le site>") && !fr.contains("<de la Poste>"), "what was typed is no markup");
    has(&fr, "&#60;le site&#62;");
    // The box is hidden from readers in time, and shown to those who come late.
    has(&fr, "role=\"alert\" hidden data-until-old");
    let late = edition.files["index.html"].when_old.as_ref().unwrap();
    has(std::str::from_utf8(late).unwrap(), "role=\"alert\">Cette page n’est plus tenue à jour");
}
