//! What is known of a client, in the order in which it earns priority.

/// Greater is better trusted. `Proven` (a pass) and the waiting room belong to a later issue: the seam is this variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Standing {
    /// Seen misbehaving lately: ignored refusals, abused a protocol, asked far more than its share under pressure.
    Suspect = 0,
    /// First seen in a surge of newcomers, and not long ago.
    Newcomer = 1,
    /// Nothing is known.
    Anonymous = 2,
    /// A source seen behaving for long.
    Known = 3,
    /// Holds a pass earned by proof of work or by waiting.
    Proven = 4,
    /// Holds a session that this door saw the service issue.
    Session = 5,
    /// Authenticated by client certificate or key.
    Partner = 6,
}

impl Standing {
    /// How many standings there are.
    pub const COUNT: usize = 7;
    /// All standings, least trusted first.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Suspect, Self::Newcomer, Self::Anonymous, Self::Known, Self::Proven, Self::Session, Self::Partner];

    /// Position in tables of [`Self::COUNT`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in metric labels and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Suspect => "suspect",
            Self::Newcomer => "newcomer",
            Self::Anonymous => "anonymous",
            Self::Known => "known",
            Self::Proven => "proven",
            Self::Session => "session",
            Self::Partner => "partner",
        }
    }
}
