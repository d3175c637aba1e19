//! What the page says, in both languages.

use crate::model::{Impact, Language, Measured, Stage};

/// The page's own texts.
pub(super) struct Texts {
    pub(super) silent: &'static str,
    pub(super) alive: &'static str,
    pub(super) valid: &'static str,
    pub(super) after: &'static str,
    pub(super) again: &'static str,
    pub(super) now: &'static str,
    pub(super) services: &'static str,
    pub(super) measured_by: &'static str,
    pub(super) since: &'static str,
    pub(super) instead: &'static str,
    pub(super) ways: &'static str,
    pub(super) hours: &'static str,
    pub(super) place: &'static str,
    pub(super) telephone: &'static str,
    pub(super) planned: &'static str,
    pub(super) history: &'static str,
    pub(super) no_history: &'static str,
    pub(super) draft: &'static str,
    pub(super) data: &'static str,
    pub(super) evidence: &'static str,
    pub(super) by_measurement: &'static str,
    pub(super) by_operator: &'static str,
    pub(super) kept: &'static str,
    pub(super) manifest: &'static str,
    pub(super) chain: &'static str,
}

static FR: Texts = Texts {
    silent: "Cette page n’est plus tenue à jour : sa source se tait. Ce qui suit peut être faux. Les autres moyens d’agir restent valables.",
    alive: "Dernier signe de vie :",
    valid: "Valable jusqu’au",
    after: " ; passé cette heure, ce qui suit n’est plus sûr.",
    again: "Actualiser",
    now: "En ce moment",
    services: "Les services",
    measured_by: "D’après nos propres mesures à l’entrée, non d’après une déclaration.",
    since: "depuis le",
    instead: "En attendant, utilisez :",
    ways: "Les autres moyens d’agir",
    hours: "Horaires :",
    place: "Adresse :",
    telephone: "Téléphone :",
    planned: "Travaux planifiés",
    history: "Historique",
    no_history: "Aucun incident.",
    draft: "Constat automatique ; l’exploitant ne s’est pas encore exprimé.",
    data: "Vos données :",
    evidence: "Ce qui permet de le dire :",
    by_measurement: "mesure",
    by_operator: "l’exploitant",
    kept: "Rien n’est modifié ici, tout est complété. À suivre aussi :",
    manifest: "liste signée des fichiers",
    chain: "Empreinte de tout ce qui a été dit :",
};

static EN: Texts = Texts {
    silent: "This page is not kept up to date any more: its source is silent. What follows may be wrong. The other ways are still good.",
    alive: "Last sign of life:",
    valid: "Valid until",
    after: "; after that, what follows is not certain.",
    again: "Load again",
    now: "Right now",
    services: "The services",
    measured_by: "By our own measurements at the door, not by declaration.",
    since: "since",
    instead: "In the meantime, use:",
    ways: "Other ways",
    hours: "Hours:",
    place: "Address:",
    telephone: "Telephone:",
    planned: "Planned work",
    history: "History",
    no_history: "No incidents.",
    draft: "Found by measurement; the operator has not spoken yet.",
    data: "Your data:",
    evidence: "How we know:",
    by_measurement: "measurement",
    by_operator: "the operator",
    kept: "Nothing is edited here, only added. Also to follow:",
    manifest: "signed list of the files",
    chain: "Fingerprint of all that was said:",
};

pub(super) fn texts(language: Language) -> &'static Texts {
    match language {
        Language::Fr => &FR,
        Language::En => &EN,
    }
}

pub(super) fn own_name(language: Language) -> &'static str {
    match language {
        Language::Fr => "Français",
        Language::En => "English",
    }
}

pub(super) fn under_work(language: Language) -> &'static str {
    match language {
        Language::Fr => "Travaux en cours",
        Language::En => "Planned work going on",
    }
}

pub(super) fn summary(impact: Impact, language: Language) -> &'static str {
    match (impact, language) {
        (Impact::None, Language::Fr) => "Tous les services fonctionnent",
        (Impact::None, Language::En) => "All services work",
        (Impact::Minor, Language::Fr) => "Certains services fonctionnent difficilement",
        (Impact::Minor, Language::En) => "Some services work with difficulty",
        (Impact::Major, Language::Fr) => "Certains services sont indisponibles, d’autres fonctionnent",
        (Impact::Major, Language::En) => "Some services are unavailable, others work",
        (Impact::Critical, Language::Fr) => "Les services sont indisponibles",
        (Impact::Critical, Language::En) => "The services are unavailable",
    }
}

pub(super) fn stage(stage: Stage, planned: bool, language: Language) -> &'static str {
    match (stage, planned, language) {
        (Stage::Resolved, false, Language::Fr) => "clos",
        (Stage::Resolved, false, Language::En) => "over",
        (Stage::Resolved, true, Language::Fr) => "terminé",
        (Stage::Resolved, true, Language::En) => "done",
        (_, true, Language::Fr) => "annoncé",
        (_, true, Language::En) => "announced",
        (Stage::Investigating, false, Language::Fr) => "en cours d’examen",
        (Stage::Investigating, false, Language::En) => "being looked into",
        (Stage::Identified, false, Language::Fr) => "cause connue",
        (Stage::Identified, false, Language::En) => "cause known",
        (Stage::Monitoring, false, Language::Fr) => "rétabli, sous surveillance",
        (Stage::Monitoring, false, Language::En) => "mended, being watched",
    }
}

/// How many of the requests of the last minutes were answered; nothing where nobody asked.
pub(super) fn goodput(measured: &Measured, language: Language) -> String {
    let Some(share) = measured.goodput else { return String::new() };
    // Ninety-nine and a half is not all.
    let percent = (share * 1000.0).floor() / 10.0;
    match language {
        Language::Fr => format!(
            "{} % des {} demandes des cinq dernières minutes ont abouti.",
            percent.to_string().replace('.', ","),
            measured.requests
        ),
        Language::En => {
            format!("{percent} % of the {} requests of the last five minutes were answered.", measured.requests)
        }
    }
}
