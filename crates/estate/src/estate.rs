//! Starting and ending services.

use crate::capacity::CapacityModel;
use crate::kit::Kit;
use crate::peers::Peers;
use crate::service::Service;
use crate::smsc::Telephone;
use crate::store::{Database, Place, Store, Tx};
use crate::{app, bank, counter, identity, parcels, portal, rails, server, staff, vault};
use anyhow::{Context, ensure};
use axum::Router;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Each service and its address; port 0 takes a free one. Loopback only: the passwords are published.
    pub listen: Vec<(Service, SocketAddr)>,
    /// Folder of the databases, one file a service; made if need be.
    pub data: PathBuf,
    /// PostgreSQL instead of files, a schema a service; keys stay in the folder.
    pub database: Option<Database>,
    /// Services that run elsewhere, for those here that ask them; a service that is here too is asked here.
    pub elsewhere: Vec<(Service, SocketAddr)>,
    /// Message centre (SMPP 3.4) to which the rails hand text messages; without it and without `telephone` they only wait.
    pub message_centre: Option<SocketAddr>,
    /// Where a test telephone shows the text messages; it is the message centre of this estate then. Loopback only.
    pub telephone: Option<SocketAddr>,
    /// Where the rails take messages of card terminals (ISO 8583); without it they take none. Loopback only.
    pub cards: Option<SocketAddr>,
    /// Other banks that take instant transfers, by BIC.
    pub banks: Vec<(String, SocketAddr)>,
    /// The declared capacity; an empty model has no artificial costs.
    pub capacity: CapacityModel,
}

/// Services that run in this process; they end when this is dropped, and cleanly by [`Estate::stop`].
#[derive(Debug)]
pub struct Estate {
    addresses: Vec<(Service, SocketAddr)>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    stores: Vec<Store>,
    telephone: Option<SocketAddr>,
    cards: Option<SocketAddr>,
}

impl Estate {
    /// Binds all ports, opens all stores (and fills them with test data at first start), then serves.
    ///
    /// # Errors
    /// When an address is no loopback address or is taken, or the data folder can't be used; nothing is left running.
    pub async fn start(options: &Options) -> anyhow::Result<Self> {
        // Ports first: a taken port is found before anything is written.
        let mut bound = Vec::new();
        for &(service, address) in &options.listen {
            ensure!(
                address.ip().is_loopback(),
                "{address}: the estate has published passwords, and listens on loopback addresses only"
            );
            let listener = TcpListener::bind(address)
                .await
                .with_context(|| format!("{}: can't listen on {address}", service.name()))?;
            bound.push((service, listener));
        }
        let mut for_cards = match options.cards {
            Some(address) => Some(listen_for_cards(options, address).await?),
            None => None,
        };
        make_folder(&options.data)?;
        let place = Place { dir: &options.data, database: options.database.as_ref() };
        let (stop, stopped) = watch::channel(false);
        let mut estate = Self {
            addresses: Vec::new(),
            stop,
            tasks: Vec::new(),
            stores: Vec::new(),
            telephone: None,
            cards: for_cards.as_ref().map(TcpListener::local_addr).transpose()?,
        };
        let mut addresses = options.elsewhere.clone();
        for (service, listener) in &bound {
            addresses.push((*service, listener.local_addr()?));
        }
        let peers = Peers::new(addresses).with_banks(options.banks.clone());
        let mut centre = options.message_centre;
        if let Some(page) = options.telephone {
            let telephone = Telephone::start(page, &stopped).await?;
            (centre, estate.telephone) = (Some(telephone.centre), Some(telephone.page));
        }
        for (service, listener) in bound {
            let store = open(place, service).await?;
            let kit = Kit::new(service, store.clone(), options.capacity.of(service), peers.clone());
            if service == Service::Rails {
                let cards = for_cards.take();
                estate.tasks.extend(rails::tasks(&kit, centre, cards, &stopped));
            }
            let routes = crate::faults::on_order(service, router(&kit));
            estate.addresses.push((service, listener.local_addr()?));
            estate.stores.push(store);
            estate.tasks.push(tokio::spawn(server::serve(listener, routes, stopped.clone())));
        }
        Ok(estate)
    }

    /// Where each service listens.
    #[must_use]
    pub fn addresses(&self) -> &[(Service, SocketAddr)] {
        &self.addresses
    }

    /// Where the test telephone shows its messages, if there is one.
    #[must_use]
    pub fn telephone(&self) -> Option<SocketAddr> {
        self.telephone
    }

    /// Where the rails take messages of card terminals, if they do.
    #[must_use]
    pub fn cards(&self) -> Option<SocketAddr> {
        self.cards
    }

    /// Takes no more connections, lets requests under way finish for at most five seconds, closes the stores.
    pub async fn stop(mut self) {
        // Without receivers all services have ended already.
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
        for store in &self.stores {
            store.close().await;
        }
    }
}

async fn listen_for_cards(options: &Options, address: SocketAddr) -> anyhow::Result<TcpListener> {
    ensure!(address.ip().is_loopback(), "{address}: the estate listens on loopback addresses only");
    let here = options.listen.iter().any(|(service, _)| *service == Service::Rails);
    ensure!(here, "cards are taken by the rails, which are not started here");
    TcpListener::bind(address).await.with_context(|| format!("cards: can't listen on {address}"))
}

pub(crate) fn make_folder(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("{}: can't make the data folder", path.display()))
}

/// Opens the store of a service, with its test data at first start.
pub(crate) async fn open(place: impl Into<Place<'_>>, service: Service) -> anyhow::Result<Store> {
    let place = place.into();
    let migrations = match service {
        Service::Portal => portal::MIGRATIONS,
        Service::App => app::MIGRATIONS,
        Service::Identity => identity::MIGRATIONS,
        Service::Vault => vault::MIGRATIONS,
        Service::Bank => bank::MIGRATIONS,
        Service::Rails => rails::MIGRATIONS,
        Service::Counter => counter::MIGRATIONS,
        Service::Parcels => parcels::MIGRATIONS,
        Service::Staff => staff::MIGRATIONS,
    };
    let (store, fresh) = Store::open(place, service, migrations).await?;
    if let Some(mut tx) = fresh {
        seed(service, &mut tx, place.dir).await.with_context(|| format!("{}: test data", service.name()))?;
        tx.commit().await?;
    }
    match service {
        Service::Vault => vault::ready(&store).await.context("vault")?,
        Service::Staff => staff::ready(&store).await.context("staff")?,
        _ => {}
    }
    Ok(store)
}

async fn seed(service: Service, tx: &mut Tx, data: &Path) -> anyhow::Result<()> {
    match service {
        Service::Portal => portal::seed(tx).await,
        Service::App => app::seed(tx).await,
        Service::Identity => identity::seed(tx).await,
        Service::Vault => vault::seed(tx, data).await,
        Service::Bank => bank::seed(tx).await,
        Service::Rails => rails::seed(tx).await,
        Service::Counter => counter::seed(tx).await,
        Service::Parcels => parcels::seed(tx).await,
        Service::Staff => staff::seed(tx).await,
    }
}

/// The routes of a service.
pub(crate) fn router(kit: &Kit) -> Router {
    match kit.service {
        Service::Portal => portal::router(kit),
        Service::App => app::router(kit),
        Service::Identity => identity::router(kit),
        Service::Vault => vault::router(kit),
        Service::Bank => bank::router(kit),
        Service::Rails => rails::router(kit),
        Service::Counter => counter::router(kit),
        Service::Parcels => parcels::router(kit),
        Service::Staff => staff::router(kit),
    }
}
