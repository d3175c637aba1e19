//! What the requests of a population look like, as signatures see them.

use super::Rng;
use crate::signs::{Dimension, Features};
use crate::source::splitmix;

/// What the requests of a population look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// Like people's browsers: a dozen of them, some common and some rare, on all pages.
    Browsers,
    /// Like people's browsers, but all for one page.
    BrowsersAt(u32),
    /// A tool with marks of its own, at one page.
    Tool(u32),
    /// Another tool, at another page, every ten seconds.
    Tools,
    /// Like people's browsers, at the sign-in, with answers that say that it fails.
    Stuffing,
}

/// Kinds of browsers, and of pages.
const BROWSERS: u64 = 12;
const PAGES: u64 = 8;
/// Values that no browser and no page has.
const TOOL: u32 = 1000;
const SIGN_IN: u32 = 500;

impl Looks {
    /// One request of this source, in the `turn`-th ten seconds of its population. `rng`: which page is asked for.
    #[must_use]
    pub fn of(self, source: u64, turn: u64, has_session: bool, rng: &mut Rng) -> Features {
        // The square makes some browsers common and others rare.
        let unit = (splitmix(source) >> 40) as f64 / (1_u64 << 24) as f64;
        let browser = 1 + (unit * unit * BROWSERS as f64) as u32;
        let page = 1 + rng.below(PAGES) as u32;
        match self {
            Self::Browsers => browsers(browser, page, has_session),
            Self::BrowsersAt(page) => browsers(browser, page, has_session),
            Self::Tool(tool) => tools(tool, 1),
            Self::Tools => tools(turn as u32, 1 + turn as u32 % PAGES as u32),
            Self::Stuffing => {
                browsers(browser, SIGN_IN, false).with(Dimension::Answer, crate::signs::ANSWER_CLIENT_ERRORS)
            }
        }
    }
}

fn browsers(browser: u32, page: u32, has_session: bool) -> Features {
    Features::NONE
        .with(Dimension::Tls, browser)
        .with(Dimension::Http2, 1 + browser / 2)
        .with(Dimension::HeaderOrder, 1 + browser % 5)
        .with(Dimension::Agent, 1 + browser / 3)
        .with(Dimension::AgentVersion, browser)
        .with(Dimension::Answer, 1)
        .with(Dimension::Cookies, if has_session { 3 } else { 1 })
        .with(Dimension::Method, 1)
        .with(Dimension::Route, 1)
        .with(Dimension::Path, page)
}

fn tools(tool: u32, page: u32) -> Features {
    Features::NONE
        .with(Dimension::Tls, TOOL + tool)
        .with(Dimension::HeaderOrder, TOOL + tool)
        .with(Dimension::Agent, 1 + tool % 4)
        .with(Dimension::Cookies, 1)
        .with(Dimension::Method, 1)
        .with(Dimension::Route, 1)
        .with(Dimension::Path, page)
}
