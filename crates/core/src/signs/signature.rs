//! A signature: what requests have in common, as a conjunction of a few values.

use super::{Dimension, Features, Kind};
use crate::bounds::SIGNATURE_PARTS_MAX;

/// A conjunction of values in distinct dimensions, in the order of the dimensions. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    parts: [(u8, u32); SIGNATURE_PARTS_MAX],
    len: u8,
}

impl Signature {
    /// Requests with this value.
    #[must_use]
    pub const fn single(dimension: Dimension, value: u32) -> Self {
        let mut parts = [(0, 0); SIGNATURE_PARTS_MAX];
        parts[0] = (dimension as u8, value);
        Self { parts, len: 1 }
    }

    /// A conjunction; `None` where it is empty, too long, holds a dimension twice or a value 0.
    #[must_use]
    pub fn new(parts: &[(Dimension, u32)]) -> Option<Self> {
        let (&(dimension, value), rest) = parts.split_first()?;
        if value == 0 {
            return None;
        }
        rest.iter().try_fold(Self::single(dimension, value), |all, &(d, v)| if v == 0 { None } else { all.and(d, v) })
    }

    /// The same with one more value; `None` where the dimension is there already, or nothing more fits.
    #[must_use]
    pub fn and(mut self, dimension: Dimension, value: u32) -> Option<Self> {
        let len = usize::from(self.len);
        if len == SIGNATURE_PARTS_MAX || self.parts[..len].iter().any(|p| p.0 == dimension as u8) {
            return None;
        }
        self.parts[len] = (dimension as u8, value);
        self.len += 1;
        self.parts[..=len].sort_unstable();
        Some(self)
    }

    /// The same without the part at this position; `None` where nothing would be left.
    #[must_use]
    pub fn without(&self, position: usize) -> Option<Self> {
        let kept: Vec<_> = self.parts().enumerate().filter(|(at, _)| *at != position).map(|(_, part)| part).collect();
        Self::new(&kept)
    }

    /// Only the parts that tell who asks, not what for or what many share; `None` where there are none.
    #[must_use]
    pub fn who(&self) -> Option<Self> {
        let who: Vec<_> =
            self.parts().filter(|(d, _)| matches!(d.kind(), Kind::Source | Kind::Client | Kind::Behaviour)).collect();
        Self::new(&who)
    }

    /// Its values, in the order of their dimensions.
    pub fn parts(&self) -> impl Iterator<Item = (Dimension, u32)> + '_ {
        self.parts[..usize::from(self.len)].iter().map(|&(d, value)| (Dimension::ALL[usize::from(d)], value))
    }

    /// Whether a request has all its values.
    #[must_use]
    pub fn matches(&self, features: &Features) -> bool {
        self.parts().all(|(dimension, value)| features.get(dimension) == value)
    }

    /// Whether any part is of this kind.
    #[must_use]
    pub fn has(&self, kind: Kind) -> bool {
        self.parts().any(|(dimension, _)| dimension.kind() == kind)
    }

    /// Whether all of it is known when a ClientHello is seen.
    #[must_use]
    pub fn of_connection(&self) -> bool {
        self.parts().all(|(dimension, _)| dimension.of_connection())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conjunctions_are_sorted_bounded_and_match_all_parts() {
        use Dimension::{Agent, Path, Tls};
        let signature = Signature::new(&[(Path, 3), (Tls, 7)]).expect("two parts");
        assert_eq!(signature, Signature::new(&[(Tls, 7), (Path, 3)]).expect("the same"));
        assert!(signature.matches(&Features::NONE.with(Tls, 7).with(Path, 3).with(Agent, 1)));
        assert!(!signature.matches(&Features::NONE.with(Tls, 7)));
        assert_eq!(signature.and(Path, 4), None, "a dimension twice");
        assert_eq!(Signature::new(&[]), None);
        assert_eq!(Signature::new(&[(Tls, 0)]), None, "nothing told is no sign");
        assert_eq!(signature.without(0), Some(Signature::single(Path, 3)));
        assert_eq!(Signature::single(Path, 3).without(0), None);
        assert_eq!(signature.who(), Some(Signature::single(Tls, 7)));
        assert_eq!(Signature::single(Path, 3).who(), None);
        assert!(Signature::single(Tls, 7).of_connection() && !signature.of_connection());
        let all: Vec<_> = Dimension::ALL.iter().map(|d| (*d, 1)).collect();
        assert!(Signature::new(&all[..SIGNATURE_PARTS_MAX]).is_some());
        assert_eq!(Signature::new(&all[..=SIGNATURE_PARTS_MAX]), None, "too long");
    }
}
