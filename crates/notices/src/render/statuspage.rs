//! The JSON of Statuspage (API v2, the public part), as its clients and aggregators read it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Drawn, View, json_file};
use crate::model::{Impact, Notice, Revision, Stage, Words};

/// The page's own id; there is one page.
const PAGE: &str = "guichet";

pub(super) fn files(view: &View<'_>) -> Vec<Drawn> {
    let incidents = all(view, |notice| notice.planned.is_none());
    let unresolved: Vec<Value> = view.incidents_open().into_iter().map(|notice| incident(view, notice)).collect();
    let planned = all(view, |notice| notice.planned.is_some());
    let is = |state: &'static str| -> Vec<Value> {
        planned.iter().filter(|work| work["status"] == state).cloned().collect()
    };
    let (upcoming, active) = (is("scheduled"), is("in_progress"));
    let current: Vec<Value> = upcoming.iter().chain(&active).cloned().collect();
    let (page, components, status) = (page(view), components(view), status(view));
    let file = |name: &str, value: Value| json_file(&format!("api/v2/{name}"), &value);
    vec![
        file(
            "summary.json",
            json!({
                "page": page, "components": components, "incidents": unresolved,
                "scheduled_maintenances": current, "status": status,
            }),
        ),
        file("status.json", json!({ "page": page, "status": status })),
        file("components.json", json!({ "page": page, "components": components })),
        file("incidents.json", json!({ "page": page, "incidents": incidents })),
        file("incidents/unresolved.json", json!({ "page": page, "incidents": unresolved })),
        file("scheduled-maintenances.json", json!({ "page": page, "scheduled_maintenances": planned })),
        file("scheduled-maintenances/upcoming.json", json!({ "page": page, "scheduled_maintenances": upcoming })),
        file("scheduled-maintenances/active.json", json!({ "page": page, "scheduled_maintenances": active })),
    ]
}

fn all(view: &View<'_>, which: impl Fn(&Notice) -> bool) -> Vec<Value> {
    view.board.notices().iter().rev().filter(|notice| which(notice)).map(|notice| incident(view, notice)).collect()
}

fn page(view: &View<'_>) -> Value {
    json!({
        "id": PAGE, "name": words(view, &view.site.title), "url": view.site.url, "time_zone": "Etc/UTC",
        "updated_at": view.now,
    })
}

/// Statuspage has one language: the usual one.
fn words<'a>(view: &View<'_>, words: &'a Words) -> &'a str {
    words.text(view.site.usual())
}

fn status(view: &View<'_>) -> Value {
    let impact = view.impact();
    let (fr, en) = match impact {
        Impact::None => ("Tous les services fonctionnent", "All services work"),
        Impact::Minor => ("Certains services fonctionnent difficilement", "Some services work with difficulty"),
        Impact::Major => ("Certains services sont indisponibles", "Some services are unavailable"),
        Impact::Critical => ("Les services sont indisponibles", "The services are unavailable"),
    };
    json!({ "indicator": impact.name(), "description": words(view, &Words::new(fr, en)) })
}

fn components(view: &View<'_>) -> Vec<Value> {
    (1..).zip(&view.site.components).map(|(position, of)| component(view, &of.key, position)).collect()
}

fn component(view: &View<'_>, key: &str, position: usize) -> Value {
    let at = view.site.components.iter().position(|component| component.key == key);
    let name = at.map_or(key, |at| words(view, &view.site.components[at].name));
    let since = at.and_then(|at| view.measured.get(at)).map_or(view.now, |measured| measured.since);
    json!({
        "id": key, "name": name, "status": component_status(view, key), "position": position,
        "description": null, "created_at": since, "updated_at": since, "showcase": true, "start_date": null,
        "group_id": null, "group": false, "page_id": PAGE, "only_show_if_degraded": false,
    })
}

fn component_status(view: &View<'_>, key: &str) -> &'static str {
    if view.under_work(key) {
        return "under_maintenance";
    }
    view.condition(key).statuspage()
}

/// The state of planned work, which passes by the clock; of an incident, what was said last.
fn state(view: &View<'_>, notice: &Notice, revision: &Revision) -> &'static str {
    let Some(planned) = notice.planned else { return revision.stage.name() };
    if revision.stage == Stage::Resolved || view.now >= planned.until {
        "completed"
    } else if view.now >= planned.from {
        "in_progress"
    } else {
        "scheduled"
    }
}

fn incident(view: &View<'_>, notice: &Notice) -> Value {
    let id = notice.id.to_string();
    let began = notice.first().at;
    let affected: Vec<Value> = notice
        .components
        .iter()
        .map(|key| {
            let position = view.site.components.iter().position(|of| of.key == *key).map_or(0, |at| at + 1);
            component(view, key, position)
        })
        .collect();
    let monitored = notice.revisions.iter().find(|revision| revision.stage == Stage::Monitoring);
    let mut value = json!({
        "id": id, "name": words(view, &notice.title), "status": state(view, notice, notice.last()),
        "created_at": began, "updated_at": notice.last().at, "started_at": began,
        "monitoring_at": monitored.map(|revision| revision.at),
        "resolved_at": notice.resolved_at(), "impact": notice.last().impact.name(),
        "shortlink": format!("{}/#notice-{id}", view.site.url), "page_id": PAGE,
        "incident_updates": updates(view, notice), "components": affected, "reminder_intervals": null,
    });
    if let Some(planned) = notice.planned {
        let over: Option<Timestamp> = (view.now >= planned.until).then_some(planned.until);
        value["impact"] = json!("maintenance");
        value["scheduled_for"] = json!(planned.from);
        value["scheduled_until"] = json!(planned.until);
        value["resolved_at"] = json!(notice.resolved_at().or(over));
    }
    value
}

/// What was said, the newest first, each with whose words they are.
fn updates(view: &View<'_>, notice: &Notice) -> Vec<Value> {
    let affected: Vec<Value> = notice
        .components
        .iter()
        .map(|key| {
            let name = view.site.component(key).map_or(key.as_str(), |component| words(view, &component.name));
            let status = component_status(view, key);
            json!({ "code": key, "name": name, "old_status": status, "new_status": status })
        })
        .collect();
    let revisions = notice.revisions.iter().enumerate().rev();
    revisions
        .map(|(n, revision)| {
            json!({
                "id": format!("{}-{}", notice.id, n + 1), "status": state(view, notice, revision),
                "body": words(view, &revision.text), "incident_id": notice.id.to_string(),
                "created_at": revision.at, "updated_at": revision.at, "display_at": revision.at,
                "affected_components": affected, "deliver_notifications": true, "custom_tweet": null,
                "tweet_id": null, "by": revision.by,
            })
        })
        .collect()
}
