//! What the brain makes of one service: its capacity, its pressure, and who is held back.

use core::time::Duration;

use super::ServiceConfig;
use crate::bounds::{H2_STREAMS_MAX, QUEUE_PER_SERVICE_MAX};
use crate::demand::pace_bucket;
use crate::room::{Crowding, RoomWatch};
use crate::signs::InForce;
use crate::thresholds::thresholds;
use crate::{
    DemandHistogram, Limiter, LimiterSample, Moment, Pressure, Rules, ServiceWindow, Standing, Surges, TierRule,
};

/// A press is over when demand has stayed under capacity for this long; then the service is elevated for a while.
const PRESSED_HOLD: Duration = Duration::from_secs(2);
const ELEVATED_HOLD: Duration = Duration::from_secs(8);
/// More is let to the lanes than the upstream can do: their queue sorts by priority what the thresholds let through.
const GAIN_MIN: f32 = 1.2;
/// It begins here, and stays while the queue takes what is over: a crowd a little too big for a moment only waits.
const GAIN_START: f32 = 1.5;
const GAIN_MAX: f32 = 8.0;
/// More strangers who ask no more than a person does than this multiple of what is left is a crowd.
const CROWDED: f32 = 1.1;
/// Those of standing who ask more than this part of the capacity fill a service that is saturated; else others do.
const USED_FULL: f32 = 0.7;
/// At first the queue alone sorts who comes, by pace and standing: thresholds would draw lots among those whom the window
/// hardly tells apart yet, and an attack has a signature soon. In the simulator's `tool` newcomers get 98 % at the onset with
/// this, 94 without; in `session` 92 and 87.
const THRESHOLDS_AFTER: Duration = Duration::from_millis(300);
/// Lots are drawn anew at this interval.
const LOT_EPOCH_US: u64 = 15_000_000;
/// Pace taken as human before enough calm was seen, and the bounds of what can be learned.
const PACE_HUMAN_DEFAULT: f32 = 2.0;
const PACE_HUMAN_MIN: f32 = 1.25;
const PACE_HUMAN_MAX: f32 = 10.0;
/// A source is suspect at this multiple of the calm pace, and never below the rate that follows.
const SUSPECT_FACTOR: f32 = 8.0;
const SUSPECT_RATE_MIN: f32 = 10.0;
/// Calm is learned with this time constant, and believed after this many requests.
const CALM_LEARN_S: f32 = 60.0;
const CALM_REQUESTS_MIN: u32 = 300;

#[derive(Clone, Debug)]
pub(super) struct ServiceBrain {
    pub(super) config: ServiceConfig,
    limiter: Limiter,
    pub(super) pressure: Pressure,
    /// When demand was first over capacity, and last.
    pressed_from: Moment,
    pressed_at: Moment,
    /// Requests a second that the upstream can do; 0: not known.
    pub(super) capacity_per_s: f32,
    throughput_per_s: f32,
    gain: f32,
    demand: DemandHistogram,
    calm: DemandHistogram,
    calm_requests: u32,
    calm_pace_p999: f32,
    tiers: [TierRule; Standing::COUNT],
    room: RoomWatch,
}

impl ServiceBrain {
    pub(super) fn new(config: &ServiceConfig) -> Self {
        let floors_sum = config.floors.iter().copied().fold(0, u32::saturating_add);
        Self {
            config: config.clone(),
            limiter: Limiter::new(config.limiter, floors_sum),
            pressure: Pressure::Calm,
            pressed_from: Moment(0),
            pressed_at: Moment(0),
            capacity_per_s: 0.0,
            throughput_per_s: 0.0,
            gain: GAIN_START,
            demand: DemandHistogram::default(),
            calm: DemandHistogram::default(),
            calm_requests: 0,
            calm_pace_p999: 0.0,
            tiers: [TierRule::OPEN; Standing::COUNT],
            room: RoomWatch::default(),
        }
    }

    pub(super) fn tick(&mut self, now: Moment, span: Duration, seen: &ServiceWindow) {
        let span_s = span.as_secs_f32();
        let offered: u32 = seen.offered.iter().sum();
        let limit = self.limiter.limit();
        let saturated = seen.queued.mean >= 0.2 || seen.lanes_refused > 0 || seen.inflight.mean >= 0.9 * limit as f32;
        self.follow_demand(seen, offered, span_s);
        self.follow_capacity(seen, span_s, saturated);
        let crammed = self.crammed(seen, offered);
        let far_over = self.capacity_per_s > 0.0 && self.demand.total() > 1.3 * self.capacity_per_s;
        self.follow_pressure(now, crammed || saturated && far_over);
        if self.pressure == Pressure::Calm && !saturated {
            self.learn_calm(seen, offered, span_s);
        }
        self.limiter.update(&LimiterSample {
            span,
            completed: seen.completed,
            errors: seen.errors,
            rtt: &seen.rtt,
            inflight: seen.inflight,
            queued_max: seen.queued.max,
        });
        self.decide(now, saturated, crammed);
        if self.config.waiting_room {
            // Who comes after those of standing gives way to them: only these count as a use of the service.
            let used = self.demand_before() / self.capacity_per_s.max(1e-3);
            let crowding = Crowding {
                crowded: self.pressure == Pressure::Pressed && self.is_crowded(),
                turned_away: seen.turned_away as f32 / offered.max(1) as f32,
                excess: self.light_excess(),
                used,
                full: saturated && used > USED_FULL,
                capacity_per_s: self.capacity_per_s,
            };
            self.room.tick(now, span, &seen.room, &crowding);
        }
    }

    /// Follows the demand within one window where that holds enough requests or far more than before; slower where
    /// few requests would make noise.
    fn follow_demand(&mut self, seen: &ServiceWindow, offered: u32, span_s: f32) {
        let before = self.demand.total();
        let noise = 3.0 * (offered as f32).sqrt() / span_s;
        let jump = seen.demand.total() / span_s > 1.5 * before + noise;
        let weight = if jump { 1.0 } else { (offered as f32 / 300.0).clamp(0.1, 1.0) };
        self.demand.blend(&seen.demand, 1.0 - weight, weight / span_s);
    }

    /// What the upstream can do is what it does while requests wait for it; without that, at least what it did.
    fn follow_capacity(&mut self, seen: &ServiceWindow, span_s: f32, saturated: bool) {
        let throughput = seen.completed_cost / span_s;
        let weight = 1.0 - (-span_s / 0.7).exp();
        self.throughput_per_s += (throughput - self.throughput_per_s) * weight;
        if saturated {
            if self.pressure != Pressure::Pressed {
                // Until it is measured: what the limit allows at the time of an unhurried answer (Little's law).
                let little = self.limiter.base_rtt_s().map_or(0.0, |s| self.limiter.limit() as f32 / s.max(1e-4));
                self.capacity_per_s = self.capacity_per_s.max(throughput).max(0.8 * little);
            } else {
                self.capacity_per_s += (throughput - self.capacity_per_s) * weight;
            }
        } else {
            self.capacity_per_s = self.capacity_per_s.max(self.throughput_per_s);
        }
    }

    /// Whether the queue can't take what comes.
    fn crammed(&self, seen: &ServiceWindow, offered: u32) -> bool {
        let turned_away = seen.lanes_refused + seen.lanes_shed;
        turned_away >= 2.max(offered / 200) || seen.queued.mean >= 0.5 * self.config.queue_len as f32
    }

    fn follow_pressure(&mut self, now: Moment, overloaded: bool) {
        let demand_over = self.pressure == Pressure::Pressed && self.demand.total() > 0.9 * self.capacity_per_s;
        if overloaded || demand_over {
            if self.pressure != Pressure::Pressed {
                self.gain = GAIN_START;
                self.pressed_from = now;
            }
            (self.pressure, self.pressed_at) = (Pressure::Pressed, now);
            return;
        }
        let since = now.since(self.pressed_at);
        self.pressure = match self.pressure {
            Pressure::Pressed if since >= PRESSED_HOLD => Pressure::Elevated,
            Pressure::Elevated if since >= PRESSED_HOLD + ELEVATED_HOLD => Pressure::Calm,
            same => same,
        };
    }

    fn learn_calm(&mut self, seen: &ServiceWindow, offered: u32, span_s: f32) {
        self.calm_requests = self.calm_requests.saturating_add(offered);
        self.calm.blend(&seen.demand, (-span_s / CALM_LEARN_S).exp(), 1.0);
        if self.calm_requests >= CALM_REQUESTS_MIN {
            self.calm_pace_p999 = self.calm.source_quantile(0.999).unwrap_or(0.0).min(PACE_HUMAN_MAX * 10.0);
        }
    }

    /// Whether strangers who each ask no more than a person does are too many for what those before them leave.
    fn is_crowded(&self) -> bool {
        let left = (self.capacity_per_s - self.demand_before()).max(0.0);
        self.capacity_per_s > 0.0 && self.demand_light() > CROWDED * left
    }

    /// What those of standing and such strangers ask beyond what the service can do, as a part of that.
    fn light_excess(&self) -> f32 {
        (self.demand_before() + self.demand_light()) / self.capacity_per_s.max(1e-3) - 1.0
    }

    /// What strangers ask who each ask no more than a person does, requests of mean cost a second.
    fn demand_light(&self) -> f32 {
        let strangers = [Standing::Anonymous, Standing::Newcomer].into_iter();
        let light = ..=usize::from(pace_bucket(self.pace_human()));
        strangers.flat_map(|standing| &self.demand.tiers[standing.index()].cost[light]).sum()
    }

    /// What those of standing ask, requests of mean cost a second.
    fn demand_before(&self) -> f32 {
        let before = [Standing::Partner, Standing::Session, Standing::Proven, Standing::Known];
        before.into_iter().map(|standing| self.demand.tiers[standing.index()].total()).sum()
    }

    fn pace_human(&self) -> f32 {
        if self.calm_pace_p999 <= 0.0 {
            return PACE_HUMAN_DEFAULT;
        }
        self.calm_pace_p999.clamp(PACE_HUMAN_MIN, PACE_HUMAN_MAX)
    }

    fn decide(&mut self, now: Moment, saturated: bool, crammed: bool) {
        if self.pressure != Pressure::Pressed {
            self.tiers = [TierRule::OPEN; Standing::COUNT];
            return;
        }
        // The lanes have room although some are held back: the capacity was thought too small. Probing upwards lets
        // more of the lowest in, never anyone before those above.
        self.gain = match (saturated, crammed) {
            (_, true) => (self.gain * 0.9).max(GAIN_MIN),
            (true, false) => self.gain.min(GAIN_START),
            (false, false) => (self.gain * 1.1).min(GAIN_MAX),
        };
        let budget = self.capacity_per_s * self.gain;
        let at_first = now.since(self.pressed_from) < THRESHOLDS_AFTER;
        self.tiers = if at_first || self.demand.total() <= budget {
            [TierRule::OPEN; Standing::COUNT]
        } else {
            thresholds(&self.demand, budget)
        };
    }

    pub(super) fn rules(&self, now: Moment, surges: Surges) -> Rules {
        let pressed = self.pressure == Pressure::Pressed;
        let suspect_rate = (SUSPECT_FACTOR * self.pace_human()).max(SUSPECT_RATE_MIN);
        Rules {
            limit: self.limiter.limit(),
            floors: self.config.floors,
            queue_len: self.config.queue_len.min(QUEUE_PER_SERVICE_MAX as u32),
            queue_wait_max: self.config.queue_wait_max,
            pressure: self.pressure,
            tiers: self.tiers,
            suspect_rate_per_s: if pressed { suspect_rate } else { f32::INFINITY },
            calm_pace_p999: self.calm_pace_p999,
            capacity_per_s: self.capacity_per_s,
            lot_epoch: now.0 / LOT_EPOCH_US,
            surges,
            wide_share_factor: self.config.wide_share_factor,
            h2_streams_per_connection: match self.pressure {
                Pressure::Calm => H2_STREAMS_MAX,
                Pressure::Elevated => H2_STREAMS_MAX / 2,
                Pressure::Pressed => H2_STREAMS_MAX / 8,
            },
            mitigations: std::sync::Arc::<[InForce]>::from([]),
            samples_per_tick: 0,
            room: self.room.rules(),
            room_soon: self.room.is_soon(),
        }
    }
}
