//! Who goes first: one ordered number.

use crate::{Criticality, Standing};

/// Greater goes first. From the most significant part: criticality of service and route, standing, pace of the source
/// (light before heavy), bid.
///
/// The bid is the seam for passes: it breaks ties between equals and can never lift a client over a better standing,
/// so that nobody can buy a way past the people who were here before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u32);

impl Priority {
    /// The priority of a request whose source asks at the pace of demand bucket `pace_bucket`.
    #[must_use]
    pub const fn new(criticality: Criticality, standing: Standing, pace_bucket: u8, bid: u8) -> Self {
        let light = (u8::MAX - pace_bucket) as u32;
        Self((criticality as u32) << 24 | (standing as u32) << 20 | light << 8 | bid as u32)
    }

    /// The number itself, for logs.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_rank_in_their_order() {
        let of = Priority::new;
        let table = [
            (
                of(Criticality::Critical, Standing::Suspect, 47, 0),
                of(Criticality::Important, Standing::Partner, 0, 255),
            ),
            (of(Criticality::Ordinary, Standing::Session, 47, 0), of(Criticality::Ordinary, Standing::Known, 0, 255)),
            (
                of(Criticality::Ordinary, Standing::Anonymous, 3, 0),
                of(Criticality::Ordinary, Standing::Anonymous, 4, 255),
            ),
            (
                of(Criticality::Ordinary, Standing::Anonymous, 3, 1),
                of(Criticality::Ordinary, Standing::Anonymous, 3, 0),
            ),
            (
                of(Criticality::Sheddable, Standing::Anonymous, 255, 0),
                of(Criticality::Sheddable, Standing::Suspect, 0, 255),
            ),
        ];
        for (first, second) in table {
            assert!(first > second, "{first:?} {second:?}");
        }
    }
}
