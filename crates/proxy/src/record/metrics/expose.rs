//! A scrape: the workers' counters added up, and written as text. Runs on the admin's thread.

use std::sync::atomic::Ordering::Relaxed;

use guichet_core::signs::Step;
use guichet_core::{Criticality, Reason, Standing};

use super::counters::{CLASSES, Counter, Histogram, ListenerCounters, Outcomes, ServiceCounters, UpstreamCounters};
use super::gauges::{AdmissionGauges, Gauge};
use super::process;
use super::registry::{ListenerSlot, Names, Registry, ServiceSlot, UpstreamSlot};
use super::text::Exposition;
use crate::passes::Event;
use crate::signs::CONNECTIONS;

impl Registry {
    /// All metrics, in the text format of Prometheus ([`super::CONTENT_TYPE`]).
    #[must_use]
    pub fn expose(&self) -> String {
        let mut out = Exposition::new();
        let names = self.names.read();
        let services = with_extra(&names.services, &[(ServiceSlot::NONE.index(), "none"), OTHER_SERVICE]);
        let listeners = with_extra(&names.listeners, &[(ListenerSlot::OTHER.index(), "other")]);
        self.node(&mut out, &names.certificates);
        self.requests(&mut out, &services);
        self.times(&mut out, &services);
        let named = &services[..names.services.len()];
        let live: Vec<_> = named.iter().copied().filter(|(at, _)| names.service_is_live(*at)).collect();
        self.admission_gauges(&mut out, &live);
        self.connections(&mut out, &listeners, names.listeners.len());
        self.upstreams(&mut out, &names);
        drop(names);
        self.passes(&mut out);
        self.link(&mut out);
        self.contracts(&mut out);
        self.notices(&mut out);
        self.records(&mut out);
        process::expose(&mut out);
        out.finish()
    }

    /// Open connections by listener, for the status page.
    #[must_use]
    pub fn connections_open(&self) -> Vec<(String, u64)> {
        let names = self.names.read();
        let open = |at: usize| {
            let sum = |of: fn(&ListenerCounters) -> &Counter| self.listener_sum(at, of);
            sum(|l| &l.opened).saturating_sub(sum(|l| &l.closed))
        };
        names.listeners.iter().enumerate().map(|(at, name)| (name.clone(), open(at))).collect()
    }

    fn node(&self, out: &mut Exposition, certificates: &[(String, i64)]) {
        out.gauge("guichet_build_info", "Always 1; the label tells the version.");
        out.sample(&[("version", self.version)], 1.0);
        out.gauge("guichet_workers", "Worker threads.");
        out.sample(&[], self.workers.len() as f64);
        out.gauge("guichet_worker_late_seconds", "How late workers come to what is due, lately.");
        out.sample(&[], self.late.get());
        out.gauge("guichet_node_strained", "1 while the node's own processors are full.");
        out.sample(&[], self.strained.get());
        out.gauge(
            "guichet_config_reload_success",
            "1 if the last reload succeeded, 0 if an old configuration is in force.",
        );
        out.sample(&[], f64::from(u8::from(self.reload_success.load(Relaxed))));
        out.gauge(
            "guichet_config_last_reload_seconds",
            "When the configuration in force was loaded, seconds since 1970.",
        );
        out.sample(&[], self.last_reload_unix_s.load(Relaxed) as f64);
        out.gauge("guichet_certificate_expiry_seconds", "When a certificate expires, seconds since 1970.");
        for (name, expiry) in certificates {
            out.sample(&[("name", name)], *expiry as f64);
        }
    }

    fn requests(&self, out: &mut Exposition, services: &[(usize, &str)]) {
        let sum = |at, of: &dyn Fn(&ServiceCounters) -> &Counter| self.service_sum(at, of);
        out.counter(
            "guichet_requests_total",
            "Requests by class of the status sent; none: the connection ended first.",
        );
        for (at, name) in services {
            for (class, label) in CLASSES.iter().enumerate() {
                out.sample_if_any(&[("service", name), ("class", label)], sum(*at, &|s| &s.classes[class]));
            }
        }
        out.counter("guichet_refusals_total", "Requests refused or failed, by reason.");
        for (at, name) in services {
            for (index, reason) in Reason::ALL.iter().enumerate() {
                let labels = [("service", *name), ("reason", reason.label())];
                out.sample_if_any(&labels, sum(*at, &|s| &s.reasons[index]));
            }
        }
        let outcomes =
            |out: &mut Exposition, at, labels: [(&str, &str); 2], of: &dyn Fn(&ServiceCounters) -> &Outcomes| {
                let [first, second] = labels;
                let forwarded = sum(at, &|s| &of(s).forwarded);
                out.sample_if_any(&[first, second, ("outcome", "forwarded")], forwarded);
                out.sample_if_any(&[first, second, ("outcome", "refused")], sum(at, &|s| &of(s).refused));
            };
        out.counter(
            "guichet_requests_by_standing_total",
            "Requests by standing of the client, forwarded or refused at the door.",
        );
        for (at, name) in services {
            for standing in Standing::ALL {
                let labels = [("service", *name), ("standing", standing.name())];
                outcomes(out, *at, labels, &|s| &s.standings[standing.index()]);
            }
        }
        out.counter(
            "guichet_requests_by_lane_total",
            "Requests by lane (criticality), forwarded or refused at the door.",
        );
        for (at, name) in services {
            for lane in Criticality::ALL {
                outcomes(out, *at, [("service", *name), ("lane", lane.name())], &|s| &s.lanes[lane.index()]);
            }
        }
        out.counter("guichet_request_body_bytes_total", "Bytes of request bodies read.");
        for (at, name) in services {
            out.sample_if_any(&[("service", name)], sum(*at, &|s| &s.bytes_in));
        }
        out.counter("guichet_response_body_bytes_total", "Bytes of answers' bodies written.");
        for (at, name) in services {
            out.sample_if_any(&[("service", name)], sum(*at, &|s| &s.bytes_out));
        }
    }

    fn times(&self, out: &mut Exposition, services: &[(usize, &str)]) {
        type Of = fn(&ServiceCounters) -> &Histogram;
        let families: [(&str, &str, Of); 3] = [
            (
                "guichet_request_duration_seconds",
                "From the head to the end of the answer; answered requests only.",
                |s| &s.duration,
            ),
            ("guichet_queue_wait_seconds", "Waited for a slot; forwarded requests only.", |s| &s.queue_wait),
            ("guichet_upstream_first_byte_seconds", "From admission to the first byte of the server's answer.", |s| {
                &s.first_byte
            }),
        ];
        for (family, help, of) in families {
            out.histogram(family, help);
            for (at, name) in services {
                let counts: Vec<u64> = (0..super::counters::BUCKETS_US.len() + 1)
                    .map(|bucket| self.service_sum(*at, &|s| &of(s).buckets[bucket]))
                    .collect();
                if counts.iter().any(|count| *count > 0) {
                    let sum_us = self.service_sum(*at, &|s| &of(s).sum_us);
                    out.distribution(&[("service", name)], &counts, sum_us);
                }
            }
        }
    }

    fn admission_gauges(&self, out: &mut Exposition, services: &[(usize, &str)]) {
        type Of = fn(&AdmissionGauges) -> &Gauge;
        let families: [(&str, &str, Of); 5] = [
            ("guichet_admission_limit", "Adaptive concurrency limit of a service, requests.", |g| &g.limit),
            ("guichet_admission_in_flight", "Requests in flight at a service.", |g| &g.in_flight),
            ("guichet_admission_queued", "Requests waiting for a slot.", |g| &g.queued),
            (
                "guichet_admission_fair_rate",
                "What one source gets at present, requests a second; +Inf: nobody is held to a share.",
                |g| &g.fair_rate,
            ),
            ("guichet_admission_pressure", "Pressure on a service, 0 to 1.", |g| &g.pressure),
        ];
        for (family, help, of) in families {
            out.gauge(family, help);
            for (at, name) in services {
                out.sample(&[("service", name)], of(&self.admission[*at]).get());
            }
        }
        out.gauge("guichet_mitigations", "Mitigations of a service at each step.");
        for (at, name) in services {
            for (step, gauge) in Step::ALL.iter().zip(&self.admission[*at].mitigations) {
                out.sample(&[("service", name), ("step", step.name())], gauge.get());
            }
        }
        for (step, gauge) in Step::ALL.iter().zip(&self.connections.mitigations) {
            out.sample(&[("service", CONNECTIONS), ("step", step.name())], gauge.get());
        }
    }

    fn connections(&self, out: &mut Exposition, listeners: &[(usize, &str)], named: usize) {
        let sum = |at, of: &dyn Fn(&ListenerCounters) -> &Counter| self.listener_sum(at, of);
        out.gauge("guichet_connections", "Open connections.");
        for (at, name) in &listeners[..named] {
            let open = sum(*at, &|l| &l.opened).saturating_sub(sum(*at, &|l| &l.closed));
            out.sample(&[("listener", name)], open as f64);
        }
        out.counter("guichet_connections_opened_total", "Connections that were let in.");
        for (at, name) in listeners {
            out.sample_if_any(&[("listener", name)], sum(*at, &|l| &l.opened));
        }
        out.counter(
            "guichet_connections_refused_total",
            "Connections refused, or ended for a reason outside a request.",
        );
        for (at, name) in listeners {
            for (index, reason) in Reason::ALL.iter().enumerate() {
                let labels = [("listener", *name), ("reason", reason.label())];
                out.sample_if_any(&labels, sum(*at, &|l| &l.refused[index]));
            }
        }
    }

    fn upstreams(&self, out: &mut Exposition, names: &Names) {
        type Of = fn(&UpstreamCounters) -> &Counter;
        let all = || {
            let other = (UpstreamSlot::OTHER.index(), "other", "other");
            names.upstreams.iter().enumerate().map(|(at, (pool, server))| (at, &**pool, &**server)).chain([other])
        };
        let live = || all().take(names.upstreams.len()).filter(|(at, ..)| names.upstream_is_live(*at));
        let sum = |at: usize, of: Of| {
            self.workers.iter().fold(0_u64, |sum, (block, _)| sum.wrapping_add(of(&block.upstreams[at]).get()))
        };
        let counters: [(&str, &str, Of); 4] = [
            ("guichet_upstream_requests_total", "Requests sent to a server, attempts counted each.", |u| &u.requests),
            ("guichet_upstream_failures_total", "Attempts that failed.", |u| &u.failures),
            ("guichet_upstream_retries_total", "Attempts that were not the first for their request.", |u| &u.retries),
            ("guichet_upstream_connects_total", "Connections made to a server.", |u| &u.connects),
        ];
        for (family, help, of) in counters {
            out.counter(family, help);
            for (at, pool, server) in all() {
                out.sample_if_any(&[("upstream", pool), ("server", server)], sum(at, of));
            }
        }
        let gauges: [(&str, &str, Of); 2] = [
            ("guichet_upstream_in_flight", "Requests in flight at a server.", |u| &u.in_flight),
            ("guichet_upstream_connections", "Connections open to a server.", |u| &u.connections),
        ];
        for (family, help, of) in gauges {
            out.gauge(family, help);
            for (at, pool, server) in live() {
                // A scrape between two workers' writes may see a difference below zero.
                let value = (sum(at, of) as i64).max(0);
                out.sample(&[("upstream", pool), ("server", server)], value as f64);
            }
        }
        out.gauge("guichet_upstream_healthy", "1 if the health check of a server passes or there is none.");
        for (at, pool, server) in live() {
            let healthy = self.upstream[at].healthy.load(Relaxed);
            out.sample(&[("upstream", pool), ("server", server)], f64::from(u8::from(healthy)));
        }
        out.gauge("guichet_upstream_ejected", "1 while a server is ejected as an outlier.");
        for (at, pool, server) in live() {
            let ejected = self.upstream[at].ejected.load(Relaxed);
            out.sample(&[("upstream", pool), ("server", server)], f64::from(u8::from(ejected)));
        }
    }

    fn passes(&self, out: &mut Exposition) {
        let Some(signs) = self.signs.get() else { return };
        out.counter("guichet_passes_total", "What befell passes: offered, earned, shown, used up, not valid.");
        for event in Event::ALL {
            out.sample(&[("event", event.name())], signs.passes.events.count(event) as f64);
        }
        let kernel = &signs.kernel;
        out.gauge("guichet_kernel_filter_sources", "Sources that are handed over to the kernel's filter.");
        out.sample(&[], kernel.held().len() as f64);
        out.counter("guichet_kernel_filter_handed_over_total", "Sources that were handed over to the kernel's filter.");
        out.sample(&[], kernel.handed_over.load(Relaxed) as f64);
        out.counter(
            "guichet_kernel_filter_failures_total",
            "How often the kernel's filter did not do what it was told.",
        );
        out.sample(&[], kernel.failures.load(Relaxed) as f64);
    }

    fn records(&self, out: &mut Exposition) {
        let log = self.log.get();
        let of_log = |of: fn(&super::super::access_log::LogCounters) -> u64| log.map_or(0, |l| of(l)) as f64;
        out.counter("guichet_log_dropped_total", "Access log lines lost because the writer's queue was full.");
        out.sample(&[], of_log(|l| l.dropped.load(Relaxed)));
        out.counter("guichet_log_write_failed_total", "Access log lines lost because writing failed.");
        out.sample(&[], of_log(|l| l.write_failed.load(Relaxed)));
        out.gauge("guichet_log_failing", "1 while the access log cannot be opened or written.");
        out.sample(&[], of_log(|l| u64::from(l.failing.load(Relaxed))));
        out.counter("guichet_log_suppressed_total", "Refusals not logged, by sampling or the cap a second.");
        let suppressed =
            self.workers.iter().fold(0_u64, |sum, (block, _)| sum.wrapping_add(block.log_suppressed.get()));
        out.sample(&[], suppressed as f64);
        let trace = self.trace.get();
        out.counter("guichet_trace_spans_exported_total", "Spans that the collector took.");
        out.sample(&[], trace.map_or(0, |t| t.exported.load(Relaxed)) as f64);
        out.counter("guichet_trace_spans_dropped_total", "Spans lost: queue full, over the rate, or collector down.");
        out.sample(&[], trace.map_or(0, |t| t.dropped.load(Relaxed)) as f64);
    }

    fn service_sum(&self, at: usize, of: &dyn Fn(&ServiceCounters) -> &Counter) -> u64 {
        self.workers.iter().fold(0_u64, |sum, (block, _)| sum.wrapping_add(of(&block.services[at]).get()))
    }

    fn listener_sum(&self, at: usize, of: impl Fn(&ListenerCounters) -> &Counter) -> u64 {
        self.workers.iter().fold(0_u64, |sum, (block, _)| sum.wrapping_add(of(&block.listeners[at]).get()))
    }
}

const OTHER_SERVICE: (usize, &str) = (ServiceSlot::OTHER.index(), "other");

fn with_extra<'a>(names: &'a [String], extra: &[(usize, &'a str)]) -> Vec<(usize, &'a str)> {
    names.iter().enumerate().map(|(at, name)| (at, name.as_str())).chain(extra.iter().copied()).collect()
}
