//! Where people reach a service that takes passkeys: WebAuthn binds each passkey to that name.

use crate::service::Service;
use anyhow::Context as _;
use webauthn_rs::prelude::{Url, Webauthn, WebauthnBuilder};

/// The relying party of a service: `GUICHET_STAFF_ORIGIN` for the staff and so on, by default `https://NAME.localhost` on any
/// port.
///
/// # Errors
/// When the variable is no origin with a name.
pub(crate) fn of(service: Service) -> anyhow::Result<Webauthn> {
    let variable = format!("GUICHET_{}_ORIGIN", service.name().to_ascii_uppercase());
    let told = std::env::var(&variable).ok();
    let any_port = told.is_none();
    let origin = told.unwrap_or_else(|| format!("https://{}.localhost", service.name()));
    let origin: Url = origin.parse().with_context(|| format!("{variable}: {origin} is no origin"))?;
    let id = origin.domain().with_context(|| format!("{variable} needs a name, not an address"))?.to_owned();
    let builder = WebauthnBuilder::new(&id, &origin).with_context(|| format!("{variable} can't be a relying party"))?;
    builder.rp_name("Poste de Guichet").allow_any_port(any_port).build().context("the relying party can't be made")
}
