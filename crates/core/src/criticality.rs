//! How much a service or route matters, declared by the operator.

/// From what must never stop to what may stop first. The order is the order of importance: `Critical` is greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Criticality {
    /// May be shed first: prefetches, batch feeds.
    Sheddable = 0,
    /// The default: pages and operations of the public.
    Ordinary = 1,
    /// Kept before ordinary work: sign-in, payment initiation.
    Important = 2,
    /// Never behind anything else: payment rails, counters, emergency lines.
    Critical = 3,
}

impl Criticality {
    /// How many levels there are.
    pub const COUNT: usize = 4;
    /// All levels, least important first.
    pub const ALL: [Self; Self::COUNT] = [Self::Sheddable, Self::Ordinary, Self::Important, Self::Critical];

    /// Position in tables of [`Self::COUNT`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in configuration, metric labels and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sheddable => "sheddable",
            Self::Ordinary => "ordinary",
            Self::Important => "important",
            Self::Critical => "critical",
        }
    }

    /// The level of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.name() == name)
    }
}
