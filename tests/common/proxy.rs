//! A network between a program and a server that can be broken: connections go through it until they do not.
//!
//! Cut, both sides learn at once that it is. Held, nobody learns anything: connections stand, new ones are taken, and not a
//! byte goes through in either direction; when it is mended, what was under way arrives, as TCP would have it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// What the network does.
#[derive(Clone, Debug, Default, PartialEq)]
enum Network {
    /// What it is for.
    #[default]
    Works,
    /// What went through ends, and nothing new comes in.
    Cut,
    /// A line of 1.6 MB/s.
    Slow,
    /// Nothing moves.
    Held,
    /// Nothing moves on these, which the server knows by these ports; on all others it works.
    HeldFor(Arc<HashSet<u16>>),
}

/// A door in front of a server.
pub struct Proxy {
    pub port: u16,
    network: watch::Sender<Network>,
}

impl Proxy {
    /// In front of 127.0.0.1:`target`.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (network, _) = watch::channel(Network::default());
        let told = network.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let network = told.subscribe();
                let mut cut = told.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        () = through(near, target, network) => {}
                        _ = cut.wait_for(|network| *network == Network::Cut) => {}
                    }
                });
            }
        });
        Self { port, network }
    }

    /// Everything that goes through ends, and nothing new comes in until it is mended.
    pub fn cut(&self) {
        self.network.send_replace(Network::Cut);
    }

    /// Everything stands still until it is mended.
    pub fn hold(&self) {
        self.network.send_replace(Network::Held);
    }

    /// These connections stand still until it is mended. The server knows them by these ports.
    pub fn hold_some(&self, ports: impl IntoIterator<Item = u16>) {
        let ports = Arc::new(ports.into_iter().collect());
        self.network.send_replace(Network::HeldFor(ports));
    }

    /// Everything goes through, no faster than such a line carries it.
    pub fn slow(&self) {
        self.network.send_replace(Network::Slow);
    }

    /// From now on connections go through again.
    pub fn mend(&self) {
        self.network.send_replace(Network::Works);
    }
}

/// One connection, which ends when either side ends it.
async fn through(near: TcpStream, target: u16, mut network: watch::Receiver<Network>) {
    // A new one has no port yet.
    if !waits(&mut network, |network| *network != Network::Held).await {
        return;
    }
    let Ok(far) = TcpStream::connect(("127.0.0.1", target)).await else {
        return;
    };
    let (Ok(()), Ok(()), Ok(address)) = (
        near.set_nodelay(true),
        far.set_nodelay(true),
        far.local_addr(),
    ) else {
        return;
    };
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let port = address.port();
    tokio::select! {
        () = one_way(near_in, far_out, port, network.clone()) => {}
        () = one_way(far_in, near_out, port, network) => {}
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    port: u16,
    mut network: watch::Receiver<Network>,
) {
    let mut bytes = vec![0; 16 * 1024];
    let mut line = interval(Duration::from_millis(10));
    line.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // An end is under way like anything else.
        let read = from.read(&mut bytes).await.unwrap_or(0);
        let moves = |network: &Network| match network {
            Network::Works | Network::Slow => true,
            Network::HeldFor(ports) => !ports.contains(&port),
            Network::Held | Network::Cut => false,
        };
        if !waits(&mut network, moves).await || read == 0 {
            return;
        }
        if *network.borrow() == Network::Slow {
            line.tick().await;
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Until the network is like that; whether it will ever be.
async fn waits(network: &mut watch::Receiver<Network>, like: impl FnMut(&Network) -> bool) -> bool {
    network.wait_for(like).await.is_ok()
}
