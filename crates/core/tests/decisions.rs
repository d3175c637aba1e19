//! What is decided about a request, and how the brain reacts to the windows it is given.

use std::time::Duration;

use guichet_core::signs::SignsConfig;
use guichet_core::{
    Asking, Brain, BrainConfig, Criticality, Decision, Level, Moment, NodeRules, Posture, Pressure, Reason, Rules,
    ServiceConfig, ServiceId, SourceKey, SourceView, Standing, Standing3, TierRule, Window, decide,
};

const SERVICE: ServiceId = ServiceId(0);

fn view(pace_per_s: f32, hint: Standing3, used: f32) -> SourceView {
    SourceView {
        key: SourceKey::from_hash(99),
        pace_per_s,
        rate_per_s: pace_per_s,
        age: Duration::from_secs(1),
        standing_hint: hint,
        refused_recently: false,
        used,
        used_age_s: 0.0,
        share_scale: 1.0,
        answers: 2,
        tracked: true,
    }
}

/// An ordinary request of a stranger.
fn asking(view: &SourceView) -> Asking<'_> {
    Asking {
        service: SERVICE,
        criticality: Criticality::Ordinary,
        proved: None,
        view,
        wide: &[],
        bid: 0,
        cost: 1.0,
        wait_max: None,
        mitigation: None,
    }
}

#[test]
fn each_tier_meets_its_own_rule_and_each_refusal_its_reason() {
    use Criticality::{Critical, Ordinary};
    use Standing3::{Anonymous, Known, Suspect};
    let closed = Rules { tiers: [TierRule::CLOSED; Standing::COUNT], ..Rules::open(10) };
    let mut shared = closed.clone();
    shared.tiers[Standing::Anonymous.index()] = TierRule { open_below: 4, lots: 0, share_per_s: 2.0, share_burst: 3.0 };
    let session = Some(Standing::Session);
    // rules, criticality, proved, pace, hint, used, expected refusal
    let table = [
        (&closed, Ordinary, None, 0.1, Anonymous, 0.0, Some(Reason::BelowThreshold)),
        (&closed, Ordinary, None, 0.1, Known, 0.0, Some(Reason::BelowThreshold)),
        (&closed, Ordinary, None, 0.1, Suspect, 0.0, Some(Reason::Suspect)),
        (&closed, Ordinary, session, 0.1, Suspect, 0.0, Some(Reason::Suspect)),
        (&closed, Ordinary, Some(Standing::Partner), 100.0, Suspect, 0.0, None),
        (&closed, Critical, None, 100.0, Anonymous, 0.0, None),
        (&shared, Ordinary, None, 0.1, Anonymous, 100.0, None),
        (&shared, Ordinary, None, 50.0, Anonymous, 1.0, None),
        (&shared, Ordinary, None, 50.0, Anonymous, 2.5, Some(Reason::FairShare)),
    ];
    for (n, (rules, criticality, proved, pace, hint, used, expected)) in table.into_iter().enumerate() {
        let view = view(pace, hint, used);
        let asking = Asking { criticality, proved, ..asking(&view) };
        match decide(&asking, Moment(0), rules) {
            Decision::Refuse(reason) => assert_eq!(Some(reason), expected, "row {n}"),
            Decision::Offer(ask, charges) => {
                assert_eq!(None, expected, "row {n}");
                assert_eq!(charges.is_empty(), !ask.by_share, "row {n}");
            }
        }
    }
}

/// What each step leaves of a request of each standing: who is vouched for keeps what was earned, and nothing critical is
/// ever touched.
#[test]
fn mitigations_touch_strangers_alone() {
    use guichet_core::signs::{Dimension, InForce, Signature, Step};
    let mitigated = |step, tells_who, challenges| {
        let signature = Signature::single(Dimension::Tls, 7);
        InForce { id: 1, signature, step, tells_who, challenges, sign_ins: false }
    };
    let check = |step, proved, hint, criticality, used, expected: Result<Standing, Reason>| {
        let view = view(0.1, hint, used);
        let by = mitigated(step, true, step != Step::Limit || used == 0.0);
        let asking = Asking { criticality, proved, mitigation: Some(&by), ..asking(&view) };
        let decided = match decide(&asking, Moment(0), &Rules::open(10)) {
            Decision::Refuse(reason) => Err(reason),
            Decision::Offer(ask, _) => Ok(ask.standing),
        };
        assert_eq!(decided, expected, "{step:?} {proved:?} {hint:?} {criticality:?} {used}");
    };
    use Criticality::{Critical, Ordinary};
    use Standing3::{Anonymous, Known};
    let (session, pass) = (Some(Standing::Session), Some(Standing::Proven));
    check(Step::Deprioritise, None, Anonymous, Ordinary, 0.0, Ok(Standing::Suspect));
    check(Step::Deprioritise, pass, Anonymous, Ordinary, 0.0, Ok(Standing::Anonymous));
    check(Step::Challenge, None, Anonymous, Ordinary, 0.0, Err(Reason::ChallengeNeeded));
    check(Step::Challenge, pass, Anonymous, Ordinary, 0.0, Ok(Standing::Anonymous));
    check(Step::Limit, None, Anonymous, Ordinary, 0.0, Err(Reason::ChallengeNeeded));
    check(Step::Limit, pass, Anonymous, Ordinary, 0.0, Ok(Standing::Anonymous));
    check(Step::Limit, pass, Anonymous, Ordinary, 6.0, Err(Reason::Mitigated));
    check(Step::Limit, None, Anonymous, Ordinary, 1.0, Ok(Standing::Suspect));
    check(Step::Limit, None, Anonymous, Ordinary, 6.0, Err(Reason::Mitigated));
    check(Step::Refuse, None, Anonymous, Ordinary, 0.0, Err(Reason::Mitigated));
    check(Step::Refuse, pass, Anonymous, Ordinary, 6.0, Err(Reason::Mitigated));
    for step in Step::ALL {
        check(step, None, Known, Ordinary, 6.0, Ok(Standing::Known));
        check(step, session, Anonymous, Ordinary, 6.0, Ok(Standing::Session));
        check(step, Some(Standing::Partner), Anonymous, Ordinary, 6.0, Ok(Standing::Partner));
        check(step, None, Anonymous, Critical, 6.0, Ok(Standing::Anonymous));
    }
    let crowd = mitigated(Step::Deprioritise, false, true);
    let lowered = guichet_core::mitigated_standing(Standing::Anonymous, Ordinary, Some(&crowd));
    assert_eq!(lowered, Standing::Newcomer, "what does not tell who asks makes nobody a suspect");
}

#[test]
fn a_wide_prefix_that_used_its_share_refuses_and_drains_nobody() {
    let mut rules = Rules { wide_share_factor: 2.0, ..Rules::open(10) };
    rules.tiers[Standing::Anonymous.index()] = TierRule { open_below: 0, lots: 0, share_per_s: 1.0, share_burst: 4.0 };
    let own = view(5.0, Standing3::Anonymous, 0.0);
    for (used, refused) in [(6.9, false), (7.1, true)] {
        let wide = [view(50.0, Standing3::Anonymous, used)];
        let asking = Asking { wide: &wide, ..asking(&own) };
        let decision = decide(&asking, Moment(0), &rules);
        assert_eq!(decision == Decision::Refuse(Reason::FairShare), refused, "{used} used: {decision:?}");
    }
}

fn tick(brain: &mut Brain, n: u64, light: u32, heavy: u32, completed: u32) -> Posture {
    let mut window = Window::new(1);
    window.span = Duration::from_millis(100);
    let service = &mut window.services[0];
    for _ in 0..light {
        service.note_offered(Standing::Anonymous, &view(0.3, Standing3::Anonymous, 0.0), 1.0);
    }
    for _ in 0..heavy {
        service.note_offered(Standing::Anonymous, &view(200.0, Standing3::Anonymous, 0.0), 1.0);
    }
    for _ in 0..completed {
        service.note_completed(Duration::from_millis(50), 1.0);
    }
    let full = light + heavy > 60;
    service.lanes_refused = if full { light + heavy - 60 } else { 0 };
    service.inflight = Level { mean: if full { 32.0 } else { 5.0 }, max: if full { 32 } else { 8 } };
    service.queued = Level { mean: if full { 20.0 } else { 0.0 }, max: if full { 64 } else { 0 } };
    brain.tick(Moment(n * 100_000), &window)
}

fn brain() -> Brain {
    let node = NodeRules { limit: 100, floors: [0; 4] };
    Brain::new(&BrainConfig {
        services: vec![ServiceConfig::default()],
        node,
        connections: SignsConfig::default(),
        seed: 1,
    })
}

#[test]
fn the_brain_reacts_within_one_tick_and_relaxes_when_it_is_over() {
    let mut brain = brain();
    for n in 0..50 {
        let posture = tick(&mut brain, n, 20, 0, 20);
        assert_eq!(posture.pressure(), Pressure::Calm);
        assert!(posture.services[0].tiers.iter().all(TierRule::is_open));
    }
    let posture = tick(&mut brain, 50, 20, 2000, 60);
    let rules = &posture.services[0];
    assert_eq!(rules.pressure, Pressure::Pressed);
    assert!(rules.suspect_rate_per_s.is_finite() && rules.h2_streams_per_connection < 128);
    assert!(rules.tiers.iter().all(TierRule::is_open), "at first the queue alone sorts");
    let posture = (51..54).map(|n| tick(&mut brain, n, 20, 2000, 60)).last().expect("three ticks");
    let rules = &posture.services[0];
    let anonymous = rules.tier(Standing::Anonymous);
    assert!(anonymous.opens(0, u16::MAX), "the light ones are let in: {anonymous:?}");
    assert!(!anonymous.opens(guichet_core::demand::pace_bucket(200.0), 0), "the heavy ones are not: {anonymous:?}");
    assert!(rules.tier(Standing::Partner).is_open());
    let after: Vec<_> = (54..200).map(|n| tick(&mut brain, n, 20, 0, 20).pressure()).collect();
    assert!(after.windows(2).all(|w| w[1] <= w[0]), "it only relaxes: {after:?}");
    assert_eq!(after.last(), Some(&Pressure::Calm));
}

#[test]
fn services_are_bulkheads() {
    let node = NodeRules { limit: 100, floors: [0; 4] };
    let mut brain = Brain::new(&BrainConfig {
        services: vec![ServiceConfig::default(); 2],
        node,
        connections: SignsConfig::default(),
        seed: 1,
    });
    let quiet = brain.posture(Moment(0)).services[1].clone();
    for n in 0..100 {
        let posture = tick(&mut brain, n, 20, 2000, 60);
        assert_eq!(posture.services[0].pressure, Pressure::Pressed, "tick {n}");
        assert_eq!(posture.services[1], Rules { lot_epoch: posture.services[1].lot_epoch, ..quiet.clone() });
    }
}

#[test]
fn a_window_without_a_span_changes_nothing() {
    let mut brain = brain();
    let before = brain.posture(Moment(0));
    let after = brain.tick(Moment(0), &Window::new(1));
    assert_eq!(before.services, after.services);
}

#[test]
fn signatures_that_are_off_take_no_samples() {
    use guichet_core::signs::SignsMode;
    let node = NodeRules { limit: 100, floors: [0; 4] };
    let service = |mode| {
        let signs = SignsConfig { mode, ..SignsConfig::default() };
        ServiceConfig { signs, ..ServiceConfig::default() }
    };
    let services = [SignsMode::On, SignsMode::DryRun, SignsMode::Off].map(service).to_vec();
    let posture =
        Brain::new(&BrainConfig { services, node, connections: SignsConfig::default(), seed: 1 }).posture(Moment(0));
    let samples: Vec<_> = posture.services.iter().map(|rules| rules.samples_per_tick).collect();
    assert!(samples[0] > 0 && samples[1] == samples[0] && samples[2] == 0, "{samples:?}");
}
