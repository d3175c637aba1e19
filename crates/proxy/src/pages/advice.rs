//! What a visitor can do, and what a proxy before us is told, for each reason. No wildcard: a new reason must be
//! thought about here.

use guichet_core::Reason;

/// Reasons that a visitor need not tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Busy,
    Unreachable,
    NotUnderstood,
    TooLarge,
    TooSlow,
    UnknownHost,
    Reserved,
    Closing,
}

pub(super) const fn family(reason: Reason) -> Family {
    use Reason as R;
    match reason {
        R::Overload
        | R::QueueTimeout
        | R::Displaced
        | R::BelowThreshold
        | R::FairShare
        | R::Suspect
        | R::NodeFull
        | R::TooManyStreams
        | R::Mitigated
        | R::ChallengeNeeded
        | R::WaitingRoom
        | R::ConnectionsPerSource
        | R::HandshakesPerSource
        | R::ConnectionsFull
        | R::IdleEvicted
        | R::ClientGone => Family::Busy,
        R::MalformedHead
        | R::AmbiguousLength
        | R::BareLineFeed
        | R::ObsoleteFold
        | R::BadHost
        | R::BadChunk
        | R::UnsupportedCoding
        | R::MethodNotAllowed
        | R::ConnectRefused
        | R::HandshakeFailed
        | R::BadProxyHeader
        | R::NotTls
        | R::H2RapidReset
        | R::H2ContinuationFlood
        | R::H2EmptyFrames
        | R::H2SettingsFlood
        | R::H2PingFlood
        | R::H2WindowGames
        | R::H2PriorityFlood
        | R::H2Protocol => Family::NotUnderstood,
        R::HeadTooLarge | R::UriTooLong | R::BodyTooLarge => Family::TooLarge,
        R::HeaderTimeout | R::BodyTooSlow | R::ReadTooSlow | R::HandshakeTimeout | R::IdleTimeout => Family::TooSlow,
        R::UnknownHost | R::Misdirected => Family::UnknownHost,
        R::PartnerRequired => Family::Reserved,
        R::UpstreamConnect
        | R::UpstreamConnectTimeout
        | R::UpstreamFirstByte
        | R::UpstreamIdle
        | R::UpstreamProtocol
        | R::UpstreamUnhealthy
        | R::UpstreamTls
        | R::ServiceDown
        | R::ServiceShut
        | R::ReadOnly
        | R::SwitchedOff
        | R::Internal => Family::Unreachable,
        R::Draining => Family::Closing,
    }
}

/// The error of `Proxy-Status` (RFC 9209, 2.3): enough for a proxy before us to place the fault, and the same for
/// every rule of admission.
pub(super) const fn proxy_error(reason: Reason) -> &'static str {
    use Reason as R;
    match reason {
        R::Overload
        | R::QueueTimeout
        | R::Displaced
        | R::BelowThreshold
        | R::FairShare
        | R::Suspect
        | R::NodeFull
        | R::TooManyStreams
        | R::Mitigated
        | R::ChallengeNeeded
        | R::WaitingRoom
        | R::ConnectionsPerSource
        | R::HandshakesPerSource
        | R::ConnectionsFull
        | R::IdleEvicted
        | R::PartnerRequired => "http_request_denied",
        R::MalformedHead
        | R::AmbiguousLength
        | R::BareLineFeed
        | R::ObsoleteFold
        | R::BadHost
        | R::BadChunk
        | R::UnsupportedCoding
        | R::MethodNotAllowed
        | R::ConnectRefused
        | R::HandshakeFailed
        | R::BadProxyHeader
        | R::NotTls
        | R::H2RapidReset
        | R::H2ContinuationFlood
        | R::H2EmptyFrames
        | R::H2SettingsFlood
        | R::H2PingFlood
        | R::H2WindowGames
        | R::H2PriorityFlood
        | R::H2Protocol
        | R::HeadTooLarge
        | R::UriTooLong
        | R::BodyTooLarge
        | R::HeaderTimeout
        | R::BodyTooSlow
        | R::ReadTooSlow
        | R::HandshakeTimeout
        | R::IdleTimeout
        | R::ClientGone => "http_request_error",
        R::UnknownHost | R::Misdirected => "destination_not_found",
        R::UpstreamConnect | R::UpstreamUnhealthy | R::ServiceDown => "destination_unavailable",
        R::UpstreamConnectTimeout => "connection_timeout",
        R::UpstreamFirstByte | R::UpstreamIdle => "http_response_timeout",
        R::UpstreamProtocol => "http_protocol_error",
        R::UpstreamTls => "tls_protocol_error",
        R::Draining | R::ServiceShut | R::ReadOnly | R::SwitchedOff => "proxy_internal_response",
        R::Internal => "proxy_internal_error",
    }
}

/// Sentences by language: English, French. `{s}` stands for `Retry-After`, with its unit.
pub(super) type Sentences = [&'static [&'static str]; 2];

/// What the visitor can do.
pub(super) const fn sentences(family: Family) -> Sentences {
    match family {
        Family::Busy => [
            &[
                "Wait about {s}, then try again.",
                "If you were sending a form, go back with your browser and send it again: what you typed is usually still there.",
                "Reloading again and again does not make it faster.",
            ],
            &[
                "Patientez environ {s}, puis réessayez.",
                "Si vous envoyiez un formulaire, revenez en arrière avec votre navigateur et envoyez-le à nouveau\u{a0}: votre saisie est généralement conservée.",
                "Recharger la page sans cesse ne fait pas gagner de temps.",
            ],
        ],
        Family::Unreachable => [
            &[
                "Wait about {s}, then try again.",
                "If you were sending a form, first check whether it arrived, so that you do not send it twice.",
                "If it lasts, tell us the reference below.",
            ],
            &[
                "Patientez environ {s}, puis réessayez.",
                "Si vous envoyiez un formulaire, vérifiez d'abord s'il est arrivé, pour ne pas l'envoyer deux fois.",
                "Si cela dure, communiquez-nous la référence ci-dessous.",
            ],
        ],
        Family::NotUnderstood => [
            &["Check the address that you typed or followed.", "Try with an up-to-date browser."],
            &["Vérifiez l'adresse que vous avez saisie ou suivie.", "Essayez avec un navigateur à jour."],
        ],
        Family::TooLarge => [
            &[
                "Send a smaller file, or several one after the other.",
                "If the address is very long, start from the home page.",
            ],
            &[
                "Envoyez un fichier plus petit, ou plusieurs l'un après l'autre.",
                "Si l'adresse est très longue, repartez de la page d'accueil.",
            ],
        ],
        Family::TooSlow => [
            &["Check your connection, then try again.", "If you were sending a file, try from a faster network."],
            &[
                "Vérifiez votre connexion, puis réessayez.",
                "Si vous envoyiez un fichier, essayez depuis un réseau plus rapide.",
            ],
        ],
        Family::UnknownHost => [
            &["Check the address that you typed or followed."],
            &["Vérifiez l'adresse que vous avez saisie ou suivie."],
        ],
        Family::Reserved => [
            &["If you are a partner, check the certificate or the key that you were given."],
            &["Si vous êtes partenaire, vérifiez le certificat ou la clé qui vous a été remis."],
        ],
        Family::Closing => {
            [&["Try again: it takes a moment only."], &["Réessayez\u{a0}: ce n'est l'affaire que d'un instant."]]
        }
    }
}
