//! What the hot path pays for telling apart, one piece at a time: `cargo bench -p guichet-proxy --bench hot`.
//!
//! Whole requests are measured by `guichet bench`; here it is nanoseconds of single steps, for a profile or a budget.

use std::cell::{Cell, OnceCell};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use divan::{Bencher, black_box};
use guichet_core::signs::{Dimension, FeatureHash, InForce, Signature, Step};
use guichet_core::{Criticality, Moment, Rules, Standing};
use guichet_proxy::classify::Class;
use guichet_proxy::config::{Config, load};
use guichet_proxy::connection::{Connection, TlsInfo};
use guichet_proxy::passes::{Holder, PASS_COOKIE, Passes, solve};
use guichet_proxy::signs::{Atlas, Looks};
use http::HeaderMap;
use http::request::Parts;

const NOW_S: u64 = 1_790_000_000;

fn main() {
    divan::main();
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("guichet.toml");
    let text = "[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:18080\"\nprotocol = \"http\"\n\
                [upstream.portal]\nservers = [\"127.0.0.1:19101\"]\n\
                [service.portal]\nhosts = [\"portal.example.org\"]\nupstream = \"portal\"\n";
    std::fs::write(&file, text).expect("write the configuration");
    load(&file).unwrap_or_else(|report| panic!("{}", report.render(false))).config
});

fn browser(path: &str) -> Parts {
    let request = http::Request::get(path)
        .header("host", "portal.example.org")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0")
        .header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
        .header("accept-language", "fr,fr-FR;q=0.8,en-US;q=0.5,en;q=0.3")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("referer", "https://portal.example.org/")
        .header("cookie", "consent=1; theme=dark")
        .header("sec-fetch-dest", "document")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-site", "same-origin")
        .header("priority", "u=0, i");
    request.body(()).expect("a request").into_parts().0
}

fn connection() -> Connection {
    let address = "203.0.113.7:40000".parse().expect("an address");
    let tls = TlsInfo { ja4: "t13d1717h2_5b57614c22b0_3cbfd9057e0d".into(), ..TlsInfo::default() };
    Connection {
        id: 1,
        client: address,
        socket_peer: address,
        local: address,
        listener: CONFIG.listeners[0].clone(),
        opened: Moment(0),
        tls: Some(tls),
        h2_fingerprint: OnceCell::from("1:65536;4:131072|12517377|0|m,p,a,s".to_owned()),
        looks: None,
        signs: OnceCell::new(),
        violation: Cell::new(None),
        requests: Cell::new(1),
        in_flight: Cell::new(1),
    }
}

fn class() -> Class {
    Class {
        service_position: 0,
        service: CONFIG.services[0].clone(),
        route_position: None,
        criticality: Criticality::Ordinary,
        standing: Standing::Anonymous,
        session: None,
        pass: None,
    }
}

fn with_looks<T>(run: impl FnOnce(&Looks<'_>) -> T) -> T {
    let (head, connection, class) = (browser("/recherche/colis/8842?q=horaires&page=2"), connection(), class());
    let client: IpAddr = connection.client.ip();
    let atlas = Atlas::default();
    let looks =
        Looks { hash: FeatureHash::new(7), head: &head, connection: &connection, client, class: &class, atlas: &atlas };
    run(&looks)
}

/// All features of a request: paid by each while a mitigation is in force, and by a few samples otherwise.
#[divan::bench]
fn features_of_a_request(bencher: Bencher<'_, '_>) {
    with_looks(|looks| bencher.bench_local(|| black_box(looks).outward()));
}

/// Looked for among as many mitigations as a service can have, none of which matches.
#[divan::bench]
fn sixteen_signatures(bencher: Bencher<'_, '_>) {
    let in_force = |n: u32| InForce {
        id: n + 1,
        signature: Signature::new(&[(Dimension::Tls, 900 + n), (Dimension::Path, 12)]).expect("a signature"),
        step: Step::Refuse,
        tells_who: true,
        challenges: true,
        sign_ins: false,
    };
    let rules = Rules { mitigations: (0..16).map(in_force).collect::<Vec<_>>().into(), ..Rules::open(64) };
    let features = with_looks(|looks| looks.outward());
    bencher.bench_local(|| (rules.mitigation(black_box(&features)).copied(), rules.mark(black_box(&features))));
}

/// A pass that a request shows: found among cookies, verified, counted.
#[divan::bench]
fn a_pass_verified(bencher: Bencher<'_, '_>) {
    let passes = Passes::new(&[7; 32], Arc::default(), 42);
    let mut headers: HeaderMap = browser("/").headers;
    let client = "203.0.113.7".parse().expect("an address");
    let text = {
        let holder = Holder::of("portal", client, &headers);
        let offer = passes.offer(&holder, 0, String::new(), NOW_S);
        let numbers = solve(&offer.puzzle, offer.bits).iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        passes.sign(&passes.for_work(&holder, &offer.puzzle, &numbers, NOW_S).expect("a pass"))
    };
    headers.insert("cookie", format!("consent=1; {PASS_COOKIE}={text}").parse().expect("a header"));
    let holder = Holder::of("portal", client, &headers);
    bencher.bench_local(|| passes.shown(black_box(&holder), black_box(&headers), NOW_S + 10));
}

/// A pass that somebody made up: refused as dearly at most.
#[divan::bench]
fn a_pass_made_up(bencher: Bencher<'_, '_>) {
    let passes = Passes::new(&[7; 32], Arc::default(), 42);
    let mut headers: HeaderMap = browser("/").headers;
    let text = "A".repeat(64);
    headers.insert("cookie", format!("consent=1; {PASS_COOKIE}={text}").parse().expect("a header"));
    let holder = Holder::of("portal", "203.0.113.7".parse().expect("an address"), &headers);
    bencher.bench_local(|| passes.shown(black_box(&holder), black_box(&headers), NOW_S + 10));
}
