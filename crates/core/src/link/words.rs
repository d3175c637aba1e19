//! The verdict in one sentence, for whoever is on call.

use std::fmt;

use super::judge::{Place, Verdict};
use super::measure::{Measure, Subject};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Unknown => f.write_str("Nothing was measured yet."),
            Place::Line if self.line_in_full() => {
                f.write_str("The line is full: ")?;
                list(f, &self.causes)?;
                f.write_str(
                    ", and nothing behind it can help; the flood must be stopped before it gets here, or traffic come another way.",
                )
            }
            Place::Line => {
                f.write_str("The line is full on the way out: ")?;
                list(f, &self.causes)?;
                f.write_str(", so answers are late however fast the services are.")
            }
            Place::Host => {
                f.write_str("This host is full: ")?;
                list(f, &self.causes)?;
                f.write_str("; the line and the services have room.")
            }
            Place::Service => {
                f.write_str("A service is full, while the line and this host have room: ")?;
                list(f, &self.causes)?;
                f.write_str(".")
            }
            Place::Elsewhere if self.causes.is_empty() => {
                f.write_str("Nothing is wrong here: the line, this host and the services have room; look elsewhere.")
            }
            Place::Elsewhere => {
                f.write_str("Nothing is wrong here, but ")?;
                list(f, &self.causes)?;
                f.write_str(": look elsewhere, at the names, the provider and the way to here.")
            }
        }
    }
}

/// How many causes a sentence names.
const NAMED: usize = 3;

fn list(f: &mut fmt::Formatter<'_>, causes: &[Measure]) -> fmt::Result {
    for (i, cause) in causes.iter().take(NAMED).enumerate() {
        if i > 0 {
            f.write_str(if i + 1 == causes.len().min(NAMED) { " and " } else { ", " })?;
        }
        write!(f, "{cause}")?;
    }
    if causes.len() > NAMED {
        write!(f, " (and {} more)", causes.len() - NAMED)?;
    }
    Ok(())
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, limit) = (self.value, self.limit);
        let percent = 100.0 * self.share;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, verb: &str| {
            let (value, limit) = (value / 1e6, limit / 1e6);
            match limit.is_finite() {
                true => write!(f, "{name} {verb} {value:.1} of {limit:.1} Mbit/s ({percent:.0} %)"),
                false => write!(f, "{name} {verb} {value:.1} Mbit/s, of a rate that is not declared"),
            }
        };
        match &self.subject {
            Subject::LineIn(name) => line(f, name, "brings in"),
            Subject::LineOut(name) => line(f, name, "sends"),
            Subject::PacketsIn(name) => {
                write!(f, "{name} brings in {value:.0} of {limit:.0} packets/s ({percent:.0} %)")
            }
            Subject::PacketsOut(name) => write!(f, "{name} sends {value:.0} of {limit:.0} packets/s ({percent:.0} %)"),
            Subject::Processors => write!(f, "its processors are {:.0} % busy", 100.0 * value),
            Subject::Memory => write!(f, "{:.0} % of its memory is used", 100.0 * value),
            Subject::AcceptQueue => write!(f, "{value:.0} connections/s are lost because nobody accepts them in time"),
            Subject::SynQueue => {
                write!(f, "{value:.0} openings/s are lost because the queue of half-open connections is full")
            }
            Subject::PacketQueue => {
                write!(f, "{value:.0} packets/s are lost because its processors do not take them in time")
            }
            Subject::CardQueue(name) => write!(f, "{value:.0} packets/s are lost by the network card {name}"),
            Subject::Conntrack => {
                write!(f, "its table of connections holds {value:.0} of {limit:.0} ({percent:.0} %)")
            }
            Subject::Service(name) => {
                write!(f, "{name} works on {value:.0} requests where {limit:.0} go at once, and more wait")
            }
            Subject::Away(name) => write!(f, "none of the servers of {name} answers as it should"),
            Subject::Demand => write!(f, "{:.0} % of the usual requests do not arrive", 100.0 * value),
        }
    }
}
