//! Several files, and files on a real disk; how reports look.

use std::path::PathBuf;

use super::{GOOD, MAIN, load_in, world};
use crate::config::{Severity, check, load};

fn conf_d(world: &mut crate::config::InMemory, name: &str, text: &str) {
    world.files.insert(PathBuf::from("/etc/guichet/conf.d").join(name), text.as_bytes().to_vec());
}

const EXTRA: &str = "[upstream.extra]\nservers = [\"127.0.0.1:1\"]\n\n[service.extra]\nhosts = [\"extra.example.org\"]\nupstream = \"extra\"\n";

#[test]
fn files_of_conf_d_are_joined_in_the_order_of_their_names() {
    let mut world = world(GOOD);
    conf_d(&mut world, "20-partner.toml", "[[partner]]\nname = \"b\"\nsubject = \"b\"\n");
    conf_d(&mut world, "10-extra.toml", EXTRA);
    conf_d(&mut world, "30-limits.toml", "[limits]\nidle_ms = 1000\n");
    conf_d(&mut world, "ignored.bak", "not toml at all");
    let config = load_in(&world).unwrap_or_else(|report| panic!("{report}")).config;
    let names: Vec<_> = config.services.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["portal", "rails", "extra"]);
    assert_eq!(config.partners.len(), 2);
    assert_eq!(config.limits.idle.as_millis(), 1000);
    assert_eq!(config.limits.header.as_millis(), 8000);
}

#[test]
fn what_two_files_say_is_an_error_that_names_both_places() {
    let rails = "\n[service.rails]\nhosts = [\"r.example.org\"]\nupstream = \"rails\"\n";
    for (text, key, line, cause, also) in [
        (rails, "service.rails", 2, "service 'rails' is declared twice", "/etc/guichet/guichet.toml:46:10"),
        ("[upstream.rails]\nservers = [\"x:1\"]\n", "upstream.rails", 1, "upstream 'rails'", "guichet.toml:34:11"),
        ("[node]\nworkers = 3\n", "node.workers", 2, "'node.workers' is set twice", "guichet.toml:3:1"),
    ] {
        let mut world = world(GOOD);
        conf_d(&mut world, "x.toml", text);
        let report = load_in(&world).expect_err(text);
        let [problem] = report.problems.as_slice() else { panic!("{report}") };
        assert_eq!((problem.key.as_str(), problem.line), (key, line), "{report}");
        assert!(problem.cause.contains(cause), "{report}");
        assert!(problem.file.ends_with("x.toml"), "{report}");
        assert!(problem.also.as_deref().is_some_and(|a| a.ends_with(also)), "{report}");
    }
}

#[test]
fn all_problems_are_told_in_the_order_of_the_files_and_bounded() {
    let text = GOOD.replace("workers = 2", "workers = \"2\"").replace("queue", "queu").replace("/search", "search");
    let report = load_in(&world(&text)).expect_err("three problems");
    let keys: Vec<_> = report.problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["node.workers", "service.portal.queu", "service.portal.route[0].path"], "{report}");

    let many: String = (0..500).map(|i| format!("x{i} = 1\n")).collect();
    let report = load_in(&world(&format!("{many}{GOOD}"))).expect_err("500 problems");
    assert_eq!((report.problems.len(), report.omitted), (50, 450));
    assert!(report.to_string().ends_with("and 450 more: mend these first\n"), "{report}");
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    let mut world = world(GOOD);
    world.files.insert(MAIN.into(), b"[node]\nworkers = 1 # \xff\xfe\n".to_vec());
    let report = load_in(&world).expect_err("not UTF-8");
    assert_eq!((report.problems[0].line, report.problems[0].column), (2, 15), "{report}");
    assert!(report.problems[0].mend.contains("UTF-8"), "{report}");
}

#[test]
fn too_much_is_refused() {
    let big = format!("{GOOD}\n#{}", "x".repeat(guichet_core::bounds::CONFIG_BYTES_MAX));
    let report = load_in(&world(&big)).expect_err("too big");
    assert!(report.problems[0].cause.contains("more than"), "{report}");
    let mut world = world(GOOD);
    for i in 0..guichet_core::bounds::CONFIG_FILES_MAX {
        conf_d(&mut world, &format!("{i:04}.toml"), "");
    }
    let report = load_in(&world).expect_err("too many");
    assert!(report.problems[0].cause.contains("more than 256 files"), "{report}");
}

#[test]
fn a_report_reads_like_a_compilers() {
    let text = "[node]\n\tworkers = 2\nworkerz = \"\u{1b}[31m\"\n";
    let report = load_in(&world(text)).expect_err("wrong");
    let plain = report.render(false);
    assert!(!plain.contains('\u{1b}'), "a file writes to the terminal: {plain:?}");
    let whole = load_in(&world("[node]\nworkerz = 2\n")).expect_err("wrong").render(false);
    assert!(
        whole.contains(
            "error: unknown key 'workerz'\n  --> /etc/guichet/guichet.toml:2:1 (node.workerz)\n \
             2 | workerz = 2\n   | ^^^^^^^\n   = mend: did you mean 'workers'?\n"
        ),
        "{whole}"
    );
    assert!(report.render(true).contains("\u{1b}[1;31merror"), "colour on a terminal");
}

#[test]
fn the_check_command_on_a_real_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    let main = dir.path().join("guichet.toml");
    let run = |json: bool| {
        let mut out = Vec::new();
        let code = check(&main, json, false, &mut out).expect("written");
        (code, String::from_utf8(out).expect("text"))
    };
    let (code, text) = run(false);
    assert_eq!(code, 1);
    assert!(text.contains("cannot read the configuration") && text.contains("mend: "), "{text}");

    for (name, content) in
        [("site.pem", &super::PEMS.cert), ("site.key", &super::PEMS.key), ("ca.pem", &super::PEMS.cert)]
    {
        std::fs::write(dir.path().join(name), content).expect("written");
    }
    use std::os::unix::fs::PermissionsExt;
    let key = dir.path().join("site.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    std::fs::write(&main, GOOD).expect("written");
    let (code, text) = run(false);
    assert_eq!(code, 0, "{text}");
    let good = "good: 2 listeners, 2 services, 2 upstreams, 1 partner; 0 warnings\n";
    assert!(text.ends_with(good), "{text}");

    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
    let loaded = load(&main).expect("a warning only");
    assert_eq!(loaded.warnings[0].severity, Severity::Warning);
    assert!(loaded.warnings[0].mend.starts_with("chmod 600 "), "{:?}", loaded.warnings);

    std::fs::create_dir(dir.path().join("conf.d")).expect("made");
    std::fs::write(dir.path().join("conf.d/a.toml"), "[limits]\nheader_ms = 0\n").expect("written");
    let (code, text) = run(true);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(code, 1);
    assert_eq!(json["ok"], false);
    assert!(text.contains("conf.d/a.toml"), "{text}");
}
