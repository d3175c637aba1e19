use super::*;

const TICK: Duration = Duration::from_millis(100);

fn at(ms: u64) -> Moment {
    Moment(ms * 1000)
}

fn crowding(crowded: bool, full: bool) -> Crowding {
    let (used, excess) = if full { (1.0, 1.5) } else { (0.3, -0.2) };
    Crowding { crowded, turned_away: 0.0, excess, used, full, capacity_per_s: 60.0 }
}

/// A room that opened at 2,000 ms.
fn opened() -> RoomWatch {
    let open = Open::new(at(2_000), &crowding(true, true));
    let room = RoomWatch { open: Some(open), ..RoomWatch::default() };
    assert!(room.rules().is_some());
    room
}

#[test]
fn it_opens_when_crowded_for_long_and_closes_when_nobody_waits() {
    let mut room = RoomWatch::default();
    for tick in 0..100 {
        room.tick(at(tick * 100), TICK, &RoomCounts::default(), &crowding(tick % 10 < 9, true));
        assert!(room.rules().is_none(), "one calm moment is enough");
    }
    let needed = OPEN_AFTER.as_millis() as u64 / 100;
    for tick in 0..=needed {
        assert!(room.rules().is_none(), "not at once");
        room.tick(at(20_000 + tick * 100), TICK, &RoomCounts::default(), &crowding(true, true));
    }
    assert!(room.rules().is_some(), "it opens");
    // A crowd that is a tenth too large for some seconds is none; for a minute it is.
    let mut room = RoomWatch::default();
    let slight = Crowding { excess: 0.1, ..crowding(true, true) };
    let opens = (0..1_000).find(|tick| {
        room.tick(at(60_000 + tick * 100), TICK, &RoomCounts::default(), &slight);
        room.rules().is_some()
    });
    assert!(opens.is_some_and(|tick| (350..450).contains(&tick)), "{opens:?}");
    let mut room = opened();
    let mut closed = None;
    for tick in 21..300 {
        room.tick(at(tick * 100), TICK, &RoomCounts::default(), &crowding(false, false));
        if room.rules().is_none() {
            closed.get_or_insert(tick);
        }
    }
    let closed = closed.expect("it closes");
    assert!(closed * 100 >= 2_000 + ROOM_SHUFFLE_S * 1000, "{closed}");
}

#[test]
fn it_opens_sooner_where_queueing_is_no_help_and_not_where_few_are_turned_away() {
    let opens_at_tick = |turned_away| {
        let mut room = RoomWatch::default();
        let crowd = Crowding { turned_away, excess: 0.2, ..crowding(true, true) };
        (0..150_u64).find(|tick| {
            let said = room.is_soon();
            room.tick(at(60_000 + tick * 100), TICK, &RoomCounts::default(), &crowd);
            assert!(room.rules().is_none() || said, "that it opens is known before");
            room.rules().is_some()
        })
    };
    assert_eq!(opens_at_tick(0.05), None, "a moment later it fits");
    assert_eq!(opens_at_tick(0.3), Some(12), "after a second, once that is sure");
}

#[test]
fn nobody_enters_while_the_service_is_full() {
    let mut room = opened();
    let rules = room.rules().expect("open");
    let mut counts = RoomCounts::default();
    (0..200_u32).for_each(|n| counts.note(rules.place(at(2_100), (n * 300) as u16)));
    for tick in 21..60 {
        room.tick(at(tick * 100), TICK, &counts, &crowding(true, true));
        counts = RoomCounts::default();
    }
    assert_eq!(room.rules().expect("open").front, 0);
    for tick in 60..70 {
        room.tick(at(tick * 100), TICK, &counts, &crowding(true, false));
    }
    assert!(room.rules().expect("open").front > 0);
}

#[test]
fn those_of_the_opening_are_shuffled_and_later_ones_come_in_their_order() {
    let room = opened().rules().expect("open");
    let early = at(2_100);
    assert_eq!(room.place(early, 0), 1, "nobody enters on arrival");
    assert!(room.place(early, 65_535) < ROOM_SHUFFLE_S * 1000);
    assert_eq!(room.place(early, 500), room.place(at(4_000), 500), "many tabs draw the same lot");
    let moved = RoomRules { front: 2_000, ..room.clone() };
    for lot in [0, 500, 32_768, 65_535] {
        assert!(moved.place(at(5_000), lot) >= room.place(early, lot), "a later tab stands no better");
    }
    let late = at(2_000 + ROOM_SHUFFLE_S * 1000 + 300);
    assert_eq!(room.place(late, 0), ROOM_SHUFFLE_S * 1000 + 300);
    assert_eq!(room.place(late, 65_535), room.place(late, 0));
}

/// Three hundred come at the opening and ten a second later; about seven a second can enter.
#[test]
fn the_front_moves_on_as_the_service_has_room_and_nobody_is_overtaken() {
    let mut room = opened();
    let mut front = 0;
    let mut in_all = 0;
    for tick in 21..1_500_u64 {
        let now = at(tick * 100);
        let rules = room.rules().expect("open");
        let mut counts = RoomCounts::default();
        if tick < 40 {
            (0..16).for_each(|n| counts.note(rules.place(now, (tick * 997 + n * 4096) as u16)));
        } else if tick < 400 {
            counts.note(rules.place(now, 0));
        }
        in_all += counts.shuffled.iter().sum::<u32>() + counts.behind;
        // The service is full whenever more than seven a second are let in.
        let full = rules.rate_per_s > 7.0 && rules.outlook(Place::MAX / 2).0 > 0;
        room.tick(now, TICK, &counts, &crowding(true, full));
        let Some(rules) = room.rules() else { break };
        assert!(rules.front >= front, "the front never goes back");
        front = rules.front;
        assert!(rules.front <= now.since(rules.opened).as_millis() as u64);
    }
    assert!(in_all > 500);
    assert!(room.rules().is_none(), "in the end everybody is in, and it closes: {:?}", room.open);
}

#[test]
fn the_outlook_is_what_is_ahead_over_the_rate() {
    let mut room = opened();
    let now = at(2_100);
    let mut counts = RoomCounts::default();
    let rules = room.rules().expect("open");
    (0..1_000_u32).for_each(|n| counts.note(rules.place(now, (n * 65) as u16)));
    room.tick(now, TICK, &counts, &crowding(true, true));
    let rules = room.rules().expect("open");
    let (ahead, wait) = rules.outlook(rules.place(now, 32_768));
    assert!((450..550).contains(&ahead), "{ahead}");
    let wait = wait.expect("a rate is known").as_secs_f32();
    assert!((wait * rules.rate_per_s - ahead as f32).abs() < 5.0, "{wait}");
    assert!(rules.outlook(rules.place(now, 60_000)).0 > ahead);
}

#[test]
fn the_line_is_bounded_however_long_it_lasts() {
    let mut room = opened();
    let mut counts = RoomCounts { behind: 1_000, ..RoomCounts::default() };
    for second in 3..4 * ROOM_SECONDS_MAX as u64 {
        room.tick(at(second * 1000), Duration::from_secs(1), &counts, &crowding(true, true));
        counts.shuffled = Default::default();
    }
    let open = room.open.as_ref().expect("open");
    assert_eq!(open.line.len(), ROOM_SECONDS_MAX);
    assert!(room.rules().expect("open").outlook(u64::MAX / 2).0 > 1_000_000);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    /// Whatever comes and however much the service can take: nobody enters before those whose places are before, nobody
    /// enters on arrival while others stand, no more enter than the rate allows, and in the end all are in.
    #[test]
    fn nobody_is_overtaken(
        seed: u64,
        arrivals in proptest::collection::vec(0_u32..12, 20..120),
        slows in proptest::collection::vec(proptest::bool::ANY, 8..40),
    ) {
        let mut room = opened();
        let mut standing: Vec<Place> = Vec::new();
        let (mut entered, mut allowed, mut last) = (0_u32, 0.0_f32, 0);
        let mut done = false;
        for tick in 21..12_000_u64 {
            let now = at(tick * 100);
            let Some(rules) = room.rules() else { done = true; break };
            let mut counts = RoomCounts::default();
            for n in 0..arrivals.get(tick as usize - 21).copied().unwrap_or(0) {
                let lot = (seed ^ tick << 8 ^ u64::from(n)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48;
                let place = rules.place(now, lot as u16);
                proptest::prop_assert!(place >= rules.front, "a place before those who were let in");
                counts.note(place);
                standing.push(place);
            }
            // What the service can take changes every second.
            let takes = if slows[tick as usize / 10 % slows.len()] { 3.0 } else { 12.0 };
            let full = !standing.is_empty() && rules.rate_per_s > takes;
            allowed += room.open.as_ref().map_or(0.0, |open| open.rate_per_s) * 1.03 * 0.1;
            room.tick(now, TICK, &counts, &crowding(true, full));
            let front = room.rules().map_or(Place::MAX, |rules| rules.front);
            proptest::prop_assert!(front >= last, "the front went back");
            last = front;
            let before = standing.len();
            standing.retain(|place| *place > front);
            entered += (before - standing.len()) as u32;
            // Places of one second count as spread evenly over it, and real ones are not: that much is the slack.
            proptest::prop_assert!(entered as f32 <= allowed + 60.0, "{entered} of {allowed}");
        }
        proptest::prop_assert!(done && standing.is_empty(), "{} still stand", standing.len());
    }
}
