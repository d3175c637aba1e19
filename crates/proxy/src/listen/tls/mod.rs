//! TLS of the listeners: certificates chosen by name and reloaded, sessions resumed, partners recognised.

mod demo;
mod files;
mod identity;
mod store;

pub use demo::{DemoCertificates, client_certificate, self_signed};
pub use files::TlsError;
pub(crate) use identity::tls_info;
pub use store::{CertificateStore, Changed, ListenerTls};
