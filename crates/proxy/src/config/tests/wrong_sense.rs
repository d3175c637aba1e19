//! Files of the right shape that make no sense.

use super::{GOOD, check, check_text, check_warning, check_warning_text, load_in, world};

#[test]
fn addresses_and_ports() {
    for (old, new, key, cause, mend) in [
        ("\"0.0.0.0:8080\"", "»\"0.0.0.0\"", "listener[0].address", "no address", "\"0.0.0.0:8443\""),
        ("\"0.0.0.0:8080\"", "»\":8080\"", "listener[0].address", "no address", "\"0.0.0.0:8080\""),
        ("\"0.0.0.0:8080\"", "»\"localhost:8080\"", "listener[0].address", "no address", "\"127.0.0.1:8080\""),
        ("\"0.0.0.0:8080\"", "»\"::1\"", "listener[0].address", "no address", "\"[::1]:8443\""),
        ("\"0.0.0.0:8443\"", "»\"127.0.0.1:8080\"", "listener[1].address", "'plain' is on this port", "another port"),
        ("\"127.0.0.1:8444\"", "»\"127.0.0.1:8080\"", "admin.listen", "same port", "another port"),
        ("name = \"tls\"", "name = »\"plain\"", "listener[1].name", "two of [[listener]]", "a name of its own"),
        ("name = \"tls\"", "name = »\"TLS 1\"", "listener[1].name", "cannot be a name", "'tls-1'"),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn listeners() {
    for (old, new, key, cause, mend) in [
        (
            "partner_ca =",
            "redirect_to_https = »true\npartner_ca =",
            "listener[1].redirect_to_https",
            "cannot redirect",
            "\"http\"",
        ),
        (
            "protocol = \"http\"\n",
            "protocol = \"http\"\nproxy_protocol = »\"accept\"\n",
            "listener[0].proxy_protocol",
            "trusted networks",
            "10.0.0.0/8",
        ),
        (
            "protocol = \"http\"\n",
            "protocol = \"http\"\ntrusted_hops = »1\n",
            "listener[0].trusted_hops",
            "trusted networks",
            "10.0.0.0/8",
        ),
        (
            "protocol = \"http\"\n",
            "protocol = \"http\"\ntrusted_proxies = [»\"10.0.0.0/99\"]\n",
            "listener[0].trusted_proxies[0]",
            "no network",
            "prefix",
        ),
        (
            "protocol = \"http\"\n",
            "protocol = \"http\"\npartner_ca = »\"ca.pem\"\n",
            "listener[0].partner_ca",
            "without TLS",
            "\"https\"",
        ),
        ("\"ca.pem\"", "»\"none.pem\"", "listener[1].partner_ca", "cannot read 'none.pem'", "/etc/guichet/none.pem"),
        ("\"site.pem\"", "»\"none.pem\"", "certificate[0].cert", "cannot read", "/etc/guichet/none.pem"),
        ("\"site.pem\"", "»\"site.key\"", "certificate[0].cert", "does not hold a certificate", "BEGIN CERTIFICATE"),
        ("\"site.key\"", "»\"site.pem\"", "certificate[0].key", "does not hold a private key", "BEGIN PRIVATE KEY"),
        ("\"site.key\"", "»\"other.key\"", "certificate[0].key", "does not belong", "key"),
        ("\"site.key\"", "»\"\"", "certificate[0].key", "must be named", "PEM"),
    ] {
        check(old, new, key, cause, mend);
    }
    let certificate =
        "protocol = \"https\"\npartner_ca = \"ca.pem\"\n\n[[certificate]]\ncert = \"site.pem\"\nkey = \"site.key\"";
    let none = "protocol = »\"https\"\npartner_ca = \"ca.pem\"";
    check(certificate, none, "listener[1].protocol", "https needs a certificate", "[[certificate]]");
}

#[test]
fn node_limits_and_log() {
    for (old, new, key, cause, mend) in [
        ("drain_s = 30", "seed = »\"00ff\"", "node.seed", "not 64 hexadecimal digits", "openssl rand -hex 32"),
        ("drain_s = 30", "seed_file = »\"none\"", "node.seed_file", "cannot read 'none'", "openssl"),
        ("drain_s = 30", "seed_file = »\"site.pem\"", "node.seed_file", "not 64", "openssl"),
        ("drain_s = 30", "seed = \"x\"\n»seed_file = \"x\"", "node.seed_file", "both", "keep 'seed_file'"),
        ("header_ms = 8000", "client_hello_ms = »9000", "limits.client_hello_ms", "longer", "at most 8000"),
        (
            "header_ms = 8000",
            "head_bytes_max = 2048\ntarget_bytes_max = »2048",
            "limits.target_bytes_max",
            "no room",
            "2048",
        ),
        (
            "header_ms = 8000",
            "connections_per_source = »2000",
            "limits.connections_per_source",
            "whole network",
            "1024",
        ),
        ("\"stdout\"", "»\"stdot\"", "log.access", "'stdot'", "did you mean 'stdout'?"),
        ("\"stdout\"", "»\"access.log\"", "log.access", "'access.log'", "\"./access.log\""),
        ("\"stdout\"", "»\"/var/log/\"", "log.access", "'/var/log/'", "name a file"),
        (
            "\"stdout\"",
            "\"off\"\n[trace]\notlp_endpoint = »\"localhost:4318\"",
            "trace.otlp_endpoint",
            "no endpoint",
            "http://127.0.0.1:4318",
        ),
        (
            "\"stdout\"",
            "\"off\"\n[trace]\notlp_endpoint = »\"https://x:4318\"",
            "trace.otlp_endpoint",
            "no endpoint",
            "collector beside",
        ),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn upstreams() {
    for (old, new, key, cause, mend) in [
        ("\"127.0.0.1:9101\"", "»\"127.0.0.1\"", "upstream.portal.servers[0]", "no server", "add the port"),
        ("\"127.0.0.1:9101\"", "»\"http://x:1\"", "upstream.portal.servers[0]", "no server", "scheme"),
        ("\"127.0.0.1:9101\"", "\"x:1\", »\"X:1\"", "upstream.portal.servers[1]", "there twice", "weight"),
        ("protocol = \"http1\"", "ca = »\"ca.pem\"", "upstream.portal.ca", "cleartext", "\"https\""),
        (
            "protocol = \"http1\"",
            "protocol = \"h2\"\nserver_name = »\"a b\"",
            "upstream.portal.server_name",
            "no name",
            "host name",
        ),
        ("protocol = \"http1\"", "protocol = \"h2\"\nca = »\"site.key\"", "upstream.portal.ca", "does not hold", "PEM"),
        (
            "protocol = \"http1\"",
            "balance = \"consistent-hash\"\nhash_on = »\"ip\"",
            "upstream.portal.hash_on",
            "'ip'",
            "source",
        ),
        (
            "protocol = \"http1\"",
            "balance = \"consistent-hash\"\nhash_on = »\"header:a b\"",
            "upstream.portal.hash_on",
            "no header name",
            "header:x-account",
        ),
        (
            "protocol = \"http1\"",
            "health = { path = »\"up\" }",
            "upstream.portal.health.path",
            "begin with /",
            "\"/up\"",
        ),
        (
            "protocol = \"http1\"",
            "health = { interval_ms = 500, timeout_ms = »900 }",
            "upstream.portal.health.timeout_ms",
            "next begins",
            "at most 500",
        ),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn services() {
    for (old, new, key, cause, mend) in [
        (
            "[\"rails.example.org\"]",
            "[»\"Portal.example.org.\"]",
            "service.rails.hosts[0]",
            "claimed already",
            "one service",
        ),
        (
            "[\"rails.example.org\"]",
            "[»\"rails.example.org:443\"]",
            "service.rails.hosts[0]",
            "no host name",
            "\"rails.example.org\"",
        ),
        ("[\"rails.example.org\"]", "[»\"https://rails\"]", "service.rails.hosts[0]", "no host name", "without scheme"),
        ("[\"rails.example.org\"]", "[»\"r*.example.org\"]", "service.rails.hosts[0]", "no host name", "star"),
        (
            "queue = {",
            "concurrency = { min = »300 }\nqueue = {",
            "service.portal.concurrency.min",
            "above 'max'",
            "256",
        ),
        (
            "queue = {",
            "concurrency = { initial = »300 }\nqueue = {",
            "service.portal.concurrency.initial",
            "not within",
            "from 4 to 256",
        ),
        ("queue = {", "reserve = »{ critical = 0.8 }\nqueue = {", "service.portal.reserve", "1.00", "important 0.2"),
        (
            "queue = {",
            "session = { cookie = »\"a=b\" }\nqueue = {",
            "service.portal.session.cookie",
            "no cookie name",
            "without =",
        ),
        (
            "queue = {",
            "session = { cookie = \"s\", issued_on = [»\"in\"] }\nqueue = {",
            "service.portal.session.issued_on[0]",
            "begin with /",
            "\"/in\"",
        ),
        ("path = \"/search\"", "path = »\"search\"", "service.portal.route[0].path", "begin with /", "\"/search\""),
        (
            "path = \"/search\"",
            "path = »\"/search?q=\"",
            "service.portal.route[0].path",
            "more than a path",
            "\"/search\"",
        ),
        ("[\"GET\"]", "[»\"get\"]", "service.portal.route[0].methods[0]", "capitals", "\"GET\""),
        (
            "[\"GET\"]",
            "[\"GET\"]\n[[service.portal.route]]\npath = »\"/search\"",
            "service.portal.route[1].path",
            "same methods",
            "join",
        ),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn references_and_partners() {
    for (old, new, key, cause, mend) in [
        (
            "upstream = \"portal\"",
            "upstream = »\"portl\"",
            "service.portal.upstream",
            "no upstream 'portl'",
            "did you mean 'portal'?",
        ),
        (
            "upstream = \"portal\"",
            "upstream = »\"zebra\"",
            "service.portal.upstream",
            "no upstream",
            "declared: portal, rails",
        ),
        ("[\"rails\"]", "[»\"rail\"]", "partner[0].services[0]", "no service 'rail'", "'rails'"),
        (
            "subject = \"CN=atm\"",
            "subject = »\"CN=a,O=b\"",
            "partner[0].subject",
            "no single common name",
            "CN=cash-machines",
        ),
        ("subject = \"CN=atm\"", "key_sha256 = »\"abc\"", "partner[0].key_sha256", "64 hexadecimal", "sha256sum"),
        (
            "subject = \"CN=atm\"",
            "certificate_sha256 = [»\"abc\"]",
            "partner[0].certificate_sha256[0]",
            "64 hexadecimal",
            "openssl x509",
        ),
        (
            "[[partner]]\nname = \"atm\"\nsubject = \"CN=atm\"",
            "»[[partner]]\nname = \"atm\"",
            "partner[0]",
            "cannot prove",
            "subject",
        ),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn warnings() {
    for (old, new, cause, mend) in [
        ("\"127.0.0.1:8444\"", "»\"0.0.0.0:8444\"", "other machines", "127.0.0.1"),
        ("protocol = \"http\"\n", "protocol = \"http\"\nhttps_port = »8443\n", "no effect", "redirect_to_https"),
        ("protocol = \"http\"\n", "protocol = \"http\"\ntrusted_proxies = [»\"0.0.0.0/0\"]\n", "everybody", "your own"),
        ("protocol = \"http1\"", "hash_on = »\"path\"", "no effect", "consistent-hash"),
        (
            "[upstream.rails]",
            "[upstream.»spare]\nservers = [\"x:1\"]\n[upstream.rails]",
            "no service uses",
            "take it out",
        ),
        ("[\"portal.example.org\"]", "[»\"portal.example.net\"]", "no certificate covers", "[[certificate]]"),
        ("header_ms = 8000", "connections_per_network = »60000", "every connection", "50000"),
    ] {
        check_warning(old, new, cause, mend);
    }
}

#[test]
fn what_only_goes_wrong_together() {
    let text = GOOD.replace("partner_ca = \"ca.pem\"\n", "").replace("subject = ", "subject = »");
    check_text(&text, "partner[0].subject", "no listener asks", "partner_ca");
    let text =
        GOOD.replace("[upstream.rails]", "[upstream.»Rails]").replace("upstream = \"rails\"", "upstream = \"Rails\"");
    check_text(&text, "upstream.Rails", "cannot be a name", "'rails'");
    let text = GOOD.replace("services = [\"rails\"]", "services = [\"portal\"]");
    check_warning_text(&text.replace("partner_only = ", "partner_only = »"), "everybody is refused", "[\"rails\"]");
    let mut world = world(GOOD);
    world.now_unix_s = i64::MAX;
    let warnings = load_in(&world).expect("an expired certificate is a warning").warnings;
    assert!(warnings[0].cause.contains("has expired"), "{warnings:?}");
}

/// What a right `[[hand_on]]` needs, with one part replaced.
fn hand_on(old: &str, new: &str) -> String {
    let good = "[link]\nown = [\"192.0.2.0/24\"]\njournal = \"journal\"\n[[hand_on]]\nname = \"provider\"\nkind = \"gobgp\"\naction = \"blackhole\"\nnext_hop = \"192.0.2.1\"\npropose_for = [\"192.0.2.10\"]\n";
    assert_eq!(good.matches(old).count(), 1, "'{old}' must be there once");
    format!("{GOOD}{}", good.replacen(old, new, 1))
}

#[test]
fn the_link_and_what_is_handed_on() {
    for (old, new, key, cause, mend) in [
        (
            "192.0.2.0/24\"]",
            "192.0.2.0/24\", »\"128.0.0.0/1\"]",
            "link.own[1]",
            "nobody owns that much",
            "name the prefixes",
        ),
        ("own =", "procfs = »\"proc\"\nown =", "link.procfs", "no absolute path", "\"/proc\""),
        (
            "own =",
            "interface = [{ name = »\"eth 0\", rate_mbit = 1 }]\nown =",
            "link.interface[0].name",
            "cannot be the name",
            "ip link",
        ),
        (
            "own =",
            "interface = [{ name = \"a\", rate_mbit = 1 }, { name = »\"a\", rate_mbit = 1 }]\nown =",
            "link.interface[1].name",
            "declared twice",
            "keep one",
        ),
        ("name = \"provider\"", "name = »\"Provider\"", "hand_on[0].name", "cannot be a name", "'provider'"),
        ("\"192.0.2.1\"", "»\"\"", "hand_on[0].next_hop", "no address", "next hop"),
        ("[\"192.0.2.10\"]", "[»\"192.0.3.0/24\"]", "hand_on[0].propose_for[0]", "not in [link] own", "declare it"),
        (
            "kind = \"gobgp\"",
            "kind = \"command\"\ncommand = »[\"\"]",
            "hand_on[0].command",
            "no command",
            "name the program",
        ),
        (
            "kind = \"gobgp\"",
            "kind = \"webhook\"\nsecret_file = \"site.key\"\nurl = »\"ftp://x\"",
            "hand_on[0].url",
            "nothing that can be posted to",
            "https://",
        ),
        (
            "kind = \"gobgp\"",
            "kind = \"webhook\"\nurl = \"http://x/\"\nsecret_file = »\"none\"",
            "hand_on[0].secret_file",
            "cannot read",
            "openssl rand",
        ),
    ] {
        check_text(&hand_on(old, new), key, cause, mend);
    }
    let without = hand_on("own = [\"192.0.2.0/24\"]\n", "").replace("name = \"provider\"", "name = »\"provider\"");
    let without = without.replace("propose_for = [\"192.0.2.10\"]\n", "");
    check_text(&without, "hand_on[0].name", "nothing that could be announced", "[link] own");
    let unwritten = hand_on("journal = \"journal\"\n", "").replace("name = \"provider\"", "name = »\"provider\"");
    check_text(&unwritten, "hand_on[0].name", "after a crash", "dry_run");
    let alone = hand_on("next_hop =", "confirm = »false\nnext_hop =");
    check_warning_text(&alone, "without anybody being asked", "leave it true");
    let config = load_in(&world(&hand_on("[link]", "[link]"))).unwrap_or_else(|report| panic!("{report}")).config;
    assert_eq!(config.link.targets.len(), 1);
    assert!(config.link.journal.is_some_and(|path| path.is_absolute()), "beside the configuration");
}
