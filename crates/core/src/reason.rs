//! The one table of reasons: why something was refused or failed, whose fault it is, and how each audience is told.
//!
//! Rule 4 of the design: every refusal has one reason, and status, metric label, ledger code and visitor's text all
//! come from here. The visitor's text never tells an attacker which rule was met; the operator's text does.

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The request or connection was not acceptable.
    Client,
    /// The service behind the door failed.
    Upstream,
    /// The configuration or an order of the operator.
    Operator,
    /// The door itself.
    Ours,
    /// Nobody's: there is more demand than capacity.
    Load,
}

/// What a visitor is told, in both languages of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitorText {
    /// Heading, English.
    pub title_en: &'static str,
    /// Heading, French.
    pub title_fr: &'static str,
    /// One or two plain sentences, English.
    pub text_en: &'static str,
    /// One or two plain sentences, French.
    pub text_fr: &'static str,
}

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $label:literal, $fault:ident, $problem:literal, $retry:literal,
        $operator:literal, $text:ident; )*) => {
        /// Why a connection or request was refused, or failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Reason { $( $(#[$doc])* $name = $code, )* }

        impl Reason {
            /// Every reason, in the order of the codes.
            pub const ALL: &'static [Self] = &[ $(Self::$name),* ];

            /// The code in ledger entries and reference codes; never reused.
            #[must_use]
            pub const fn code(self) -> u16 { self as u16 }

            /// The HTTP status of the answer; 0 where no answer can be given (the connection is reset).
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$name => $status),* } }

            /// The metric and log label.
            #[must_use]
            pub const fn label(self) -> &'static str { match self { $(Self::$name => $label),* } }

            /// Who can mend it.
            #[must_use]
            pub const fn fault(self) -> Fault { match self { $(Self::$name => Fault::$fault),* } }

            /// The last part of the `type` of a problem document (RFC 9457).
            #[must_use]
            pub const fn problem_type(self) -> &'static str { match self { $(Self::$name => $problem),* } }

            /// Seconds for `Retry-After`; `None` where trying again does not help.
            #[must_use]
            pub const fn retry_after_s(self) -> Option<u32> { match self { $(Self::$name => if $retry == 0 { None } else { Some($retry) }),* } }

            /// What the operator reads in the log.
            #[must_use]
            pub const fn operator_text(self) -> &'static str { match self { $(Self::$name => $operator),* } }

            /// What the visitor reads.
            #[must_use]
            pub const fn visitor_text(self) -> &'static VisitorText { match self { $(Self::$name => &$text),* } }
        }
    };
}

const BUSY: VisitorText = VisitorText {
    title_en: "Many people are here right now",
    title_fr: "Beaucoup de monde en ce moment",
    text_en: "We could not serve this request at once. Nothing was lost and nothing was sent. Please try again in a moment.",
    text_fr: "Nous n'avons pas pu traiter cette demande tout de suite. Rien n'est perdu, rien n'a été envoyé. Veuillez réessayer dans un instant.",
};
const UNREACHABLE: VisitorText = VisitorText {
    title_en: "This service cannot be reached",
    title_fr: "Ce service est injoignable",
    text_en: "The service behind this page did not answer. We know about it. Please try again in a few minutes.",
    text_fr: "Le service derrière cette page ne répond pas. Nous en sommes informés. Veuillez réessayer dans quelques minutes.",
};
const NOT_UNDERSTOOD: VisitorText = VisitorText {
    title_en: "This request could not be understood",
    title_fr: "Cette demande n'a pas pu être comprise",
    text_en: "The program you use sent something that we cannot process. Please check the address or use another browser.",
    text_fr: "Le programme que vous utilisez a envoyé une demande que nous ne pouvons pas traiter. Vérifiez l'adresse ou utilisez un autre navigateur.",
};
const TOO_LARGE: VisitorText = VisitorText {
    title_en: "This is too large",
    title_fr: "L'envoi est trop volumineux",
    text_en: "What was sent is larger than this service accepts.",
    text_fr: "L'envoi dépasse la taille acceptée par ce service.",
};
const TOO_SLOW: VisitorText = VisitorText {
    title_en: "The connection was too slow",
    title_fr: "La connexion était trop lente",
    text_en: "The request did not arrive in time. Please try again.",
    text_fr: "La demande n'est pas arrivée à temps. Veuillez réessayer.",
};
const UNKNOWN_HOST: VisitorText = VisitorText {
    title_en: "There is no such service here",
    title_fr: "Ce service n'existe pas ici",
    text_en: "No service of this name is offered at this address.",
    text_fr: "Aucun service de ce nom n'est proposé à cette adresse.",
};
const FORBIDDEN: VisitorText = VisitorText {
    title_en: "This entrance is reserved",
    title_fr: "Cette entrée est réservée",
    text_en: "This service is open only to partners that identify themselves.",
    text_fr: "Ce service n'est ouvert qu'aux partenaires qui s'identifient.",
};
const CLOSING: VisitorText = VisitorText {
    title_en: "Back in a moment",
    title_fr: "De retour dans un instant",
    text_en: "This entrance is being restarted. Please try again at once.",
    text_fr: "Cette entrée redémarre. Veuillez réessayer tout de suite.",
};
const PROVE: VisitorText = VisitorText {
    title_en: "One moment before you go on",
    title_fr: "Un instant avant de continuer",
    text_en: "There is an attack on this service, and we check that you are not part of it. Nothing was lost and nothing was sent.",
    text_fr: "Ce service subit une attaque, et nous vérifions que vous n'y participez pas. Rien n'est perdu, rien n'a été envoyé.",
};
const WAIT: VisitorText = VisitorText {
    title_en: "You are in the waiting room",
    title_fr: "Vous êtes dans la file d'attente",
    text_en: "More people want to use this service than it can serve at once. You keep your place, and it will be your turn.",
    text_fr: "Plus de personnes souhaitent utiliser ce service qu'il ne peut en servir à la fois. Vous gardez votre place, votre tour viendra.",
};
const SHUT: VisitorText = VisitorText {
    title_en: "This service is closed for now",
    title_fr: "Ce service est fermé pour le moment",
    text_en: "We have closed this service for a while. Nothing was lost and nothing was sent.",
    text_fr: "Nous avons fermé ce service pour un temps. Rien n'est perdu, rien n'a été envoyé.",
};
const READ_ONLY: VisitorText = VisitorText {
    title_en: "For now you can read here, not change anything",
    title_fr: "Pour le moment, vous pouvez consulter mais rien modifier",
    text_en: "What you sent was not taken, and nothing was changed. Reading goes on as usual.",
    text_fr: "Votre envoi n'a pas été pris en compte et rien n'a été modifié. La consultation reste possible.",
};
const SWITCHED_OFF: VisitorText = VisitorText {
    title_en: "This function is switched off for now",
    title_fr: "Cette fonction est désactivée pour le moment",
    text_en: "We have switched it off for a while, so that everything else here keeps working.",
    text_fr: "Nous l'avons désactivée pour un temps, afin que tout le reste continue de fonctionner.",
};

// name = code, status, label, fault, problem type, Retry-After in seconds (0: none), operator's text, visitor's text
reasons! {
    /// No slot was free and the queue held more important work.
    Overload = 100, 503, "overload", Load, "temporary-reduced-capacity", 5, "no slot free in the service's lanes and the queue held better priorities", BUSY;
    /// Waited in the queue until its deadline could not be met any more.
    QueueTimeout = 101, 503, "queue_timeout", Load, "temporary-reduced-capacity", 5, "waited in the queue past its deadline", BUSY;
    /// Shed from the queue by work of better priority.
    Displaced = 102, 503, "displaced", Load, "temporary-reduced-capacity", 5, "shed from the queue in favour of a better priority", BUSY;
    /// Below the admission threshold while the service is under pressure.
    BelowThreshold = 103, 503, "below_threshold", Load, "temporary-reduced-capacity", 10, "priority below the admission threshold of the service", BUSY;
    /// Over the fair share of its source while the service is under pressure.
    FairShare = 104, 429, "fair_share", Client, "quota-exceeded", 10, "source over its fair share while the service is under pressure", BUSY;
    /// A source that misbehaved lately, refused while there is pressure.
    Suspect = 105, 429, "suspect", Client, "abnormal-usage-detected", 30, "source is suspect and the service is under pressure", BUSY;
    /// The door's own limit on requests in flight was reached.
    NodeFull = 106, 503, "node_full", Ours, "temporary-reduced-capacity", 5, "the node's own bound on requests in flight was reached", BUSY;
    /// More concurrent streams on one connection than allowed under load.
    TooManyStreams = 107, 429, "too_many_streams", Client, "quota-exceeded", 1, "more streams on one connection than the load allows", BUSY;
    /// A mitigation at the step `refuse` or `limit` holds for the request.
    Mitigated = 108, 429, "mitigated", Client, "abnormal-usage-detected", 30, "a mitigation refuses what the request looks like", BUSY;
    /// In doubt: to be let in by a pass, earned by work, by waiting, or given by a person.
    ChallengeNeeded = 109, 403, "challenge_needed", Client, "challenge-needed", 10, "in doubt: a pass is needed, and can be earned", PROVE;
    /// The waiting room of the service is open, and it is not this visitor's turn.
    WaitingRoom = 110, 503, "waiting_room", Load, "waiting-room", 20, "the waiting room is open and others are before", WAIT;

    /// The request line or header block is malformed.
    MalformedHead = 200, 400, "malformed_head", Client, "malformed-request", 0, "request head is malformed", NOT_UNDERSTOOD;
    /// Content-Length and Transfer-Encoding together, or differing lengths.
    AmbiguousLength = 201, 400, "ambiguous_length", Client, "malformed-request", 0, "ambiguous message length (smuggling)", NOT_UNDERSTOOD;
    /// A line ended by a bare LF, or a stray CR.
    BareLineFeed = 202, 400, "bare_line_feed", Client, "malformed-request", 0, "bare LF or stray CR in the request head", NOT_UNDERSTOOD;
    /// A folded header line.
    ObsoleteFold = 203, 400, "obsolete_fold", Client, "malformed-request", 0, "obsolete line folding in a header", NOT_UNDERSTOOD;
    /// No Host, several, or an invalid one.
    BadHost = 204, 400, "bad_host", Client, "malformed-request", 0, "missing, repeated or invalid Host", NOT_UNDERSTOOD;
    /// A chunk size or chunk end that parsers disagree on.
    BadChunk = 205, 400, "bad_chunk", Client, "malformed-request", 0, "invalid chunked framing", NOT_UNDERSTOOD;
    /// Too many header fields or too many bytes of them.
    HeadTooLarge = 206, 431, "head_too_large", Client, "request-header-fields-too-large", 0, "request head over its bound", TOO_LARGE;
    /// The target is too long.
    UriTooLong = 207, 414, "uri_too_long", Client, "uri-too-long", 0, "request target over its bound", TOO_LARGE;
    /// The body is larger than the route allows.
    BodyTooLarge = 208, 413, "body_too_large", Client, "content-too-large", 0, "request body over the route's bound", TOO_LARGE;
    /// A transfer coding other than chunked.
    UnsupportedCoding = 209, 501, "unsupported_coding", Client, "malformed-request", 0, "transfer coding other than chunked", NOT_UNDERSTOOD;
    /// The method is not allowed on the route.
    MethodNotAllowed = 210, 405, "method_not_allowed", Client, "method-not-allowed", 0, "method not allowed on the route", NOT_UNDERSTOOD;
    /// The Host is not one of the services.
    UnknownHost = 211, 421, "unknown_host", Client, "misdirected-request", 0, "no service has this host name", UNKNOWN_HOST;
    /// The service takes partners only.
    PartnerRequired = 212, 403, "partner_required", Client, "partner-required", 0, "service takes only authenticated partners", FORBIDDEN;
    /// A plain CONNECT, which this door does not serve.
    ConnectRefused = 213, 405, "connect_refused", Client, "method-not-allowed", 0, "CONNECT is not served", NOT_UNDERSTOOD;
    /// The host of the request is not the one the TLS connection was made for.
    Misdirected = 214, 421, "misdirected", Client, "misdirected-request", 0, "authority not covered by this TLS connection", UNKNOWN_HOST;

    /// The header block did not arrive in time.
    HeaderTimeout = 300, 408, "header_timeout", Client, "request-timeout", 0, "request head not complete within its deadline", TOO_SLOW;
    /// The body came slower than the floor.
    BodyTooSlow = 301, 408, "body_too_slow", Client, "request-timeout", 0, "request body below its minimum rate", TOO_SLOW;
    /// The client read the answer slower than the floor.
    ReadTooSlow = 302, 0, "read_too_slow", Client, "request-timeout", 0, "client read the response below the minimum rate", TOO_SLOW;
    /// The TLS handshake did not end in time.
    HandshakeTimeout = 303, 0, "handshake_timeout", Client, "request-timeout", 0, "TLS handshake not complete within its deadline", TOO_SLOW;
    /// The TLS handshake failed.
    HandshakeFailed = 304, 0, "handshake_failed", Client, "malformed-request", 0, "TLS handshake failed", NOT_UNDERSTOOD;
    /// Too many connections from one source prefix.
    ConnectionsPerSource = 305, 0, "connections_per_source", Client, "quota-exceeded", 0, "connections from one source prefix over the cap", BUSY;
    /// Too many handshakes under way from one source prefix.
    HandshakesPerSource = 306, 0, "handshakes_per_source", Client, "quota-exceeded", 0, "handshakes from one source prefix over the cap", BUSY;
    /// The node holds as many connections as it may.
    ConnectionsFull = 307, 0, "connections_full", Load, "temporary-reduced-capacity", 0, "the node's bound on connections was reached", BUSY;
    /// The PROXY header is missing, malformed or from an untrusted peer.
    BadProxyHeader = 308, 0, "bad_proxy_header", Client, "malformed-request", 0, "PROXY header missing, malformed or from an untrusted peer", NOT_UNDERSTOOD;
    /// An idle connection closed to make room.
    IdleEvicted = 309, 0, "idle_evicted", Load, "temporary-reduced-capacity", 0, "idle connection closed to make room", BUSY;
    /// An idle connection closed at its deadline.
    IdleTimeout = 310, 0, "idle_timeout", Client, "request-timeout", 0, "connection idle past its deadline", TOO_SLOW;
    /// The first bytes on a connection were neither TLS nor HTTP as the listener expects.
    NotTls = 311, 0, "not_tls", Client, "malformed-request", 0, "first bytes are not a TLS ClientHello", NOT_UNDERSTOOD;

    /// Streams reset too fast.
    H2RapidReset = 400, 0, "h2_rapid_reset", Client, "abnormal-usage-detected", 0, "HTTP/2 streams reset over the bound (rapid reset)", NOT_UNDERSTOOD;
    /// Header blocks continued without end.
    H2ContinuationFlood = 401, 0, "h2_continuation_flood", Client, "abnormal-usage-detected", 0, "HTTP/2 CONTINUATION frames over the bound", NOT_UNDERSTOOD;
    /// Frames without content.
    H2EmptyFrames = 402, 0, "h2_empty_frames", Client, "abnormal-usage-detected", 0, "HTTP/2 empty frames over the bound", NOT_UNDERSTOOD;
    /// SETTINGS frames over the bound.
    H2SettingsFlood = 403, 0, "h2_settings_flood", Client, "abnormal-usage-detected", 0, "HTTP/2 SETTINGS frames over the bound", NOT_UNDERSTOOD;
    /// PING frames over the bound.
    H2PingFlood = 404, 0, "h2_ping_flood", Client, "abnormal-usage-detected", 0, "HTTP/2 PING frames over the bound", NOT_UNDERSTOOD;
    /// Tiny or stalled flow-control windows.
    H2WindowGames = 405, 0, "h2_window_games", Client, "abnormal-usage-detected", 0, "HTTP/2 WINDOW_UPDATE frames over the bound or tiny windows", NOT_UNDERSTOOD;
    /// PRIORITY frames over the bound.
    H2PriorityFlood = 406, 0, "h2_priority_flood", Client, "abnormal-usage-detected", 0, "HTTP/2 PRIORITY frames over the bound", NOT_UNDERSTOOD;
    /// Frames that break the protocol.
    H2Protocol = 407, 0, "h2_protocol", Client, "malformed-request", 0, "HTTP/2 protocol error", NOT_UNDERSTOOD;

    /// No upstream server could be connected to.
    UpstreamConnect = 500, 502, "upstream_connect", Upstream, "upstream-unreachable", 10, "no upstream server accepted a connection", UNREACHABLE;
    /// The upstream took too long to accept.
    UpstreamConnectTimeout = 501, 504, "upstream_connect_timeout", Upstream, "upstream-timeout", 10, "upstream connect deadline passed", UNREACHABLE;
    /// The first byte of the answer did not come in time.
    UpstreamFirstByte = 502, 504, "upstream_first_byte", Upstream, "upstream-timeout", 10, "upstream sent no first byte within its deadline", UNREACHABLE;
    /// The answer stalled.
    UpstreamIdle = 503, 504, "upstream_idle", Upstream, "upstream-timeout", 10, "upstream answer stalled past its idle deadline", UNREACHABLE;
    /// The upstream broke the connection or the protocol.
    UpstreamProtocol = 504, 502, "upstream_protocol", Upstream, "upstream-failed", 10, "upstream closed early or broke the protocol", UNREACHABLE;
    /// Every server of the pool is ejected or unhealthy.
    UpstreamUnhealthy = 505, 503, "upstream_unhealthy", Upstream, "upstream-unreachable", 10, "no healthy server in the upstream pool", UNREACHABLE;
    /// The upstream's TLS could not be verified.
    UpstreamTls = 506, 502, "upstream_tls", Upstream, "upstream-unreachable", 10, "TLS to the upstream failed", UNREACHABLE;
    /// The service is down, by what was measured: its contract answered.
    ServiceDown = 507, 503, "service_down", Upstream, "upstream-unreachable", 30, "the service is down by measurement, so its contract answered", UNREACHABLE;

    /// The client went away before the answer.
    ClientGone = 600, 499, "client_gone", Client, "client-closed-request", 0, "client closed the connection before the answer", BUSY;
    /// The node is draining.
    Draining = 601, 503, "draining", Operator, "temporary-reduced-capacity", 1, "node is draining", CLOSING;
    /// Something in the door itself failed.
    Internal = 602, 500, "internal", Ours, "internal-error", 5, "internal error", UNREACHABLE;
    /// The operator shut the service, or put its contract in force.
    ServiceShut = 603, 503, "service_shut", Operator, "service-shut", 300, "an operator shut the service or ordered its fallback", SHUT;
    /// The service can be read only, for now.
    ReadOnly = 604, 503, "read_only", Operator, "read-only", 120, "the service is read-only: by order, or because one that it needs is away", READ_ONLY;
    /// A costly feature is switched off, for now.
    SwitchedOff = 605, 503, "switched_off", Operator, "switched-off", 120, "the route is switched off: by order, or while the service is pressed", SWITCHED_OFF;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_and_labels_are_unique_and_statuses_are_errors() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        let labels: HashSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        assert_eq!(labels.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.status() == 0 || (400..600).contains(&reason.status()), "{reason:?}");
            let text = reason.visitor_text();
            for part in [text.title_en, text.title_fr, text.text_en, text.text_fr] {
                assert!(!part.is_empty(), "{reason:?}");
            }
        }
    }
}
