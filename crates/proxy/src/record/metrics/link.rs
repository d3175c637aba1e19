//! The link verdict and the routes that were handed on, as metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use guichet_core::link::Place;

use super::registry::{Registry, ServiceSlot};
use super::text::Exposition;
use crate::link::{InterfaceView, Link, ROUTE_STATES};

impl Registry {
    /// What is known of the link; the first call counts.
    pub fn set_link(&self, link: Arc<Link>) {
        drop(self.link.set(link));
    }

    /// Requests of a service since start.
    #[must_use]
    pub fn requests_of(&self, service: ServiceSlot) -> u64 {
        let classes = self.workers.iter().flat_map(|(block, _)| &block.services[service.index()].classes);
        classes.fold(0, |sum, class| sum.wrapping_add(class.get()))
    }

    pub(super) fn link(&self, out: &mut Exposition) {
        let Some(link) = self.link.get() else { return };
        let view = link.view();
        out.gauge("guichet_link_verdict", "1 for the verdict that holds: where the trouble is.");
        for place in Place::ALL {
            out.sample(&[("verdict", place.name())], f64::from(u8::from(place == view.place)));
        }
        out.gauge("guichet_link_since_seconds", "Since when the verdict holds, seconds since 1970.");
        out.sample(&[], view.since_unix_s as f64);
        out.counter("guichet_link_changes_total", "How often the verdict changed.");
        out.sample(&[], link.changes.load(Relaxed) as f64);
        out.gauge("guichet_link_share", "How near its limit each thing is, 1 = at it.");
        for measure in &view.evidence {
            out.sample(&[("subject", measure.subject), ("of", &measure.of)], measure.share);
        }
        type Figure = fn(&InterfaceView) -> [f64; 2];
        let figures: [(&'static str, &str, Figure); 3] = [
            ("guichet_link_bits_per_second", "Bits on the line, a second.", |i| [i.in_bits, i.out_bits]),
            ("guichet_link_packets_per_second", "Packets, a second.", |i| [i.in_packets, i.out_packets]),
            ("guichet_link_dropped_per_second", "Packets lost, a second.", |i| [i.in_dropped, i.out_dropped]),
        ];
        for (name, help, figure) in figures {
            out.gauge(name, help);
            for interface in &view.interfaces {
                for (direction, value) in ["in", "out"].into_iter().zip(figure(interface)) {
                    out.sample(&[("interface", &interface.name), ("direction", direction)], value);
                }
            }
        }
        if let Some(cookies) = view.syn_cookies_s {
            out.gauge("guichet_link_syn_cookies_per_second", "SYN cookies sent, a second.");
            out.sample(&[], cookies);
        }
        out.gauge("guichet_hand_on_routes", "Routes asked of others, by state.");
        let routes = link.hand_on.routes();
        for state in ROUTE_STATES {
            out.sample(&[("state", state)], routes.iter().filter(|route| route.state == state).count() as f64);
        }
    }
}
