//! What people and programs read when a request is refused or fails: a page, or a problem document.
//!
//! Everything is rendered once, at start, for each reason, language and kind; a refusal then copies three pieces, with
//! the service's name and the reference code between them, so that refusing stays cheaper than being asked.
//!
//! Decided here:
//! - No `<meta http-equiv="refresh">`: people who read slowly or by ear lose the page under their eyes (WCAG 2.2.1),
//!   and pages that reload by themselves are a flood of their own. `Retry-After` tells programs, a sentence and a link
//!   tell people.
//! - A page goes to whoever would rather have HTML or does not say (curl's `*/*`), unless the service is one for
//!   programs; everybody else gets `application/problem+json` (RFC 9457).
//! - The only picture is an empty one in the page, so that browsers do not ask an overloaded service for an icon.

mod advice;
mod negotiate;
mod redirect;
mod render;
mod respond;
#[cfg(test)]
mod tests;

pub use negotiate::{Kind, Language, kind_for, language_for};
pub use redirect::redirect_to_https;
pub(crate) use render::{STYLE, escaped, page_policy, problem_type, title_and_text};
pub use respond::{RefusalContext, proxy_status, refusal, warm};
