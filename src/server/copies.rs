//! Who outside is told of every message: from what was set to the tasks that do it, and never to this server itself.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::Uri;
use tokio::{net::lookup_host, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::{Config, StartupError, Webhook},
    hub::Hub,
    metrics::{Metrics, SyncState},
    outbound::{self, Outbound},
    store::{Begin, Follower, Secrets, Store},
    sync::{Destination, Setup, WebhookKey, take_turns},
};

/// How long the start waits for a name server. Who cannot be found now may be there later.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The name of the secret that the webhook's requests are signed with.
pub const WEBHOOK_SECRET: &str = "webhook-secret";

/// Who is told.
#[derive(Clone, Debug, Default)]
pub struct Copying {
    states: Vec<Arc<SyncState>>,
    /// Where the webhook's secret lies, if it was made here.
    pub webhook_secret: Option<String>,
}

impl Copying {
    /// How each of them is doing.
    pub fn states(&self) -> &[Arc<SyncState>] {
        &self.states
    }
}

/// What the tasks are made of.
pub(super) struct Start<'a> {
    pub(super) config: &'a Config,
    pub(super) secrets: &'a Secrets,
    pub(super) store: Arc<dyn Store>,
    pub(super) hub: &'a Hub,
    pub(super) metrics: &'a Metrics,
}

impl Start<'_> {
    /// Starts one task for each who is told. Where they begin is settled when this resolves.
    pub(super) async fn run(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Copying, StartupError> {
        let copies = &self.config.copies;
        let mut copying = Copying::default();
        if let Some(url) = self.config.backend.as_ref().filter(|_| copies.to_backend) {
            let destination = Destination::backend(url, copies.backend_bearer.clone());
            // A copy of everything is what it is for.
            let (follower, begin) = (Follower::Backend, Begin::Oldest);
            let setup = self
                .setup(follower, begin, destination, &mut copying)
                .await?;
            tasks.spawn(take_turns(setup, follower, begin, stop.clone()));
        }
        if let Some(webhook) = &copies.webhook {
            let key = self.key(webhook, &mut copying).await?;
            let destination = Destination::webhook(webhook.url.clone(), key, webhook.dms);
            // Nobody wants all that was ever said at once.
            let (follower, begin) = (Follower::Webhook, Begin::Newest);
            let setup = self
                .setup(follower, begin, destination, &mut copying)
                .await?;
            tasks.spawn(take_turns(setup, follower, begin, stop.clone()));
        }
        Ok(copying)
    }

    async fn setup(
        &self,
        follower: Follower,
        begin: Begin,
        destination: Destination,
        copying: &mut Copying,
    ) -> Result<Setup, StartupError> {
        let limits = &self.config.limits;
        let timeout = Duration::from_secs(limits.sync_timeout_seconds);
        let outbound = Outbound::new(destination.url(), timeout);
        let outbound = outbound.map_err(|source| StartupError::System {
            what: "the system's certificates, by which an https:// server is known, cannot be read",
            source,
        })?;
        let standing = self.store.follow(follower, begin).await?;
        let state = Arc::new(SyncState::new(follower.as_str(), destination.shown()));
        self.metrics.sync.add(state.clone());
        copying.states.push(state.clone());
        state.stands(standing.position, standing.parked);
        Ok(Setup {
            log: self.store.clone(),
            epoch: self.store.epoch().to_owned(),
            destination,
            outbound,
            state,
            clock: self.config.clock.clone(),
            announced: self.hub.announcements(),
            backoff: Duration::from_secs(limits.sync_backoff_seconds),
        })
    }

    async fn key(
        &self,
        webhook: &Webhook,
        copying: &mut Copying,
    ) -> Result<WebhookKey, StartupError> {
        if let Some(key) = &webhook.key {
            return Ok(key.clone());
        }
        let secret = self.secrets.kept(WEBHOOK_SECRET, WebhookKey::make);
        let key = WebhookKey::parse(secret.await?.as_bytes()).map_err(|fault| {
            let why = format!(
                "it {fault}; put the secret back that the receiver knows, or delete it to get a new one"
            );
            self.secrets.error(WEBHOOK_SECRET, why)
        })?;
        copying.webhook_secret = Some(self.secrets.place(WEBHOOK_SECRET));
        Ok(key)
    }
}

/// Refuses a URL that leads back here, where each message would be said again for ever.
pub(crate) async fn never_ourselves(
    config: &Config,
    address: SocketAddr,
) -> Result<(), StartupError> {
    let webhook = config.copies.webhook.as_ref().map(|webhook| &webhook.url);
    for (flag, url) in [
        ("--backend-url (BACKEND_URL)", config.backend.as_ref()),
        ("--webhook", webhook),
    ] {
        let Some(url) = url else { continue };
        if let Some(how) = leads_here(url, address, config).await {
            let (host, port) = (url.host().unwrap_or_default(), outbound::port(url));
            return Err(StartupError::Usage(format!(
                "{flag} leads to this server itself ({host}:{port} is {how}): give the address at which the other server \
                 listens, or let this one listen elsewhere (--bind)"
            )));
        }
    }
    Ok(())
}

/// By which of its names the URL means the server that listens on `bound`, if it does.
async fn leads_here(url: &Uri, bound: SocketAddr, config: &Config) -> Option<&'static str> {
    let host = url.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
    let port = outbound::port(url);
    if config.public_host.as_ref() == Some(&host) && config.public_port == Some(port) {
        return Some("its --public-url");
    }
    if port != bound.port() {
        return None;
    }
    let addresses = match host.parse::<IpAddr>() {
        Ok(ip) => vec![ip],
        Err(_) if outbound::is_here(url) => vec![Ipv4Addr::LOCALHOST.into()],
        Err(_) => match timeout(LOOKUP_TIMEOUT, lookup_host((host, port))).await {
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
            _ => Vec::new(),
        },
    };
    let own = own_addresses(bound.ip());
    let is_own = |ip: IpAddr| {
        let ip = ip.to_canonical();
        // Asked for, 0.0.0.0 is this machine.
        let is_here = ip.is_loopback() || ip.is_unspecified();
        own.iter()
            .any(|own| *own == ip || own.is_loopback() && is_here)
    };
    addresses
        .into_iter()
        .any(is_own)
        .then_some("where it listens")
}

/// The addresses by which a server that listens on `ip` is reached.
fn own_addresses(ip: IpAddr) -> Vec<IpAddr> {
    let ip = ip.to_canonical();
    if !ip.is_unspecified() {
        return vec![ip];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.iter().map(|interface| interface.ip());
    addresses.chain([Ipv4Addr::LOCALHOST.into()]).collect()
}
