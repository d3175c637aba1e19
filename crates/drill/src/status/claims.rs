//! What a status page says of each service, out of its two files.

use crate::report::html::escape;
use crate::services::{SERVICES, index_of};
use anyhow::{Context, bail};
use serde::Deserialize;

/// What a page says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It works.
    Works,
    /// It works with difficulty, or in part.
    Disturbed,
    /// It can't be used.
    Down,
}

/// What a page says of the services, by their position in [`SERVICES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claims([Option<Claim>; SERVICES.len()]);

/// The part of Statuspage's summary that counts here.
#[derive(Deserialize)]
struct Summary {
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Component {
    id: String,
    name: String,
    status: String,
}

impl Claims {
    /// Of these claims, for services in the order of [`SERVICES`]; the rest are not on the page.
    #[must_use]
    pub fn of_services(claims: &[(usize, Claim)]) -> Self {
        let mut all = [None; SERVICES.len()];
        for (service, claim) in claims {
            all[*service] = Some(*claim);
        }
        Self(all)
    }

    /// Reads the summary for programs and the page for people. Where they differ, which they may for the moment between
    /// the two readings, the better one counts: who reads only that learns of no trouble.
    ///
    /// # Errors
    /// When one of them can't be understood, or the page says nothing of a service that the summary names.
    pub fn read(summary: &[u8], page: &str) -> anyhow::Result<Self> {
        let summary: Summary = serde_json::from_slice(summary)?;
        let mut all = [None; SERVICES.len()];
        for component in &summary.components {
            let Some(service) = index_of(&component.id) else { continue };
            let for_programs = match component.status.as_str() {
                "operational" => Claim::Works,
                "degraded_performance" | "under_maintenance" => Claim::Disturbed,
                "partial_outage" | "major_outage" => Claim::Down,
                other => bail!("{}: the status {other:?} is none of Statuspage's", component.id),
            };
            let for_people = on_page(page, &component.name).with_context(|| component.name.clone())?;
            all[service] = Some(for_programs.min(for_people));
        }
        Ok(Self(all))
    }

    /// What is said of a service; none where it is not on the page.
    #[must_use]
    pub fn of(&self, service: usize) -> Option<Claim> {
        self.0[service]
    }
}

/// What the page for people says of a service: the state beneath its name.
fn on_page(page: &str, name: &str) -> anyhow::Result<Claim> {
    let title = format!("<article>\n<h3>{}</h3>", escape(name));
    let (_, article) = page.split_once(&title).context("is not on the page")?;
    let (article, _) = article.split_once("</article>").context("its part of the page has no end")?;
    let (_, state) = article.split_once("class=\"state ").context("no state is given")?;
    match state.split_once('"').map(|(impact, _)| impact) {
        Some("none") => Ok(Claim::Works),
        Some("minor") => Ok(Claim::Disturbed),
        Some("major" | "critical") => Ok(Claim::Down),
        other => bail!("the state {other:?} is not known"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(status: &str) -> String {
        format!(
            r#"{{"components":[{{"id":"bank","name":"Bank & co","status":"{status}"}},{{"id":"x","name":"X","status":"?"}}]}}"#
        )
    }

    fn page(impact: &str) -> String {
        format!("<article>\n<h3>Bank &amp; co</h3>\n<p><span class=\"state {impact}\">...</span></p>\n</article>")
    }

    #[test]
    fn both_files_must_say_that_something_is_wrong() {
        let bank = index_of("bank").unwrap();
        for (status, impact, claim) in [
            ("operational", "none", Claim::Works),
            ("degraded_performance", "minor", Claim::Disturbed),
            ("partial_outage", "major", Claim::Down),
            ("major_outage", "critical", Claim::Down),
            ("major_outage", "none", Claim::Works),
            ("operational", "critical", Claim::Works),
            ("major_outage", "minor", Claim::Disturbed),
        ] {
            let claims = Claims::read(summary(status).as_bytes(), &page(impact)).unwrap();
            assert_eq!((claims.of(bank), claims.of(0)), (Some(claim), None), "{status} {impact}");
        }
    }

    #[test]
    fn a_page_that_cannot_be_understood_says_nothing() {
        for (summary, page) in [
            (summary("fine"), page("none")),
            (summary("operational"), page("awful")),
            (summary("operational"), String::new()),
            (summary("operational"), page("none").replace("</article>", "")),
            (summary("operational"), page("none").replace("state ", "")),
            ("{}".to_owned(), page("none")),
        ] {
            assert!(Claims::read(summary.as_bytes(), &page).is_err(), "{summary} {page}");
        }
    }
}
