//! How the server is doing: the numbers, who may see them, and in which format.

use chat_server::{
    auth::Tokens,
    protocol::{UserId, Username},
};
use serde_json::{Value, json};

use crate::common::{
    PATIENCE, SECRET, TestServer,
    backend::{Backend, MESSAGES, Reply},
    http, now,
};

fn admin() -> String {
    let (user, name) = (UserId::new(1).unwrap(), Username::new("root").unwrap());
    Tokens::new(SECRET, "JWT_SECRET")
        .sign(user, &name, "admin", now(), 3600)
        .unwrap()
}

async fn stats(server: &TestServer) -> Value {
    http::get(server.address, "/api/v1/stats").await.json()
}

/// Asks until `is_there` says so.
async fn stats_when(server: &TestServer, is_there: impl Fn(&Value) -> bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let stats = stats(server).await;
        if is_there(&stats) {
            return stats;
        }
        assert!(begun.elapsed() < PATIENCE, "{stats}");
    }
}

#[tokio::test]
async fn stats_tell_who_is_here_what_was_stored_and_how_long_it_took() {
    let server = TestServer::start().await;
    let [mut ann, mut bob, mut cyd] = server.clients(["ann", "bob", "cyd"]).await;
    for client in [&mut ann, &mut bob] {
        client.join("general").await;
    }
    ann.join("tea").await;
    let mut last = 0;
    for n in 0..5 {
        last = cyd.send_room("general", &format!("{n}")).await.id;
    }
    server.relayed(last).await;
    for client in [&mut ann, &mut bob] {
        for _ in 0..5 {
            client.next_message().await;
        }
    }
    // What was read is noted as written a moment later.
    let stats = stats_when(&server, |stats| stats["outbox"]["bytes"] == 0).await;
    for (name, expected) in [
        ("connections", json!(3)),
        ("users", json!(3)),
        ("rooms", json!(2)),
        ("joins", json!(3)),
        ("mode", json!("integrated")),
        ("messages", json!({"stored": 5, "delivered": 10})),
        ("outbox", json!({"bytes": 0, "maxBytes": 0, "behind": 0})),
    ] {
        assert_eq!(stats[name], expected, "{name} in {stats}");
    }
    let hello = ann.ask(json!({"type": "hello"})).await["data"].clone();
    assert_eq!(stats["limits"], hello["limits"]);
    assert_eq!(stats["epoch"], hello["epoch"]);
    let build = &stats["build"];
    assert_eq!(build["version"], env!("CARGO_PKG_VERSION"));
    assert!(build["sqlite"].as_str().unwrap().starts_with("3."));
    assert!(["debug", "release"].contains(&build["profile"].as_str().unwrap()));
    assert!(stats["uptimeSeconds"].as_u64().unwrap() < 60);
    let commits = &stats["commits"];
    // The users and the rooms were written, too.
    assert!(commits["count"].as_u64().unwrap() >= 5, "{stats}");
    assert_eq!(commits["messages"], 5);
    let number = |name: &str| commits["latencyMs"][name].as_f64().unwrap();
    assert!(
        number("p50") > 0.0 && number("p50") <= number("p99") && number("p99") <= number("max")
    );
    assert!(commits["batch"]["mean"].as_f64().unwrap() >= 1.0);
    assert!(commits["batch"]["max"].as_u64().unwrap() >= 1);
    assert!(stats["storage"]["bytes"].as_u64().unwrap() > 0);
    assert!(stats["storage"]["walBytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn samples_tell_what_happened_in_each_second() {
    // A stop would wait an hour for a task that does not end.
    let server = TestServer::with(|config| config.limits.stop_seconds = 3600).await;
    let mut ann = server.client("ann").await;
    let before = now() * 1000;
    ann.send_room("general", "counted").await;
    let stats = stats_when(&server, |stats| {
        let samples = stats["samples"].as_array().unwrap();
        samples.iter().any(|sample| sample["stored"] != 0.0)
    })
    .await;
    let samples = stats["samples"].as_array().unwrap();
    let busy = samples
        .iter()
        .find(|sample| sample["stored"] != 0.0)
        .unwrap();
    let number = |name: &str| busy[name].as_f64().unwrap();
    // A second that a busy machine made longer is divided by what it was.
    assert!(number("stored") > 0.0 && number("stored") <= 1.1, "{busy}");
    assert!(number("commits") >= number("stored") && number("commitMs") > 0.0);
    assert!(number("commitWrites") >= 1.0);
    assert_eq!(busy["connections"], 1);
    assert_eq!(
        (&busy["outboxBytes"], &busy["outboxMaxBytes"]),
        (&json!(0), &json!(0))
    );
    assert!(number("at") as i64 >= before && number("at") as i64 <= (now() + 1) * 1000);
    drop(ann);
    server.stop().await;
}

#[tokio::test]
async fn stats_and_metrics_are_for_this_machine_and_for_admins() {
    let server = TestServer::start().await;
    let (admin, user) = (admin(), server.token(2, "ann"));
    for path in ["/api/v1/stats", "/metrics"] {
        for (host, token, expected) in [
            ("127.0.0.1", None, 200),
            ("localhost:9001", None, 200),
            ("chat.example.org", None, 401),
            ("chat.example.org", Some("nonsense"), 401),
            ("chat.example.org", Some(user.as_str()), 403),
            ("chat.example.org", Some(admin.as_str()), 200),
        ] {
            let bearer = token.map_or(String::new(), |token| {
                format!("authorization: Bearer {token}\r\n")
            });
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{bearer}connection: close\r\n\r\n");
            let answer = http::raw(server.address, request.as_bytes()).await;
            assert_eq!(
                answer.status, expected,
                "{path} {host} {token:?} {answer:?}"
            );
            let told = match expected {
                401 => "unauthorized",
                403 => "forbidden",
                _ => continue,
            };
            assert_eq!(answer.code(), told);
            assert!(
                expected == 401 || answer.body.contains("role admin"),
                "{answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_a_proxy_on_this_machine_passes_on_does_not_come_from_this_machine() {
    let plain = TestServer::start().await;
    let public = TestServer::with(|config| {
        config.public_host = Some("chat.example.org".into());
    })
    .await;
    for (server, headers, expected) in [
        (&plain, "host: localhost", 200),
        (&plain, "host: [::1]:9001", 200),
        (&plain, "host: 203.0.113.5", 401),
        (&plain, "host: localhost\r\nhost: localhost", 401),
        (
            &plain,
            "host: localhost\r\nx-forwarded-for: 203.0.113.5",
            401,
        ),
        (&plain, "host: localhost\r\nforwarded: for=203.0.113.5", 401),
        (&plain, "host: localhost\r\nx-real-ip: 127.0.0.1", 401),
        (&plain, "host: localhost\r\nvia: 1.1 proxy", 401),
        // A proxy that puts its own name into Host and adds nothing cannot be told from somebody here.
        (&public, "host: localhost", 401),
        (&public, "host: chat.example.org", 401),
    ] {
        for path in ["/api/v1/stats", "/metrics"] {
            let request = format!("GET {path} HTTP/1.1\r\n{headers}\r\nconnection: close\r\n\r\n");
            let answer = http::raw(server.address, request.as_bytes()).await;
            assert_eq!(answer.status, expected, "{path} {headers}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let policy = answer.header("cross-origin-resource-policy");
            assert_eq!(policy, Some("same-origin"), "{path}");
        }
    }
}

#[tokio::test]
async fn two_tokens_in_turn_that_name_one_user_differently_do_not_write_with_every_request() {
    let server = TestServer::start().await;
    let (before, after) = (server.token(2, "ann"), server.token(2, "anne"));
    for _ in 0..50 {
        for token in [&before, &after] {
            assert_eq!(http::me(server.address, token).await.status, 200);
        }
    }
    let commits = stats(&server).await["commits"]["count"].as_u64().unwrap();
    assert!(commits < 25, "{commits}");
}

#[tokio::test]
async fn metrics_are_prometheus_text_unless_open_metrics_is_asked_for() {
    let server = TestServer::start().await;
    let mut ann = server.client("ann").await;
    ann.send_room("general", "counted").await;
    ann.ask_in_vain(json!({"type": "nonsense"})).await;
    let classic = http::get(server.address, "/metrics").await;
    let expected = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(classic.header("content-type"), Some(expected));
    for line in [
        "# TYPE chat_messages_stored_total counter",
        "# HELP chat_messages_stored_total messages stored.",
        "# TYPE chat_errors_total counter",
        "# TYPE chat_connections gauge",
        "# TYPE chat_commit_seconds histogram",
        "# TYPE chat_commit_writes histogram",
        "chat_messages_stored_total 1",
    ] {
        assert!(
            classic.body.lines().any(|found| found == line),
            "{line} in\n{}",
            classic.body
        );
    }
    let samples = |name: &str| {
        let value = classic
            .body
            .lines()
            .find_map(|line| line.strip_prefix(name));
        value.unwrap().trim().parse::<f64>().unwrap()
    };
    assert!(samples("chat_commit_seconds_sum ") > 0.0);
    assert_eq!(
        samples("chat_commit_seconds_count "),
        samples("chat_commits_total ")
    );
    let all = samples(r#"chat_commit_writes_bucket{le="+Inf"} "#);
    assert_eq!(all, samples("chat_commits_total "));
    assert!(!classic.body.contains("# EOF") && !classic.body.contains("# UNIT"));

    let accept = ["accept: application/openmetrics-text; version=1.0.0, text/plain;q=0.5"];
    let open = http::request(server.address, "GET", "/metrics", &accept, "").await;
    let expected = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(expected));
    assert!(open.body.contains("# TYPE chat_messages_stored counter\n"));
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test]
async fn copies_are_told_with_their_lag_and_with_what_is_wrong() {
    let alone = TestServer::start().await;
    assert_eq!(stats(&alone).await["sync"], json!([]));
    let metrics = http::get(alone.address, "/metrics").await.body;
    assert!(!metrics.contains("chat_sync"), "{metrics}");

    let backend = Backend::start().await;
    let url = backend.url();
    let server = TestServer::with(|config| {
        config.backend = Some(url.parse().unwrap());
        config.copies.to_backend = true;
        config.limits.sync_backoff_seconds = 1;
    })
    .await;
    let mut ann = server.client("ann").await;
    let well = json!({
        "follower": "backend", "url": url, "position": 2, "latest": 2, "lag": 0, "parked": 1, "here": true, "failing": null,
    });
    backend.answers_once(MESSAGES, Reply::status(422));
    for content in ["refused", "taken"] {
        ann.send_room("general", content).await;
    }
    stats_when(&server, |stats| stats["sync"][0] == well).await;

    backend.answers(MESSAGES, Reply::status(500));
    let before = now() * 1000;
    for content in ["not taken", "waiting"] {
        ann.send_room("general", content).await;
    }
    let failing = stats_when(&server, |stats| stats["sync"][0]["failing"] != Value::Null).await;
    let copy = &failing["sync"][0];
    assert_eq!((&copy["position"], &copy["parked"]), (&json!(2), &json!(1)));
    let since = copy["failing"]["since"].as_i64().unwrap();
    assert!((before..=(now() + 1) * 1000).contains(&since), "{copy}");
    let reason = copy["failing"]["reason"].as_str().unwrap();
    assert!(reason.contains("500"), "{reason}");
    stats_when(&server, |stats| stats["sync"][0]["lag"] == 2).await;
    let metrics = http::get(server.address, "/metrics").await.body;
    for line in [
        "# TYPE chat_sync_lag gauge",
        "# TYPE chat_sync_delivered_total counter",
        "chat_sync_lag{follower=\"backend\"} 2",
        "chat_sync_parked{follower=\"backend\"} 1",
        "chat_sync_delivered_total{follower=\"backend\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in\n{metrics}"
        );
    }
    let failures = metrics
        .lines()
        .find_map(|line| line.strip_prefix("chat_sync_failures_total{follower=\"backend\"} "));
    assert!(failures.unwrap().parse::<u64>().unwrap() >= 2, "{metrics}");

    backend.answers(MESSAGES, Reply::Well);
    stats_when(&server, |stats| {
        let copy = &stats["sync"][0];
        copy["position"] == 4 && copy["lag"] == 0 && copy["failing"] == Value::Null
    })
    .await;
}
