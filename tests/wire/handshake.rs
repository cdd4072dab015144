//! Getting in: paths, tokens and how they come, origins, and the words of a refusal.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chat_server::{clock::Clock, protocol::Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::common::{
    Client, SECRET, TestServer,
    client::{Handshake, handshake},
    http, now, token,
};

fn signed(claims: &Value) -> String {
    encode(
        &Header::new(Algorithm::HS256),
        claims,
        &EncodingKey::from_secret(SECRET),
    )
    .unwrap()
}

/// A token whose header is `header`, signed with HS256 whatever it says.
fn with_header(header: &str) -> String {
    let good = token(1, "ann", 3600);
    let (_, rest) = good.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

async fn with_bearer(server: &TestServer, token: &str) -> Handshake {
    handshake(server.address, "/ws", |request| {
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    })
    .await
}

fn refusal(result: Handshake) -> (u16, String, String) {
    let (status, body) = result.expect_err("a refusal");
    let body: Value = serde_json::from_str(&body).unwrap();
    let part = |name: &str| body["error"][name].as_str().unwrap().to_owned();
    (status, part("code"), part("message"))
}

#[tokio::test]
async fn three_paths_lead_to_the_socket_and_the_page_lives_at_one_of_them() {
    let server = TestServer::start().await;
    for path in ["/", "/ws", "/ws/chat"] {
        let path = format!("{path}?token={}", server.token(1, "ann"));
        Client::connect(server.address, &path, 1, "ann")
            .await
            .ping()
            .await;
    }
    let page = http::get(server.address, "/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let plain = http::get(server.address, "/ws").await;
    assert_eq!(
        (plain.status, plain.header("upgrade")),
        (426, Some("websocket"))
    );
    assert_eq!(http::post(server.address, "/", "{}").await.status, 405);
}

#[tokio::test]
async fn a_token_comes_in_a_header_a_subprotocol_or_the_query_first_found_first_used() {
    let server = TestServer::start().await;
    let (ann, bob, kim) = (
        server.token(1, "ann"),
        server.token(2, "bob"),
        server.token(3, "kim"),
    );
    type Row<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, i64);
    let rows: [Row<'_>; 6] = [
        (Some(&ann), None, None, 1),
        (None, Some(&bob), None, 2),
        (None, None, Some(&kim), 3),
        (Some(&ann), Some(&bob), Some(&kim), 1),
        (None, Some(&bob), Some(&kim), 2),
        (Some(&ann), None, Some("garbage"), 1),
    ];
    for (header, subprotocol, query, user) in rows {
        let path = query.map_or("/ws".to_owned(), |token| format!("/ws?x=1&token={token}"));
        let result = handshake(server.address, &path, |request| {
            let headers = request.headers_mut();
            if let Some(token) = header {
                headers.insert("authorization", format!("bearer {token}").parse().unwrap());
            }
            if let Some(token) = subprotocol {
                headers.insert(
                    "sec-websocket-protocol",
                    format!("chat.v1, bearer.{token}").parse().unwrap(),
                );
            }
        });
        let (socket, selected) = result.await.unwrap();
        assert_eq!(selected, if subprotocol.is_some() { "chat.v1" } else { "" });
        let mut client = Client::over(socket, user, "somebody");
        assert_eq!(
            client.ask(json!({"type": "hello"})).await["data"]["userId"],
            user
        );
    }
    let (status, code, message) = refusal(handshake(server.address, "/ws", |_| {}).await);
    assert_eq!((status, &*code), (401, "unauthorized"));
    assert!(message.contains("no token"), "{message}");
}

#[tokio::test]
async fn claims_say_who_somebody_is_in_several_ways() {
    let server = TestServer::start().await;
    let exp = now() + 60;
    for (claims, id, name, role) in [
        (
            json!({"user_id": 7, "username": "ann", "role": "admin", "exp": exp, "iat": now()}),
            7,
            "ann",
            "admin",
        ),
        (
            json!({"sub": "8", "preferred_username": "bob", "exp": exp}),
            8,
            "bob",
            "user",
        ),
        (
            json!({"id": 9, "name": "kim", "exp": exp}),
            9,
            "kim",
            "user",
        ),
        (json!({"sub": 10, "exp": exp}), 10, "user-10", "user"),
        (
            json!({"user_id": 11, "sub": "not a number", "exp": exp, "nbf": now() - 1}),
            11,
            "user-11",
            "user",
        ),
        (
            json!({"user_id": 12, "username": " \u{202E}lee\u{0}\n ", "exp": exp, "role": 7}),
            12,
            "lee",
            "user",
        ),
        (
            json!({"user_id": 13, "username": "n".repeat(300), "exp": exp}),
            13,
            &"n".repeat(64),
            "user",
        ),
        (
            json!({"user_id": 9_007_199_254_740_991_i64, "iss": "a", "aud": ["b"], "exp": exp}),
            9_007_199_254_740_991_i64,
            "user-9007199254740991",
            "user",
        ),
    ] {
        let answer = http::me(server.address, &signed(&claims)).await;
        let user = json!({"user": {"id": id, "username": name, "role": role}});
        assert_eq!((answer.status, answer.json()), (200, user), "{claims}");
    }
}

#[tokio::test]
async fn a_refused_token_is_refused_in_words_that_a_developer_can_act_on() {
    // The time stands, so that a slow machine says the same.
    let at = now();
    let standing = Timestamp::from_unix_ms(at * 1000);
    let server = TestServer::with(|config| config.clock = Clock::new(move || standing)).await;
    let good = token(1, "ann", 3600);
    let other_key = encode(
        &Header::default(),
        &json!({"user_id": 1, "exp": at + 60}),
        &EncodingKey::from_secret(b"another"),
    )
    .unwrap();
    let hs384 = encode(
        &Header::new(Algorithm::HS384),
        &json!({"user_id": 1, "exp": at + 60}),
        &EncodingKey::from_secret(SECRET),
    )
    .unwrap();
    let exp = at + 60;
    let rows = [
        (other_key, "signature does not match JWT_SECRET"),
        (hs384, "HS384"),
        (
            signed(&json!({"user_id": 1, "exp": at - 180})),
            "token expired 3 min ago",
        ),
        (
            signed(&json!({"user_id": 1, "exp": at - 7})),
            "token expired 7 s ago",
        ),
        (signed(&json!({"user_id": 1, "exp": -5})), "token expired"),
        (signed(&json!({"user_id": 1})), "no exp"),
        (
            signed(&json!({"user_id": 1, "exp": exp.to_string()})),
            "exp must be an integer",
        ),
        (
            signed(&json!({"user_id": 1, "exp": 1e300})),
            "exp must be an integer",
        ),
        (
            signed(&json!({"user_id": 1, "exp": exp as f64 + 0.5})),
            "exp must be an integer",
        ),
        (
            signed(&json!({"user_id": 1, "exp": exp, "nbf": at + 600})),
            "valid only in",
        ),
        (
            signed(&json!({"user_id": 1, "exp": exp, "iat": at + 600})),
            "issued in the future",
        ),
        (
            signed(&json!({"exp": exp})),
            "no user id: looked for user_id, sub, id",
        ),
        (
            signed(&json!({"user_id": "1", "exp": exp})),
            "user_id must be an integer",
        ),
        (
            signed(&json!({"user_id": 0, "sub": "5", "exp": exp})),
            "user_id must be an integer",
        ),
        (
            signed(&json!({"user_id": 1.5, "exp": exp})),
            "user_id must be an integer",
        ),
        (
            signed(&json!({"user_id": 9_007_199_254_740_992_i64, "exp": exp})),
            "user_id must be an integer",
        ),
        (
            signed(&json!({"sub": "", "exp": exp})),
            "sub must be an integer",
        ),
        (
            signed(&json!({"sub": "+5", "exp": exp})),
            "sub must be an integer",
        ),
        (
            signed(&json!({"sub": "1 OR 1=1", "exp": exp})),
            "sub must be an integer",
        ),
        (with_header(r#"{"alg":"none"}"#), "\"none\""),
        (with_header(r#"{"alg":"nOnE"}"#), "\"nOnE\""),
        (with_header(r#"{"alg":"RS256"}"#), "\"RS256\""),
        (with_header(r#"{"typ":"JWT"}"#), "names no algorithm"),
        (with_header(r#"{"alg":"HS256","crit":["b64"]}"#), "crit"),
        (
            with_header(r#"{"alg":"HS256","kid":"../../etc/passwd","jku":"http://evil.test/"}"#),
            "signature",
        ),
        (format!("{good}."), "JWT"),
        (format!("{good}.{good}"), "JWT"),
        (good.replace('.', ""), "no JWT"),
        ("garbage".into(), "no JWT"),
        ("..".into(), "no JWT"),
        (
            signed(&json!({"user_id": 1, "exp": exp, "pad": "x".repeat(9_000)})),
            "at most 8192",
        ),
    ];
    for (token, words) in rows {
        let shown: String = token.chars().take(60).collect();
        let (status, code, message) = refusal(with_bearer(&server, &token).await);
        assert_eq!((status, &*code), (401, "unauthorized"), "{shown}");
        assert!(message.contains(words), "{shown}: {message}");
        // A browser cannot see that answer; this is how it asks.
        let me = http::me(server.address, &token).await;
        assert_eq!(me.status, 401);
        assert_eq!(me.json()["error"]["message"], message);
    }
}

#[tokio::test]
async fn no_bit_of_a_signature_may_change_and_no_claim_is_told_before_it_holds() {
    let server = TestServer::start().await;
    let expired = token(1, "ann", -3600);
    let (head, signature) = expired.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for bit in 0..64 {
        bytes[bit / 2] ^= 1 << (bit % 8);
        let changed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        bytes[bit / 2] ^= 1 << (bit % 8);
        let answer = http::me(server.address, &changed).await;
        assert_eq!(
            answer.json()["error"]["message"],
            "signature does not match JWT_SECRET"
        );
    }
}

#[tokio::test]
async fn the_handshake_forgives_a_clock_five_seconds() {
    let server = TestServer::start().await;
    let me = http::me(
        server.address,
        &signed(&json!({"user_id": 1, "exp": now() - 3, "nbf": now() + 3})),
    )
    .await;
    assert_eq!(me.status, 200);
}

#[tokio::test]
async fn a_strange_origin_is_refused_with_the_flag_that_would_allow_it() {
    let server =
        TestServer::with(|config| config.allow_origin = vec!["https://team.example".into()]).await;
    for (origin, allowed) in [
        ("http://localhost:5173", true),
        ("https://team.example", true),
        ("https://evil.test", false),
        ("null", false),
    ] {
        let path = format!("/ws?token={}", server.token(1, "ann"));
        let socket = handshake(server.address, &path, |request| {
            request
                .headers_mut()
                .insert("origin", origin.parse().unwrap());
        });
        let header = format!("origin: {origin}");
        let bearer = format!("authorization: Bearer {}", server.token(1, "ann"));
        let me = http::request(
            server.address,
            "GET",
            "/api/v1/auth/me",
            &[&header, &bearer],
            "",
        )
        .await;
        // Which ways in there are: asked before there is a token.
        let health = http::request(server.address, "GET", "/healthz", &[&header], "").await;
        assert_eq!(health.status, if allowed { 200 } else { 403 });
        assert_eq!(
            health.header("access-control-allow-origin"),
            allowed.then_some(origin)
        );
        let preflight = ["access-control-request-method: POST", header.as_str()];
        let preflight = http::request(
            server.address,
            "OPTIONS",
            "/api/v1/auth/login",
            &preflight,
            "",
        )
        .await;
        if allowed {
            socket.await.unwrap();
            assert_eq!(
                (me.status, me.header("access-control-allow-origin")),
                (200, Some(origin))
            );
            assert_eq!(
                (
                    preflight.status,
                    preflight.header("access-control-allow-origin")
                ),
                (204, Some(origin))
            );
            assert!(
                preflight
                    .header("access-control-allow-headers")
                    .unwrap()
                    .contains("authorization")
            );
        } else {
            let (status, code, message) = refusal(socket.await);
            assert_eq!((status, &*code), (403, "forbidden"));
            assert!(
                message.contains(&format!("--allow-origin {origin}")),
                "{message}"
            );
            assert_eq!(
                (me.status, me.header("access-control-allow-origin")),
                (403, None)
            );
            assert_eq!(
                (
                    preflight.status,
                    preflight.header("access-control-allow-origin")
                ),
                (403, None)
            );
        }
    }
}

#[tokio::test]
async fn a_broken_handshake_is_a_clear_answer() {
    let server = TestServer::start().await;
    let token = format!("authorization: Bearer {}", server.token(1, "ann"));
    for headers in [
        vec![
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 13",
        ],
        vec![
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 13",
            "sec-websocket-key: short",
        ],
        vec![
            "upgrade: websocket",
            "connection: upgrade",
            "sec-websocket-version: 8",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
    ] {
        let headers: Vec<&str> = headers.into_iter().chain([token.as_str()]).collect();
        let answer = http::request(server.address, "GET", "/ws", &headers, "").await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (400, "invalid_field"),
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_a_page_to_itself() {
    let server = TestServer::start().await;
    for path in [
        "/",
        "/chat-client.js",
        "/style.css",
        "/healthz",
        "/api/v1/auth/me",
        "/nowhere",
        "/api/v1/nowhere",
    ] {
        let answer = http::get(server.address, path).await;
        let csp = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(csp.contains(part), "{path}: {csp}");
        }
        assert!(!csp.contains("unsafe"), "{path}: {csp}");
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        assert_eq!(
            answer.header("referrer-policy"),
            Some("no-referrer"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn only_embedded_names_are_served() {
    let server = TestServer::start().await;
    for path in [
        "/../Cargo.toml",
        "/%2e%2e/Cargo.toml",
        "/..%2fCargo.toml",
        "/..%252fCargo.toml",
        "/static/../Cargo.toml",
        "/..\\Cargo.toml",
        "//etc/passwd",
        "/./index.html/../../Cargo.toml",
        "/index.html%00.js",
        "/C:/windows/win.ini",
        "/.git/config",
        "/src/main.rs",
        "/%c0%ae%c0%ae/Cargo.toml",
    ] {
        let answer = http::get(server.address, path).await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
    }
    for (path, kind) in [
        ("/chat-react.js", "text/javascript; charset=utf-8"),
        ("/chat-client.d.ts", "application/typescript; charset=utf-8"),
        ("/package.json", "application/json"),
    ] {
        let answer = http::get(server.address, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(kind)),
            "{path}"
        );
    }
    let script = http::get(server.address, "/chat-client.js").await;
    assert_eq!(
        (script.status, script.header("content-type")),
        (200, Some("text/javascript; charset=utf-8"))
    );
    let etag = script.header("etag").unwrap();
    let again = http::request(
        server.address,
        "GET",
        "/chat-client.js",
        &[&format!("if-none-match: {etag}")],
        "",
    )
    .await;
    assert_eq!((again.status, &*again.body), (304, ""));
}
