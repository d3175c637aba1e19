//! What Guichet serves in a drill when a service is away: in drills with faults its configuration has contracts.

use super::guichet::quoted;
use std::fmt::Write as _;
use std::path::Path;

/// Name of each service in English and French, and the other ways to do the same.
const CONTRACTS: [(&str, &str, &str, &str); 9] = [
    ("portal", "Web site", "Site web", "\"telephone\", \"counter\""),
    ("app", "Mobile application", "Application mobile", "\"counter\", \"telephone\""),
    ("identity", "Digital identity", "Identité numérique", "\"counter\""),
    ("vault", "Document store", "Coffre-fort numérique", "\"counter\""),
    ("bank", "Online bank", "Banque en ligne", "\"cash-machine\", \"counter\", \"telephone\""),
    ("rails", "Cards and payments", "Cartes et paiements", "\"counter\""),
    ("counter", "Counters", "Guichets", "\"telephone\""),
    ("parcels", "Parcel tracking", "Suivi de colis", "\"telephone\", \"counter\""),
    ("staff", "Files of the staff", "Dossiers des agents", "\"telephone\""),
];

/// The channels that contracts name.
pub(super) const CHANNELS: &str = "\
[channel.counter]
name = { en = \"Post-office counter\", fr = \"Guichet de poste\" }
hours = { en = \"weekdays 9:00 to 18:00\", fr = \"en semaine, de 9 h à 18 h\" }
address = { en = \"any post office\", fr = \"tout bureau de poste\" }

[channel.cash-machine]
name = { en = \"Cash machine\", fr = \"Distributeur de billets\" }
hours = { en = \"day and night\", fr = \"jour et nuit\" }

[channel.telephone]
name = { en = \"Telephone\", fr = \"Téléphone\" }
hours = { en = \"every day 8:00 to 20:00\", fr = \"tous les jours, de 8 h à 20 h\" }
telephone = \"3639\"

";

/// The page that peers serve where a service is away: one for all services, as an operator would write it. No per cent sign: Envoy
/// takes it for a command.
pub(super) fn away_page() -> String {
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not available at the moment</title>\
     <h1>This service is not available at the moment</h1><p>We are working on it. These other ways work:</p>\
     <ul><li>any post-office counter, weekdays 9:00 to 18:00</li><li>cash machines, day and night</li>\
     <li>by telephone: 3639, every day 8:00 to 20:00</li></ul></html>\n"
        .to_owned()
}

/// The status page: a listener of its own, the journal in a folder of its own. English only: what it says is read by name.
pub(super) fn notices(directory: &Path, port: u16) -> String {
    let directory = quoted(directory.display());
    format!(
        "[notices]\ndirectory = {directory}\nlisten = \"127.0.0.1:{port}\"\nurl = \"http://127.0.0.1:{port}\"\nlanguages = [\"en\"]\n\n"
    )
}

/// The contract of a service, and what is kept of its pages: only those that are the same for everybody.
pub(super) fn contract(toml: &mut String, service: &str, kept: bool) {
    let Some((name, english, french, ways)) = CONTRACTS.iter().find(|(name, ..)| *name == service) else { return };
    // Writing to a `String` can't fail.
    let _ = write!(
        toml,
        "[service.{name}.contract]\nname = {{ en = \"{english}\", fr = \"{french}\" }}\nways = [{ways}]\nfallback = \"page\"\n"
    );
    toml.push_str(if kept { "stale = { if_error_s = 3600, while_revalidate_s = 10 }\n\n" } else { "\n" });
    if kept && *name == "portal" {
        let _ = write!(
            toml,
            "[[service.portal.route]]\npath = \"/\"\ncache = {{ query = [], ttl_s = 2, vary = [\"accept-language\"] }}\n\n\
             [[service.portal.route]]\npath = \"/suivi\"\ncache = {{ query = [\"id\"], ttl_s = 2, vary = [\"accept-language\"] }}\n\n\
             [[service.portal.route]]\npath = \"/compte\"\ncost = 1.0\n\n"
        );
    }
}
