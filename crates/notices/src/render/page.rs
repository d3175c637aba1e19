//! The page itself: static, without need of JavaScript, in each language.

use askama::Template;
use askama::filters::Safe;

use super::{DrawError, Drawn, View, failed, readable};
use crate::drafts::state;
use crate::model::{By, Channel, Condition, Impact, Language, Measured, Notice, Stage};
use crate::render::words::{self, Texts};

/// How the page looks.
pub(super) const STYLE: &str = include_str!("../../templates/page.css");
/// What shows that the page is old.
pub(super) const SCRIPT: &str = include_str!("../../templates/alive.js");
/// What hides the box that says so; the listener takes it away from a page that it knows to be old.
pub(crate) const HIDDEN: &str = " hidden data-until-old";
/// Notices that are over and shown.
const OVER_SHOWN: usize = 30;
/// How often the page looks for a newer one by itself, seconds: with scripts only, since a page that loads itself again under
/// somebody who reads it aloud or with a magnifier is a barrier (WCAG 2.2.1).
const REFRESH_S: u32 = 30;

/// The page's file in a language.
pub(super) fn name(view: &View<'_>, language: Language) -> &'static str {
    match language {
        _ if language == view.site.usual() => "index.html",
        Language::Fr => "index.fr.html",
        Language::En => "index.en.html",
    }
}

struct Other {
    href: &'static str,
    lang: &'static str,
    name: &'static str,
}

struct Service<'a> {
    name: &'a str,
    impact: &'static str,
    state: String,
    since: String,
    since_iso: String,
    goodput: String,
    because: &'a str,
    ways: Vec<Way<'a>>,
}

struct Way<'a> {
    key: &'a str,
    name: &'a str,
    hours: &'a str,
    address: &'a str,
    telephone: &'a str,
    dial: String,
    url: &'a str,
    note: &'a str,
}

struct Said<'a> {
    at: String,
    at_iso: String,
    by: &'static str,
    stage: &'static str,
    lang: Safe<String>,
    text: &'a str,
}

struct Told<'a> {
    id: u32,
    title: &'a str,
    impact: &'static str,
    stage: &'static str,
    services: String,
    when: String,
    draft: bool,
    data: &'a str,
    data_at: String,
    evidence: &'a str,
    revisions: Vec<Said<'a>>,
}

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    t: &'static Texts,
    lang: &'static str,
    title: &'a str,
    summary: &'static str,
    impact: &'static str,
    hidden: Safe<&'static str>,
    drawn: String,
    drawn_iso: String,
    valid_until: String,
    valid_until_iso: String,
    refresh_s: u32,
    own: &'static str,
    feed: String,
    others: Vec<Other>,
    open: Vec<Told<'a>>,
    services: Vec<Service<'a>>,
    ways: Vec<Way<'a>>,
    planned: Vec<Told<'a>>,
    over: Vec<Told<'a>>,
    chain: &'a str,
}

pub(super) fn page(view: &View<'_>, language: Language, usual: bool) -> Result<Drawn, DrawError> {
    let path = name(view, language);
    let others = view.site.languages.iter().filter(|other| **other != language);
    let notices = |which: &dyn Fn(&Notice) -> bool, at_most: usize| -> Vec<Told<'_>> {
        let all = view.board.notices().iter().rev();
        all.filter(|notice| which(notice)).take(at_most).map(|notice| told(view, notice, language)).collect()
    };
    let open = view.incidents_open();
    let drawn = Page {
        t: words::texts(language),
        lang: language.tag(),
        title: view.site.title.text(language),
        summary: words::summary(view.impact(), language),
        impact: view.impact().name(),
        hidden: Safe(HIDDEN),
        drawn: readable(view.now, language),
        drawn_iso: view.now.to_string(),
        valid_until: readable(view.valid_until(), language),
        valid_until_iso: view.valid_until().to_string(),
        refresh_s: REFRESH_S,
        own: path,
        feed: if usual { "feed.atom".to_owned() } else { format!("feed.{}.atom", language.tag()) },
        others: others
            .map(|other| Other { href: name(view, *other), lang: other.tag(), name: words::own_name(*other) })
            .collect(),
        open: open.into_iter().map(|notice| told(view, notice, language)).collect(),
        services: services(view, language),
        ways: view.site.channels.iter().map(|channel| way(channel, language)).collect(),
        planned: notices(&|notice| notice.planned.is_some() && !over(view, notice), usize::MAX),
        over: notices(&|notice| over(view, notice), OVER_SHOWN),
        chain: view.chain,
    };
    let html = drawn.render().map_err(|error| failed(path)(&error))?;
    Ok(Drawn { path: path.to_owned(), media_type: "text/html; charset=utf-8", bytes: html.into_bytes() })
}

/// Over: resolved, or planned and past.
fn over(view: &View<'_>, notice: &Notice) -> bool {
    notice.is_resolved() || notice.planned.is_some_and(|planned| planned.until <= view.now)
}

fn services<'a>(view: &View<'a>, language: Language) -> Vec<Service<'a>> {
    let mut services: Vec<(Impact, Service<'a>)> = view
        .site
        .components
        .iter()
        .zip(view.measured)
        .map(|(component, measured)| {
            let working = view.under_work(&component.key);
            let channels = component.ways.iter().filter_map(|key| view.site.channels.iter().find(|c| c.key == *key));
            let shown = !measured.condition.is_well() || working;
            let state = if working { words::under_work(language).to_owned() } else { words_of(measured, language) };
            let service = Service {
                name: component.name.text(language),
                impact: measured.condition.impact().name(),
                state,
                since: readable(measured.since, language),
                since_iso: measured.since.to_string(),
                goodput: words::goodput(measured, language),
                because: measured.because.text(language),
                ways: channels.filter(|_| shown).map(|channel| way(channel, language)).collect(),
            };
            (measured.condition.impact(), service)
        })
        .collect();
    // What does not work is what people look for: first, in the order of the configuration.
    services.sort_by_key(|(impact, _)| std::cmp::Reverse(*impact));
    services.into_iter().map(|(_, service)| service).collect()
}

fn words_of(measured: &Measured, language: Language) -> String {
    let text = state(measured.condition).text(language).to_owned();
    if measured.condition == Condition::Unknown { text } else { capital(&text) }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn way(channel: &Channel, language: Language) -> Way<'_> {
    Way {
        key: &channel.key,
        name: channel.name.text(language),
        hours: channel.hours.text(language),
        address: channel.address.text(language),
        telephone: &channel.telephone,
        dial: channel.telephone.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect(),
        url: &channel.url,
        note: channel.note.text(language),
    }
}

fn told<'a>(view: &View<'a>, notice: &'a Notice, language: Language) -> Told<'a> {
    let services = notice
        .components
        .iter()
        .map(|key| view.site.component(key).map_or(key.as_str(), |component| component.name.text(language)));
    let (data, data_at) = match notice.data() {
        Some((data, at)) => (Some(data), readable(at, language)),
        None => (None, String::new()),
    };
    let revisions = notice.revisions.iter().rev().map(|revision| {
        let (text, is_in) = revision.text.told(language);
        // Words that were given in the other language only are marked, so that they are read out rightly.
        let lang = if is_in == language { String::new() } else { format!(" lang=\"{}\"", is_in.tag()) };
        Said {
            at: readable(revision.at, language),
            at_iso: revision.at.to_string(),
            by: match revision.by {
                By::Measurement => words::texts(language).by_measurement,
                By::Operator => words::texts(language).by_operator,
            },
            stage: words::stage(revision.stage, notice.planned.is_some(), language),
            lang: Safe(lang),
            text,
        }
    });
    Told {
        id: notice.id,
        title: notice.title.text(language),
        impact: if notice.is_resolved() { Impact::None.name() } else { notice.last().impact.name() },
        stage: words::stage(
            if over(view, notice) { Stage::Resolved } else { notice.last().stage },
            notice.planned.is_some(),
            language,
        ),
        services: services.collect::<Vec<_>>().join(", "),
        when: notice.planned.map_or_else(String::new, |planned| {
            format!("{} – {}", readable(planned.from, language), readable(planned.until, language))
        }),
        draft: notice.is_draft() && !notice.is_resolved(),
        data: data.map_or("", |data| data.known.text(language)),
        data_at,
        evidence: data.map_or("", |data| data.evidence.text(language)),
        revisions: revisions.collect(),
    }
}
