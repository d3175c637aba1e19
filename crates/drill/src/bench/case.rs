//! What is measured, and in which unit.

/// One measurement of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// HTTP/1.1, keep-alive, no TLS.
    H1Plain,
    /// HTTP/1.1, keep-alive, TLS 1.3.
    H1Tls,
    /// HTTP/2 over TLS 1.3, one stream at a time on each connection.
    H2One,
    /// HTTP/2 over TLS 1.3, ten streams at a time on each connection.
    H2Ten,
    /// A new TLS 1.3 connection, full handshake, closed without a request.
    Handshake,
    /// A request that is refused at the door, on a kept connection.
    Refused,
    /// A connection over the cap of its source.
    RefusedConnection,
    /// Memory of an idle connection after one request, no TLS.
    IdlePlain,
    /// The same with TLS 1.3.
    IdleTls,
}

impl Case {
    /// All cases in the order in which they are reported.
    pub(crate) const ALL: [Self; 9] = [
        Self::H1Plain,
        Self::H1Tls,
        Self::H2One,
        Self::H2Ten,
        Self::Handshake,
        Self::Refused,
        Self::RefusedConnection,
        Self::IdlePlain,
        Self::IdleTls,
    ];

    /// The name on the command line and in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::H1Plain => "h1-plain",
            Self::H1Tls => "h1-tls",
            Self::H2One => "h2-tls-1",
            Self::H2Ten => "h2-tls-10",
            Self::Handshake => "tls-connection",
            Self::Refused => "refused-request",
            Self::RefusedConnection => "refused-connection",
            Self::IdlePlain => "idle-plain",
            Self::IdleTls => "idle-tls",
        }
    }

    /// The name for people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::H1Plain => "request, HTTP/1.1",
            Self::H1Tls => "request, HTTP/1.1, TLS 1.3",
            Self::H2One => "request, HTTP/2, TLS 1.3, 1 stream",
            Self::H2Ten => "request, HTTP/2, TLS 1.3, 10 streams",
            Self::Handshake => "new TLS 1.3 connection",
            Self::Refused => "refused request",
            Self::RefusedConnection => "refused connection",
            Self::IdlePlain => "idle connection",
            Self::IdleTls => "idle TLS connection",
        }
    }

    /// The unit of its figures.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::IdlePlain | Self::IdleTls => "bytes",
            Self::H1Plain
            | Self::H1Tls
            | Self::H2One
            | Self::H2Ten
            | Self::Handshake
            | Self::Refused
            | Self::RefusedConnection => "CPU us",
        }
    }

    /// Whether the front has to be started with a small cap of connections a source.
    pub(crate) const fn wants_cap(self) -> bool {
        matches!(self, Self::RefusedConnection)
    }

    /// Whether the front has to be started afresh: memory that was used before isn't given back.
    pub(crate) const fn wants_fresh(self) -> bool {
        matches!(self, Self::RefusedConnection | Self::IdlePlain | Self::IdleTls)
    }
}
