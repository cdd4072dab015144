//! The port: whether the server could listen there, and who does if it could not.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hyper::Uri;
use tokio::task::spawn_blocking;

use super::{
    answer::{Alive, chat_server_at},
    listener,
    report::Finding,
    setup::Setup,
};
use crate::{config::StartupError, server};

const SUBJECT: &str = "port";

/// What was found, and whether a chat-server runs there already.
pub(super) struct Port {
    pub(super) findings: Vec<Finding>,
    pub(super) runs_here: bool,
}

pub(super) async fn check(setup: &Setup) -> Port {
    let mut runs_here = false;
    let finding = match &setup.address {
        Err(fault) => Finding::error(SUBJECT, fault),
        Ok(address) => match server::bind(*address).await {
            Ok(_) if address.port() == 0 => {
                Finding::ok(SUBJECT, format!("{address} takes a free one"))
            }
            Ok(_) => Finding::ok(SUBJECT, format!("{address} is free")),
            Err(fault) => match chat_server_on(*address, &fault).await {
                Some(server) => {
                    runs_here = true;
                    already_there(setup, *address, &server)
                }
                None if is_taken(&fault) => {
                    let port = address.port();
                    let who = spawn_blocking(move || listener::of_port(port)).await;
                    let who = who.ok().flatten();
                    let who = who.map_or(String::new(), |who| format!(" ({who})"));
                    Finding::error(SUBJECT, &fault).and(&who)
                }
                None => Finding::error(SUBJECT, &fault),
            },
        },
    };
    Port {
        findings: vec![finding],
        runs_here,
    }
}

/// The chat-server that keeps the port, if it is one.
async fn chat_server_on(address: SocketAddr, fault: &StartupError) -> Option<Alive> {
    if !is_taken(fault) {
        return None;
    }
    let reached = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}", SocketAddr::new(reached, address.port()));
    chat_server_at(&url.parse::<Uri>().ok()?).await
}

fn is_taken(fault: &StartupError) -> bool {
    matches!(fault, StartupError::Bind { source, .. } if source.kind() == ErrorKind::AddrInUse)
}

fn already_there(setup: &Setup, address: SocketAddr, server: &Alive) -> Finding {
    let Alive { version, mode } = server;
    let ours = setup.mode().as_str();
    let found = format!("chat-server {version} runs on {address} in {mode} mode");
    if mode == ours {
        return Finding::ok(SUBJECT, format!("{found}: that is fine"));
    }
    Finding::warn(
        SUBJECT,
        format!("{found}, and these settings mean {ours} mode"),
        "give the doctor the flags and the environment that the server has, or start the server again with these",
    )
}
