//! What can be told of a request, one dimension at a time.

/// One thing that can be told of a request. Its value is a keyed 32-bit hash or a small number; 0: nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Dimension {
    /// Source prefix: IPv4 /32, IPv6 /64.
    Narrow = 0,
    /// Source prefix: IPv6 /56; nothing for IPv4.
    Middle = 1,
    /// Source prefix: IPv4 /24, IPv6 /48.
    Wide = 2,
    /// Autonomous system, where a database is configured.
    Network = 3,
    /// Country, where a database is configured.
    Country = 4,
    /// JA4 of the ClientHello.
    Tls = 5,
    /// HTTP/2 SETTINGS, window, priorities and order of pseudo-headers.
    Http2 = 6,
    /// Which header fields came, in which order.
    HeaderOrder = 7,
    /// Family of the user agent.
    Agent = 8,
    /// Family and major version of the user agent.
    AgentVersion = 9,
    /// How the last requests of the same source were answered.
    Answer = 10,
    /// How much the source asks, in coarse classes.
    Pace = 11,
    /// Which cookies came: none, foreign ones, a session.
    Cookies = 12,
    /// Where the referrer points: nowhere, here, elsewhere.
    Referrer = 13,
    /// Method.
    Method = 14,
    /// Declared route of the service.
    Route = 15,
    /// Path, with numbers and identifiers taken out.
    Path = 16,
    /// Names of the query's parameters.
    Query = 17,
    /// What such a request costs, in coarse classes.
    Cost = 18,
    /// How a connection failed or stalls: code of the reason. Told of connections only, and no part of any signature: it is
    /// known when it is too late.
    Ending = 19,
}

/// Value of [`Dimension::Pace`] from which a source asks more than a person who reads: about eight requests a second.
const PACE_HEAVY: u32 = 3;

/// What kind of thing a dimension tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Where it comes from.
    Source,
    /// Which program sent it.
    Client,
    /// How its source behaves.
    Behaviour,
    /// Something about who asks that many share, and that a crowd shifts as a whole.
    Weak,
    /// What is asked for.
    Wanted,
}

impl Dimension {
    /// How many dimensions there are.
    pub const COUNT: usize = 20;
    /// All dimensions, by index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Narrow,
        Self::Middle,
        Self::Wide,
        Self::Network,
        Self::Country,
        Self::Tls,
        Self::Http2,
        Self::HeaderOrder,
        Self::Agent,
        Self::AgentVersion,
        Self::Answer,
        Self::Pace,
        Self::Cookies,
        Self::Referrer,
        Self::Method,
        Self::Route,
        Self::Path,
        Self::Query,
        Self::Cost,
        Self::Ending,
    ];

    /// Position in tables of [`Self::COUNT`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name used in logs and commands.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrow => "source",
            Self::Middle => "source_middle",
            Self::Wide => "source_wide",
            Self::Network => "network",
            Self::Country => "country",
            Self::Tls => "ja4",
            Self::Http2 => "http2",
            Self::HeaderOrder => "header_order",
            Self::Agent => "agent",
            Self::AgentVersion => "agent_version",
            Self::Answer => "answers",
            Self::Pace => "pace",
            Self::Cookies => "cookies",
            Self::Referrer => "referrer",
            Self::Method => "method",
            Self::Route => "route",
            Self::Path => "path",
            Self::Query => "query",
            Self::Cost => "cost",
            Self::Ending => "ending",
        }
    }

    /// The dimension of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name)
    }

    /// What kind of thing it tells.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Narrow | Self::Middle | Self::Wide | Self::Network => Kind::Source,
            Self::Tls | Self::Http2 | Self::HeaderOrder | Self::Agent | Self::AgentVersion => Kind::Client,
            Self::Answer | Self::Pace | Self::Ending => Kind::Behaviour,
            Self::Country | Self::Cookies | Self::Referrer => Kind::Weak,
            Self::Method | Self::Route | Self::Path | Self::Query | Self::Cost => Kind::Wanted,
        }
    }

    /// Whether a value can tell against anybody. To have been answered well, or to ask little, is no mark of an attacker,
    /// however unusual: those who come back after a quiet time all bear it.
    #[must_use]
    pub const fn can_tell(self, value: u32) -> bool {
        match self {
            Self::Answer => value >= super::ANSWER_CLIENT_ERRORS,
            Self::Pace => value >= PACE_HEAVY,
            Self::Ending => false,
            _ => value != 0,
        }
    }

    /// Whether it is known when a ClientHello is seen, before any cryptography is paid for.
    #[must_use]
    pub const fn of_connection(self) -> bool {
        matches!(self, Self::Narrow | Self::Middle | Self::Wide | Self::Network | Self::Country | Self::Tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_and_names_are_each_their_own() {
        for (at, dimension) in Dimension::ALL.into_iter().enumerate() {
            assert_eq!(dimension.index(), at);
            assert!(Dimension::ALL[..at].iter().all(|d| d.name() != dimension.name()), "{}", dimension.name());
        }
    }

    #[test]
    fn to_behave_well_tells_against_nobody() {
        for (value, telling) in [(0, false), (1, false), (2, false), (3, false), (4, true)] {
            assert_eq!(Dimension::Answer.can_tell(value), telling, "answers {value}");
        }
        assert!(!Dimension::Pace.can_tell(2) && Dimension::Pace.can_tell(3));
        assert!(!Dimension::Tls.can_tell(0) && Dimension::Tls.can_tell(1));
        assert!(!Dimension::Ending.can_tell(300));
    }
}
