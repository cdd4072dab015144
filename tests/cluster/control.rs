//! The means by which the others do harm, alone: a server that dies and comes back, a network that breaks and is mended.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::common::{
    postgres::{Postgres, sql},
    proxy::Proxy,
};

#[test]
fn a_killed_database_comes_back_with_what_was_committed() {
    let Some(mut server) = Postgres::start() else {
        return;
    };
    let (url, port) = (server.url_of_a_new_database(), server.port);
    sql(&url, "CREATE TABLE said (n INTEGER)");
    let is_there = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    for n in 1..=2 {
        sql(&url, &format!("INSERT INTO said VALUES ({n})"));
        match n {
            1 => server.kill(),
            _ => server.stop(),
        }
        assert!(!is_there());
        server.rise();
        assert_eq!(sql(&url, "SELECT max(n) FROM said"), [n.to_string()]);
    }
    drop(server);
    assert!(!is_there(), "it ends with the test");
}

/// What comes back of what was said, and whether anything did at all.
fn echo(line: &mut TcpStream, said: &[u8]) -> std::io::Result<Vec<u8>> {
    line.write_all(said)?;
    let mut heard = vec![0; said.len()];
    line.read_exact(&mut heard)?;
    Ok(heard)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_works_stands_still_goes_on_and_is_cut() {
    let echoes = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = echoes.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for line in echoes.incoming() {
            let mut line = line.unwrap();
            std::thread::spawn(move || std::io::copy(&mut line.try_clone().unwrap(), &mut line));
        }
    });
    let network = Proxy::to(port).await;
    let dial = || {
        let line = TcpStream::connect(("127.0.0.1", network.port)).unwrap();
        line.set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        line
    };
    let mut line = dial();
    assert_eq!(echo(&mut line, b"one").unwrap(), b"one");
    network.hold();
    let late = echo(&mut line, b"two").unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::WouldBlock);
    let mut new = dial();
    assert!(echo(&mut new, b"new").is_err());
    network.mend();
    let mut heard = [0; 3];
    line.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"two", "what was under way arrives");
    new.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"new");
    network.cut();
    assert_eq!(line.read(&mut heard).unwrap_or(0), 0);
    assert!(echo(&mut dial(), b"no").is_err());
    network.mend();
    assert_eq!(echo(&mut dial(), b"yes").unwrap(), b"yes");
}
