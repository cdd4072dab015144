//! The way to another server, step by step: its name, then a connection, with how long each took.

use std::net::SocketAddr;

use hyper::Uri;
use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout},
};

use super::PATIENCE;
use crate::outbound::port;

const CONTAINER: &str =
    "inside a container localhost is the container itself: use the other one's name there";

/// Finds the address and connects; how long each took, or what is wrong and the fix.
pub(super) async fn reach(url: &Uri) -> Result<String, (String, String)> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let seconds = PATIENCE.as_secs();
    let start = Instant::now();
    let found = timeout(PATIENCE, lookup_host((host, port(url)))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let found = format!("has a name that cannot be looked up ({error})");
            return Err((
                found,
                format!("correct the name {host}, or the name server of this machine; {CONTAINER}"),
            ));
        }
        Err(_) => {
            let found = format!("has a name that is not looked up within {seconds} s");
            return Err((
                found,
                "find out why this machine's name server does not answer (/etc/resolv.conf)".into(),
            ));
        }
    };
    let (looked_up, start) = (start.elapsed().as_millis(), Instant::now());
    match timeout(PATIENCE, TcpStream::connect(&*addresses)).await {
        Ok(Ok(_)) => {
            let connected = start.elapsed().as_millis();
            Ok(format!(
                "name found in {looked_up} ms, connected in {connected} ms"
            ))
        }
        Ok(Err(error)) => {
            let found = format!("cannot be connected to ({error})");
            Err((
                found,
                format!("start it, or correct the port {}; {CONTAINER}", port(url)),
            ))
        }
        Err(_) => {
            let found = format!("does not take a connection within {seconds} s");
            Err((
                found,
                format!(
                    "let the firewall between pass port {}, or correct the address",
                    port(url)
                ),
            ))
        }
    }
}
