//! The built-in accounts of standalone mode, over HTTP.

use std::{sync::Arc, time::Duration};

use chat_server::{
    auth::Tokens,
    chat::{
        Rate,
        accounts::{AccountPolicy, Accounts},
    },
    clock::Clock,
    protocol::ErrorCode,
    store::sqlite::{Counters, Mode, Options, SqliteStore},
};
use serde_json::{Value, json};

use crate::common::{Client, TestServer, http};

async fn post(server: &TestServer, verb: &str, body: Value) -> http::Answer {
    http::post(
        server.address,
        &format!("/api/v1/auth/{verb}"),
        &body.to_string(),
    )
    .await
}

fn granted(answer: &http::Answer, status: u16) -> (String, Value) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    (
        body["token"].as_str().unwrap().to_owned(),
        body["user"].clone(),
    )
}

#[tokio::test]
async fn register_log_in_and_talk() {
    let server = TestServer::standalone().await;
    let (token, user) = granted(
        &post(
            &server,
            "register",
            json!({"username": "Ann", "password": "correct horse"}),
        )
        .await,
        201,
    );
    assert_eq!(user, json!({"id": 1, "username": "Ann", "role": "user"}));
    let (_, again) = granted(
        &post(
            &server,
            "login",
            json!({"username": "ann", "password": "correct horse"}),
        )
        .await,
        200,
    );
    assert_eq!(again, user);
    assert_eq!(
        http::me(server.address, &token).await.json(),
        json!({"user": user})
    );
    let bearer = format!("authorization: Bearer {token}");
    let refreshed = http::request(
        server.address,
        "POST",
        "/api/v1/auth/refresh",
        &[&bearer],
        "",
    )
    .await;
    let (fresh, same) = granted(&refreshed, 200);
    assert_eq!(same, user);
    let mut ann = Client::connect(server.address, &format!("/ws?token={fresh}"), 1, "Ann").await;
    ann.send_room("general", "hello").await;
    assert_eq!(ann.room_history("general").await[0].username, "Ann");
}

#[tokio::test]
async fn a_guest_needs_nothing_and_gets_a_name_of_its_own() {
    let server = TestServer::standalone().await;
    let (_, first) = granted(&post(&server, "guest", json!({})).await, 201);
    let (_, second) = granted(
        &http::post(server.address, "/api/v1/auth/guest", "").await,
        201,
    );
    let (_, named) = granted(
        &post(&server, "guest", json!({"username": "Zoë 🦊"})).await,
        201,
    );
    assert!(first["username"].as_str().unwrap().starts_with("guest-"));
    assert_ne!(first["username"], second["username"]);
    assert_eq!(
        named,
        json!({"id": 3, "username": "Zoë 🦊", "role": "guest"})
    );
    let taken = post(&server, "guest", json!({"username": "zoë 🦊"})).await;
    assert_eq!((taken.status, &*taken.code()), (409, "name_taken"));
    let no_password = post(
        &server,
        "login",
        json!({"username": "Zoë 🦊", "password": ""}),
    )
    .await;
    assert_eq!(
        (no_password.status, &*no_password.code()),
        (401, "unauthorized")
    );
}

#[tokio::test]
async fn a_name_belongs_to_one_account_in_any_case_of_letters() {
    let server = TestServer::standalone().await;
    granted(
        &post(
            &server,
            "register",
            json!({"username": "ann", "password": "correct horse"}),
        )
        .await,
        201,
    );
    for (verb, username) in [("register", "ann"), ("register", "ANN"), ("guest", "Ann")] {
        let taken = post(
            &server,
            verb,
            json!({"username": username, "password": "another horse"}),
        )
        .await;
        assert_eq!(
            (taken.status, &*taken.code()),
            (409, "name_taken"),
            "{verb} {username}"
        );
        assert_eq!(taken.json()["error"]["field"], "username");
    }
}

#[tokio::test]
async fn a_login_that_does_not_fit_is_always_the_same_answer() {
    let server = TestServer::standalone().await;
    granted(
        &post(
            &server,
            "register",
            json!({"username": "ann", "password": "correct horse"}),
        )
        .await,
        201,
    );
    let mut bodies = Vec::new();
    for body in [
        json!({"username": "ann", "password": "wrong horse!"}),
        json!({"username": "ann", "password": ""}),
        json!({"username": "ann"}),
        json!({"username": "nobody", "password": "correct horse"}),
        json!({"username": " \u{202E} ", "password": "correct horse"}),
        json!({"username": "n".repeat(65), "password": "p".repeat(300)}),
        json!({}),
    ] {
        let answer = post(&server, "login", body).await;
        assert_eq!(answer.status, 401);
        bodies.push(answer.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn what_cannot_be_an_account_is_refused_by_field() {
    let server = TestServer::standalone().await;
    for (verb, body, code, field) in [
        (
            "register",
            json!({"password": "correct horse"}),
            "invalid_field",
            "username",
        ),
        (
            "register",
            json!({"username": "ann"}),
            "invalid_field",
            "password",
        ),
        (
            "register",
            json!({"username": "", "password": "correct horse"}),
            "invalid_field",
            "username",
        ),
        (
            "register",
            json!({"username": " ann", "password": "correct horse"}),
            "invalid_field",
            "username",
        ),
        (
            "register",
            json!({"username": "a\u{202E}b", "password": "correct horse"}),
            "invalid_field",
            "username",
        ),
        (
            "register",
            json!({"username": "n".repeat(65), "password": "correct horse"}),
            "invalid_field",
            "username",
        ),
        (
            "register",
            json!({"username": 7, "password": "correct horse"}),
            "invalid_field",
            "username",
        ),
        (
            "register",
            json!({"username": "ann", "password": "nine char"}),
            "invalid_field",
            "password",
        ),
        (
            "register",
            json!({"username": "ann", "password": "p".repeat(257)}),
            "invalid_field",
            "password",
        ),
        (
            "guest",
            json!({"username": "a\nb"}),
            "invalid_field",
            "username",
        ),
    ] {
        let answer = post(&server, verb, body.clone()).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, code),
            "{verb} {body}"
        );
        assert_eq!(answer.json()["error"]["field"], field, "{verb} {body}");
    }
    for body in ["nonsense", "[]", "\"x\"", "{"] {
        let answer = http::post(server.address, "/api/v1/auth/register", body).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "invalid_json"),
            "{body}"
        );
    }
    let large = http::post(server.address, "/api/v1/auth/register", &" ".repeat(70_000)).await;
    assert_eq!((large.status, &*large.code()), (413, "too_large"));
    let nowhere = http::get(server.address, "/api/v1/nowhere").await;
    assert_eq!((nowhere.status, &*nowhere.code()), (404, "invalid_field"));
    assert_eq!(
        http::get(server.address, "/api/v1/auth/login").await.status,
        405
    );
}

#[tokio::test]
async fn signing_up_can_be_closed_and_logging_in_stays() {
    let server = TestServer::standalone().await;
    granted(
        &post(
            &server,
            "register",
            json!({"username": "ann", "password": "correct horse"}),
        )
        .await,
        201,
    );
    let folder = server.stop().await;
    let server = TestServer::in_folder(folder, |config| {
        config.secret = None;
        config.signup = false;
    })
    .await;
    for verb in ["register", "guest"] {
        let answer = post(
            &server,
            verb,
            json!({"username": "bob", "password": "correct horse"}),
        )
        .await;
        assert_eq!((answer.status, &*answer.code()), (403, "forbidden"));
    }
    granted(
        &post(
            &server,
            "login",
            json!({"username": "ann", "password": "correct horse"}),
        )
        .await,
        200,
    );
    let health = http::get(server.address, "/healthz").await.json();
    assert_eq!(
        (&health["mode"], &health["signup"]),
        (&json!("standalone"), &json!(false))
    );
}

#[tokio::test]
async fn a_token_survives_a_restart() {
    let server = TestServer::standalone().await;
    let (token, user) = granted(&post(&server, "guest", json!({})).await, 201);
    let server = TestServer::in_folder(server.stop().await, |config| config.secret = None).await;
    assert_eq!(http::me(server.address, &token).await.json()["user"], user);
}

#[tokio::test]
async fn with_a_backend_there_are_no_built_in_accounts() {
    let server = TestServer::start().await;
    for verb in ["register", "login", "guest", "refresh"] {
        let answer = post(
            &server,
            verb,
            json!({"username": "ann", "password": "correct horse"}),
        )
        .await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (403, "forbidden"),
            "{verb}"
        );
    }
    let health = http::get(server.address, "/healthz").await.json();
    assert_eq!(
        (&health["status"], &health["mode"]),
        (&json!("ok"), &json!("integrated"))
    );
}

#[tokio::test]
async fn more_logins_than_can_wait_are_turned_away() {
    let server = TestServer::with(|config| {
        config.secret = None;
        config.limits.hashing_at_once = 1;
        // Two find a place at once, also when both come before the thread has taken the first.
        config.limits.hashing_in_line = 2;
    })
    .await;
    let login = || {
        post(
            &server,
            "login",
            json!({"username": "ann", "password": "correct horse"}),
        )
    };
    let answers = futures_util::future::join_all((0..12).map(|_| login())).await;
    let (busy, wrong): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 429);
    assert!(
        !busy.is_empty() && wrong.len() >= 2,
        "{} turned away, {} answered",
        busy.len(),
        wrong.len()
    );
    assert!(busy.iter().all(|answer| answer.code() == "rate_limited" && answer.header("retry-after").is_some()));
    assert!(wrong.iter().all(|answer| answer.status == 401));
}

#[tokio::test]
async fn a_message_can_be_sent_over_http() {
    let server = TestServer::start().await;
    let mut bob = server.connect(2, "bob").await;
    bob.join("general").await;
    let bearer = format!("authorization: Bearer {}", server.token(1, "ann"));
    let send = |body: Value| {
        let bearer = bearer.clone();
        async move {
            http::request(
                server.address,
                "POST",
                "/api/v1/chat/messages",
                &[&bearer],
                &body.to_string(),
            )
            .await
        }
    };
    let first = send(json!({"room": "general", "content": "hello", "nonce": "n"})).await;
    assert_eq!(first.status, 201);
    let body = first.json();
    assert_eq!(
        (&body["fromUser"], &body["room"], &body["content"]),
        (&json!(1), &json!("general"), &json!("hello"))
    );
    assert_eq!(bob.next_message().await.id, body["id"].as_i64().unwrap());
    let again = send(json!({"room": "general", "content": "hello", "nonce": "n"})).await;
    assert_eq!((again.status, again.json()), (200, body));
    assert_eq!(send(json!({"to": 2, "content": "psst"})).await.status, 201);
    assert_eq!(bob.next_dm().await.content, "psst");
    for (body, status, code) in [
        (json!({"content": "x"}), 400, "invalid_field"),
        (
            json!({"room": "a", "to": 2, "content": "x"}),
            400,
            "invalid_field",
        ),
        (json!({"room": "a"}), 400, "invalid_field"),
        (json!({"to": 99, "content": "x"}), 404, "user_not_found"),
        (
            json!({"room": "a", "content": "x".repeat(16_385)}),
            413,
            "too_large",
        ),
        (
            json!({"room": "general", "content": "other", "nonce": "n"}),
            409,
            "nonce_reused",
        ),
    ] {
        let answer = send(body.clone()).await;
        assert_eq!((answer.status, &*answer.code()), (status, code), "{body}");
    }
    let stranger = http::post(
        server.address,
        "/api/v1/chat/messages",
        r#"{"room":"a","content":"x"}"#,
    )
    .await;
    assert_eq!((stranger.status, &*stranger.code()), (401, "unauthorized"));
}

#[tokio::test]
async fn one_address_makes_only_so_many_accounts_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        path: folder.path().join("chat.db"),
        mode: Mode::Standalone,
        switch_mode: false,
        write_queue: 1024,
        batch_max: 256,
        feed_batches: 1024,
        readers: 1,
        patience: Duration::from_secs(5),
        clock: Clock::default(),
    };
    let (store, _feed, _writer) = SqliteStore::open(&options, Counters::default()).unwrap();
    let policy = AccountPolicy {
        signup: true,
        token_ttl_seconds: 60,
        signups: Rate {
            per_second: 1.0 / 60.0,
            burst: 3.0,
        },
        hashing_at_once: 1,
        hashing_in_line: 1,
    };
    let tokens = Arc::new(Tokens::new(
        b"a secret of the right length, 32 b",
        "the secret",
    ));
    let accounts = Accounts::new(Arc::new(store), tokens, policy).unwrap();
    let guest = async |from: &str| accounts.guest(from.parse().unwrap(), None, 0).await;
    for _ in 0..3 {
        guest("192.0.2.1").await.unwrap();
        guest("2001:db8::1").await.unwrap();
    }
    for from in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::2"] {
        let refused = guest(from).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited, "{from}");
        assert!(refused.retry_after_ms.unwrap() > 1000);
    }
    let from = "192.0.2.1".parse().unwrap();
    let registered = accounts.register(from, "ann", "a long password", 0).await;
    assert_eq!(registered.unwrap_err().code, ErrorCode::RateLimited);
    for from in ["192.0.2.2", "2001:db8:0:1::1"] {
        guest(from).await.unwrap();
    }
    for _ in 0..10 {
        guest("127.0.0.1").await.unwrap();
        guest("::1").await.unwrap();
    }
}
