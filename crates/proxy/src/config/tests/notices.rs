//! The status page.

use std::path::Path;

use guichet_notices::publish::Target;
use guichet_notices::{Language, Words};

use super::{GOOD, check_text, check_warning_text, load_in, world};
use crate::config::{Config, Effect};

/// [`GOOD`] with a status page.
fn text() -> String {
    format!(
        r#"{GOOD}
[notices]
directory = "/var/lib/guichet"
listen = "127.0.0.1:8448"
url = "https://status.example.org"
sender = "status@example.org"
languages = ["en", "fr"]
sign_of_life_s = 20
valid_s = 90
folder = "page/"
command = ["rsync", "-a"]

[channel.counter]
name = {{ en = "Counter", fr = "Guichet" }}
telephone = "36 39"

[service.rails.contract]
name = {{ en = "Cards", fr = "Cartes" }}
ways = ["counter"]
"#
    )
}

fn good(text: &str) -> Config {
    load_in(&world(text)).unwrap_or_else(|report| panic!("{report}")).config
}

#[test]
fn a_status_page_is_read_whole() {
    let notices = good(&text()).notices.expect("a page");
    let site = &notices.site;
    assert_eq!(site.languages, [Language::En, Language::Fr]);
    assert_eq!(site.title.en, "State of the services");
    // Who has a contract is on it, under the name that people know.
    assert_eq!(site.components.len(), 1);
    assert_eq!(site.components[0].name, Words::new("Cartes", "Cards"));
    assert_eq!(site.components[0].ways, ["counter"]);
    assert_eq!(site.channels[0].telephone, "36 39");
    let place = &notices.place;
    assert_eq!(place.key, Path::new("/var/lib/guichet/notices.key"));
    let command = Target::Command(vec!["rsync".into(), "-a".into()]);
    assert_eq!(place.targets, [Target::Folder("/etc/guichet/page".into()), command]);
    assert!(good(GOOD).notices.is_none());
    // Others by name, with a contract or without.
    let named = text().replace("valid_s = 90", "valid_s = 90\ncomponents = [\"portal\", \"rails\"]");
    let keys: Vec<_> = good(&named).notices.unwrap().site.components.into_iter().map(|one| one.key).collect();
    assert_eq!(keys, ["portal", "rails"]);
}

#[test]
fn secrets_come_from_files() {
    let more = r#"
[notices.bucket]
endpoint = "https://s3.example.org/"
bucket = "status"
key_id = "id"
secret_file = "s3.secret"
prefix = "/a/"

[[notices.webhook]]
url = "https://hook.example.org/x"
secret_file = "hook.secret"
"#;
    let mut world = world(&(text() + more));
    world.files.insert("/etc/guichet/s3.secret".into(), b"s3cret\n".to_vec());
    world.files.insert("/etc/guichet/hook.secret".into(), b"0123456789abcdef\n".to_vec());
    let place = load_in(&world).unwrap_or_else(|report| panic!("{report}")).config.notices.unwrap().place;
    let Target::Bucket(bucket) = &place.targets[1] else { panic!("{:?}", place.targets) };
    assert_eq!((bucket.endpoint.as_str(), bucket.prefix.as_str()), ("https://s3.example.org", "a"));
    assert_eq!(bucket.secret, "s3cret");
    assert_eq!(place.webhooks[0].secret, b"0123456789abcdef");
    let shown = format!("{place:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("0123456789"), "secrets are not printed: {shown}");
    world.files.insert("/etc/guichet/hook.secret".into(), b"short".to_vec());
    let report = load_in(&world).expect_err("too short");
    assert!(report.problems[0].cause.contains("fewer than 16 bytes"), "{report}");
}

#[test]
fn wrong_pages_name_the_place_and_the_mend() {
    for (old, new, key, cause, mend) in [
        ("\"127.0.0.1:8448\"", "»\"8448\"", "listen", "no address", "address and a port"),
        ("\"127.0.0.1:8448\"", "»\"127.0.0.1:8443\"", "listen", "same port", "another port"),
        ("\"127.0.0.1:8448\"", "»\"127.0.0.1:8444\"", "listen", "same port", "another port"),
        ("\"https://status.example.org\"", "»\"status.example.org\"", "url", "not where a page can be", "https://"),
        ("\"https://status.example.org\"", "»\"https://x.example/\"", "url", "not where", "without a slash"),
        ("\"status@example.org\"", "»\"The operator\"", "sender", "cannot be the sender", "status@"),
        ("[\"en\", \"fr\"]", "[\"en\", »\"en\"]", "languages[1]", "there twice", "take one"),
        ("valid_s = 90", "valid_s = »20", "valid_s", "always say", "at least 40"),
        (
            "valid_s = 90",
            "valid_s = 90\ncomponents = [»\"portale\"]",
            "components[0]",
            "no service 'portale'",
            "'portal'",
        ),
    ] {
        let text = text();
        assert_eq!(text.matches(old).count(), 1, "{old}");
        check_text(&text.replace(old, new), &format!("notices.{key}"), cause, mend);
    }
    let homeless = text().replace("directory = \"/var/lib/guichet\"\n", "").replace("[notices]", "[»notices]");
    check_text(&homeless, "notices", "no 'directory'", "directory = ");
    let hidden = text().replace("listen = \"127.0.0.1:8448\"\n", "").replace("folder = \"page/\"\n", "");
    let hidden = hidden.replace("command = [\"rsync\", \"-a\"]\n", "").replace("[notices]", "[»notices]");
    check_warning_text(&hidden, "shown nowhere", "'listen'");
}

#[test]
fn texts_change_with_a_reload_and_places_with_a_restart() {
    let changes = |old: &str, new: &str| Config::diff(&good(&text()), &good(&text().replace(old, new)));
    let texts = changes("status@example.org", "other@example.org");
    assert_eq!((texts.len(), texts[0].effect), (1, Effect::Reload), "{texts:?}");
    let places = changes("127.0.0.1:8448", "127.0.0.1:8449");
    assert_eq!((places.len(), places[0].effect), (1, Effect::Restart), "{places:?}");
}
