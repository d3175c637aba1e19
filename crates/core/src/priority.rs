//! Who goes first: one ordered number.

use crate::demand::{handicap, head_start};
use crate::{Criticality, Standing};

/// Greater goes first. From the most significant part: criticality of service and route; partner before the rest before
/// suspect; fair share of the source (light before heavy, with the head start that its standing has earned); standing
/// among the equally light; bid.
///
/// The bid is the seam for passes: it breaks ties between equals and can never lift a client over a better standing,
/// so that nobody can buy a way past the people who were here before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u32);

impl Priority {
    /// The priority of a request whose source asks at the pace of demand bucket `pace_bucket`.
    #[must_use]
    pub const fn new(criticality: Criticality, standing: Standing, pace_bucket: u8, bid: u8) -> Self {
        let class = match standing {
            Standing::Suspect => 0,
            Standing::Newcomer | Standing::Anonymous | Standing::Known | Standing::Proven | Standing::Session => 1,
            Standing::Partner => 2,
        };
        let heavy = pace_bucket.saturating_sub(head_start(standing)).saturating_add(handicap(standing));
        let light = (u8::MAX - heavy) as u32;
        Self((criticality as u32) << 24 | class << 22 | light << 14 | (standing as u32) << 8 | bid as u32)
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
        use Criticality::{Critical, Important, Ordinary, Sheddable};
        use Standing::{Anonymous, Known, Partner, Session, Suspect};
        let of = Priority::new;
        let table = [
            (of(Critical, Suspect, 47, 0), of(Important, Partner, 0, 255)),
            (of(Ordinary, Partner, 47, 0), of(Ordinary, Session, 0, 255)),
            (of(Ordinary, Session, 8, 0), of(Ordinary, Known, 0, 255)),
            (of(Ordinary, Known, 4, 0), of(Ordinary, Anonymous, 0, 255)),
            (of(Ordinary, Anonymous, 0, 0), of(Ordinary, Known, 9, 255)),
            (of(Ordinary, Anonymous, 0, 0), of(Ordinary, Session, 20, 255)),
            (of(Ordinary, Anonymous, 3, 0), of(Ordinary, Anonymous, 4, 255)),
            (of(Ordinary, Anonymous, 3, 1), of(Ordinary, Anonymous, 3, 0)),
            (of(Sheddable, Anonymous, 255, 0), of(Sheddable, Suspect, 0, 255)),
        ];
        for (first, second) in table {
            assert!(first > second, "{first:?} {second:?}");
        }
    }
}
