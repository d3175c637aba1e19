use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Moment;

const MBIT: u64 = 1_000_000;

/// A quiet machine, second by second; a case changes what it is about.
#[derive(Clone)]
struct Machine {
    second: u64,
    sample: Sample,
}

impl Machine {
    fn new() -> Self {
        let interface = InterfaceSample { name: "eth0".into(), rate_bits_s: 10 * MBIT, ..InterfaceSample::default() };
        let service =
            ServiceSample { name: "portal".into(), limit: 16, servers: 2, servers_well: 2, ..ServiceSample::default() };
        let counts = Counts {
            listen_overflows: Some(0),
            listen_drops: Some(0),
            syn_drops: Some(0),
            syn_cookies: Some(0),
            softnet_dropped: Some(0),
            softnet_squeezed: Some(0),
        };
        Self {
            second: 0,
            sample: Sample {
                interfaces: vec![interface],
                counts,
                conntrack: Some((10, 1000)),
                cpu: Some(Cpu::default()),
                memory: Some((600, 1000)),
                services: vec![service],
                ..Sample::default()
            },
        }
    }

    /// Another second of a machine that has little to do.
    fn tick(&mut self, change: impl Fn(&mut Sample)) -> Sample {
        self.second += 1;
        let sample = &mut self.sample;
        sample.at = Moment(self.second * 1_000_000);
        let line = &mut sample.interfaces[0];
        (line.rx_bytes, line.tx_bytes) = (line.rx_bytes + 10_000, line.tx_bytes + 10_000);
        (line.rx_packets, line.tx_packets) = (line.rx_packets + 20, line.tx_packets + 20);
        if let Some(cpu) = &mut sample.cpu {
            (cpu.idle, cpu.total) = (cpu.idle + 180, cpu.total + 200);
        }
        sample.services[0].requests += 20;
        change(sample);
        sample.clone()
    }
}

/// A change of the machine that stays for as long as it is made every second, where it ends, and what is said.
fn check(name: &str, change: fn(&mut Sample), place: Place, says: &str) {
    let (mut machine, mut judge) = (Machine::new(), Judge::new(Limits::default()));
    for _ in 0..90 {
        judge.take(machine.tick(|_| {}));
    }
    assert_eq!(judge.verdict().place, Place::Elsewhere, "{name}: before it {}", judge.verdict());
    assert!(judge.verdict().causes.is_empty(), "{name}: before it {}", judge.verdict());
    let calm = machine.sample.clone();
    let mut changes = 0;
    for _ in 0..20 {
        changes += u32::from(judge.take(machine.tick(change)));
    }
    let sentence = judge.verdict().to_string();
    assert_eq!(judge.verdict().place, place, "{name}: {sentence}");
    assert!(sentence.contains(says), "{name}: {sentence}");
    assert!(sentence.ends_with('.') && !sentence.contains('\n'), "{name}: {sentence}");
    assert!(changes <= 1, "{name}: said {changes} times");
    // Levels go back to what they were; counters stay and stop growing.
    machine.sample.memory = calm.memory;
    machine.sample.conntrack = calm.conntrack;
    let requests = machine.sample.services[0].requests;
    machine.sample.services.clone_from(&calm.services);
    machine.sample.services[0].requests = requests;
    for _ in 0..30 {
        judge.take(machine.tick(|_| {}));
    }
    assert!(judge.verdict().causes.is_empty(), "{name}: after it {}", judge.verdict());
}

#[test]
fn each_trouble_is_told_by_its_place() {
    use Place::{Elsewhere, Host, Line, Service};
    check("line in", |s| s.interfaces[0].rx_bytes += 1_200_000, Line, "eth0 brings in 9.7 of 10.0 Mbit/s (97 %)");
    check("line out", |s| s.interfaces[0].tx_bytes += 1_200_000, Line, "full on the way out: eth0 sends");
    let cpu = |s: &mut Sample| s.cpu.as_mut().unwrap().idle -= 178;
    check("processors", cpu, Host, "its processors are 99 % busy");
    check("memory", |s| s.memory = Some((20, 1000)), Host, "98 % of its memory is used");
    check("accept", |s| *s.counts.listen_overflows.as_mut().unwrap() += 50, Host, "50 connections/s are lost");
    check("openings", |s| *s.counts.syn_drops.as_mut().unwrap() += 50, Host, "50 openings/s are lost");
    check("packets", |s| *s.counts.softnet_dropped.as_mut().unwrap() += 50, Host, "processors do not take them");
    check("card", |s| s.interfaces[0].rx_dropped += 500, Host, "lost by the network card eth0");
    check("conntrack", |s| s.conntrack = Some((990, 1000)), Host, "holds 990 of 1000 (99 %)");
    let pressed = |s: &mut Sample| (s.services[0].pressure, s.services[0].in_flight) = (1.0, 16);
    check("service", pressed, Service, "portal works on 16 requests where 16 go at once");
    check("away", |s| s.services[0].servers_well = 0, Service, "none of the servers of portal");
    check("demand", |s| s.services[0].requests -= 20, Elsewhere, "100 % of the usual requests do not arrive");
    check("cookies alone", |s| *s.counts.syn_cookies.as_mut().unwrap() += 500, Elsewhere, "look elsewhere");
    check("a few drops", |s| *s.counts.listen_overflows.as_mut().unwrap() += 2, Elsewhere, "look elsewhere");
}

#[test]
fn behind_a_full_line_nothing_else_is_blamed() {
    let everything = |s: &mut Sample| {
        s.interfaces[0].rx_bytes += 1_200_000;
        s.cpu.as_mut().unwrap().idle -= 178;
        s.services[0].pressure = 1.0;
    };
    check("everything", everything, Place::Line, "nothing behind it can help");
    let host = |s: &mut Sample| {
        s.cpu.as_mut().unwrap().idle -= 178;
        s.services[0].pressure = 1.0;
    };
    check("host and service", host, Place::Host, "This host is full");
}

#[test]
fn small_packets_fill_a_line_that_the_bytes_alone_do_not() {
    let small = |overhead_bytes, packets| {
        let (mut machine, mut judge) = (Machine::new(), Judge::new(Limits::default()));
        machine.sample.interfaces[0].overhead_bytes = overhead_bytes;
        for _ in 0..20 {
            judge.take(machine.tick(|s| {
                s.interfaces[0].rx_packets += packets;
                s.interfaces[0].rx_bytes += packets * 60;
            }));
        }
        judge.verdict().place
    };
    assert_eq!(small(0, 14_000), Place::Elsewhere);
    assert_eq!(small(24, 14_000), Place::Line, "84 bytes a packet on an Ethernet line");
}

#[test]
fn a_peak_is_no_verdict_and_a_pause_no_end() {
    let (mut machine, mut judge) = (Machine::new(), Judge::new(Limits::default()));
    let flood = |s: &mut Sample| s.cpu.as_mut().unwrap().idle -= 178;
    for second in 0..60 {
        judge.take(machine.tick(|s| {
            if second % 20 == 0 {
                flood(s)
            }
        }));
        assert_ne!(judge.verdict().place, Place::Host, "second {second}");
    }
    for _ in 0..10 {
        judge.take(machine.tick(flood));
    }
    assert_eq!(judge.verdict().place, Place::Host);
    for second in 0..60 {
        judge.take(machine.tick(|s| {
            if second % 6 < 4 {
                flood(s)
            }
        }));
        assert_eq!(judge.verdict().place, Place::Host, "second {second}");
    }
}

#[test]
fn what_cannot_be_read_is_left_out_and_a_counter_that_begins_anew_is_no_flood() {
    let mut judge = Judge::new(Limits::default());
    for second in 1..20 {
        judge.take(Sample { at: Moment(second * 1_000_000), ..Sample::default() });
    }
    assert_eq!(judge.verdict().place, Place::Elsewhere);
    assert!(judge.verdict().evidence.is_empty());
    let (mut machine, mut judge) = (Machine::new(), Judge::new(Limits::default()));
    for second in 0..40 {
        judge.take(machine.tick(|s| {
            if second == 20 {
                s.interfaces[0] = InterfaceSample { name: "eth0".into(), rate_bits_s: 10 * MBIT, ..Default::default() };
                s.counts.listen_overflows = Some(0);
                s.cpu = Some(Cpu::default());
            }
        }));
        assert!(judge.verdict().causes.is_empty(), "second {second}: {}", judge.verdict());
    }
}

#[test]
fn a_fall_of_demand_that_stays_becomes_usual() {
    let (mut machine, mut judge) = (Machine::new(), Judge::new(Limits::default()));
    for _ in 0..1200 {
        judge.take(machine.tick(|_| {}));
    }
    let mut missing = 0;
    for _ in 0..2 * 3600 {
        judge.take(machine.tick(|s| s.services[0].requests -= 20));
        missing += u32::from(!judge.verdict().causes.is_empty());
    }
    assert!((600..3600).contains(&missing), "missing for {missing} s");
}

prop_compose! {
    fn any_sample()(
        at in 0_u64..1_000_000_000,
        numbers in proptest::collection::vec(prop_oneof![Just(0), Just(u64::MAX), 0..10_000_u64, any::<u64>()], 24),
        pressure in any::<f64>(),
        names in proptest::collection::vec("[ab]", 0..4),
    ) -> Sample {
        let n = |i: usize| numbers[i];
        let some = |i: usize| (n(i) % 3 != 0).then_some(n(i));
        Sample {
            at: Moment(at),
            interfaces: names.iter().map(|name| InterfaceSample {
                name: name.clone(), rate_bits_s: n(0), rate_packets_s: n(1), overhead_bytes: n(2) % 100,
                rx_bytes: n(3), rx_packets: n(4), rx_dropped: n(5), tx_bytes: n(6), tx_packets: n(7), tx_dropped: n(8),
            }).collect(),
            counts: Counts {
                listen_overflows: some(9), listen_drops: some(10), syn_drops: some(11), syn_cookies: some(12),
                softnet_dropped: some(13), softnet_squeezed: some(14),
            },
            conntrack: some(15).zip(some(16)),
            cpu: some(17).map(|idle| Cpu { idle, total: n(18) }),
            memory: some(19).zip(some(20)),
            services: names.iter().map(|name| ServiceSample {
                name: name.clone(), in_flight: n(21), limit: n(22), queued: n(23), pressure, servers: n(0) % 3,
                servers_well: n(1) % 3, requests: n(2),
            }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn whatever_is_read_there_is_one_sentence_and_it_agrees_with_itself(samples in proptest::collection::vec(any_sample(), 1..40)) {
        let mut judge = Judge::new(Limits { hold: Duration::ZERO, release: Duration::ZERO, ..Limits::default() });
        let mut last = None;
        for mut sample in samples {
            sample.at = Moment(last.map_or(sample.at.0, |last: Moment| last.0.saturating_add(sample.at.0 % 5_000_000)));
            last = Some(sample.at);
            let before = judge.verdict().clone();
            let changed = judge.take(sample);
            let verdict = judge.verdict();
            let sentence = verdict.to_string();
            prop_assert!(sentence.ends_with('.') && !sentence.contains('\n') && !sentence.contains("NaN"), "{}", sentence);
            prop_assert!(verdict.causes.iter().all(|m| m.subject.place() == verdict.place && !m.share.is_nan()));
            prop_assert!(matches!(verdict.place, Place::Unknown | Place::Elsewhere) || !verdict.causes.is_empty());
            prop_assert!(changed || before.place == verdict.place);
            prop_assert!(verdict.evidence.iter().all(|m| m.value >= 0.0));
        }
    }
}
