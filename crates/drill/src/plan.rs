//! The whole schedule of real clients, drawn from the seed before anything is sent.
//!
//! Because each request's moment is fixed beforehand, a slow front cannot slow down its own measurement: latency counts
//! from the intended moment (no coordinated omission), and the oracle replays the very same schedule.

use crate::ops::{self, Op};
use crate::scenario::{RealPopulation, Scenario};
use crate::services::SERVICES;
use crate::target::SourceAddr;
use guichet_core::bounds::{DRILL_PERSONS_MAX, DRILL_REAL_REQUESTS_MAX};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One request of a real client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Intended moment, microseconds from the start of the run.
    pub at_us: u64,
    /// Position of the person in [`Plan::persons`].
    pub person: u32,
    /// What is asked.
    pub op: &'static Op,
    /// Random bits of the request.
    pub draw: u64,
    /// Whether the person leaves afterwards and closes the connections.
    pub leaves: bool,
}

/// A real client: a person with a browser, a telephone, a partner's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Position of the population in [`Scenario::real`].
    pub population: usize,
    /// Where it comes from.
    pub source: SourceAddr,
    /// Number of the test user.
    pub user: u32,
    /// Random bits of the person: which browser.
    pub draw: u32,
}

/// The schedule of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of their moments.
    pub requests: Vec<Planned>,
    /// All who come.
    pub persons: Vec<Person>,
}

/// A scenario whose schedule would not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the scenario makes more than {DRILL_REAL_REQUESTS_MAX} real requests or {DRILL_PERSONS_MAX} persons: lower its arrivals"
)]
pub struct TooMany;

impl Plan {
    /// Draws the schedule. The same scenario and seed give the same plan.
    ///
    /// # Errors
    /// [`TooMany`] where it would pass the bounds.
    pub fn draw(scenario: &Scenario, seed: u64) -> Result<Self, TooMany> {
        let mut plan = Self::default();
        for (index, population) in scenario.real.iter().enumerate() {
            // A generator of its own: adding one population does not reshuffle the others.
            let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv(&population.name));
            let mut drawing = Drawing { plan: &mut plan, population, index, rng: &mut rng, persons: 0 };
            if let Some(people) = population.people {
                drawing.stayers(people)?;
            } else {
                drawing.sessions()?;
            }
        }
        plan.requests.sort_by_key(|r| (r.at_us, r.person));
        Ok(plan)
    }
}

/// FNV-1a of a name: mixes the name of a population into the seed.
fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

struct Drawing<'a> {
    plan: &'a mut Plan,
    population: &'a RealPopulation,
    index: usize,
    rng: &'a mut ChaCha8Rng,
    persons: u32,
}

impl Drawing<'_> {
    /// Moments of arrival, seconds from the start of the run: a Poisson process thinned to the shape.
    fn arrivals(&mut self) -> Result<Vec<f64>, TooMany> {
        let p = self.population;
        let (from, length) = (p.from_ms as f64 / 1000.0, (p.until_ms - p.from_ms) as f64 / 1000.0);
        let most = p.shape.rate_max();
        let (mut t, mut moments) = (0.0, Vec::new());
        if most <= 0.0 {
            return Ok(moments);
        }
        loop {
            t += self.exponential(1.0 / most);
            if t >= length {
                return Ok(moments);
            }
            if self.rng.random::<f64>() * most < p.shape.rate_at(t, length) {
                moments.push(from + t);
            }
            if moments.len() > DRILL_REAL_REQUESTS_MAX {
                return Err(TooMany);
            }
        }
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.random::<f64>()).ln()
    }

    fn person(&mut self) -> Result<u32, TooMany> {
        if self.plan.persons.len() >= DRILL_PERSONS_MAX {
            return Err(TooMany);
        }
        let number = self.persons;
        self.persons += 1;
        self.plan.persons.push(Person {
            population: self.index,
            source: self.population.sources.addr(number),
            // Users of one population follow each other; populations begin at different ones.
            user: (number + self.index as u32 * 131) % 1000,
            draw: self.rng.random(),
        });
        Ok(self.plan.persons.len() as u32 - 1)
    }

    fn push(&mut self, at_s: f64, person: u32, op: &'static Op, leaves: bool) -> Result<(), TooMany> {
        if self.plan.requests.len() >= DRILL_REAL_REQUESTS_MAX {
            return Err(TooMany);
        }
        let draw = self.rng.random();
        self.plan.requests.push(Planned { at_us: (at_s * 1e6) as u64, person, op, draw, leaves });
        Ok(())
    }

    fn any_op(&mut self) -> &'static Op {
        let total: f64 = self.population.ops.iter().map(|(_, w)| w).sum();
        let mut left = self.rng.random::<f64>() * total;
        for (op, weight) in &self.population.ops {
            left -= weight;
            if left <= 0.0 {
                return op;
            }
        }
        self.population.ops.last().expect("a checked population has operations").0
    }

    /// People who stay all the time and share the requests evenly.
    fn stayers(&mut self, people: u32) -> Result<(), TooMany> {
        let first = self.person()?;
        for _ in 1..people {
            self.person()?;
        }
        let mut started = vec![0_usize; people as usize];
        for (i, at) in self.arrivals()?.into_iter().enumerate() {
            let who = i % people as usize;
            let op = match self.population.start.get(started[who]).copied() {
                Some(op) => {
                    started[who] += 1;
                    op
                }
                None => self.any_op(),
            };
            self.push(at, first + who as u32, op, false)?;
        }
        Ok(())
    }

    /// Sessions of people who come, look at a few pages and leave; some come back.
    fn sessions(&mut self) -> Result<(), TooMany> {
        let until = self.population.until_ms as f64 / 1000.0;
        let [least, most] = self.population.requests_per_session;
        // Persons who left, and when.
        let mut left: Vec<(u32, f64)> = Vec::new();
        for at in self.arrivals()? {
            let returning = self.rng.random::<f64>() < self.population.returning_share;
            let back = if returning { self.pick_returning(&mut left, at) } else { None };
            let (person, start) = match back {
                Some(person) => (person, 0),
                None => (self.person()?, self.population.start.len()),
            };
            let count = start + self.rng.random_range(least..=most) as usize;
            let mut t = at;
            let mut moments = Vec::with_capacity(count);
            while moments.len() < count && t < until {
                moments.push(t);
                t += self.think();
            }
            let last = moments.len().saturating_sub(1);
            for (i, moment) in moments.into_iter().enumerate() {
                let op = if i < start { self.population.start[i] } else { self.any_op() };
                self.push(moment, person, op, i == last)?;
            }
            left.push((person, t));
        }
        Ok(())
    }

    /// Somebody who left before `at`, out of a few tries.
    fn pick_returning(&mut self, left: &mut Vec<(u32, f64)>, at: f64) -> Option<u32> {
        for _ in 0..8 {
            if left.is_empty() {
                return None;
            }
            let i = self.rng.random_range(0..left.len());
            if left[i].1 <= at {
                return Some(left.swap_remove(i).0);
            }
        }
        None
    }

    fn think(&mut self) -> f64 {
        let [mean, least, most] = self.population.think_ms;
        (self.exponential(mean)).clamp(least, most) / 1000.0
    }
}

/// The service of a planned request, by position in [`SERVICES`].
#[must_use]
pub fn service_of(scenario: &Scenario, plan: &Plan, request: &Planned) -> usize {
    scenario.real[plan.persons[request.person as usize].population].service
}

/// Login of a service, where it has one.
#[must_use]
pub fn login_of(service: usize) -> Option<&'static Op> {
    ops::find(SERVICES[service].name, "login")
}
