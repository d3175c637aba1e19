//! One thing that was measured and held against its limit.

use super::judge::{Limits, Place};
use super::rates::Rates;
use super::sample::Sample;
use crate::bounds::{LINK_INTERFACES_MAX, SERVICES_MAX};

/// What can be full.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A line, into this host.
    LineIn(String),
    /// A line, out of this host.
    LineOut(String),
    /// Packets a second into this host.
    PacketsIn(String),
    /// Packets a second out of this host.
    PacketsOut(String),
    /// All processors together.
    Processors,
    /// Memory.
    Memory,
    /// Queues of connections that wait for `accept`.
    AcceptQueue,
    /// Queues of half-open connections.
    SynQueue,
    /// Processors' queues of packets.
    PacketQueue,
    /// Queue of a network card.
    CardQueue(String),
    /// The kernel's table of connections.
    Conntrack,
    /// A service, by its limit.
    Service(String),
    /// A service none of whose servers is well.
    Away(String),
    /// Demand, which can only fall: the value is the share of it that is missing.
    Demand,
}

/// What was measured of a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Of what.
    pub subject: Subject,
    /// How much there is, in the subject's unit.
    pub value: f64,
    /// How much can be, in the same unit; infinite where it is not known.
    pub limit: f64,
    /// How near the limit, 1 = at it.
    pub share: f64,
}

impl Subject {
    /// Where the trouble is when this is full.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self {
            Self::LineIn(_) | Self::LineOut(_) | Self::PacketsIn(_) | Self::PacketsOut(_) => Place::Line,
            Self::Processors
            | Self::Memory
            | Self::AcceptQueue
            | Self::SynQueue
            | Self::PacketQueue
            | Self::CardQueue(_)
            | Self::Conntrack => Place::Host,
            Self::Service(_) | Self::Away(_) => Place::Service,
            Self::Demand => Place::Elsewhere,
        }
    }

    /// The name used in metrics and JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LineIn(_) => "line_in",
            Self::LineOut(_) => "line_out",
            Self::PacketsIn(_) => "packets_in",
            Self::PacketsOut(_) => "packets_out",
            Self::Processors => "processors",
            Self::Memory => "memory",
            Self::AcceptQueue => "accept_queue",
            Self::SynQueue => "syn_queue",
            Self::PacketQueue => "packet_queue",
            Self::CardQueue(_) => "card_queue",
            Self::Conntrack => "conntrack",
            Self::Service(_) => "service",
            Self::Away(_) => "service_away",
            Self::Demand => "demand",
        }
    }

    /// Which interface or service it is of; empty: the whole host.
    #[must_use]
    pub fn of(&self) -> &str {
        match self {
            Self::LineIn(name)
            | Self::LineOut(name)
            | Self::PacketsIn(name)
            | Self::PacketsOut(name)
            | Self::CardQueue(name)
            | Self::Service(name)
            | Self::Away(name) => name,
            Self::Processors
            | Self::Memory
            | Self::AcceptQueue
            | Self::SynQueue
            | Self::PacketQueue
            | Self::Conntrack
            | Self::Demand => "",
        }
    }
}

impl Measure {
    fn new(subject: Subject, value: f64, limit: f64) -> Self {
        let share = if limit > 0.0 && limit.is_finite() { value / limit } else { 0.0 };
        Self { subject, value, limit, share }
    }
}

/// All that can be measured, from one sample, the rates up to it, and the usual demand.
pub(super) fn measures(sample: &Sample, rates: &Rates, usual_s: Option<f64>, limits: &Limits) -> Vec<Measure> {
    let mut all = Vec::new();
    lines(sample, rates, limits, &mut all);
    let mut add = |subject, value: Option<f64>, limit| {
        if let Some(value) = value {
            all.push(Measure::new(subject, value, limit));
        }
    };
    add(Subject::Processors, rates.cpu_busy, 1.0);
    let memory = sample.memory.filter(|(_, total)| *total > 0);
    add(Subject::Memory, memory.map(|(free, total)| 1.0 - free.min(total) as f64 / total as f64), 1.0);
    add(Subject::AcceptQueue, rates.listen_overflows_s, limits.losses_per_s);
    add(Subject::SynQueue, rates.syn_drops_s, limits.losses_per_s);
    add(Subject::PacketQueue, rates.softnet_dropped_s, limits.losses_per_s);
    let tracked = sample.conntrack.filter(|(_, max)| *max > 0);
    add(Subject::Conntrack, tracked.map(|(count, _)| count as f64), tracked.map_or(0.0, |(_, max)| max as f64));
    if let (Some(usual), Some(now)) = (usual_s, rates.requests_s) {
        add(Subject::Demand, Some((1.0 - now / usual).clamp(0.0, 1.0)), 1.0);
    }
    for service in sample.services.iter().take(SERVICES_MAX) {
        let away = service.servers > 0 && service.servers_well == 0;
        let mut full =
            Measure::new(Subject::Service(service.name.clone()), service.in_flight as f64, service.limit as f64);
        // Its limit may be reached in good order; it is full when the brain finds it pressed.
        full.share = service.pressure.clamp(0.0, 1.0);
        all.push(full);
        all.push(Measure::new(Subject::Away(service.name.clone()), f64::from(u8::from(away)), 1.0));
    }
    all
}

fn lines(sample: &Sample, rates: &Rates, limits: &Limits, all: &mut Vec<Measure>) {
    for rates in rates.interfaces.iter().take(LINK_INTERFACES_MAX) {
        let Some(declared) = sample.interfaces.iter().find(|known| known.name == rates.name) else { continue };
        let name = || rates.name.clone();
        let mut add = |subject, value, limit: u64| {
            let limit = if limit == 0 { f64::INFINITY } else { limit as f64 };
            all.push(Measure::new(subject, value, limit));
        };
        add(Subject::LineIn(name()), rates.bits_s[0], declared.rate_bits_s);
        add(Subject::LineOut(name()), rates.bits_s[1], declared.rate_bits_s);
        if declared.rate_packets_s > 0 {
            add(Subject::PacketsIn(name()), rates.packets_s[0], declared.rate_packets_s);
            add(Subject::PacketsOut(name()), rates.packets_s[1], declared.rate_packets_s);
        }
        // Some packets are always counted as dropped: of protocols that nobody here speaks. So a share counts too.
        let [lost, _] = rates.dropped_s;
        let usual = limits.losses_share * (lost + rates.packets_s[0]);
        all.push(Measure::new(Subject::CardQueue(name()), lost, usual.max(limits.losses_per_s)));
    }
}
