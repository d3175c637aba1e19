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

/// Told once when a permit ends. What it holds (the slots) goes with it.
pub(crate) trait Release {
    fn release(&mut self, served: Served);
}

/// The right to have one request in flight at one service. Released on drop.
pub struct Permit {
    held: Box<dyn Release>,
    served: Rc<Cell<Served>>,
}

impl Permit {
    pub(in crate::admit) fn new(held: Box<dyn Release>, served: Rc<Cell<Served>>) -> Self {
        Self { held, served }
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
        self.held.release(self.served.get());
    }
}

/// A permit for tests of `forward`, with a cell that tells what it was released with, once it was.
#[cfg(test)]
pub(crate) fn permit_for_test() -> (Permit, Rc<Cell<Option<Served>>>) {
    struct Flag(Rc<Cell<Option<Served>>>);
    impl Release for Flag {
        fn release(&mut self, served: Served) {
            assert!(self.0.replace(Some(served)).is_none(), "released twice");
        }
    }
    let flag = Rc::new(Cell::new(None));
    (Permit::new(Box::new(Flag(flag.clone())), Rc::default()), flag)
}
