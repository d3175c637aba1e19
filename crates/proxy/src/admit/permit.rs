//! The permit: only `admit` makes one, `forward` cannot be called without one, and dropping it frees the slot.

use std::cell::Cell;
use std::rc::Rc;

use guichet_core::Reason;

/// What a permit tells when it ends, so that the limiter learns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Microseconds from admission to the first byte of the answer, if it came.
    pub first_byte_us: Option<u64>,
    /// Why the upstream failed, if it did.
    pub failure: Option<Reason>,
}

/// Called once when a permit is dropped. Implemented by the gate of a service.
pub(crate) trait Release {
    fn release(&self, slot: u64, served: Served);
}

/// The right to have one request in flight at one service. Released on drop.
pub struct Permit {
    slot: u64,
    gate: Rc<dyn Release>,
    served: Cell<Served>,
}

impl Permit {
    pub(in crate::admit) fn new(gate: Rc<dyn Release>, slot: u64) -> Self {
        Self { slot, gate, served: Cell::default() }
    }

    /// The first byte of the answer came after this many microseconds.
    pub fn note_first_byte_us(&self, us: u64) {
        let mut served = self.served.get();
        served.first_byte_us = Some(us);
        self.served.set(served);
    }

    /// The upstream failed.
    pub fn note_failure(&self, reason: Reason) {
        let mut served = self.served.get();
        served.failure = Some(reason);
        self.served.set(served);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.release(self.slot, self.served.get());
    }
}

/// A permit for tests of `forward`, with a flag that tells when it was released.
#[cfg(test)]
pub(crate) fn permit_for_test() -> (Permit, Rc<Cell<Option<Served>>>) {
    struct Flag(Rc<Cell<Option<Served>>>);
    impl Release for Flag {
        fn release(&self, _slot: u64, served: Served) {
            self.0.set(Some(served));
        }
    }
    let flag = Rc::new(Cell::new(None));
    (Permit::new(Rc::new(Flag(flag.clone())), 0), flag)
}
