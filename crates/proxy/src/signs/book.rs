//! What there is to say of mitigations: for the admin listener, the commands and the log.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use guichet_core::Moment;
use guichet_core::bounds::MITIGATIONS_ENDED_MAX;
use guichet_core::signs::{Dimension, End, Event, Mitigation, SignIn, Step};
use serde::Serialize;

use super::lexicon::Lexicon;

/// One mitigation, in words. Field names are an interface.
#[derive(Debug, Clone, Serialize)]
pub struct MitigationView {
    /// Its id on this node.
    pub id: u32,
    /// Service.
    pub service: String,
    /// What is done now.
    pub step: &'static str,
    /// The harshest step it was at.
    pub peak: &'static str,
    /// Whether this service only watches (a dry run).
    pub dry_run: bool,
    /// What it matches: dimension and value.
    pub signature: Vec<Part>,
    /// Why it is there.
    pub evidence: EvidenceView,
    /// Requests that match now, a second, as estimated from samples.
    pub requests_per_s: f32,
    /// Requests that matched so far, as estimated from samples.
    pub requests: u64,
    /// Seconds since it began.
    pub age_s: f64,
    /// Seconds since its step changed.
    pub at_step_s: f64,
    /// Seconds until it ends unless it is needed again.
    pub ends_in_s: f64,
    /// Seconds for which the operator holds its step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_s: Option<f64>,
    /// Whether its signature was known from before.
    pub known: bool,
    /// Why it ended, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<&'static str>,
}

/// A value of a signature.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// Dimension.
    pub dimension: &'static str,
    /// Value in words; `#` and digits where the words are not known any more.
    pub value: String,
}

/// Evidence of a mitigation.
#[derive(Debug, Clone, Serialize)]
pub struct EvidenceView {
    /// Part of the recent requests of strangers that it explained, 0 to 1.
    pub coverage: f32,
    /// Its share, as a multiple of its usual share.
    pub lift: f32,
    /// The same for what tells who asks.
    pub who_lift: f32,
    /// Its requests, a second, when last looked at.
    pub requests_per_s: f32,
    /// As many were usual.
    pub usual_per_s: f32,
    /// Part of the traffic of proven standing that it would hit, 0 to 1.
    pub collateral: f32,
    /// Requests of proven standing it was compared with.
    pub compared_with: u32,
    /// How most of its connections fail or stall: label of the reason; `failed_sign_ins` where it is for those. Not for other
    /// mitigations of requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    /// Of the sign-ins that match and came to the service, the part that was right, 0 to 1. For those of sign-ins only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<f32>,
}

/// In words, at `now`.
pub(crate) fn view(m: &Mitigation, service: &str, dry_run: bool, now: Moment, lexicon: &Lexicon) -> MitigationView {
    let parts = lexicon.signature(&m.signature).into_iter().map(|(dimension, value)| Part { dimension, value });
    let e = &m.evidence;
    MitigationView {
        id: m.id,
        service: service.to_owned(),
        step: m.step.name(),
        peak: m.peak.name(),
        dry_run,
        signature: parts.collect(),
        evidence: EvidenceView {
            coverage: e.coverage,
            lift: e.lift,
            who_lift: e.who_lift,
            requests_per_s: e.rate_per_s,
            usual_per_s: e.usual_per_s,
            collateral: e.collateral,
            compared_with: e.persons,
            right: (e.ending == SignIn::Failed.ending()).then_some(e.right),
            ending: (e.ending != 0).then(|| lexicon.words(Dimension::Ending, e.ending)),
        },
        requests_per_s: m.rate_per_s,
        requests: m.hits as u64,
        age_s: now.since(m.born).as_secs_f64(),
        at_step_s: now.since(m.changed).as_secs_f64(),
        ends_in_s: m.expires.since(now).as_secs_f64(),
        pinned_s: m.pinned_until.map(|until| until.since(now).as_secs_f64()),
        known: m.known,
        ended: None,
    }
}

impl MitigationView {
    /// Its signature in one line: `ja4=t13d... & path=/search`.
    #[must_use]
    pub fn signature_text(&self) -> String {
        let parts: Vec<_> = self.signature.iter().map(|part| format!("{}={}", part.dimension, part.value)).collect();
        parts.join(" & ")
    }
}

/// Published by the brain, read by the admin listener.
#[derive(Debug, Default)]
pub struct Book {
    alive: ArcSwap<Vec<MitigationView>>,
    ended: parking_lot::Mutex<VecDeque<MitigationView>>,
}

impl Book {
    /// Those that are there now.
    #[must_use]
    pub fn alive(&self) -> Arc<Vec<MitigationView>> {
        self.alive.load_full()
    }

    /// Those that ended, the newest first; at most [`MITIGATIONS_ENDED_MAX`].
    #[must_use]
    pub fn ended(&self) -> Vec<MitigationView> {
        self.ended.lock().iter().cloned().collect()
    }

    /// One of them, alive or ended.
    #[must_use]
    pub fn find(&self, id: u32) -> Option<MitigationView> {
        let alive = self.alive.load().iter().find(|m| m.id == id).cloned();
        alive.or_else(|| self.ended.lock().iter().find(|m| m.id == id).cloned())
    }

    pub(crate) fn publish(&self, alive: Vec<MitigationView>) {
        self.alive.store(Arc::new(alive));
    }

    pub(crate) fn note_end(&self, mut ended: MitigationView, why: End) {
        ended.ended = Some(why.name());
        let mut all = self.ended.lock();
        all.push_front(ended);
        all.truncate(MITIGATIONS_ENDED_MAX);
    }
}

/// An event as one line of the log.
pub(crate) fn told(event: &Event, view: &MitigationView) -> String {
    let what = match event {
        Event::Born(_) if view.known => format!("back, at {}", view.step),
        Event::Born(m) if m.step > Step::Observe => format!("found, at {}", view.step),
        Event::Born(_) => "found".to_owned(),
        Event::Stepped(_, from) => format!("{} -> {}", from.name(), view.step),
        Event::Ended(_, why) => format!("ended ({})", why.name()),
    };
    let e = &view.evidence;
    let counted = e.ending.as_ref().map_or("requests/s".to_owned(), |ending| format!("{ending}/s"));
    format!(
        "mitigation {} at {}{}: {what}: {}; {:.0} {counted} ({:.1} usual), {:.0} % of strangers, lift {:.0}, would hit {:.2} % of {} of proven standing",
        view.id,
        view.service,
        if view.dry_run { " (dry run)" } else { "" },
        view.signature_text(),
        view.requests_per_s,
        e.usual_per_s,
        100.0 * e.coverage,
        e.lift,
        100.0 * e.collateral,
        e.compared_with
    )
}
