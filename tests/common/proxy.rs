//! A network between a program and a server that can be cut: connections go through it until they do not.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A door in front of a server. Cut, it drops what goes through it and lets nothing new in.
pub struct Proxy {
    pub port: u16,
    cuts: watch::Sender<()>,
    is_cut: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of 127.0.0.1:`target`.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (cuts, _) = watch::channel(());
        let is_cut = Arc::new(AtomicBool::new(false));
        let (heard, closed) = (cuts.clone(), is_cut.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut cut = heard.subscribe();
                if closed.load(SeqCst) {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", target)).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, cuts, is_cut }
    }

    /// Everything that goes through ends, and nothing new comes in until it is mended.
    pub fn cut(&self) {
        self.is_cut.store(true, SeqCst);
        let _ = self.cuts.send(());
    }

    /// From now on connections go through again.
    pub fn mend(&self) {
        self.is_cut.store(false, SeqCst);
    }
}
