//! The Atom feed (RFC 4287): an entry for each notice, which is updated with each revision.

use quick_xml::events::{BytesDecl, BytesText, Event};
use quick_xml::writer::Writer;

use super::{DrawError, Drawn, View, failed, readable};
use crate::model::{By, Language, Notice};

/// Notices in the feed.
const ENTRIES: usize = 30;

pub(super) fn feed(view: &View<'_>, language: Language, usual: bool) -> Result<Drawn, DrawError> {
    let path = if usual { "feed.atom".to_owned() } else { format!("feed.{}.atom", language.tag()) };
    let xml = write(view, language, &path).map_err(|error| failed(&path)(&error))?;
    Ok(Drawn { path, media_type: "application/atom+xml; charset=utf-8", bytes: xml })
}

fn write(view: &View<'_>, language: Language, path: &str) -> std::io::Result<Vec<u8>> {
    let mut notices: Vec<&Notice> = view.board.notices().iter().collect();
    notices.sort_by_key(|notice| std::cmp::Reverse((notice.last().at, notice.id)));
    notices.truncate(ENTRIES);
    let updated = notices.first().map_or(view.now, |notice| notice.last().at);
    let base = identity(view);
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 1);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
    writer
        .create_element("feed")
        .with_attributes([("xmlns", "http://www.w3.org/2005/Atom"), ("xml:lang", language.tag())])
        .write_inner_content(|w| {
            element(w, "id", &format!("{base}/feed/{}", language.tag()))?;
            element(w, "title", view.site.title.text(language))?;
            element(w, "updated", &updated.to_string())?;
            w.create_element("author").write_inner_content(|w| element(w, "name", view.site.title.text(language)))?;
            link(w, "self", "application/atom+xml", &format!("{}/{path}", view.site.url))?;
            link(w, "alternate", "text/html", &format!("{}/{}", view.site.url, super::page::name(view, language)))?;
            notices.iter().try_for_each(|notice| entry(w, view, notice, language, &base))
        })?;
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

/// Ids must never change, and be IRIs even where the page has no address.
fn identity(view: &View<'_>) -> String {
    if view.site.url.is_empty() { "urn:guichet:notices".to_owned() } else { view.site.url.clone() }
}

fn entry(
    w: &mut Writer<Vec<u8>>,
    view: &View<'_>,
    notice: &Notice,
    language: Language,
    base: &str,
) -> std::io::Result<()> {
    w.create_element("entry")
        .write_inner_content(|w| {
            element(w, "id", &format!("{base}/notice/{}", notice.id))?;
            element(w, "title", notice.title.text(language))?;
            element(w, "published", &notice.first().at.to_string())?;
            element(w, "updated", &notice.last().at.to_string())?;
            let page = super::page::name(view, language);
            link(w, "alternate", "text/html", &format!("{}/{page}#notice-{}", view.site.url, notice.id))?;
            for term in [notice.last().stage.name(), notice.last().impact.name()] {
                w.create_element("category").with_attribute(("term", term)).write_empty()?;
            }
            w.create_element("content")
                .with_attribute(("type", "text"))
                .write_text_content(BytesText::new(&told(notice, language)))?;
            Ok(())
        })
        .map(drop)
}

/// All that was said, the newest first.
fn told(notice: &Notice, language: Language) -> String {
    let lines = notice.revisions.iter().rev().map(|revision| {
        let by = match (revision.by, language) {
            (By::Measurement, Language::Fr) => "mesuré",
            (By::Measurement, Language::En) => "measured",
            (By::Operator, Language::Fr) => "l’exploitant",
            (By::Operator, Language::En) => "the operator",
        };
        let mut text = format!("{} ({by}): {}", readable(revision.at, language), revision.text.text(language));
        if let Some(data) = &revision.data {
            text += &format!("\n{}", data.known.text(language));
            if !data.evidence.is_empty() {
                text += &format!(" ({})", data.evidence.text(language));
            }
        }
        text
    });
    lines.collect::<Vec<_>>().join("\n\n")
}

fn element(w: &mut Writer<Vec<u8>>, name: &str, text: &str) -> std::io::Result<()> {
    w.create_element(name).write_text_content(BytesText::new(text)).map(drop)
}

fn link(w: &mut Writer<Vec<u8>>, rel: &str, media: &str, href: &str) -> std::io::Result<()> {
    w.create_element("link").with_attributes([("rel", rel), ("type", media), ("href", href)]).write_empty().map(drop)
}
