use std::io::Read;
use std::time::Instant;

use guichet_core::Reason;
use serde_json::Value;

use super::super::entry::entry_for_test;
use super::*;

fn config(target: LogTarget, format: LogFormat) -> Log {
    Log { target, format, mask_addresses: false, refused_sample: 1.0, refused_per_s_max: 100 }
}

fn one_line(bytes: Vec<u8>) -> String {
    let line = String::from_utf8(bytes).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(line.ends_with('\n') && !line.contains('\r'), "{line}");
    line
}

#[test]
fn a_json_line_has_the_documented_fields() {
    let mut entry = entry_for_test();
    let line: Value = serde_json::from_str(&one_line(line::json(&entry, false))).unwrap();
    let check = |field: &str, wanted: Value| assert_eq!(line[field], wanted, "{field}");
    check("time", "2026-09-21T14:13:20.123Z".into());
    check("request_id", "0123456789abcdef0123456789abcdef".into());
    check("client", "192.0.2.77".into());
    check("service", "portal".into());
    check("route", "/suivi".into());
    check("path", "/suivi/6A1".into());
    check("protocol", "HTTP/2.0".into());
    check("status", 200.into());
    check("duration_ms", 12.345.into());
    check("queue_ms", 1.5.into());
    check("first_byte_ms", 9.87.into());
    check("upstream", "127.0.0.1:9101".into());
    check("lane", "ordinary".into());
    check("standing", "known".into());
    check("reason", Value::Null);

    entry.reason = Some(Reason::BelowThreshold);
    entry.service = "";
    entry.upstream = "";
    let refused: Value = serde_json::from_str(&one_line(line::json(&entry, true))).unwrap();
    assert_eq!(refused["reason"], "below_threshold");
    assert_eq!(refused["reason_code"], 103);
    assert_eq!(refused["reference"], entry.reference().unwrap().as_str());
    assert_eq!(refused["client"], "192.0.2.0");
    assert_eq!(refused["service"], Value::Null);
}

#[test]
fn every_field_is_documented() {
    let mut entry = entry_for_test();
    entry.reason = Some(Reason::FairShare);
    entry.partner = Some("cash-machines");
    let ids = RequestIds::new(1, 0);
    let trace = super::super::trace::TraceContext::of_request(&http::HeaderMap::new(), &ids, 1.0);
    entry.trace = Some(&trace);
    let line: serde_json::Map<String, Value> = serde_json::from_slice(&line::json(&entry, false)).unwrap();
    let document = include_str!("../../../../../docs/observability.md");
    assert_eq!(line.len(), 27);
    for name in line.keys() {
        assert!(document.contains(&format!("| `{name}` |")), "docs/observability.md lacks the log field {name}");
    }
}

#[test]
fn a_combined_line_reads_as_web_servers_write_it() {
    let mut entry = entry_for_test();
    let line = one_line(line::combined(&entry, false));
    let wanted = "192.0.2.77 - - [21/Sep/2026:14:13:20 +0000] \"GET /suivi/6A1 HTTP/2.0\" 200 5120 \"-\" \"Mozilla/5.0\" \
                  0123456789abcdef0123456789abcdef service=portal upstream=127.0.0.1:9101 lane=ordinary standing=known \
                  reason=- duration_ms=12.345 queue_ms=1.5 reference=-\n";
    assert_eq!(line, wanted);
    entry.partner = Some("cash machines");
    assert!(one_line(line::combined(&entry, false)).contains(" - cash\\x20machines ["));
}

#[test]
fn nobody_can_forge_a_line() {
    let evil = "x\r\n{\"status\":200}\n\" 200 0 \"-\" \u{2028}\u{1b}[31m\\";
    let mut entry = entry_for_test();
    entry.path = evil;
    entry.method = evil;
    entry.route = evil;
    entry.service = evil;
    entry.listener = evil;
    entry.upstream = evil;
    entry.partner = Some(evil);
    entry.ja4 = Some(evil);
    entry.user_agent = Some(evil.as_bytes());
    let json = one_line(line::json(&entry, false));
    let parsed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["status"], 200);
    assert!(json.is_ascii());
    let combined = one_line(line::combined(&entry, false));
    assert!(combined.trim_end().bytes().all(|b| (b' '..=b'~').contains(&b)));
    assert_eq!(combined.matches('"').count(), 6, "{combined}");
}

#[test]
fn lines_are_bounded() {
    let long = "\n".repeat(1 << 16);
    let mut entry = entry_for_test();
    for text in [&mut entry.path, &mut entry.method, &mut entry.route, &mut entry.service, &mut entry.upstream] {
        *text = &long;
    }
    entry.user_agent = Some(long.as_bytes());
    entry.partner = Some(&long);
    entry.ja4 = Some(&long);
    for line in [line::json(&entry, false), line::combined(&entry, false)] {
        assert!(one_line(line).len() < 2 * LOG_LINE_USUAL_MAX);
    }
}

/// Path, six texts, and the fixed part; doubled above for the backslashes that JSON doubles.
const LOG_LINE_USUAL_MAX: usize =
    guichet_core::bounds::LOG_PATH_BYTES_MAX + 6 * guichet_core::bounds::LOG_TEXT_BYTES_MAX + 1024;

#[test]
fn addresses_are_masked_on_demand() {
    let check = |address: &str, wanted: &str| {
        let mut entry = entry_for_test();
        entry.client = address.parse().unwrap();
        let line: Value = serde_json::from_slice(&line::json(&entry, true)).unwrap();
        assert_eq!(line["client"], wanted);
    };
    check("198.51.100.255", "198.51.100.0");
    check("2001:db8:1:2:3:4:5:6", "2001:db8:1::");
    check("::ffff:198.51.100.7", "::ffff:198.51.100.0");
}

#[test]
fn refusals_are_sampled_and_capped_and_others_are_not() {
    let ids = RequestIds::new(3, 0);
    let check = |share: f64, per_s_max: u32, wanted: std::ops::RangeInclusive<usize>| {
        let sampler = Sampler::new(share, per_s_max);
        let seconds = (0..10_000_u64).map(|n| Moment(n * 1_000));
        let taken = seconds.filter(|now| sampler.wants(*now, &ids)).count();
        assert!(wanted.contains(&taken), "share {share}, cap {per_s_max}: {taken}");
    };
    check(1.0, 100, 1000..=1000);
    check(0.0, 100, 0..=0);
    check(1.0, 0, 0..=0);
    check(0.1, 10_000, 850..=1150);
    check(1.0, 10_000, 10_000..=10_000);
}

#[test]
fn a_flood_of_refusals_makes_few_lines_and_admitted_requests_keep_theirs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut config = config(LogTarget::File(path.clone()), LogFormat::Json);
    config.refused_per_s_max = 5;
    let (log, writer) = AccessLog::open(&config).unwrap();
    let ids = RequestIds::new(1, 0);
    let mut refused = entry_for_test();
    refused.reason = Some(Reason::FairShare);
    refused.attempts = 0;
    let mut failed = entry_for_test();
    failed.reason = Some(Reason::UpstreamFirstByte);
    let mut suppressed = 0;
    for _ in 0..1000 {
        suppressed += usize::from(log.record(&refused, Moment(7_000_000), &ids) == Logged::Suppressed);
        assert_eq!(log.record(&failed, Moment(7_000_000), &ids), Logged::Queued);
    }
    assert_eq!(suppressed, 995);
    assert!(writer.stop(Duration::from_secs(10)));
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1005);
    assert_eq!(text.lines().filter(|line| line.contains("\"fair_share\"")).count(), 5);
}

#[test]
fn a_full_queue_drops_and_counts_and_never_blocks() {
    // A pipe that nobody reads: the writer blocks in its first write, as with a dead log shipper.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut reader = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (log, writer) = AccessLog::open(&config(LogTarget::File(path), LogFormat::Json)).unwrap();
    let ids = RequestIds::new(1, 0);
    let entry = entry_for_test();
    let sent = 3 * LOG_QUEUE_LINES_MAX;
    let dropped = (0..sent).filter(|_| log.record(&entry, Moment(0), &ids) == Logged::Dropped).count();
    assert!(dropped > LOG_QUEUE_LINES_MAX, "{dropped}");
    assert_eq!(log.counters().dropped.load(Relaxed), dropped as u64);
    // The reader comes back: what was queued arrives whole.
    let wanted = sent - dropped;
    let counted = std::thread::spawn(move || {
        let (mut lines, mut buffer) = (0, vec![0; 1 << 16]);
        let until = Instant::now() + Duration::from_secs(20);
        while lines < wanted && Instant::now() < until {
            let count = reader.read(&mut buffer).unwrap();
            lines += buffer[..count].iter().filter(|b| **b == b'\n').count();
        }
        lines
    });
    assert!(writer.stop(Duration::from_secs(20)));
    assert_eq!(counted.join().unwrap(), wanted);
}

#[test]
fn reopen_follows_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let (path, rotated) = (dir.path().join("access.log"), dir.path().join("access.log.1"));
    let (log, writer) = AccessLog::open(&config(LogTarget::File(path.clone()), LogFormat::Combined)).unwrap();
    let ids = RequestIds::new(1, 0);
    assert_eq!(log.record(&entry_for_test(), Moment(0), &ids), Logged::Queued);
    wait_until(|| std::fs::read(&path).is_ok_and(|bytes| !bytes.is_empty()));
    std::fs::rename(&path, &rotated).unwrap();
    writer.reopen();
    wait_until(|| path.exists());
    assert_eq!(log.record(&entry_for_test(), Moment(0), &ids), Logged::Queued);
    assert!(writer.stop(Duration::from_secs(10)));
    for file in [&path, &rotated] {
        assert_eq!(std::fs::read_to_string(file).unwrap().lines().count(), 1, "{}", file.display());
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = std::path::PathBuf::from("/nonexistent-directory/access.log");
    let error = AccessLog::open(&config(LogTarget::File(path), LogFormat::Json)).err().unwrap();
    assert!(error.to_string().contains("/nonexistent-directory/access.log"), "{error}");
}

#[test]
fn a_disk_that_is_full_costs_lines_and_says_so() {
    let (log, writer) = AccessLog::open(&config(LogTarget::File("/dev/full".into()), LogFormat::Json)).unwrap();
    let ids = RequestIds::new(1, 0);
    for _ in 0..10 {
        assert_eq!(log.record(&entry_for_test(), Moment(0), &ids), Logged::Queued);
    }
    assert!(writer.stop(Duration::from_secs(10)));
    assert_eq!(log.counters().write_failed.load(Relaxed), 10);
    assert!(log.counters().failing.load(Relaxed));
}

#[test]
fn off_is_off() {
    let (log, writer) = AccessLog::open(&config(LogTarget::Off, LogFormat::Json)).unwrap();
    assert_eq!(log.record(&entry_for_test(), Moment(0), &RequestIds::new(1, 0)), Logged::Off);
    assert!(writer.stop(Duration::ZERO));
}

fn wait_until(condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < until, "the condition did not come true in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Prints what a line costs. `cargo test --release -p guichet-proxy line_cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a test"]
fn line_cost() {
    let entry = entry_for_test();
    for (name, make) in [("json", line::json as fn(&Entry<'_>, bool) -> Vec<u8>), ("combined", line::combined)] {
        let rounds = 200_000;
        let began = Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(make(std::hint::black_box(&entry), false));
        }
        println!("{name}: {:?} a line", began.elapsed() / rounds);
    }
}
