//! The vault as a WebDAV folder: what the protocol asks for, turned into what the store does.

use super::dav_tree::{Node, Tree, fault, plain, store_fault};
use super::{Vault, app_passwords};
use crate::bounds::{DOCUMENT_BYTES_MAX, PROPERTIES_PER_PLACE_MAX, PROPERTY_BYTES_MAX};
use crate::kit::Page;
use crate::problem::Problem;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use dav_server::DavHandler;
use dav_server::davpath::DavPath;
use dav_server::fs::{
    DavDirEntry, DavFile, DavFileSystem, DavMetaData, DavProp, FsError, FsFuture, FsResult, FsStream, OpenOptions,
    ReadDirMeta,
};
use futures_util::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use std::io::SeekFrom;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(super) async fn serve(State(vault): State<Vault>, request: Request) -> Response {
    let user = match app_passwords::basic(&vault, request.headers()).await {
        Ok(user) => user,
        Err(problem) => return challenge(problem),
    };
    let locks = vault.locks.of(&user.name);
    let tree = Tree { vault, owner: user.name.clone() };
    let handler = DavHandler::builder().filesystem(Box::new(tree)).locksystem(locks).strip_prefix("/dav");
    let handler = handler.principal(user.name).build_handler();
    let mut response = handler.handle(request).await.map(Body::new);
    let headers = response.headers_mut();
    // What is in a vault came from anywhere: no browser runs it as part of this site.
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    // The protocol has its own way to tell errors.
    response.extensions_mut().insert(Page);
    response
}

fn challenge(problem: Problem) -> Response {
    let mut response = problem.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Basic realm=\"vault\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    }
    response
}

#[derive(Clone, Debug)]
struct Meta {
    node: Node,
}

impl DavMetaData for Meta {
    fn len(&self) -> u64 {
        match &self.node {
            Node::Folder { .. } => 0,
            Node::Document(card) => card.size_bytes.unsigned_abs(),
        }
    }

    fn modified(&self) -> FsResult<SystemTime> {
        let ms = match &self.node {
            Node::Folder { made_ms, .. } => *made_ms,
            Node::Document(card) => card.received_ms,
        };
        Ok(UNIX_EPOCH + Duration::from_millis(ms.unsigned_abs()))
    }

    fn is_dir(&self) -> bool {
        matches!(self.node, Node::Folder { .. })
    }

    fn etag(&self) -> Option<String> {
        match &self.node {
            Node::Folder { made_ms, .. } => Some(format!("f{made_ms:x}")),
            Node::Document(card) => Some(format!("{}-{}", card.current, &card.sha256[..24])),
        }
    }
}

struct DirEntry {
    node: Node,
}

impl DavDirEntry for DirEntry {
    fn name(&self) -> Vec<u8> {
        self.node.path().rsplit('/').next().unwrap_or("").as_bytes().to_vec()
    }

    fn metadata(&'_ self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        let meta = Meta { node: self.node.clone() };
        Box::pin(async move { Ok(Box::new(meta) as Box<dyn DavMetaData>) })
    }
}

/// A document that is being read or written, whole in memory: documents are small.
struct File {
    tree: Tree,
    path: String,
    content: Vec<u8>,
    place: usize,
    append: bool,
    written: bool,
    node: Option<Node>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "File({}, {} bytes)", self.path, self.content.len())
    }
}

impl File {
    fn write(&mut self, bytes: &[u8]) -> FsResult<()> {
        if self.append {
            self.place = self.content.len();
        }
        let end =
            self.place.checked_add(bytes.len()).filter(|end| *end <= DOCUMENT_BYTES_MAX).ok_or(FsError::TooLarge)?;
        if end > self.content.len() {
            self.content.resize(end, 0);
        }
        self.content[self.place..end].copy_from_slice(bytes);
        self.place = end;
        Ok(())
    }
}

impl DavFile for File {
    fn metadata(&'_ mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        Box::pin(async move {
            let node = match &self.node {
                Some(node) => node.clone(),
                None => self.tree.find(&self.path).await?,
            };
            Ok(Box::new(Meta { node }) as Box<dyn DavMetaData>)
        })
    }

    fn write_buf(&'_ mut self, mut buf: Box<dyn bytes::Buf + Send>) -> FsFuture<'_, ()> {
        Box::pin(async move {
            while buf.has_remaining() {
                let count = buf.chunk().len();
                self.write(buf.chunk())?;
                buf.advance(count);
            }
            Ok(())
        })
    }

    fn write_bytes(&'_ mut self, buf: Bytes) -> FsFuture<'_, ()> {
        Box::pin(async move { self.write(&buf) })
    }

    fn read_bytes(&'_ mut self, count: usize) -> FsFuture<'_, Bytes> {
        Box::pin(async move {
            let start = self.place.min(self.content.len());
            let end = start.saturating_add(count).min(self.content.len());
            self.place = end;
            Ok(Bytes::copy_from_slice(&self.content[start..end]))
        })
    }

    fn seek(&'_ mut self, place: SeekFrom) -> FsFuture<'_, u64> {
        Box::pin(async move {
            let (base, more) = match place {
                SeekFrom::Start(start) => (0, i64::try_from(start).map_err(|_| FsError::TooLarge)?),
                SeekFrom::Current(more) => (self.place, more),
                SeekFrom::End(more) => (self.content.len(), more),
            };
            let place = usize::try_from(more).ok().and_then(|more| base.checked_add(more));
            let place = place.or_else(|| base.checked_sub(usize::try_from(more.unsigned_abs()).ok()?));
            self.place = place.filter(|place| *place <= DOCUMENT_BYTES_MAX).ok_or(FsError::TooLarge)?;
            Ok(self.place as u64)
        })
    }

    fn flush(&'_ mut self) -> FsFuture<'_, ()> {
        Box::pin(async move {
            if self.written {
                self.tree.put(&self.path, &self.content).await?;
                self.node = None;
            }
            Ok(())
        })
    }
}

impl DavFileSystem for Tree {
    fn open<'a>(&'a self, path: &'a DavPath, options: OpenOptions) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async move {
            let path = plain(path)?;
            let node = match self.find(&path).await {
                Ok(Node::Folder { .. }) => return Err(FsError::Forbidden),
                Ok(Node::Document(_)) if options.create_new => return Err(FsError::Exists),
                Ok(node @ Node::Document(_)) => Some(node),
                Err(FsError::NotFound) if options.create || options.create_new => {
                    self.parent_of(&path).await?;
                    // Only what is to be filled comes without being cut first: a lock on what is not there yet makes it.
                    if !options.truncate {
                        self.put(&path, b"").await?;
                    }
                    None
                }
                Err(error) => return Err(error),
            };
            let written = options.write || options.append;
            let content = match &node {
                Some(Node::Document(card)) if !options.truncate => self.read(&card.id).await?.content,
                _ => Vec::new(),
            };
            let file = File { tree: self.clone(), path, content, place: 0, append: options.append, written, node };
            Ok(Box::new(file) as Box<dyn DavFile>)
        })
    }

    fn read_dir<'a>(&'a self, path: &'a DavPath, _meta: ReadDirMeta) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(async move {
            let path = plain(path)?;
            let Node::Folder { .. } = self.find(&path).await? else { return Err(FsError::Forbidden) };
            let entries = self.children(&path).await?;
            let entries = futures_util::stream::iter(entries);
            let entries = entries.map(|node| Ok(Box::new(DirEntry { node }) as Box<dyn DavDirEntry>));
            Ok(Box::pin(entries) as FsStream<Box<dyn DavDirEntry>>)
        })
    }

    fn metadata<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            let node = self.find(&plain(path)?).await?;
            // A document is no folder, even where the path ends as a folder's.
            if path.is_collection() && matches!(node, Node::Document(_)) {
                return Err(FsError::NotFound);
            }
            Ok(Box::new(Meta { node }) as Box<dyn DavMetaData>)
        })
    }

    fn create_dir<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, ()> {
        Box::pin(async move { self.make_folder(&plain(path)?).await })
    }

    fn remove_dir<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, ()> {
        Box::pin(async move { self.remove(&plain(path)?).await })
    }

    fn remove_file<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, ()> {
        Box::pin(async move { self.remove(&plain(path)?).await })
    }

    fn rename<'a>(&'a self, from: &'a DavPath, to: &'a DavPath) -> FsFuture<'a, ()> {
        Box::pin(async move { Tree::rename(self, &plain(from)?, &plain(to)?).await })
    }

    fn copy<'a>(&'a self, from: &'a DavPath, to: &'a DavPath) -> FsFuture<'a, ()> {
        Box::pin(async move {
            let (from, to) = (plain(from)?, plain(to)?);
            let Node::Document(card) = self.find(&from).await? else { return Err(FsError::Forbidden) };
            let opened = self.read(&card.id).await?;
            self.put(&to, &opened.content).await?;
            self.copy_properties(&from, &to).await
        })
    }

    fn have_props<'a>(&'a self, _path: &'a DavPath) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(std::future::ready(true))
    }

    fn patch_props<'a>(
        &'a self,
        path: &'a DavPath,
        patch: Vec<(bool, DavProp)>,
    ) -> FsFuture<'a, Vec<(StatusCode, DavProp)>> {
        Box::pin(async move { self.set_properties(&plain(path)?, patch).await })
    }

    fn get_props<'a>(&'a self, path: &'a DavPath, do_content: bool) -> FsFuture<'a, Vec<DavProp>> {
        Box::pin(async move {
            let mut properties = self.properties(&plain(path)?).await?;
            if !do_content {
                properties.iter_mut().for_each(|property| property.xml = None);
            }
            Ok(properties)
        })
    }

    fn get_prop<'a>(&'a self, path: &'a DavPath, wanted: DavProp) -> FsFuture<'a, Vec<u8>> {
        Box::pin(async move {
            let properties = self.properties(&plain(path)?).await?;
            let same = |property: &DavProp| {
                property.name == wanted.name
                    && property.namespace.as_deref().unwrap_or("") == wanted.namespace.as_deref().unwrap_or("")
            };
            properties.into_iter().find(same).and_then(|property| property.xml).ok_or(FsError::NotFound)
        })
    }

    fn get_quota(&'_ self) -> FsFuture<'_, (u64, Option<u64>)> {
        Box::pin(async move {
            let (used, total) = self.quota().await?;
            Ok((used, Some(total)))
        })
    }
}

impl Tree {
    /// The properties that clients keep at a path.
    async fn properties(&self, path: &str) -> FsResult<Vec<DavProp>> {
        let rows: Vec<(String, String, String, Vec<u8>)> = sqlx::query_as(
            "SELECT namespace, name, prefix, xml FROM property WHERE owner = $1 AND path = $2 ORDER BY namespace, name",
        )
        .bind(&self.owner)
        .bind(path)
        .fetch_all(&self.vault.kit.store.reader)
        .await
        .map_err(store_fault)?;
        let some = |text: String| (!text.is_empty()).then_some(text);
        let property = |(namespace, name, prefix, xml)| DavProp {
            name,
            prefix: some(prefix),
            namespace: some(namespace),
            xml: Some(xml),
        };
        Ok(rows.into_iter().map(property).collect())
    }

    /// Sets and removes properties: all of them or none.
    async fn set_properties(&self, path: &str, patch: Vec<(bool, DavProp)>) -> FsResult<Vec<(StatusCode, DavProp)>> {
        let mut tx = self.begin().await?;
        let mut told = Vec::new();
        for (set, property) in patch {
            let namespace = property.namespace.clone().unwrap_or_default();
            sqlx::query("DELETE FROM property WHERE owner = $1 AND path = $2 AND namespace = $3 AND name = $4")
                .bind(&self.owner)
                .bind(path)
                .bind(&namespace)
                .bind(&property.name)
                .execute(&mut *tx)
                .await
                .map_err(store_fault)?;
            if set {
                let xml = property.xml.clone().unwrap_or_default();
                if xml.len() + namespace.len() + property.name.len() > PROPERTY_BYTES_MAX {
                    return Err(FsError::InsufficientStorage);
                }
                sqlx::query(
                    "INSERT INTO property (owner, path, namespace, name, prefix, xml) VALUES ($1, $2, $3, $4, $5, $6)",
                )
                .bind(&self.owner)
                .bind(path)
                .bind(&namespace)
                .bind(&property.name)
                .bind(property.prefix.clone().unwrap_or_default())
                .bind(xml)
                .execute(&mut *tx)
                .await
                .map_err(store_fault)?;
            }
            told.push((StatusCode::OK, DavProp { xml: None, ..property }));
        }
        let count: i64 =
            sqlx::query_scalar("SELECT CAST(count(*) AS BIGINT) FROM property WHERE owner = $1 AND path = $2")
                .bind(&self.owner)
                .bind(path)
                .fetch_one(&mut *tx)
                .await
                .map_err(store_fault)?;
        if count > PROPERTIES_PER_PLACE_MAX {
            return Err(FsError::InsufficientStorage);
        }
        tx.commit().await.map_err(store_fault)?;
        Ok(told)
    }

    async fn copy_properties(&self, from: &str, to: &str) -> FsResult<()> {
        let properties = self.properties(from).await?;
        if properties.is_empty() {
            return Ok(());
        }
        let patch = properties.into_iter().map(|property| (true, property)).collect();
        self.set_properties(to, patch).await.map(drop).map_err(|error| match error {
            FsError::NotFound => fault(Problem::not_found("document")),
            other => other,
        })
    }
}
