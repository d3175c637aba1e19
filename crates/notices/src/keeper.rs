//! Keeps the page: looks at what is measured once a second, takes orders, and draws a new edition when something changed.
//!
//! Three threads, none of which waits for another: this one with the journal, one that publishes, and the listener's.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::board::Board;
use crate::bounds::{COMPONENTS_MAX, NOTICES_MAX, ORDERS_WAITING_MAX};
use crate::door::Door;
use crate::drafts::Drafts;
use crate::edition::Edition;
use crate::journal::{Entry, Journal, JournalError};
use crate::model::{Measured, Notice, Site};
use crate::orders::Order;
use crate::publish::{Target, Troubles, keep};
use crate::render::View;
use crate::sign::Key;
use crate::tally::{Counts, Tally};
use crate::watch::{Reading, Watch};
use crate::webhook::{Subscribers, Webhook};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Two editions are at least this far apart.
const APART: Duration = Duration::from_secs(2);

/// What is needed to keep the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the page says of itself and of the services: may change while it is kept ([`Notices::set_site`]).
    pub site: Site,
    /// Where it is kept, served and published: for as long as it is kept.
    pub place: Place,
}

/// Where the page is kept, served and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder of the journal and the key.
    pub directory: PathBuf,
    /// The file of the key with which the page is signed; made where there is none.
    pub key: PathBuf,
    /// Where the page is served; `None`: not by us.
    pub listen: Option<SocketAddr>,
    /// Where else it goes.
    pub targets: Vec<Target>,
    /// Who is told of each revision.
    pub webhooks: Vec<Webhook>,
    /// An edition is drawn at least this often, as sign of life.
    pub sign_of_life: Duration,
    /// For how long a service must be well until what was measured of it is over.
    pub settle_s: u32,
}

impl Place {
    /// The file of the journal.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.directory.join("notices.journal")
    }
}

/// Where readings come from. Asked once a second, on the keeper's thread; it must not wait for a worker.
pub trait Source: Send + Sync + 'static {
    /// What the door knows of each service now, by key.
    fn readings(&self) -> HashMap<String, Reading>;
}

/// What is known now, for who asks.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What was said.
    pub notices: Vec<Notice>,
    /// What was measured, by key.
    pub measured: Vec<(String, Measured)>,
    /// The hash that seals what was said.
    pub chain: String,
    /// When the page was last drawn.
    pub drawn_at: Option<Timestamp>,
}

/// What an order is answered: the number of the notice.
type Done = Result<u32, String>;

/// The running keeper. Dropping it ends it, and the listener with it.
#[derive(Debug)]
pub struct Notices {
    orders: mpsc::Sender<(Order, oneshot::Sender<Done>)>,
    sites: watch::Sender<Site>,
    known: watch::Receiver<Arc<Known>>,
    troubles: Troubles,
    tally: Tally,
    door: Option<Door>,
    public_key: String,
    /// Seconds after which something is wrong where nothing was drawn.
    late_s: i64,
}

/// Why notices cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error("the journal of notices: {0}")]
    Journal(#[from] JournalError),
    /// The folder, the key or the listener.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The first page.
    #[error("{0}")]
    Draw(#[from] crate::render::DrawError),
}

impl Notices {
    /// Opens the journal, draws the first edition, and starts.
    ///
    /// # Errors
    /// What of it does not work; a damaged journal is mended and told instead.
    pub fn start(settings: Settings, source: Arc<dyn Source>) -> Result<Self, StartError> {
        let Settings { site, place } = settings;
        std::fs::create_dir_all(&place.directory)
            .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", place.directory.display())))?;
        let key = Key::load_or_make(&place.key)
            .map_err(|e| io::Error::new(e.kind(), format!("the key {}: {e}", place.key.display())))?;
        let (troubles, tally) = (Troubles::default(), Tally::default());
        let (journal, read, mended) = Journal::open_or_mend(&place.journal())?;
        if let Some(why) = mended {
            troubles.begin("the journal was damaged", &why);
        }
        let board = Board::from_entries(&read.entries).unwrap_or_else(|(at, why)| {
            // Sealed, and yet against the rules: written by another version. What came before it stands.
            troubles.begin("the journal", &format!("entry {} does not follow on those before it: {why}", at + 1));
            Board::from_entries(&read.entries[..at]).unwrap_or_default()
        });
        let now = Timestamp::now();
        let public_key = key.public().line();
        let mut keeper = Keeper {
            watches: HashMap::new(),
            drafts: Drafts::default(),
            site: site.clone(),
            source,
            journal,
            board,
            key,
            troubles: troubles.clone(),
            settle_s: place.settle_s,
            subscribers: Subscribers::start(place.webhooks, &troubles, &tally)?,
            tally: tally.clone(),
        };
        keeper.look(now);
        let (editions, seen) = watch::channel(Arc::new(keeper.edition(now)?));
        let door = place.listen.map(|listen| Door::open(listen, seen.clone())).transpose()?;
        publisher(place.targets, &seen, &troubles, &tally)?;
        let (orders, ordered) = mpsc::channel(ORDERS_WAITING_MAX);
        let (sites, sites_seen) = watch::channel(site);
        let (tell, known) = watch::channel(Arc::new(keeper.known(Some(now))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sign_of_life = place.sign_of_life;
        std::thread::Builder::new().name("guichet-keeper".into()).spawn(move || {
            runtime.block_on(keeper.run(ordered, sites_seen, &editions, &tell, sign_of_life));
        })?;
        let late_s = 2 * i64::try_from(sign_of_life.as_secs()).unwrap_or(i64::MAX / 2);
        Ok(Self { orders, sites, known, troubles, tally, door, public_key, late_s })
    }

    /// Gives an order, and waits until it is on the disk.
    ///
    /// # Errors
    /// Why it was not carried out.
    pub async fn order(&self, order: Order) -> Done {
        let (done, answered) = oneshot::channel();
        self.orders.try_send((order, done)).map_err(|_| "too many orders wait; try again in a moment".to_owned())?;
        answered.await.unwrap_or_else(|_| Err("notices have ended".to_owned()))
    }

    /// The page's facts change, as after a reload.
    pub fn set_site(&self, site: Site) {
        self.sites.send_replace(site);
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Arc<Known> {
        self.known.borrow().clone()
    }

    /// What was drawn, written, published and sent since the start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// What does not work as it should and refuses no user, in words.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let mut troubles = self.troubles.all();
        let drawn_at = self.known.borrow().drawn_at;
        if let Some(at) = drawn_at.filter(|at| Timestamp::now().duration_since(*at).as_secs() > self.late_s) {
            troubles.push(format!("notices: the page was last drawn at {at}: its keeper has ended, or is stuck"));
        }
        troubles
    }

    /// Where the page is served.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.door.as_ref().map(Door::local_addr)
    }

    /// The key with which others verify the page (minisign).
    #[must_use]
    pub fn public_key(&self) -> &str {
        &self.public_key
    }
}

/// The thread on which editions go to their places: a slow disk or server holds up nobody else.
fn publisher(
    targets: Vec<Target>,
    seen: &watch::Receiver<Arc<Edition>>,
    troubles: &Troubles,
    tally: &Tally,
) -> io::Result<()> {
    for target in targets {
        let (seen, troubles, tally) = (seen.clone(), troubles.clone(), tally.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("guichet-publish".into())
            .spawn(move || runtime.block_on(keep(target, seen, troubles, tally)))?;
    }
    Ok(())
}

struct Keeper {
    watches: HashMap<String, Watch>,
    drafts: Drafts,
    site: Site,
    source: Arc<dyn Source>,
    journal: Journal,
    board: Board,
    key: Key,
    troubles: Troubles,
    settle_s: u32,
    subscribers: Subscribers,
    tally: Tally,
}

impl Keeper {
    async fn run(
        mut self,
        mut orders: mpsc::Receiver<(Order, oneshot::Sender<Done>)>,
        mut sites: watch::Receiver<Site>,
        editions: &watch::Sender<Arc<Edition>>,
        tell: &watch::Sender<Arc<Known>>,
        sign_of_life: Duration,
    ) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drawn = Instant::now();
        let mut drawn_at = Timestamp::now();
        let mut changed = false;
        loop {
            tokio::select! {
                _ = look.tick() => changed |= self.look(Timestamp::now()),
                order = orders.recv() => {
                    let Some((order, done)) = order else { return };
                    let answer = self.obey(order);
                    changed |= answer.is_ok();
                    tell.send_replace(Arc::new(self.known(Some(drawn_at))));
                    // Nobody listening for the answer any more is no error.
                    let _ = done.send(answer);
                }
                new = sites.changed() => {
                    if new.is_err() {
                        return;
                    }
                    self.site = sites.borrow_and_update().clone();
                    // New services get their watches before they are drawn.
                    self.look(Timestamp::now());
                    changed = true;
                }
            }
            if (changed && drawn.elapsed() >= APART) || drawn.elapsed() >= sign_of_life {
                (changed, drawn) = (false, Instant::now());
                let now = Timestamp::now();
                match self.edition(now) {
                    Ok(edition) => {
                        self.troubles.end("the page");
                        drawn_at = now;
                        self.tally.note(|counts| counts.editions += 1);
                        editions.send_replace(Arc::new(edition));
                    }
                    Err(error) => self.troubles.begin("the page", &error.to_string()),
                }
            }
            tell.send_replace(Arc::new(self.known(Some(drawn_at))));
        }
    }

    /// Looks at what is measured, and says what follows from it; whether anything changed.
    fn look(&mut self, now: Timestamp) -> bool {
        let readings = self.source.readings();
        let mut changed = false;
        let keys: Vec<String> = self.site.components.iter().map(|component| component.key.clone()).collect();
        self.watches.retain(|key, _| keys.contains(key));
        for key in keys {
            let watch = self.watches.entry(key.clone()).or_insert_with(|| Watch::new(now));
            if let Some(reading) = readings.get(&key) {
                changed |= watch.take(reading, now);
            }
        }
        let measured = self.measured();
        for _ in 0..COMPONENTS_MAX {
            let Some(entry) = self.drafts.next(&self.site, &measured, &self.board, now, self.settle_s) else { break };
            changed |= self.write(&entry).is_ok();
        }
        changed
    }

    fn measured(&self) -> Vec<Measured> {
        let components = self.site.components.iter();
        components.filter_map(|component| self.watches.get(&component.key)).map(Watch::measured).collect()
    }

    fn obey(&mut self, order: Order) -> Done {
        let entry = order.entry(&self.site, &self.board, Timestamp::now()).map_err(|refused| refused.to_string())?;
        self.write(&entry)?;
        match entry {
            Entry::Opened(notice) | Entry::Carried(notice) => Ok(notice.id),
            Entry::Revised { id, .. } => Ok(id),
            Entry::Continued { .. } => Ok(0),
        }
    }

    /// Onto the disk first, then onto the page.
    fn write(&mut self, entry: &Entry) -> Result<(), String> {
        let written = self.journal.append(entry);
        match written {
            Ok(()) => self.troubles.end("the journal cannot be written"),
            Err(error) => {
                self.troubles.begin("the journal cannot be written", &error.to_string());
                return Err(error.to_string());
            }
        }
        self.board.apply(entry);
        self.tally.note(|counts| counts.revisions += 1);
        if let Entry::Opened(Notice { id, .. }) | Entry::Revised { id, .. } = entry
            && let Some(notice) = self.board.notice(*id)
        {
            self.subscribers.tell(&self.site, notice, self.journal.hash());
        }
        if self.journal.is_long() {
            self.go_on();
        }
        Ok(())
    }

    fn go_on(&mut self) {
        let carried: Vec<Notice> = self.board.to_carry(NOTICES_MAX / 2);
        if let Err(error) = self.journal.go_on(self.board.next_id(), &carried) {
            self.troubles.begin("the journal cannot go on in a new file", &error.to_string());
        }
    }

    fn edition(&self, now: Timestamp) -> Result<Edition, crate::render::DrawError> {
        let measured = self.measured();
        let view = View { site: &self.site, measured: &measured, board: &self.board, chain: self.journal.hash(), now };
        Edition::draw(&view, &self.key)
    }

    fn known(&self, drawn_at: Option<Timestamp>) -> Known {
        let keys = self.site.components.iter().map(|component| component.key.clone());
        Known {
            notices: self.board.notices().to_vec(),
            measured: keys.zip(self.measured()).collect(),
            chain: self.journal.hash().to_owned(),
            drawn_at,
        }
    }
}
