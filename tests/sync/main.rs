//! Copies for other servers: whatever the other side does, and whatever ends this one, every message arrives, in order, and
//! only one whose answer was lost arrives twice.

#[path = "../common/mod.rs"]
mod common;
mod storage;

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chat_server::{
    config::{Config, Webhook},
    server::Server,
    sync::WebhookKey,
};
use common::{
    Client, SECRET, TestServer,
    backend::{Backend, MESSAGES, Reply, Request},
    binary::{Running, chat_server, output, text},
    file_only, http, location, on_postgres, soon, token,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

/// Copies to `backend`, with no wait between attempts but what it asks for.
fn copied_to(backend: &Backend) -> impl FnOnce(&mut Config) {
    let url = backend.url().parse().unwrap();
    move |config| {
        config.backend = Some(url);
        config.copies.to_backend = true;
        config.limits.sync_backoff_seconds = 0;
        config.limits.linger_seconds = 0;
    }
}

async fn copying(backend: &Backend) -> (TestServer, Client) {
    let server = TestServer::with(copied_to(backend)).await;
    let client = server.client("ann").await;
    (server, client)
}

fn ids(requests: &[Request]) -> Vec<i64> {
    requests.iter().map(Request::id).collect()
}

/// Says `count` things in general.
async fn say(client: &mut Client, count: usize) {
    for _ in 0..count {
        client.send_room("general", "hello").await;
    }
}

/// Once everything up to `id` is dealt with, and that is noted.
async fn copied(server: &TestServer, follower: &str, id: i64, client: &mut Client) {
    let state = server.copy(follower);
    let reached = async {
        while state.position() < id {
            client.ping().await;
        }
    };
    soon(&format!("the {follower} at {id}"), reached).await;
}

#[tokio::test]
async fn every_message_arrives_in_order_as_the_frames_hold_it() {
    let backend = Backend::start().await;
    let server = TestServer::start().await;
    let mut client = server.client("ann").await;
    client
        .send_room("general", "before there was a backend")
        .await;
    drop(client);
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, |config| {
        copied_to(&backend)(config);
        config.copies.backend_bearer = Some("Bearer of-the-backend".parse().unwrap());
    });
    let server = server.await;
    let [mut ann, mut bob] = server.clients(["ann", "bob"]).await;
    bob.join("general").await;
    ann.send_room("general", "now \"there\" is\n🙂").await;
    let frame = bob.next().await;
    ann.send_dm(2, "a word").await;
    let dm = bob.next().await;
    let requests = backend.requests(MESSAGES, 3).await;
    assert_eq!(ids(&requests), [1, 2, 3]);
    assert_eq!(requests[1].json(), frame["data"]);
    assert_eq!(requests[2].json(), dm["data"]);
    let epoch = requests[0].header("idempotency-key").unwrap();
    let epoch = epoch.strip_suffix("-1").unwrap();
    for (request, id) in requests.iter().zip(1..) {
        let key = format!("{epoch}-{id}");
        assert_eq!(request.header("idempotency-key"), Some(&*key));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(
            request.header("authorization"),
            Some("Bearer of-the-backend")
        );
    }
    copied(&server, "backend", 3, &mut ann).await;
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, copied_to(&backend)).await;
    server
        .client("ann")
        .await
        .send_room("general", "after")
        .await;
    assert_eq!(ids(&backend.requests(MESSAGES, 4).await), [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_backend_that_is_away_costs_nothing_but_lag() {
    let backend = Backend::start().await;
    backend.down().await;
    let (server, mut client) = copying(&backend).await;
    let mut reader = server.client("bob").await;
    reader.join("general").await;
    for _ in 0..30 {
        client.send_room("general", "hello").await;
        reader.next_message().await;
    }
    let failing = async {
        while server.copy("backend").failing().is_none() {
            client.ping().await;
        }
    };
    soon("a failure", failing).await;
    let failing = server.copy("backend").failing().unwrap();
    assert!(failing.reason.contains("cannot be reached"), "{failing:?}");
    assert_eq!(server.copy("backend").position(), 0);
    backend.up().await;
    backend.keeps(30).await;
    copied(&server, "backend", 30, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), (1..=30).collect::<Vec<_>>());
    assert_eq!(server.copy("backend").failing(), None);
    backend.down().await;
    backend.up().await;
    say(&mut client, 1).await;
    assert_eq!(backend.keeps(31).await.len(), 31);
}

#[tokio::test]
async fn a_message_is_sent_until_the_backend_says_that_it_has_it() {
    let backend = Backend::start().await;
    let replies = [
        Reply::page(),
        Reply::status(500),
        Reply::status(503),
        Reply::redirect(MESSAGES),
        Reply::redirect("/elsewhere"),
        Reply::Endless,
        Reply::HalfAnAnswer,
        Reply::Cut,
        Reply::status(401),
        Reply::status(408),
        Reply::status(429),
    ];
    let count = replies.len();
    for reply in replies {
        backend.answers_once(MESSAGES, reply);
    }
    let server = TestServer::with(|config| {
        copied_to(&backend)(config);
        config.limits.sync_timeout_seconds = 1;
    });
    let server = server.await;
    let mut client = server.client("ann").await;
    say(&mut client, 2).await;
    let requests = backend.requests(MESSAGES, count + 2).await;
    copied(&server, "backend", 2, &mut client).await;
    let mut expected = vec![1; count + 1];
    expected.push(2);
    assert_eq!(ids(&requests), expected);
    let first = requests[0].header("idempotency-key");
    assert!(
        requests[..=count]
            .iter()
            .all(|it| it.header("idempotency-key") == first)
    );
    assert!(
        backend.seen("/elsewhere").is_empty(),
        "a redirect is not followed"
    );
    assert_eq!(server.copy("backend").failures(), count as u64);
    assert_eq!(server.copy("backend").delivered(), 2);
}

#[tokio::test]
async fn an_answer_that_repeats_the_message_at_length_is_heard() {
    let backend = Backend::start().await;
    let escaped = "\u{1}".repeat(10_000);
    let twice = json!({"message": escaped, "stored": escaped});
    assert!(twice.to_string().len() > 64 * 1024);
    backend.answers_once(MESSAGES, Reply::json(201, &twice));
    let (server, mut client) = copying(&backend).await;
    client.send_room("general", &escaped).await;
    say(&mut client, 1).await;
    backend.requests(MESSAGES, 2).await;
    copied(&server, "backend", 2, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2]);
}

#[tokio::test]
async fn an_answer_that_is_lost_is_one_repeat_with_the_same_key() {
    let backend = Backend::start().await;
    for reply in [
        Reply::Well,
        Reply::KeptButCut,
        Reply::Well,
        Reply::KeptButCut,
    ] {
        backend.answers_once(MESSAGES, reply);
    }
    let (server, mut client) = copying(&backend).await;
    say(&mut client, 4).await;
    backend.requests(MESSAGES, 4).await;
    copied(&server, "backend", 4, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2, 2, 3, 3, 4]);
    assert_eq!(backend.keeps(4).await, [1, 2, 3, 4]);
    assert_eq!(server.copy("backend").parked(), 0);
}

#[tokio::test]
async fn what_is_refused_is_parked_and_the_rest_goes_on_until_an_operator_has_it_sent_again() {
    let backend = Backend::start().await;
    let because = json!({"error": {"message": "too long for us"}});
    backend.answers_once(MESSAGES, Reply::json(400, &because));
    backend.answers_once(MESSAGES, Reply::status(409));
    backend.answers_once(
        MESSAGES,
        Reply::json(422, &json!({"error": "cannot take hello"})),
    );
    let (server, mut client) = copying(&backend).await;
    say(&mut client, 4).await;
    backend.requests(MESSAGES, 4).await;
    copied(&server, "backend", 4, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2, 3, 4]);
    assert_eq!(server.copy("backend").parked(), 2);
    let status = sync(server.folder.path(), &["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let parked = status.to_string();
    assert!(
        parked.contains("it answered 400: too long for us"),
        "{parked}"
    );
    assert!(
        parked.contains("it answered 422") && !parked.contains("hello"),
        "{parked}"
    );
    backend.answers_once(MESSAGES, Reply::status(500));
    sync(server.folder.path(), &["retry"]);
    backend.requests(MESSAGES, 4 + 3).await;
    let settled = async {
        while server.copy("backend").parked() > 0 {
            client.ping().await;
        }
    };
    soon("the second attempt", settled).await;
    let mut again = ids(&backend.seen(MESSAGES)).split_off(4);
    again.sort_unstable();
    again.dedup();
    assert_eq!(again, [1, 3]);
    assert_eq!(
        backend.seen(MESSAGES).len(),
        4 + 3,
        "one of them was tried twice"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_can_be_skipped() {
    let backend = Backend::start().await;
    backend.answers(MESSAGES, Reply::status(500).header("retry-after: 3600"));
    let (server, mut client) = copying(&backend).await;
    say(&mut client, 2).await;
    backend.requests(MESSAGES, 1).await;
    backend.answers(MESSAGES, Reply::Well);
    sync(server.folder.path(), &["skip", "1"]);
    backend.requests(MESSAGES, 2).await;
    copied(&server, "backend", 2, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 2]);
    assert_eq!(server.copy("backend").failing(), None);
}

/// `chat-server sync …` beside the server of this folder.
fn sync(folder: &Path, args: &[&str]) -> String {
    let said = output(&mut chat_server(folder, &[&["sync"], args].concat()));
    assert!(said.status.success(), "{}", text(&said.stderr));
    text(&said.stdout)
}

#[tokio::test]
async fn who_says_when_to_come_again_is_obeyed() {
    let backend = Backend::start().await;
    let later = Reply::status(503).header("retry-after: 1");
    backend.answers_once(MESSAGES, later);
    let (_server, mut client) = copying(&backend).await;
    say(&mut client, 1).await;
    let requests = backend.requests(MESSAGES, 2).await;
    let waited = requests[1].at - requests[0].at;
    assert!(waited >= Duration::from_millis(990), "{waited:?}");
}

#[tokio::test]
async fn chat_does_not_wait_for_a_backend_that_does_not_answer() {
    let backend = Backend::start().await;
    backend.hold();
    let (server, mut client) = copying(&backend).await;
    let mut reader = server.client("bob").await;
    reader.join("general").await;
    for _ in 0..50 {
        client.send_room("general", "hello").await;
        reader.next_message().await;
    }
    assert_eq!(ids(&backend.requests(MESSAGES, 1).await), [1]);
    backend.release();
    backend.keeps(50).await;
    copied(&server, "backend", 50, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_answer() {
    let backend = Backend::start().await;
    backend.hold();
    let server = TestServer::with(|config| {
        copied_to(&backend)(config);
        config.limits.stop_seconds = 600;
        config.limits.sync_timeout_seconds = 600;
    });
    let server = server.await;
    say(&mut server.client("ann").await, 1).await;
    backend.requests(MESSAGES, 1).await;
    let folder = server.stop().await;
    backend.release();
    let server = TestServer::in_folder(folder, copied_to(&backend)).await;
    let mut client = server.client("ann").await;
    copied(&server, "backend", 1, &mut client).await;
    assert_eq!(ids(&backend.seen(MESSAGES)), [1, 1]);
}

#[tokio::test]
async fn nothing_is_copied_when_that_is_off_and_nothing_is_forgotten() {
    let backend = Backend::start().await;
    let server = TestServer::with(|config| {
        copied_to(&backend)(config);
        hooked(&backend, false)(config);
        config.copies.to_backend = false;
    });
    let server = server.await;
    let mut client = server.client("ann").await;
    say(&mut client, 2).await;
    // By then the backend would have heard of the first, too.
    copied(&server, "webhook", 2, &mut client).await;
    let folder = server.stop().await;
    assert!(backend.seen(MESSAGES).is_empty());
    let _server = TestServer::in_folder(folder, copied_to(&backend)).await;
    assert_eq!(backend.keeps(2).await, [1, 2]);
}

const HOOK: &str = "/in/secret";
const HOOK_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn hooked(backend: &Backend, dms: bool) -> impl FnOnce(&mut Config) {
    backend.answers(HOOK, Reply::With(204, Vec::new(), String::new()));
    let url = format!("{}{HOOK}", backend.url()).parse().unwrap();
    let key = WebhookKey::parse(HOOK_SECRET.as_bytes()).ok();
    move |config| {
        config.copies.webhook = Some(Webhook { url, key, dms });
        config.limits.sync_backoff_seconds = 0;
        config.limits.linger_seconds = 0;
    }
}

/// What a receiver does: the message's id, if the signature is right.
fn verified(request: &Request) -> i64 {
    let key = BASE64_STANDARD
        .decode(&HOOK_SECRET["whsec_".len()..])
        .unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let header = |name| request.header(name).unwrap();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature").strip_prefix("v1,").unwrap();
    let signature = BASE64_STANDARD.decode(signature).unwrap();
    let signed = format!("{id}.{timestamp}.{}", request.body);
    hmac::verify(&key, signed.as_bytes(), &signature).unwrap();
    let age = common::now() - timestamp.parse::<i64>().unwrap();
    assert!((0..60).contains(&age), "{age}");
    assert_eq!(header("idempotency-key"), id);
    let event = request.json();
    assert_eq!(event["type"], "message.created");
    assert_eq!(event["timestamp"], event["data"]["timestamp"]);
    let number = event["data"]["id"].as_i64().unwrap();
    assert!(id.ends_with(&format!("-{number}")));
    number
}

#[tokio::test]
async fn a_webhook_hears_signed_what_is_said_from_now_on_and_no_direct_messages() {
    let backend = Backend::start().await;
    let server = TestServer::start().await;
    say(&mut server.client("ann").await, 2).await;
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, hooked(&backend, false)).await;
    let mut ann = server.client("ann").await;
    say(&mut ann, 1).await;
    ann.send_dm(1, "nobody else's").await;
    say(&mut ann, 1).await;
    let requests = backend.requests(HOOK, 2).await;
    assert_eq!(requests.iter().map(verified).collect::<Vec<_>>(), [3, 5]);
    copied(&server, "webhook", 5, &mut ann).await;
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, hooked(&backend, true)).await;
    server.client("ann").await.send_dm(1, "for the house").await;
    let requests = backend.requests(HOOK, 3).await;
    assert_eq!(verified(&requests[2]), 6);
    assert_eq!(
        server.copy("webhook").url(),
        backend.url(),
        "no path is shown"
    );
}

#[tokio::test]
async fn a_message_that_is_not_taken_behind_direct_ones_is_the_next_for_an_operator_too() {
    let backend = Backend::start().await;
    let server = TestServer::with(hooked(&backend, false)).await;
    backend.answers(HOOK, Reply::status(500).header("retry-after: 3600"));
    let mut ann = server.client("ann").await;
    ann.send_dm(1, "nobody else's").await;
    say(&mut ann, 2).await;
    let failing = async {
        while server.copy("webhook").failing().is_none() {
            ann.ping().await;
        }
    };
    soon("a failure", failing).await;
    backend.answers(HOOK, Reply::status(200));
    sync(server.folder.path(), &["skip", "2"]);
    copied(&server, "webhook", 3, &mut ann).await;
    let sent: Vec<i64> = backend.seen(HOOK).iter().map(verified).collect();
    assert_eq!(sent, [2, 3]);
}

#[tokio::test]
async fn passing_over_many_direct_messages_is_not_a_commit_for_each() {
    let backend = Backend::start().await;
    let server = TestServer::with(hooked(&backend, false)).await;
    say(&mut server.client("ann").await, 1).await;
    backend.requests(HOOK, 1).await;
    let server = TestServer::in_folder(server.stop().await, |config| config.limits.rate_limit = 0);
    let server = server.await;
    let mut ann = server.client("ann").await;
    for _ in 0..150 {
        ann.send_dm(1, "psst").await;
    }
    say(&mut ann, 1).await;
    drop(ann);
    let server = TestServer::in_folder(server.stop().await, hooked(&backend, false)).await;
    let mut ann = server.client("ann").await;
    copied(&server, "webhook", 152, &mut ann).await;
    assert_eq!(verified(backend.seen(HOOK).last().unwrap()), 152);
    let stats = http::get(server.address, "/api/v1/stats").await.json();
    let commits = match on_postgres() {
        false => stats["commits"]["count"].as_u64().unwrap(),
        true => moves(server).await,
    };
    assert!((1..10).contains(&commits), "{commits} commits");
}

#[cfg(not(feature = "postgres"))]
async fn moves(_: TestServer) -> u64 {
    unreachable!("there is no PostgreSQL in this build")
}

/// How often a cursor was moved, each time by a commit, since the database was made: the server's numbers are of messages.
#[cfg(feature = "postgres")]
async fn moves(server: TestServer) -> u64 {
    let folder = server.stop().await;
    let url = common::database_of(folder.path()).unwrap();
    let sql = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'chat_followers'";
    let counted = async {
        loop {
            // Told by each session when it ends.
            let moves: u64 = common::postgres::sql(&url, sql)[0].parse().unwrap();
            if moves > 0 {
                return moves;
            }
        }
    };
    soon("the count", counted).await
}

#[tokio::test]
async fn a_webhook_without_a_secret_gets_one_that_is_kept_to_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    if file_only("the webhook's secret lies in a file that only its owner may read") {
        return;
    }
    let backend = Backend::start().await;
    backend.answers(HOOK, Reply::status(200));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}{HOOK}", backend.url());
    let args = ["--bind", "127.0.0.1:0", "--webhook", &url];
    let server = Running::start(&mut chat_server(folder.path(), &args));
    let path = folder
        .path()
        .canonicalize()
        .unwrap()
        .join("chat.db-webhook-secret");
    assert!(
        server.greeting.contains(&backend.url()),
        "{}",
        server.greeting
    );
    assert!(
        server.greeting.contains(path.to_str().unwrap()),
        "{}",
        server.greeting
    );
    assert!(
        server
            .greeting
            .contains("messages in rooms go to the webhook")
    );
    assert!(!server.greeting.contains(HOOK), "{}", server.greeting);
    let secret = std::fs::read(&path).unwrap();
    assert!(WebhookKey::parse(&secret).is_ok());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    drop(server);
    drop(Running::start(&mut chat_server(folder.path(), &args)));
    assert_eq!(std::fs::read(&path).unwrap(), secret);
}

/// Why the server does not start.
async fn fault(folder: &TempDir, change: impl FnOnce(&mut Config)) -> Option<String> {
    let mut config = Config::at(location(folder.path()));
    change(&mut config);
    match Server::start(config).await {
        Ok(server) => {
            server.stop().await;
            None
        }
        Err(error) => {
            assert_eq!(error.exit_code(), 2);
            Some(error.to_string())
        }
    }
}

#[tokio::test]
async fn a_url_that_leads_back_here_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let started = |bind: &str, url: &str| {
        let (bind, url) = (
            format!("{bind}:{port}"),
            url.replace("PORT", &port.to_string()),
        );
        fault(&folder, move |config| {
            config.bind = bind.parse().unwrap();
            config.backend = Some(url.parse().unwrap());
            config.public_host = Some("chat.example.org".to_owned());
            config.public_port = Some(443);
        })
    };
    let mut own: Vec<(&str, String)> = [
        "localhost",
        "127.0.0.1",
        "[::1]",
        "app.localhost",
        "0.0.0.0",
    ]
    .iter()
    .flat_map(|host| {
        let url = format!("http://{host}:PORT");
        [("127.0.0.1", url.clone()), ("0.0.0.0", url)]
    })
    .collect();
    own.push(("127.0.0.1", "https://Chat.Example.org/api".to_owned()));
    for interface in if_addrs::get_if_addrs().unwrap() {
        if let std::net::IpAddr::V4(ip) = interface.ip() {
            own.push(("0.0.0.0", format!("http://{ip}:PORT")));
        }
    }
    for (bind, url) in &own {
        let told = started(bind, url).await;
        let told = told.unwrap_or_else(|| panic!("{bind} {url} was taken"));
        assert!(
            told.starts_with("--backend-url (BACKEND_URL) leads to this server"),
            "{told}"
        );
        assert!(told.contains("--bind"), "{told}");
    }
    for other in [
        "http://127.0.0.1:1",
        "http://chat.example.org:8443",
        "http://192.0.2.1:PORT",
        "http://nobody.invalid:PORT",
    ] {
        assert_eq!(started("127.0.0.1", other).await, None, "{other}");
    }
    let told = fault(&folder, |config| {
        config.bind = format!("127.0.0.1:{port}").parse().unwrap();
        hooked_at(config, &format!("http://localhost:{port}/hook"));
    });
    assert!(
        told.await
            .unwrap()
            .starts_with("--webhook leads to this server")
    );
}

fn hooked_at(config: &mut Config, url: &str) {
    config.copies.webhook = Some(Webhook {
        url: url.parse().unwrap(),
        key: None,
        dms: false,
    });
}

#[tokio::test]
async fn a_copy_that_comes_back_through_a_proxy_is_not_stored_again() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let bearer = format!("Bearer {}", token(1, "ann", 3600));
    let server = TestServer::with(|config| {
        config.backend = Some(url.parse().unwrap());
        config.copies.to_backend = true;
        config.copies.backend_bearer = Some(bearer.parse().unwrap());
    });
    let server = server.await;
    tokio::spawn(forward(proxy, server.address));
    let mut client = server.client("ann").await;
    say(&mut client, 3).await;
    copied(&server, "backend", 3, &mut client).await;
    assert_eq!(server.copy("backend").delivered(), 3);
    assert_eq!(client.room_history("general").await.len(), 3);
}

#[tokio::test]
async fn two_servers_that_copy_to_each_other_end_with_what_was_said() {
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = |url: String| {
        let bearer = format!("Bearer {}", token(1, "ann", 3600));
        move |config: &mut Config| {
            config.backend = Some(url.parse().unwrap());
            config.copies.to_backend = true;
            config.copies.backend_bearer = Some(bearer.parse().unwrap());
        }
    };
    let first = TestServer::with(to(format!("http://{}", proxy.local_addr().unwrap()))).await;
    let second = TestServer::with(to(format!("http://{}", first.address))).await;
    tokio::spawn(forward(proxy, second.address));
    for said in ["one", "two"] {
        let hello = json!({"room": "general", "content": said});
        assert_eq!(post(first.address, &[], hello).await.status, 201);
    }
    let mut client = first.client("ann").await;
    copied(&first, "backend", 2, &mut client).await;
    copied(&second, "backend", 2, &mut client).await;
    // The name that it was copied under is a part of it, and differs from the name that it is copied on under.
    assert_eq!(second.copy("backend").parked(), 2);
    assert_eq!(client.room_history("general").await.len(), 2);
}

async fn forward(proxy: TcpListener, to: SocketAddr) {
    loop {
        let (mut from, _) = proxy.accept().await.unwrap();
        let mut to = TcpStream::connect(to).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut from, &mut to).await });
    }
}

/// Says it over HTTP, with these header lines.
async fn post(server: SocketAddr, headers: &[&str], body: Value) -> http::Answer {
    let bearer = format!("authorization: Bearer {}", token(1, "ann", 3600));
    let headers = [&[&*bearer, "content-type: application/json"], headers].concat();
    http::request(server, "POST", MESSAGES, &headers, &body.to_string()).await
}

#[tokio::test]
async fn an_idempotency_key_is_a_nonce() {
    let backend = Backend::start().await;
    let (server, _client) = copying(&backend).await;
    let hello =
        |nonce: Option<&str>| json!({"room": "general", "content": "hello", "nonce": nonce});
    let bare = json!({"room": "general", "content": "hello"});
    let first = post(server.address, &["idempotency-key: k-1"], bare.clone()).await;
    assert_eq!((first.status, &first.json()["nonce"]), (201, &json!("k-1")));
    let again = post(server.address, &["Idempotency-Key: k-1"], bare.clone()).await;
    assert_eq!((again.status, again.json()), (200, first.json()));
    let both = post(
        server.address,
        &["idempotency-key: k-1"],
        hello(Some("k-1")),
    )
    .await;
    assert_eq!((both.status, both.json()), (200, first.json()));
    let other = json!({"room": "general", "content": "other"});
    let reused = post(server.address, &["idempotency-key: k-1"], other).await;
    assert_eq!((reused.status, &*reused.code()), (409, "nonce_reused"));
    let long = format!("idempotency-key: {}", "x".repeat(65));
    for (headers, nonce, field) in [
        (vec!["idempotency-key: k-1"], Some("k-2"), "nonce"),
        (vec![&*long], None, "Idempotency-Key"),
        (vec!["idempotency-key:"], None, "Idempotency-Key"),
        (vec!["idempotency-key: é"], None, "Idempotency-Key"),
        (
            vec!["idempotency-key: a", "idempotency-key: a"],
            None,
            "Idempotency-Key",
        ),
    ] {
        let body = nonce.map_or_else(|| bare.clone(), |nonce| hello(Some(nonce)));
        let refused = post(server.address, &headers, body).await;
        assert_eq!(
            (refused.status, &*refused.code()),
            (400, "invalid_field"),
            "{headers:?}"
        );
        assert_eq!(refused.json()["error"]["field"], field, "{headers:?}");
    }
    let own = backend.requests(MESSAGES, 1).await;
    let own = own[0].header("idempotency-key").unwrap();
    for key in [own.to_owned(), own.replace("-1", "-99")] {
        let key = format!("idempotency-key: {key}");
        let refused = post(server.address, &[&key], bare.clone()).await;
        assert_eq!((refused.status, &*refused.code()), (409, "nonce_reused"));
        assert!(
            refused.body.contains("of this very log"),
            "{}",
            refused.body
        );
    }
    let foreign = post(server.address, &["idempotency-key: 00ff-1"], bare).await;
    assert_eq!((foreign.status, &foreign.json()["seq"]), (201, &json!(2)));
}

/// The executable, which copies to `backend`.
fn program(folder: &Path, backend: &Backend) -> Command {
    let args = ["--bind", "127.0.0.1:0", "--backend-url", &backend.url()];
    let mut command = chat_server(
        folder,
        &[&args[..], &["--sync-backoff-seconds", "1"]].concat(),
    );
    command.env("JWT_SECRET", std::str::from_utf8(SECRET).unwrap());
    command
}

#[tokio::test]
async fn a_server_that_is_killed_repeats_no_more_than_what_it_was_not_told() {
    const KILLS: usize = 8;
    const SAID: usize = 5;
    let backend = Backend::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut kept = 0;
    for kill in 0..KILLS {
        let server = Running::start(&mut program(folder.path(), &backend));
        // The first is killed in the middle of a request, the next after some, and so on.
        let until = kept + kill % 4;
        for said in 0..SAID {
            let hello = json!({"room": "general", "content": format!("{kill}.{said}")});
            assert_eq!(post(server.address, &[], hello).await.status, 201);
            if kill % 2 == 0 && said == 1 {
                backend.hold();
            }
        }
        backend
            .requests(MESSAGES, backend.seen(MESSAGES).len().max(1))
            .await;
        if kill % 2 == 1 {
            backend.keeps(until).await;
        }
        server.kill();
        backend.release();
        kept = backend.keeps(0).await.len();
    }
    let _server = Running::start(&mut program(folder.path(), &backend));
    let all: Vec<i64> = (1..=(KILLS * SAID) as i64).collect();
    assert_eq!(backend.keeps(all.len()).await, all);
    let sent = ids(&backend.seen(MESSAGES));
    assert!(sent.is_sorted(), "{sent:?}");
    let repeats = sent.len() - all.len();
    assert!(
        (1..=KILLS).contains(&repeats),
        "{repeats} repeats in {sent:?}"
    );
}
