//! One drawing of the page, whole: all its files, the manifest, the signature.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use crate::render::{DrawError, View, draw, unhide};
use crate::sign::{Key, MANIFEST, SIGNATURE, seal};

/// A file, as it is published and served.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its media type.
    pub media_type: &'static str,
    /// What stands in it.
    pub bytes: Bytes,
    /// The same where the edition is old and the reader must be told so; `None`: no difference.
    pub when_old: Option<Bytes>,
}

/// One drawing of the page.
#[derive(Debug, Clone)]
pub struct Edition {
    /// When it was drawn.
    pub drawn_at: Timestamp,
    /// Until when it may be believed.
    pub valid_until: Timestamp,
    /// Files by path.
    pub files: BTreeMap<String, Page>,
}

impl Edition {
    /// Draws and signs.
    ///
    /// # Errors
    /// A file cannot be drawn: a fault of ours.
    pub fn draw(view: &View<'_>, key: &Key) -> Result<Self, DrawError> {
        let mut drawn = draw(view)?;
        let (drawn_at, valid_until) = (view.now, view.valid_until());
        drawn.push(crate::render::Drawn {
            path: "minisign.pub".into(),
            media_type: "text/plain; charset=utf-8",
            bytes: key.public().text().into_bytes(),
        });
        let sealed = seal(&drawn, drawn_at, valid_until, key);
        let files = drawn.into_iter().chain(sealed).map(|file| {
            let when_old = file.path.ends_with(".html").then(|| unhide(&file.bytes).into());
            (file.path, Page { media_type: file.media_type, bytes: file.bytes.into(), when_old })
        });
        Ok(Self { drawn_at, valid_until, files: files.collect() })
    }

    /// Files in the order in which they must appear where they appear one by one: what pages point at, pages, and at last
    /// what vouches for all.
    pub fn in_order(&self) -> impl Iterator<Item = (&str, &Page)> {
        let rank = |path: &str| match path {
            SIGNATURE => 3,
            MANIFEST => 2,
            page if page.ends_with(".html") => 1,
            _ => 0,
        };
        let mut files: Vec<_> = self.files.iter().map(|(path, page)| (path.as_str(), page)).collect();
        files.sort_by_key(|(path, _)| rank(path));
        files.into_iter()
    }
}
