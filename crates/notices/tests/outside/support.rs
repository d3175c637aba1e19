//! A page of a postal bank in trouble, as the tests draw it.

use guichet_notices::board::Board;
use guichet_notices::edition::Edition;
use guichet_notices::journal::Entry;
use guichet_notices::render::View;
use guichet_notices::sign::Key;
use guichet_notices::{
    By, Channel, Component, Condition, DataKnown, Impact, Language, Measured, Notice, Planned, Revision, Site, Stage,
    Words,
};
use jiff::Timestamp;

pub(crate) const SEED: [u8; 32] = [7; 32];

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

pub(crate) fn site() -> Site {
    let component = |key: &str, fr: &str, en: &str, ways: &[&str]| Component {
        key: key.into(),
        name: Words::new(fr, en),
        ways: ways.iter().map(|way| (*way).to_owned()).collect(),
    };
    Site {
        title: Words::new("État des services <de la Poste> & co", "State of the <post>'s services & co"),
        url: "https://etat.example".into(),
        sender: "etat@example.org".into(),
        area: Words::new("France", "France"),
        languages: vec![Language::Fr, Language::En],
        components: vec![
            component("portal", "Site web", "Web site", &["counter", "phone"]),
            component("bank", "Banque en ligne", "Online bank", &["counter", "phone"]),
            component("rails", "Cartes et codes SMS", "Cards and SMS codes", &[]),
        ],
        channels: vec![
            Channel {
                key: "counter".into(),
                name: Words::new("Bureau de poste", "Post office"),
                hours: Words::new("lundi à samedi, 9 h – 17 h", "Monday to Saturday, 9:00 – 17:00"),
                address: Words::new("partout en France", "all over France"),
                ..Channel::default()
            },
            Channel {
                key: "phone".into(),
                name: Words::new("Téléphone", "Telephone"),
                telephone: "36 39".into(),
                url: "https://example.org/3639?a=1&b=2".into(),
                ..Channel::default()
            },
        ],
        valid_s: 120,
    }
}

pub(crate) fn measured(condition: Condition, goodput: Option<f64>) -> Measured {
    Measured { condition, since: at(0), goodput, requests: 1234, because: Words::default() }
}

fn said(second: i64, by: By, stage: Stage, impact: Impact, fr: &str, en: &str) -> Revision {
    Revision { at: at(second), by, stage, impact, text: Words::new(fr, en), data: None }
}

/// A measured incident with the operator's words, one that is over, and planned work.
pub(crate) fn entries() -> Vec<Entry> {
    let notice = |id, title: Words, components: &[&str], planned, first| {
        let components = components.iter().map(|key| (*key).to_owned()).collect();
        Entry::Opened(Notice { id, title, components, planned, revisions: vec![first] })
    };
    let mut told = said(
        60,
        By::Operator,
        Stage::Identified,
        Impact::Major,
        "Une attaque sature <le site> ; les & autres services vivent.",
        "An attack floods <the site>; the other services & more live.",
    );
    told.data = Some(DataKnown {
        known: Words::new("Aucune donnée n’a été lue.", "No data was read."),
        evidence: Words::new("Journal des accès, vérifié.", "Access log, verified."),
    });
    let planned = Planned { from: at(86_400), until: at(90_000) };
    vec![
        notice(
            1,
            Words::new("Panne ancienne", "Old outage"),
            &["bank"],
            None,
            said(-900, By::Operator, Stage::Investigating, Impact::Minor, "Panne.", "Outage."),
        ),
        Entry::Revised {
            id: 1,
            revision: said(-600, By::Operator, Stage::Resolved, Impact::Minor, "Terminé.", "Over."),
        },
        notice(
            2,
            Words::new("Site web : ne répond pas", "Web site: does not answer"),
            &["portal"],
            None,
            said(0, By::Measurement, Stage::Investigating, Impact::Critical, "Mesuré.", "Measured."),
        ),
        Entry::Revised { id: 2, revision: told },
        notice(
            3,
            Words::new("Travaux", ""),
            &["rails"],
            Some(planned),
            said(70, By::Operator, Stage::Investigating, Impact::Minor, "Travaux de nuit.", ""),
        ),
    ]
}

/// The page, drawn a minute and a half after the web site went dark.
pub(crate) fn edition() -> Edition {
    let (site, board) = (site(), Board::from_entries(&entries()).unwrap());
    let measured = [
        measured(Condition::Down, Some(0.031)),
        measured(Condition::Works, Some(0.9999)),
        measured(Condition::Works, None),
    ];
    let view = View { site: &site, measured: &measured, board: &board, chain: "c0ffee", now: at(90) };
    Edition::draw(&view, &Key::from_seed(SEED)).unwrap()
}
