//! Connections to the database: how far they are safe, what is refused, and what is waited for.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use chat_server::store::{
    Directory as _, Messages as _,
    postgres::{self, OpenError, PgStore, Url},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use common::postgres::{port_of, sql, url_of_a_new_database};

fn impatient() -> Options {
    Options {
        wait: Duration::ZERO,
        mode: Mode::Standalone,
        switch_mode: false,
        write_queue: 16,
        batch_max: 16,
        feed_batches: 16,
        readers: 1,
        patience: Duration::from_secs(5),
        clock: ticking(),
    }
}

async fn open(
    url: &str,
    options: &Options,
) -> Result<(PgStore, CommitFeed, postgres::WriterHandle), OpenError> {
    PgStore::open(&Url::parse(url)?, options, Counters::default()).await
}

/// Opens it, stores something over its writer and reads it over its pool.
async fn try_it(url: &str) -> Result<(), OpenError> {
    let (store, _feed, writer) = open(url, &impatient()).await?;
    store.see_user(user(1), name("ann")).await.unwrap();
    let receipt = store.append(said(1, "hello")).await.unwrap();
    soon("an ack", receipt).await.unwrap();
    writer.stop().await;
    Ok(())
}

/// It is refused with a sentence in which `word` stands and the password does not.
async fn is_refused(url: &str, word: &str) -> OpenError {
    let error = try_it(url).await.unwrap_err();
    let said = format!("{error} {error:?} {}", error.fix());
    assert!(said.contains(word), "{url}: {said}");
    assert!(!said.contains("hunter2"), "{said}");
    error
}

/// An authority's certificate, and one for the server that it issued: for `localhost`, by openssl.
fn certificates(folder: &Path) -> PathBuf {
    let script = r#"
        set -e
        cd "$1"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority -keyout root.key -out root.pem 2>log
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=another -keyout other.key -out other.pem 2>log
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=db -keyout server.key -out server.csr 2>log
        echo subjectAltName=DNS:localhost >names
        openssl x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile names -out server.pem 2>log
        openssl x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out old.pem 2>log
        openssl req -newkey rsa:2048 -nodes -subj /CN=db -keyout rsa.key -out rsa.csr 2>log
        openssl x509 -req -in rsa.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out rsa.pem 2>log"#;
    let mut made = Command::new("sh");
    made.args(["-c", script, "certificates"]).arg(folder);
    assert!(made.status().unwrap().success(), "openssl");
    folder.join("root.pem")
}

/// Puts the certificate before the throw-away server, for all databases in it: who asks for nothing goes on as before.
/// `locked` is a role that must bring its password, by SCRAM.
fn secure(url: &str, folder: &Path) {
    put_certificate(url, folder);
    let rule = "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; echo host all locked 127.0.0.1/32 scram-sha-256 | cat - pg_hba.conf > new; mv new pg_hba.conf'";
    sql(url, rule);
    for change in [
        "ALTER SYSTEM SET ssl_cert_file = 'server.pem'",
        "ALTER SYSTEM SET ssl_key_file = 'server.key'",
        "ALTER SYSTEM SET ssl = on",
        "CREATE ROLE locked SUPERUSER LOGIN PASSWORD 'hunter2'",
        "SELECT pg_reload_conf()",
    ] {
        sql(url, change);
    }
    let begun = Instant::now();
    while sql(url, "SHOW ssl") != ["on"] {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

fn put_certificate(url: &str, folder: &Path) {
    for file in ["server.pem", "server.key"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        let put = format!(
            "COPY (SELECT unnest(string_to_array('{}', E'\\n'))) TO PROGRAM 'umask 077; cat > {file}'",
            text.trim_end()
        );
        sql(url, &put);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_as_safe_as_the_url_asks() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let root = certificates(folder.path());
    secure(&url, folder.path());
    let (root, other) = (root.display(), folder.path().join("other.pem"));
    let by_name = url.replace("127.0.0.1", "localhost");
    let in_use = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                  WHERE application_name = 'chat-server' AND datname = current_database() AND NOT ssl";
    for good in [
        format!("{url}?sslmode=require"),
        format!("{url}?sslmode=require&sslrootcert={root}"),
        format!("{url}?sslmode=verify-ca&sslrootcert={root}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={root}"),
        // The server's own certificate, given as it is.
        format!(
            "{by_name}?sslmode=verify-full&sslrootcert={}",
            folder.path().join("server.pem").display()
        ),
        url.clone(),
    ] {
        let (store, _feed, writer) = open(&good, &impatient()).await.unwrap();
        store.see_user(user(1), name("ann")).await.unwrap();
        soon("an ack", store.append(said(1, "safe")).await.unwrap())
            .await
            .unwrap();
        assert_eq!(sql(&url, in_use), ["0"], "{good}");
        writer.stop().await;
    }
    let wrong_root = format!(
        "{by_name}?sslmode=verify-full&sslrootcert={}",
        other.display()
    );
    let error = is_refused(&wrong_root, "comes from none").await;
    assert!(matches!(error, OpenError::Tls(_)), "{error:?}");
    let wrong_root = format!("{url}?sslmode=require&sslrootcert={}", other.display());
    is_refused(&wrong_root, "comes from none").await;
    let wrong_host = format!("{url}?sslmode=verify-full&sslrootcert={root}");
    is_refused(&wrong_host, "not for \"127.0.0.1\"").await;
    is_refused(&format!("{by_name}?sslmode=verify-full"), "comes from none").await;
    is_refused(
        &format!("{url}?sslmode=verify-ca&sslrootcert=/no/such"),
        "/no/such",
    )
    .await;
    // The login is bound to the certificate, and nothing is said of a password.
    let locked = url.replace("chat@", "locked:hunter2@");
    try_it(&format!("{locked}?sslmode=require&channel_binding=require"))
        .await
        .unwrap();
    let unbound = format!("{locked}?sslmode=disable&channel_binding=require");
    is_refused(&unbound, "channel binding").await;
    let mistyped = url.replace("chat@", "locked:hunter22@");
    let error = is_refused(&mistyped, "password").await;
    assert!(matches!(error, OpenError::Denied(_)), "{error:?}");
}

/// As PostgreSQL's manual makes them: of X.509 version 1, without names.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_first_version_is_good_where_none_is_judged() {
    let Some(server) = common::postgres::Postgres::start() else {
        return;
    };
    let url = server.url_of_a_new_database();
    let folder = tempfile::tempdir().unwrap();
    let root = certificates(folder.path());
    let take = |from: &str, to: &str| {
        std::fs::copy(folder.path().join(from), folder.path().join(to)).unwrap();
    };
    take("old.pem", "server.pem");
    secure(&url, folder.path());
    let ssl = "SELECT bool_and(ssl)::text || min(version) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
               WHERE application_name = 'chat-server' AND datname = current_database()";
    for version in ["TLSv1.3", "TLSv1.2"] {
        sql(
            &url,
            &format!("ALTER SYSTEM SET ssl_max_protocol_version = '{version}'"),
        );
        sql(&url, "SELECT pg_reload_conf()");
        for parameters in ["", "?sslmode=require"] {
            let begun = Instant::now();
            loop {
                let (_store, _feed, writer) = open(&format!("{url}{parameters}"), &impatient())
                    .await
                    .unwrap();
                let seen = sql(&url, ssl);
                writer.stop().await;
                if seen == [format!("true{version}")] {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(10), "{seen:?}");
            }
        }
    }
    let judged = format!("{url}?sslmode=verify-ca&sslrootcert={}", root.display());
    is_refused(&judged, "X.509 version 1").await;
    take("rsa.pem", "server.pem");
    take("rsa.key", "server.key");
    put_certificate(&url, folder.path());
    sql(&url, "SELECT pg_reload_conf()");
    try_it(&format!("{url}?sslmode=require")).await.unwrap();
}

/// A server that has no TLS, as far as anybody gets with it.
async fn without_tls() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read_exact(&mut [0; 8]).await;
            let _ = client.write_all(b"N").await;
        }
    });
    port
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_asked_for() {
    let url = format!(
        "postgres://chat:hunter2@127.0.0.1:{}/chat?sslmode=require",
        without_tls().await
    );
    let error = is_refused(&url, "does not offer TLS").await;
    assert!(matches!(error, OpenError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn what_does_not_pass_is_not_waited_for() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let begun = Instant::now();
    let database = url.rsplit_once('/').unwrap().0;
    for (url, word) in [
        (format!("{database}/nowhere"), "nowhere"),
        (url.replace("chat@", "nobody:hunter2@"), "nobody"),
        (format!("{url}?schema=public"), "schema"),
    ] {
        let patient = Options {
            wait: Duration::from_secs(60),
            ..impatient()
        };
        let error = open(&url, &patient).await.err().unwrap();
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// A port at which nobody listens, for now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_database_that_comes_late_is_waited_for() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let (there, here) = (port_of(&url), free_port());
    let through = url.replace(&there.to_string(), &here.to_string());
    let error = try_it(&through).await.unwrap_err();
    assert!(matches!(error, OpenError::Silent(_)), "{error:?}");
    assert!(error.to_string().contains("refused"), "{error}");
    let patient = Options {
        wait: Duration::from_secs(30),
        ..impatient()
    };
    let opening = tokio::spawn(async move { open(&through, &patient).await });
    // It is tried while nobody listens, then while somebody does who is not ready.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", here))
        .await
        .unwrap();
    for _ in 0..2 {
        let (mut client, _) = soon("an attempt", listener.accept()).await.unwrap();
        client.read_exact(&mut [0; 8]).await.unwrap();
        client.write_all(b"N").await.unwrap();
        let _ = client.read(&mut [0; 1000]).await.unwrap();
        let said = "SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        let length = (said.len() as u32 + 4).to_be_bytes();
        client
            .write_all(&[b"E", &length[..], said.as_bytes()].concat())
            .await
            .unwrap();
    }
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let far = tokio::net::TcpStream::connect(("127.0.0.1", there)).await;
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far.unwrap()).await;
            });
        }
    });
    assert!(soon("the database", opening).await.unwrap().is_ok());
}

/// Making the tables may take another node longer than anybody's patience: it is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_the_node_that_makes_the_tables() {
    let Some(url) = url_of_a_new_database() else {
        return;
    };
    let mut other = common::postgres::Foreigner::new(&url);
    other.does("DO 'BEGIN PERFORM pg_advisory_lock(1667785076); END'");
    let short = Duration::from_millis(100);
    let hasty = Options {
        patience: short,
        ..impatient()
    };
    let error = open(&url, &hasty).await.err().unwrap();
    assert!(matches!(error, OpenError::NotReady(_)), "{error:?}");
    let patient = Options {
        wait: Duration::from_secs(30),
        ..hasty
    };
    let at = url.clone();
    let opening = tokio::spawn(async move { open(&at, &patient).await });
    // It has asked for longer than anybody's patience when it asks again and again.
    let asks = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%' AND state = 'idle'
                AND application_name = 'chat-server' AND datname = current_database() AND now() - backend_start > '0.3 s'";
    while sql(&url, asks) != ["1"] {
        assert!(!opening.is_finished());
    }
    other.does("DO 'BEGIN PERFORM pg_advisory_unlock(1667785076); END'");
    // With so little patience the rest may fail on a busy machine, but not for the lock.
    if let Err(error) = soon("the tables", opening).await.unwrap() {
        assert!(!error.to_string().contains("another node"), "{error}");
    }
}
