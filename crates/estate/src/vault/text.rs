//! Words for what stands in a trail.

/// What an action is called on a page; an action that a newer version wrote is shown as such.
pub(super) fn action_words(action: &str, fr: bool) -> &'static str {
    let (in_french, in_english) = match action {
        "deposit" => ("Dépôt", "Deposit"),
        "revise" => ("Nouvelle version", "New version"),
        "shred" => ("Ancienne version détruite", "Old version destroyed"),
        "read" => ("Lecture", "Reading"),
        "erase" => ("Effacement", "Erasure"),
        "move" => ("Déplacement", "Move"),
        "share" => ("Lien de partage fait", "Link made"),
        "unshare" => ("Lien de partage terminé", "Link ended"),
        "export" => ("Export de tout", "Export of everything"),
        "app-password" => ("Mot de passe d'application fait", "Application password made"),
        "app-password-end" => ("Mot de passe d'application terminé", "Application password ended"),
        _ => ("Autre action", "Other action"),
    };
    if fr { in_french } else { in_english }
}
