use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::keep::{Pace, keep};
use super::*;

fn held(n: u8, for_s: u64) -> HandedOver {
    let now = crate::clock::now();
    let until = now.after(Duration::from_secs(for_s));
    HandedOver { source: IpAddr::from([10, 0, 0, n]), mitigation: 1, since: now, until, times: 1 }
}

fn net(n: u8) -> IpNet {
    IpNet::from(IpAddr::from([10, 0, 0, n]))
}

/// A filter in memory that can be told to fail, and to forget.
#[derive(Default, Clone)]
struct Memory(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    dropped: BTreeSet<IpNet>,
    failing: bool,
    opened: u32,
    closed: bool,
    left: Vec<Duration>,
}

impl Filter for Memory {
    async fn open(&mut self) -> Result<(), String> {
        let mut state = self.0.borrow_mut();
        state.opened += 1;
        if state.failing {
            return Err("no filter here".into());
        }
        state.dropped.clear();
        Ok(())
    }

    async fn change(&mut self, lifted: &[IpNet], added: &[Entry]) -> Result<(), String> {
        let mut state = self.0.borrow_mut();
        if state.failing {
            return Err("it is full".into());
        }
        for network in lifted {
            state.dropped.remove(network);
        }
        for (network, left) in added {
            state.dropped.insert(*network);
            state.left.push(*left);
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<Vec<IpNet>, String> {
        Ok(self.0.borrow().dropped.iter().copied().collect())
    }

    async fn close(&mut self) -> Result<(), String> {
        let mut state = self.0.borrow_mut();
        state.dropped.clear();
        state.closed = true;
        Ok(())
    }
}

const PACE: Pace =
    Pace { change: Duration::from_millis(5), look: Duration::from_millis(50), retry: Duration::from_millis(50) };

/// Plays a script while a filter is kept.
fn play<F: Future<Output = ()>>(script: impl FnOnce(Rc<Kernel>, Memory, watch::Sender<bool>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (kernel, memory) = (Rc::new(Kernel::new(7)), Memory::default());
        let (stop, stopped) = watch::channel(false);
        let (mut filter, kept) = (memory.clone(), kernel.clone());
        let keeper = tokio::task::spawn_local(async move { keep(&mut filter, &kept, stopped, PACE).await });
        script(kernel, memory.clone(), stop.clone()).await;
        stop.send_replace(true);
        keeper.await.unwrap();
        let state = memory.0.borrow();
        assert!(state.closed && state.dropped.is_empty(), "it leaves nothing behind");
    });
}

/// Waits until it is so.
async fn until(so: impl Fn() -> bool) {
    for _ in 0..1000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds");
}

async fn until_dropped(memory: &Memory, wanted: &[IpNet]) {
    until(|| memory.0.borrow().dropped.iter().copied().eq(wanted.iter().copied())).await;
}

#[test]
fn the_filter_follows_what_was_decided() {
    play(|kernel, memory, _stop| async move {
        kernel.publish(vec![held(1, 60), held(2, 60)], 2);
        until_dropped(&memory, &[net(1), net(2)]).await;
        assert!(memory.0.borrow().left.iter().all(|left| *left <= Duration::from_secs(60)));
        kernel.publish(vec![held(2, 120), held(3, 60)], 1);
        until_dropped(&memory, &[net(2), net(3)]).await;
        assert_eq!(kernel.handed_over.load(Relaxed), 3);
        assert_eq!(kernel.degraded(), None);
    });
}

#[test]
fn what_somebody_else_did_to_it_is_undone() {
    play(|kernel, memory, _stop| async move {
        kernel.publish(vec![held(1, 3000), held(2, 3000)], 2);
        until_dropped(&memory, &[net(1), net(2)]).await;
        memory.0.borrow_mut().dropped = BTreeSet::from([net(2), net(9)]);
        until_dropped(&memory, &[net(1), net(2)]).await;
    });
}

#[test]
fn a_filter_that_fails_is_told_and_tried_again() {
    play(|kernel, memory, _stop| async move {
        memory.0.borrow_mut().failing = true;
        kernel.publish(vec![held(1, 3000)], 1);
        until(|| memory.0.borrow().opened >= 2).await;
        assert!(kernel.degraded().unwrap().contains("does not work"), "{:?}", kernel.degraded());
        memory.0.borrow_mut().failing = false;
        until_dropped(&memory, &[net(1)]).await;
        until(|| kernel.degraded().is_none()).await;
        memory.0.borrow_mut().failing = true;
        kernel.publish(vec![held(1, 3000), held(2, 3000)], 1);
        until(|| kernel.degraded().is_some()).await;
        memory.0.borrow_mut().failing = false;
        until_dropped(&memory, &[net(1), net(2)]).await;
    });
}

#[test]
fn an_address_stands_for_itself_or_its_network() {
    assert_eq!(network_of("192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7/32");
    assert_eq!(network_of("2001:db8:1:2::9".parse().unwrap()).to_string(), "2001:db8:1:2::/64");
}

#[test]
fn notes_are_bounded_and_what_is_lost_is_told() {
    use guichet_core::bounds::HANDOVER_NOTES_MAX;
    let address = |n: usize| IpAddr::from((n as u32 + 1).to_be_bytes());
    let mut notes = Notes::new(true);
    for n in 0..HANDOVER_NOTES_MAX + 10 {
        notes.note_refused(address(n), 1);
        notes.note_refused(address(0), 2);
        notes.note_good(address(n));
    }
    let noted = notes.take();
    assert_eq!((noted.refused.len(), noted.good.len(), noted.blind), (HANDOVER_NOTES_MAX, HANDOVER_NOTES_MAX, true));
    assert_eq!(noted.refused[&address(0)].0, 2);
    assert!(noted.refused[&address(0)].1 as usize > HANDOVER_NOTES_MAX);
    assert!(notes.take().refused.is_empty());
    let mut off = Notes::new(false);
    off.note_refused(address(0), 1);
    off.note_good(address(0));
    assert!(off.take().refused.is_empty());
}
