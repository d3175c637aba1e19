//! Sign-ins: how they end is known only when the service has answered, and tells more than any number of requests.

use super::{Dimension, Features, Sample};
use crate::{Criticality, Standing};

/// How a sign-in ended, as far as the door can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// The service said that whoever tries is not who they say.
    Failed,
    /// The service let them in.
    Right,
    /// It never came to the service: a mitigation of failed sign-ins turned it away.
    TurnedAway,
}

/// Values of [`Dimension::Ending`] that no reason has: those are 16-bit numbers.
const ENDINGS: [(SignIn, u32); 3] =
    [(SignIn::Failed, 0x1_0001), (SignIn::Right, 0x1_0002), (SignIn::TurnedAway, 0x1_0003)];

impl SignIn {
    /// The name used in logs and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed_sign_ins",
            Self::Right => "right_sign_ins",
            Self::TurnedAway => "sign_ins_turned_away",
        }
    }

    /// As a value of [`Dimension::Ending`].
    #[must_use]
    pub const fn ending(self) -> u32 {
        ENDINGS[self as usize].1
    }

    /// What a value of [`Dimension::Ending`] says; `None` where it is not of a sign-in.
    #[must_use]
    pub fn of_ending(value: u32) -> Option<Self> {
        ENDINGS.into_iter().find(|(_, ending)| *ending == value).map(|(sign_in, _)| sign_in)
    }

    /// What a sample tells; `None` where it is not of a sign-in.
    #[must_use]
    pub fn of(features: &Features) -> Option<Self> {
        Self::of_ending(features.get(Dimension::Ending))
    }

    /// A sample of a sign-in as the search looks at it: whoever fails counts as a stranger, also with a pass, which can be
    /// bought; whoever is let in stands for people. `None`: it tells nothing, since nobody of standing or at what is
    /// critical is mitigated.
    pub(crate) fn judged(sample: &Sample) -> Option<Sample> {
        let vouched_for = matches!(sample.standing, Standing::Known | Standing::Session | Standing::Partner);
        match Self::of(&sample.features)? {
            Self::Right => Some(Sample { standing: Standing::Session, ..*sample }),
            Self::Failed | Self::TurnedAway if vouched_for || sample.criticality == Criticality::Critical => None,
            Self::Failed | Self::TurnedAway => Some(Sample { standing: Standing::Anonymous, ..*sample }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart_from_reasons() {
        for (sign_in, ending) in ENDINGS {
            assert_eq!(SignIn::of_ending(ending), Some(sign_in));
            assert_eq!(sign_in.ending(), ending, "the order of the table");
            assert!(crate::Reason::ALL.iter().all(|reason| u32::from(reason.code()) != ending));
        }
        assert_eq!(SignIn::of_ending(0), None);
    }

    #[test]
    fn who_is_vouched_for_never_counts_as_failing() {
        let features = Features::NONE.with(Dimension::Ending, SignIn::Failed.ending());
        let of = |standing, criticality| {
            let sample = Sample { features, weight: 1.0, pace_per_s: 1.0, standing, criticality };
            SignIn::judged(&sample).map(|judged| judged.standing)
        };
        for standing in [Standing::Suspect, Standing::Newcomer, Standing::Anonymous, Standing::Proven] {
            assert_eq!(of(standing, Criticality::Ordinary), Some(Standing::Anonymous), "{standing:?}");
            assert_eq!(of(standing, Criticality::Critical), None);
        }
        for standing in [Standing::Known, Standing::Session, Standing::Partner] {
            assert_eq!(of(standing, Criticality::Ordinary), None, "{standing:?}");
        }
    }
}
