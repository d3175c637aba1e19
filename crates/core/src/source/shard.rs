//! One shard of the table of sources: fixed size, 8-way set-associative.

use super::entry::{Entry, PACE_TIME_CONSTANT_S, seconds, tick_of};
use super::{Outcome, SourceConfig, SourceKey, SourceView, Standing3};
use crate::bounds::{SOURCE_SHARDS, SOURCE_WAYS, SOURCES_MAX};
use crate::{Moment, ServiceId};

const SETS: usize = SOURCES_MAX / SOURCE_SHARDS / SOURCE_WAYS;

/// A part of the table of sources. The caller puts each behind a lock of its own, which only workers take.
pub struct SourceShard {
    entries: Box<[Entry]>,
    config: SourceConfig,
    /// Requests of sources that could not be tracked, fading; and when that was last brought up to date.
    untracked: f32,
    untracked_at: u32,
}

impl SourceShard {
    /// An empty shard; all its memory is taken now.
    #[must_use]
    pub fn new(config: SourceConfig) -> Self {
        let entries = vec![Entry::VACANT; SETS * SOURCE_WAYS].into_boxed_slice();
        Self { entries, config, untracked: 0.0, untracked_at: 0 }
    }

    /// Replaces the configuration; accounts stay.
    pub fn set_config(&mut self, config: SourceConfig) {
        self.config = config;
    }

    /// Entries the shard can hold: a constant.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// Entries in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.iter().filter(|e| e.key != 0).count()
    }

    /// Whether no source is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts one request of `key` at `service`, of this cost (1: a mean request), and says what is known of it. `suspect_rate_per_s` comes from the
    /// posture ([`crate::Rules::suspect_rate_per_s`]); infinite while the service is calm.
    pub fn observe(
        &mut self,
        key: SourceKey,
        now: Moment,
        service: ServiceId,
        cost: f32,
        suspect_rate_per_s: f32,
    ) -> SourceView {
        let tick = tick_of(now);
        let Some(at) = self.place(key, tick) else { return self.untracked_view(key, tick, cost) };
        let entry = &mut self.entries[at];
        let seen = entry.observe(tick, service, cost, suspect_rate_per_s);
        let age = core::time::Duration::from_secs_f32(seconds(tick.wrapping_sub(entry.first)));
        SourceView {
            key,
            pace_per_s: seen.pace_per_s,
            rate_per_s: seen.rate_per_s,
            age,
            standing_hint: entry.standing(tick, &self.config),
            refused_recently: seen.ignored_refusal,
            used: seen.used,
            used_age_s: seen.used_age_s,
            share_scale: entry.share_scale(tick),
            answers: entry.answers(),
            tracked: true,
        }
    }

    /// Books how a request ended; nothing if the source is not tracked.
    pub fn outcome(&mut self, key: SourceKey, now: Moment, outcome: Outcome) {
        if let Some(at) = self.find(key) {
            self.entries[at].outcome(tick_of(now), outcome);
        }
    }

    /// Books protocol abuse seen before any request: tracks the source if need be.
    pub fn abuse(&mut self, key: SourceKey, now: Moment, weight: f32) {
        let tick = tick_of(now);
        if let Some(at) = self.place(key, tick) {
            self.entries[at].outcome(tick, Outcome::Abuse { weight });
        }
    }

    /// What is known of a source, without counting a request; `None` if it is not tracked.
    #[must_use]
    pub fn standing(&self, key: SourceKey, now: Moment) -> Option<Standing3> {
        self.find(key).map(|at| self.entries[at].standing(tick_of(now), &self.config))
    }

    /// Remembers that a valid session was lately used from this prefix: its share grows with the people behind it.
    pub fn note_session(&mut self, key: SourceKey, session: SourceKey, now: Moment) {
        if let Some(at) = self.find(key) {
            self.entries[at].note_session(tick_of(now), session.get());
        }
    }

    /// Takes `cost` requests from the share of `key` at `service`. Only [`crate::Charges::commit`] calls for this.
    pub fn charge(&mut self, key: SourceKey, now: Moment, service: ServiceId, rate_per_s: f32, cost: f32) {
        if let Some(at) = self.find(key) {
            self.entries[at].charge(tick_of(now), service, rate_per_s, cost);
        }
    }

    fn set_of(key: SourceKey) -> usize {
        (key.get() as usize & 0xffff_ffff) % SETS * SOURCE_WAYS
    }

    fn find(&self, key: SourceKey) -> Option<usize> {
        let start = Self::set_of(key);
        (start..start + SOURCE_WAYS).find(|&at| self.entries[at].key == key.get())
    }

    /// The entry of `key`, made if there is room or an entry that may be given up.
    fn place(&mut self, key: SourceKey, tick: u32) -> Option<usize> {
        if let Some(at) = self.find(key) {
            return Some(at);
        }
        let start = Self::set_of(key);
        let mut worst: Option<(f32, usize)> = None;
        for at in start..start + SOURCE_WAYS {
            let entry = &self.entries[at];
            let worth = if entry.key == 0 { Some(f32::NEG_INFINITY) } else { entry.retention(tick, &self.config) };
            if let Some(worth) = worth
                && worst.is_none_or(|(least, _)| worth < least)
            {
                worst = Some((worth, at));
            }
        }
        let (_, at) = worst?;
        self.entries[at] = Entry::new(key.get(), tick);
        Some(at)
    }

    /// A newcomer without an account is judged by what such newcomers ask together, shared out over the sets.
    fn untracked_view(&mut self, key: SourceKey, tick: u32, cost: f32) -> SourceView {
        let span_s = seconds(tick.wrapping_sub(self.untracked_at));
        self.untracked = self.untracked * (-span_s / PACE_TIME_CONSTANT_S).exp() + cost;
        self.untracked_at = tick;
        let pace_per_s = (self.untracked / SETS as f32).max(1.0) / PACE_TIME_CONSTANT_S;
        SourceView {
            key,
            pace_per_s,
            rate_per_s: pace_per_s,
            age: core::time::Duration::ZERO,
            standing_hint: Standing3::Anonymous,
            refused_recently: false,
            used: 0.0,
            used_age_s: 0.0,
            share_scale: 1.0,
            answers: 1,
            tracked: false,
        }
    }
}
