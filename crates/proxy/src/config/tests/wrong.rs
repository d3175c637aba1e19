//! Files that are no TOML, or not of the right shape.

use super::check;

#[test]
fn syntax() {
    for (old, new, cause, mend) in [
        ("workers = 2", "workers = »", "", "value"),
        ("workers = 2", "workers = 2\n»workers = 3", "duplicate key", "keep one"),
        ("drain_s = 30", "drain_s = »30 x", "", ""),
        ("access = \"stdout\"", "access = »stdout", "quote", "quotes"),
    ] {
        check(old, new, "", cause, mend);
    }
}

#[test]
fn unknown_keys() {
    for (old, new, key, cause, mend) in [
        ("queue = {", "»queu = {", "service.portal.queu", "unknown key 'queu'", "did you mean 'queue'?"),
        ("length = 64", "»lenght = 64", "service.portal.queue.lenght", "unknown key", "did you mean 'length'?"),
        ("header_ms = 8000", "»header_s = 8", "limits.header_s", "unknown key", "did you mean 'header_ms'?"),
        ("drain_s = 30", "»colour = \"red\"", "node.colour", "unknown key 'colour'", "the keys here are: workers"),
        ("methods = [", "»method = [", "service.portal.route[0].method", "unknown key", "'methods'"),
        ("subject = ", "subject = \"CN=atm\"\n»secret = ", "partner[0].secret", "unknown key", "subject"),
        (", weight = 2 }", ", »wieght = 2 }", "upstream.rails.servers[1].wieght", "unknown key", "'weight'"),
        ("[limits]", "[»limit]", "limit", "unknown key 'limit'", "did you mean 'limits'?"),
        ("workers = 2", "»\"a.b\" = 2", "node.\"a.b\"", "unknown key 'a.b'", ""),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn kinds() {
    for (old, new, key, cause, mend) in [
        ("workers = 2", "workers = »\"2\"", "node.workers", "whole number", "without quotes"),
        ("workers = 2", "workers = »2.5", "node.workers", "whole number", "workers = 10"),
        ("drain_s = 30", "drain_s = »true", "node.drain_s", "whole number", ""),
        ("drain_s = 30", "drain_s = »99999999999999999999", "node.drain_s", "64 bits", "from 1 to 3600"),
        ("drain_s = 30", "drain_s = »2026-01-01", "node.drain_s", "a date", "whole number"),
        ("partner_only = true", "partner_only = »\"yes\"", "service.rails.partner_only", "true or false", "true or"),
        ("[\"portal.example.org\"]", "»\"portal.example.org\"", "service.portal.hosts", "an array", "in brackets"),
        ("upstream = \"portal\"", "upstream = »[\"portal\"]", "service.portal.upstream", "a string", "single one"),
        ("upstream = \"portal\"", "upstream = »7", "service.portal.upstream", "a string", "in quotes"),
        ("{ length = 64, wait_ms = 500 }", "»64", "service.portal.queue", "a table", "queue = {"),
        ("[\"127.0.0.1:9101\"]", "[»9101]", "upstream.portal.servers[0]", "a string or a table", "host:port"),
        ("[[certificate]]", "»[certificate]", "certificate", "an array", "double the brackets"),
        ("[limits]", "»[[limits]]", "limits", "a table", "single brackets"),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn bounds_and_choices() {
    for (old, new, key, cause, mend) in [
        ("workers = 2", "workers = »-1", "node.workers", "cannot be -1", "from 0 to 256"),
        ("workers = 2", "workers = »257", "node.workers", "cannot be 257", "from 0 to 256"),
        ("drain_s = 30", "drain_s = »0", "node.drain_s", "cannot be 0", "from 1 to 3600"),
        ("drain_s = 30", "connections_max = »200001", "node.connections_max", "200001", "200000"),
        ("header_ms = 8000", "header_ms = »0", "limits.header_ms", "cannot be 0", "from 1"),
        ("header_ms = 8000", "head_bytes_max = »65537", "limits.head_bytes_max", "65537", "65536"),
        ("header_ms = 8000", "h2_streams_max = »129", "limits.h2_streams_max", "129", "128"),
        ("wait_ms = 500", "wait_ms = »0", "service.portal.queue.wait_ms", "cannot be 0", "from 1"),
        ("length = 64", "length = »1025", "service.portal.queue.length", "1025", "1024"),
        ("access = \"stdout\"", "refused_sample = »1.5", "log.refused_sample", "1.5", "0"),
        ("access = \"stdout\"", "refused_sample = »nan", "log.refused_sample", "NaN", "0"),
        ("access = \"stdout\"", "format = »\"jsn\"", "log.format", "'jsn'", "did you mean 'json'?"),
        ("protocol = \"http1\"", "protocol = »\"http\"", "upstream.portal.protocol", "'http'", "'http1'"),
        ("protocol = \"http1\"", "retry = { budget_ratio = »2 }", "upstream.portal.retry.budget_ratio", "2", "1"),
        ("protocol = \"http1\"", "retry = { attempts_max = »0 }", "upstream.portal.retry.attempts_max", "0", "10"),
        ("weight = 2", "weight = »0", "upstream.rails.servers[1].weight", "cannot be 0", "from 1"),
        ("methods = [\"GET\"]", "cost = »-1", "service.portal.route[0].cost", "-1", "10000"),
        ("methods = [\"GET\"]", "deadline_ms = »0", "service.portal.route[0].deadline_ms", "0", "from 1"),
        ("[\"127.0.0.1:9101\"]", "»[]", "upstream.portal.servers", "0 entries", "at least 1"),
        ("[\"portal.example.org\"]", "»[]", "service.portal.hosts", "0 entries", "at least 1"),
        ("partner_only = true", "criticality = »\"vital\"", "service.rails.criticality", "'vital'", "critical"),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn missing_keys() {
    for (old, new, key, cause, mend) in [
        (
            "[service.portal]\nhosts = [\"portal.example.org\"]",
            "[service.»portal]",
            "service.portal.hosts",
            "lacks 'hosts'",
            "hosts = ",
        ),
        (
            "[upstream.portal]\nservers = [\"127.0.0.1:9101\"]",
            "[upstream.»portal]",
            "upstream.portal.servers",
            "lacks 'servers'",
            "servers = ",
        ),
        (
            "[service.rails]\nhosts = [\"rails.example.org\"]\nupstream = \"rails\"",
            "[service.»rails]\nhosts = [\"rails.example.org\"]",
            "service.rails.upstream",
            "lacks 'upstream'",
            "Name of its upstream",
        ),
        ("[[certificate]]\ncert = \"site.pem\"", "»[[certificate]]", "certificate[0].cert", "lacks 'cert'", "PEM file"),
        ("[[listener]]\nname = \"plain\"", "»[[listener]]", "listener[0].name", "lacks 'name'", "name = "),
        (
            "[[service.portal.route]]\npath = \"/search\"",
            "»[[service.portal.route]]",
            "service.portal.route[0].path",
            "lacks 'path'",
            "path = ",
        ),
    ] {
        check(old, new, key, cause, mend);
    }
}

#[test]
fn an_empty_file_lacks_the_three_tables() {
    let report = super::load_in(&super::world("")).expect_err("empty");
    let causes: Vec<_> = report.problems.iter().map(|p| p.cause.as_str()).collect();
    for (cause, lacking) in causes.iter().zip(["'listener'", "'service'", "'upstream'"]) {
        assert_eq!(*cause, format!("the configuration lacks {lacking}"));
    }
    assert_eq!(causes.len(), 3, "{report}");
    assert!(report.problems[0].mend.starts_with("add `[[listener]]`"), "{report}");
    assert!(report.problems[1].mend.starts_with("add `[service.NAME]`"), "{report}");
}
