//! The status page in the metrics: how old it is, what was said, and whether it gets to where people read it.

use guichet_notices::tally::Count;
use jiff::Timestamp;

use super::registry::Registry;
use super::text::Exposition;

/// A figure of a place or subscriber.
type Of = fn(&Count) -> u64;

impl Registry {
    pub(super) fn notices(&self, out: &mut Exposition) {
        let Some(notices) = self.notices.get() else { return };
        let (known, counts, now) = (notices.known(), notices.counts(), Timestamp::now());
        let age = |at: Timestamp| now.duration_since(at).as_secs_f64().max(0.0);
        out.gauge(
            "guichet_notices_age_seconds",
            "Since the status page was last drawn: its source is silent if this grows.",
        );
        if let Some(at) = known.drawn_at {
            out.sample(&[], age(at));
        }
        out.gauge("guichet_notices_open", "Notices that are open.");
        out.sample(&[], known.notices.iter().filter(|notice| !notice.is_resolved()).count() as f64);
        out.counter("guichet_notices_editions_total", "Editions of the status page that were drawn.");
        out.sample(&[], counts.editions as f64);
        out.counter("guichet_notices_revisions_total", "Revisions of notices written to the journal.");
        out.sample(&[], counts.revisions as f64);
        let families: [(&str, &str, Of); 2] = [
            ("guichet_notices_published_total", "Editions published, by place.", |count| count.done),
            ("guichet_notices_publish_failed_total", "Tries to publish that failed, by place.", |count| count.failed),
        ];
        for (family, help, of) in families {
            out.counter(family, help);
            for (place, count) in &counts.places {
                out.sample(&[("place", place)], of(count) as f64);
            }
        }
        out.gauge("guichet_notices_published_age_seconds", "Since an edition was last published, by place.");
        for (place, count) in &counts.places {
            if let Some(at) = count.last {
                out.sample(&[("place", place)], age(at));
            }
        }
        let families: [(&str, &str, Of); 3] = [
            ("guichet_notices_webhooks_sent_total", "Messages that a subscriber took, by its host.", |count| {
                count.done
            }),
            ("guichet_notices_webhooks_failed_total", "Tries to tell a subscriber that failed.", |count| count.failed),
            ("guichet_notices_webhooks_lost_total", "Messages to a subscriber given up or dropped.", |count| {
                count.lost
            }),
        ];
        for (family, help, of) in families {
            out.counter(family, help);
            for (host, count) in &counts.webhooks {
                out.sample(&[("webhook", host)], of(count) as f64);
            }
        }
    }
}
