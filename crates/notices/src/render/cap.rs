//! Alerts in CAP 1.2 (OASIS Common Alerting Protocol): one message for each revision, the last of each notice as a file.

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::Writer;

use super::{DrawError, Drawn, View, failed};
use crate::model::{By, Impact, Language, Notice, Revision, Stage};

/// How long a message counts that is not followed by another.
const EXPIRES_H: i64 = 24;
/// Notices that are over whose last message is still given, so that receivers learn of the end.
const ENDED: usize = 10;

pub(super) fn files(view: &View<'_>) -> Result<Vec<Drawn>, DrawError> {
    let open = view.board.open();
    let ended = view.board.notices().iter().rev().filter(|notice| notice.is_resolved()).take(ENDED);
    open.chain(ended)
        .map(|notice| {
            let path = format!("cap/{}.xml", notice.id);
            let xml = write(view, notice).map_err(|error| failed(&path)(&error))?;
            Ok(Drawn { path, media_type: "application/cap+xml", bytes: xml })
        })
        .collect()
}

/// CAP wants the offset in digits, and forbids `Z`.
fn time(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S-00:00").to_string()
}

fn identifier(notice: &Notice, n: usize) -> String {
    format!("guichet-notice-{}-{n}", notice.id)
}

fn write(view: &View<'_>, notice: &Notice) -> std::io::Result<Vec<u8>> {
    let n = notice.revisions.len();
    let last = notice.last();
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    writer
        .create_element("alert")
        .with_attribute(("xmlns", "urn:oasis:names:tc:emergency:cap:1.2"))
        .write_inner_content(|w| {
            element(w, "identifier", &identifier(notice, n))?;
            element(w, "sender", &view.site.sender)?;
            element(w, "sent", &time(last.at))?;
            element(w, "status", "Actual")?;
            element(w, "msgType", if n == 1 { "Alert" } else { "Update" })?;
            element(w, "scope", "Public")?;
            if n > 1 {
                let earlier = (1..).zip(&notice.revisions[..n - 1]);
                let references: Vec<_> = earlier
                    .map(|(n, revision)| {
                        format!("{},{},{}", view.site.sender, identifier(notice, n), time(revision.at))
                    })
                    .collect();
                element(w, "references", &references.join(" "))?;
            }
            element(w, "incidents", &format!("notice-{}", notice.id))?;
            view.site.languages.iter().try_for_each(|language| info(w, view, notice, last, *language))
        })?;
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

fn info(
    w: &mut Writer<Vec<u8>>,
    view: &View<'_>,
    notice: &Notice,
    last: &Revision,
    language: Language,
) -> std::io::Result<()> {
    let over = last.stage == Stage::Resolved;
    let severity = match last.impact {
        _ if over => "Minor",
        Impact::None | Impact::Minor => "Minor",
        Impact::Major => "Moderate",
        Impact::Critical => "Severe",
    };
    let urgency = match notice.planned {
        _ if over => "Past",
        Some(planned) if planned.from > last.at => "Future",
        _ => "Immediate",
    };
    let certainty = if last.by == By::Measurement || over { "Observed" } else { "Likely" };
    let expires = last.at.checked_add(EXPIRES_H.hours()).unwrap_or(last.at);
    w.create_element("info")
        .write_inner_content(|w| {
            element(w, "language", language.tag())?;
            element(w, "category", "Infra")?;
            element(w, "event", event(notice, language))?;
            element(w, "responseType", if over { "AllClear" } else { "Monitor" })?;
            element(w, "urgency", urgency)?;
            element(w, "severity", severity)?;
            element(w, "certainty", certainty)?;
            element(w, "effective", &time(last.at))?;
            if let Some(planned) = notice.planned {
                element(w, "onset", &time(planned.from))?;
            }
            element(w, "expires", &time(notice.planned.map_or(expires, |planned| planned.until.max(last.at))))?;
            element(w, "senderName", view.site.title.text(language))?;
            element(w, "headline", notice.title.text(language))?;
            element(w, "description", &description(last, language))?;
            let ways = ways(view, notice, language);
            if !ways.is_empty() && !over {
                element(w, "instruction", &ways)?;
            }
            if !view.site.url.is_empty() {
                element(w, "web", &format!("{}/{}", view.site.url, super::page::name(view, language)))?;
            }
            w.create_element("area")
                .write_inner_content(|w| element(w, "areaDesc", view.site.area.text(language)))
                .map(drop)
        })
        .map(drop)
}

fn event(notice: &Notice, language: Language) -> &'static str {
    match (notice.planned.is_some(), language) {
        (false, Language::Fr) => "Service indisponible ou perturbé",
        (false, Language::En) => "Service unavailable or impaired",
        (true, Language::Fr) => "Travaux planifiés",
        (true, Language::En) => "Planned work",
    }
}

fn description(last: &Revision, language: Language) -> String {
    let mut text = last.text.text(language).to_owned();
    if let Some(data) = &last.data {
        text += &format!("\n{}", data.known.text(language));
        if !data.evidence.is_empty() {
            text += &format!(" ({})", data.evidence.text(language));
        }
    }
    text
}

/// The other ways for the services that the notice is about.
fn ways(view: &View<'_>, notice: &Notice, language: Language) -> String {
    let of = notice.components.iter().filter_map(|key| view.site.component(key));
    let mut keys: Vec<&str> = Vec::new();
    for key in of.flat_map(|component| &component.ways) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let channels = keys.iter().filter_map(|key| view.site.channels.iter().find(|channel| channel.key == **key));
    let lines = channels.map(|channel| {
        let texts = [channel.hours.text(language), channel.address.text(language), &channel.telephone, &channel.url];
        let told: Vec<_> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        let name = channel.name.text(language);
        if told.is_empty() { name.to_owned() } else { format!("{name} ({})", told.join("; ")) }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn element(w: &mut Writer<Vec<u8>>, name: &str, text: &str) -> std::io::Result<()> {
    w.create_element(name).write_text_content(BytesText::new(text)).map(drop)
}
