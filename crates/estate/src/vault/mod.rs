//! The document vault: each document is its owner's alone; a deposit is acknowledged with its SHA-256 once it is on the
//! disk; each reading checks that hash and leaves an entry in a trail that the owner sees.
//!
//! Contents are sealed ([`seal`]); the store, its backups and whoever reads the disk hold nothing readable without the
//! master key. Erasing a document destroys its keys and never its trail.

mod app_passwords;
mod dav;
mod dav_locks;
mod dav_tree;
mod documents;
mod export;
mod keep;
mod links;
mod pages;
mod seal;
mod tables;
mod text;
mod trail;

use crate::bounds::{DOCUMENT_BYTES_MAX, EXPORTS_AT_ONCE_MAX};
use crate::credentials::User;
use crate::kit::Kit;
use crate::oidc::Relying;
use crate::problem::Problem;
use crate::sessions::{Life, Sessions};
use axum::Router;
use axum::routing::{any, delete, get, post, put};
use http::{HeaderMap, StatusCode};
use seal::Key;
use std::sync::Arc;
pub(crate) use tables::{INVARIANTS, MIGRATIONS, ready, seed};
use tokio::sync::Semaphore;

#[derive(Clone)]
struct Vault {
    kit: Kit,
    sessions: Sessions,
    master: Option<Key>,
    locks: dav_locks::AllLocks,
    exports: Arc<Semaphore>,
    identity: Relying,
}

impl Vault {
    fn new(kit: &Kit) -> Self {
        // Whether it is there was checked at the start; if it went away since, each request says so.
        let master = seal::load(&kit.store.dir).map_err(|error| eprintln!("guichet-estate: vault: {error:#}")).ok();
        Self {
            kit: kit.clone(),
            sessions: kit.sessions(Life::DAY),
            master,
            locks: dav_locks::AllLocks::default(),
            exports: Arc::new(Semaphore::new(EXPORTS_AT_ONCE_MAX)),
            identity: Relying::new(kit),
        }
    }

    fn master(&self) -> Result<&Key, Problem> {
        self.master.as_ref().ok_or_else(|| Problem::internal(&"the vault has no master key"))
    }

    async fn user(&self, headers: &HeaderMap) -> Result<User, Problem> {
        self.sessions.require(headers).await
    }
}

pub(crate) fn router(kit: &Kit) -> Router {
    let large = |name, route| kit.op_with_body(name, DOCUMENT_BYTES_MAX, route);
    let erase = kit.op("erase", delete(documents::erase));
    let revise = large("revise", put(documents::revise));
    let dav = || large("dav", any(dav::serve));
    let routes = Router::new()
        .route("/login", kit.op("login", post(documents::login)))
        .route("/documents", kit.op("list", get(documents::list)).merge(large("deposit", post(documents::deposit))))
        .route("/documents/{id}", kit.op("read", get(documents::read)).merge(revise).merge(erase))
        .route("/documents/{id}/versions", kit.op("versions", get(documents::versions)))
        .route("/documents/{id}/links", kit.op("share", get(links::list).post(links::make)))
        .route("/links/{id}", kit.op("share", delete(links::end)))
        .route("/partage/{token}", kit.op("shared", get(pages::shared).post(links::fetch)))
        .route("/trail", kit.op("trail", get(documents::trail)))
        .route("/export", kit.op("export", get(export::export)))
        .route("/app-passwords", kit.op("password", get(app_passwords::list).post(app_passwords::make)))
        .route("/app-passwords/{id}", kit.op("password", delete(app_passwords::end)))
        .route("/dav", dav())
        .route("/dav/", dav())
        .route("/dav/{*path}", dav())
        .merge(pages::routes(kit));
    kit.finish_api(routes.with_state(Vault::new(kit)))
}

/// A random secret for a link or a program: 256 bits in 43 signs.
fn secret() -> Result<String, Problem> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Problem::internal(&error))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

fn too_many(what: &str, max: i64) -> Problem {
    Problem::new(StatusCode::CONFLICT, "too-many", format!("{what}: {max} at most; end one first"))
}
