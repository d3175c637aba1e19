use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use guichet_core::bounds::{TRACE_QUEUE_SPANS_MAX, TRACE_SPANS_PER_S_MAX};
use guichet_core::{Moment, Reason};
use http::HeaderMap;
use proptest::prelude::*;
use serde_json::Value;

use super::super::RequestIds;
use super::super::entry::entry_for_test;
use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

#[test]
fn traceparents() {
    let check = |text: &str, wanted: Option<u8>| {
        assert_eq!(parse_traceparent(text.as_bytes()).map(|parent| parent.flags), wanted, "{text:?}");
    };
    let good = |version: &str, flags: &str| format!("{version}-{TRACE}-{PARENT}-{flags}");
    check(&good("00", "01"), Some(1));
    check(&good("00", "00"), Some(0));
    check(&good("00", "03"), Some(3));
    check(&good("00", "ff"), Some(3));
    check(&good("cc", "01"), Some(1));
    check(&(good("cc", "01") + "-what-the-future-will-be-like"), Some(1));
    check(&(good("cc", "01") + ".what"), None);
    check(&(good("00", "01") + "-what"), None);
    check(&(good("00", "01") + " "), None);
    check(&good("ff", "01"), None);
    check(&good("0x", "01"), None);
    check(&good("00", "0G"), None);
    check(&good("00", "0A"), None);
    check(&good("00", "01").to_uppercase(), None);
    check(&good("00", "01").replace('-', "_"), None);
    check(&good("00", "01").replace(TRACE, &"0".repeat(32)), None);
    check(&good("00", "01").replace(PARENT, &"0".repeat(16)), None);
    check(&good("00", "1"), None);
    check("", None);
}

#[test]
fn tracestates() {
    let check = |text: &str, wanted| assert_eq!(tracestate_is_valid(text.as_bytes()), wanted, "{text:?}");
    check("rojo=00f067aa0ba902b7", true);
    check("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true);
    check("rojo=1 , congo=2,", true);
    check("0tenant@system=1", true);
    check("a=b c", true);
    check("", false);
    check(",,", false);
    check("rojo", false);
    check("rojo=", false);
    check("=1", false);
    check("Rojo=1", false);
    check("0rojo=1", false);
    check("t@0sys=1", false);
    check("rojo=1,rojo=2", false);
    check("rojo=a=b", false);
    check("rojo=\u{e9}", false);
    check(&(0..32).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(","), true);
    check(&(0..33).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(","), false);
    check(&format!("k={}", "x".repeat(257)), false);
    check(&format!("{}=1", "k".repeat(257)), false);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
        if let Some(parent) = parse_traceparent(&bytes) {
            prop_assert!(parent.trace_id != [0; 16] && parent.parent_id != [0; 8] && parent.flags <= 3);
        }
        if tracestate_is_valid(&bytes) {
            prop_assert!(bytes.is_ascii() && bytes.len() <= 512);
        }
    }
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[test]
fn a_trace_is_continued_with_a_span_of_our_own() {
    let ids = RequestIds::new(1, 0);
    let sent = format!("00-{TRACE}-{PARENT}-01");
    let mut headers = headers(&[("traceparent", &sent), ("tracestate", "a=1"), ("tracestate", "b=2")]);
    let context = TraceContext::of_request(&headers, &ids, 0.0);
    assert!(context.sampled());
    context.write(&mut headers);
    let passed = headers["traceparent"].to_str().unwrap();
    let parsed = parse_traceparent(passed.as_bytes()).unwrap();
    assert_eq!((parsed.trace_id, parsed.parent_id), (context.trace_id, context.span_id));
    assert!(passed.contains(TRACE) && !passed.contains(PARENT), "{passed}");
    assert_eq!(headers.get_all("tracestate").iter().count(), 1);
    assert_eq!(headers["tracestate"], "a=1,b=2");
}

#[test]
fn what_is_malformed_begins_a_new_trace() {
    let ids = RequestIds::new(1, 0);
    let good = format!("00-{TRACE}-{PARENT}-01");
    let check = |pairs: &[(&'static str, &str)], sample: f64, sampled: bool| {
        let mut headers = headers(pairs);
        let context = TraceContext::of_request(&headers, &ids, sample);
        assert_eq!(context.parent_id, None, "{pairs:?}");
        assert_eq!(context.sampled(), sampled, "{pairs:?}");
        context.write(&mut headers);
        assert!(!headers["traceparent"].to_str().unwrap().contains(TRACE));
        assert!(!headers.contains_key("tracestate"));
    };
    check(&[], 0.0, false);
    check(&[], 1.0, true);
    check(&[("traceparent", "nonsense"), ("tracestate", "a=1")], 1.0, true);
    check(&[("traceparent", &good), ("traceparent", &good), ("tracestate", "a=1")], 0.0, false);
    check(&[("tracestate", "a=1")], 0.0, false);
}

#[test]
fn the_callers_decision_stands_and_a_bad_state_is_dropped() {
    let ids = RequestIds::new(1, 0);
    let unsampled = format!("00-{TRACE}-{PARENT}-00");
    let mut headers = headers(&[("traceparent", &unsampled), ("tracestate", "Bad Key=1")]);
    let context = TraceContext::of_request(&headers, &ids, 1.0);
    assert!(!context.sampled());
    context.write(&mut headers);
    assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"));
    assert!(!headers.contains_key("tracestate"));
}

#[test]
fn the_share_of_new_traces_is_kept() {
    let ids = RequestIds::new(5, 0);
    let none = HeaderMap::new();
    let sampled = (0..10_000).filter(|_| TraceContext::of_request(&none, &ids, 0.1).sampled()).count();
    assert!((850..1150).contains(&sampled), "{sampled}");
}

/// A collector on a real socket: hands each request (first line, body) to the test, answers with `status`.
fn collector(status: &'static str) -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (send, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(64) {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
            if send.send((head, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
        }
    });
    (format!("http://{address}"), received)
}

fn sampled() -> TraceContext {
    let text = format!("00-{TRACE}-{PARENT}-01");
    TraceContext::of_request(&headers(&[("traceparent", &text)]), &RequestIds::new(1, 0), 0.0)
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let found = span["attributes"].as_array().unwrap().iter().find(|a| a["key"] == key);
    let value = &found.unwrap_or_else(|| panic!("no attribute {key} in {span}"))["value"];
    value.as_object().unwrap().values().next().unwrap()
}

#[test]
fn spans_reach_a_collector() {
    let (endpoint, received) = collector("200 OK");
    let (sink, exporter) = SpanExporter::start(&endpoint, "0.1.0").unwrap();
    let trace = sampled();
    let mut entry = entry_for_test();
    entry.trace = Some(&trace);
    sink.record(&entry, Moment(0));
    entry.status = 503;
    entry.reason = Some(Reason::Overload);
    sink.record(&entry, Moment(0));
    let untraced = entry_for_test();
    sink.record(&untraced, Moment(0));
    let counters = sink.counters();
    assert!(exporter.stop(Duration::from_secs(10)));

    let (head, body) = received.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "guichet");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 2);
    let [good, refused] = [&spans[0], &spans[1]];
    assert_eq!(good["traceId"], TRACE);
    assert_eq!(good["parentSpanId"], PARENT);
    assert_eq!(good["spanId"].as_str().unwrap().len(), 16);
    assert_eq!(good["name"], "GET /suivi");
    assert_eq!(good["kind"], 2);
    assert_eq!(good["startTimeUnixNano"], "1790000000123000000");
    assert_eq!(good["endTimeUnixNano"], "1790000000135345000");
    assert_eq!(good["status"]["code"], 0);
    assert_eq!(attribute(good, "http.request.method"), "GET");
    assert_eq!(attribute(good, "http.response.status_code"), "200");
    assert_eq!(attribute(good, "url.path"), "/suivi/6A1");
    assert_eq!(attribute(good, "http.route"), "/suivi");
    assert_eq!(attribute(good, "network.protocol.version"), "2");
    assert_eq!(attribute(refused, "error.type"), "overload");
    assert_eq!(refused["status"]["code"], 2);
    assert!(!body.to_string().contains("192.0.2.77"), "addresses of clients stay out of traces");
    assert_eq!((counters.exported.load(Relaxed), counters.dropped.load(Relaxed)), (2, 0));
}

#[test]
fn a_collector_that_refuses_or_is_down_costs_spans_only() {
    let closed = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let (failing, _received) = collector("503 Service Unavailable");
    for endpoint in [format!("http://{closed}"), failing] {
        let (sink, exporter) = SpanExporter::start(&endpoint, "0.1.0").unwrap();
        let trace = sampled();
        let mut entry = entry_for_test();
        entry.trace = Some(&trace);
        for _ in 0..10 {
            sink.record(&entry, Moment(0));
        }
        let counters = sink.counters();
        assert!(exporter.stop(Duration::from_secs(10)), "{endpoint}");
        assert_eq!((counters.exported.load(Relaxed), counters.dropped.load(Relaxed)), (0, 10), "{endpoint}");
    }
}

#[test]
fn the_queue_and_the_rate_are_bounded() {
    // A collector that accepts and never answers: the exporter hangs in its first batch.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (sink, exporter) = SpanExporter::start(&format!("http://{}", silent.local_addr().unwrap()), "0.1.0").unwrap();
    let trace = sampled();
    let mut entry = entry_for_test();
    entry.trace = Some(&trace);
    for _ in 0..2 * TRACE_SPANS_PER_S_MAX {
        sink.record(&entry, Moment(0));
    }
    assert_eq!(sink.counters().dropped.load(Relaxed), TRACE_SPANS_PER_S_MAX, "over the rate");
    let began = Instant::now();
    let seconds = 2 + 2 * TRACE_QUEUE_SPANS_MAX as u64 / TRACE_SPANS_PER_S_MAX;
    for second in 1..seconds {
        for _ in 0..TRACE_SPANS_PER_S_MAX {
            sink.record(&entry, Moment(second * 1_000_000));
        }
    }
    assert!(sink.counters().dropped.load(Relaxed) > 2 * TRACE_SPANS_PER_S_MAX, "over the queue");
    assert!(began.elapsed() < Duration::from_secs(4), "recording waited for the collector");
    assert!(!exporter.stop(Duration::from_millis(10)), "the collector still holds it up");
}

#[test]
fn endpoints_are_checked() {
    for bad in
        ["", "collector:4318", "https://127.0.0.1:4318", "http://", "http://u@127.0.0.1", "http://h/?q", "ftp://h"]
    {
        assert!(matches!(SpanExporter::start(bad, "0"), Err(ExportError::Endpoint(_))), "{bad}");
    }
}
