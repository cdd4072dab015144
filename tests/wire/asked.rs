//! A backend that is asked whose a token is: what it says counts, and nothing but its yes is a way in.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::{
    Client, TestServer,
    backend::{Backend, ME, Reply},
    client::handshake,
    http, now, soon,
};

fn ann() -> Value {
    json!({"id": 7, "username": "ann", "email": "ann@example.org", "role": "moderator"})
}

/// Ann, and in a field of her own something that looks like somebody else.
fn with_own_words(field: &str) -> Value {
    let mut ann = ann();
    ann[field] = json!({"id": 1, "username": "root", "role": "admin"});
    ann
}

/// A server that knows nobody but by asking.
async fn asking(backend: &Backend) -> TestServer {
    asking_with(backend, |_| {}).await
}

async fn asking_with(
    backend: &Backend,
    change: impl FnOnce(&mut chat_server::config::Config),
) -> TestServer {
    let url = backend.url();
    TestServer::with(|config| {
        config.secret = None;
        config.backend = Some(url.parse().unwrap());
        change(config);
    })
    .await
}

async fn refusal(server: &TestServer, token: &str) -> (u16, String, String) {
    let me = http::me(server.address, token).await;
    let told = me.json()["error"]["message"].as_str().map(str::to_owned);
    (me.status, me.code(), told.unwrap_or(me.body))
}

/// What looks like a JWT and is signed by nobody.
fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.x", part(&json!({"alg": "none"})), part(claims))
}

async fn enter(server: &TestServer, token: &str) -> Client {
    let path = format!("/ws?token={token}");
    let mut client = Client::connect(server.address, &path, 7, "ann").await;
    client.ping().await;
    client
}

#[tokio::test]
async fn whom_the_backend_knows_comes_in_however_it_says_who_that_is() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    for (token, answer) in [
        ("bare", ann()),
        ("data", json!({"success": true, "data": ann()})),
        ("user", json!({"user": ann()})),
        ("both", json!({"data": {"user": ann(), "token": "x"}})),
        (
            "text",
            json!({"id": "7", "username": "ann", "role": "moderator"}),
        ),
        ("beside", json!({"data": {"theme": "dark"}, "user": ann()})),
        ("within", json!({"id": "request-1", "data": ann()})),
        // What users say of themselves is no wrap.
        ("own", with_own_words("data")),
        ("own-too", json!({"user": with_own_words("user")})),
    ] {
        backend.knows(token, answer);
        let me = http::me(server.address, token).await;
        let user = json!({"id": 7, "username": "ann", "role": "moderator"});
        assert_eq!((me.status, &me.json()["user"]), (200, &user), "{token}");
    }
    let mut client = enter(&server, "bare").await;
    let welcome = client.ask(json!({"type": "hello"})).await;
    assert_eq!(
        (&welcome["data"]["userId"], &welcome["data"]["username"]),
        (&json!(7), &json!("ann"))
    );
    assert_eq!(client.send_room("general", "hello").await.id, 1);
    let asked = &backend.seen(ME)[0];
    assert_eq!(
        (&*asked.method, asked.header("authorization")),
        ("GET", Some("Bearer bare"))
    );
}

#[tokio::test]
async fn a_token_of_any_visible_characters_comes_in_escaped_in_the_query() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    backend.knows("a+b/c==&%", ann());
    enter(&server, "a%2Bb%2Fc%3D%3D%26%25").await;
    enter(&server, "a+b/c%3d%3d%26%25").await;
    assert_eq!(
        refusal(&server, "a%2Bb%2Fc%3D%3D%26%25").await.0,
        401,
        "a header has no escapes"
    );
}

#[tokio::test]
async fn a_refusal_comes_with_the_backends_own_reason() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    let told = [
        (401, json!({"error": "session revoked"}), "session revoked"),
        (401, json!({"error": {"message": "log in"}}), "log in"),
        (401, json!({"message": "no such user"}), "no such user"),
        (
            403,
            json!({"message": "account suspended"}),
            "account suspended",
        ),
        (401, json!("?"), "does not know this token"),
        (
            403,
            json!({"error": "\u{202e}\n"}),
            "does not let this user in",
        ),
    ];
    for (asked, (status, body, words)) in (1..).zip(told) {
        let token = format!("{words}{status}").replace(' ', "-");
        backend.answers_once(ME, Reply::json(status, &body));
        let code = ["unauthorized", "forbidden"][usize::from(status == 403)];
        let told = refusal(&server, &token).await;
        assert_eq!((told.0, &*told.1), (status, code), "{}", told.2);
        assert!(told.2.contains(words), "{}", told.2);
        // And the handshake says the same, though the backend would now say something else.
        let path = format!("/ws?token={token}");
        let (refused, body) = handshake(server.address, &path, |_| {}).await.unwrap_err();
        assert!(refused == status && body.contains(words), "{body}");
        assert_eq!(backend.seen(ME).len(), asked, "a refusal is remembered");
    }
    // Words that hold the token would carry it into logs.
    let said = json!({"error": "", "message": "no session secret-session for you"});
    backend.answers_once(ME, Reply::json(401, &said));
    let (_, _, told) = refusal(&server, "secret-session").await;
    assert!(
        told.contains("for you") && !told.contains("secret-session"),
        "{told}"
    );
}

#[tokio::test]
async fn whatever_else_a_backend_does_is_no_way_in_and_says_503() {
    let backend = Backend::start().await;
    let server = asking_with(&backend, |config| config.limits.auth_timeout_ms = 300).await;
    backend.knows("good", ann());
    let ok = |body: Value| Reply::json(200, &body);
    let long = Reply::json(
        200,
        &json!({"id": 7, "username": "ann", "x": "x".repeat(65_536)}),
    );
    for reply in [
        Reply::status(500),
        Reply::status(404),
        Reply::status(204),
        Reply::status(201),
        Reply::page(),
        Reply::redirect(&format!("{}{ME}", backend.url())),
        Reply::Cut,
        Reply::Endless,
        Reply::HalfAnAnswer,
        long,
        ok(json!([])),
        ok(json!({})),
        ok(json!({"id": 0, "username": "ann"})),
        ok(json!({"id": 1.5, "username": "ann"})),
        ok(json!({"id": 7})),
        ok(json!({"data": []})),
        ok(json!({"error": "session revoked"})),
    ] {
        let shown = format!("{reply:?}").chars().take(80).collect::<String>();
        backend.answers(ME, reply);
        let (status, code, told) = refusal(&server, "good").await;
        assert_eq!((status, &*code), (503, "unavailable"), "{shown}: {told}");
    }
    backend.answers(ME, Reply::Well);
    backend.down().await;
    assert_eq!(refusal(&server, "good").await.0, 503);
    backend.up().await;
    backend.hold();
    assert_eq!(
        refusal(&server, "good").await.0,
        503,
        "two seconds are enough"
    );
    backend.release();
    assert_eq!(http::me(server.address, "good").await.status, 200);
    assert_eq!(http::me(server.address, "bad").await.status, 401);
    let mut client = enter(&server, "good").await;
    backend.answers_once(ME, Reply::status(500));
    let newer = json!({"type": "auth", "token": "newer"});
    assert_eq!(client.ask_in_vain(newer).await["code"], "unavailable");
    client.ping().await;
}

#[tokio::test]
async fn a_thousand_connects_with_one_token_are_one_request() {
    let backend = Backend::start().await;
    // All of them wait for storage at the same moment.
    let server = asking_with(&backend, |config| config.limits.patience_seconds = 60).await;
    backend.knows("good", ann());
    backend.hold();
    let mut connects = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        connects.spawn(handshake(server.address, "/ws?token=good", |_| {}));
    }
    backend.requests(ME, 1).await;
    backend.release();
    let mut sockets = Vec::new();
    while let Some(connected) = connects.join_next().await {
        sockets.push(connected.unwrap().unwrap());
    }
    assert_eq!((sockets.len(), backend.seen(ME).len()), (1000, 1));
    enter(&server, "good").await;
    assert_eq!(backend.seen(ME).len(), 1, "and so are those who come later");
}

#[tokio::test]
async fn whoever_leaves_in_the_middle_makes_nobody_ask_again() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    backend.knows("good", ann());
    backend.hold();
    let left = tokio::spawn(handshake(server.address, "/ws?token=good", |_| {}));
    backend.requests(ME, 1).await;
    left.abort();
    let stays = tokio::spawn(handshake(server.address, "/ws?token=good", |_| {}));
    backend.release();
    stays.await.unwrap().unwrap();
    assert_eq!(backend.seen(ME).len(), 1);
}

#[tokio::test]
async fn for_those_who_left_while_they_waited_nobody_is_asked() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    backend.knows("good", ann());
    backend.hold();
    let asks = |name: String| {
        let path = format!("/ws?token={name}");
        tokio::spawn(async move { handshake(server.address, &path, |_| {}).await.is_ok() })
    };
    let mut sixty_four: Vec<_> = (0..64).map(|n| asks(format!("asked{n}"))).collect();
    backend.requests(ME, 64).await;
    let mut streams = Vec::new();
    for n in 0..30 {
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        let head = format!(
            "GET /api/v1/auth/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer left{n}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    http::get(server.address, "/healthz").await;
    drop(streams);
    http::get(server.address, "/healthz").await;
    http::get(server.address, "/healthz").await;
    backend.release();
    sixty_four.push(asks("good".into()));
    let let_in = futures_util::future::join_all(sixty_four).await;
    assert_eq!(
        let_in
            .into_iter()
            .filter(|yes| *yes.as_ref().unwrap())
            .count(),
        1
    );
    assert_eq!(backend.seen(ME).len(), 65);
}

#[tokio::test]
async fn a_backend_that_closes_what_it_has_kept_open_costs_nobody_an_answer() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    backend.closes_what_it_kept();
    for user in 0..5 {
        let token = format!("good{user}");
        backend.knows(&token, ann());
        assert_eq!(http::me(server.address, &token).await.status, 200, "{user}");
    }
    // And one that was away for a moment.
    backend.down().await;
    backend.up().await;
    backend.knows("good", ann());
    assert_eq!(http::me(server.address, "good").await.status, 200);
}

#[tokio::test]
async fn a_yes_is_not_believed_beyond_its_time_nor_beyond_the_tokens_own_end() {
    let backend = Backend::start().await;
    let fresh = asking_with(&backend, |config| config.limits.auth_cache_seconds = 0).await;
    backend.knows("good", ann());
    for asked in 1..=2 {
        assert_eq!(http::me(fresh.address, "good").await.status, 200);
        assert_eq!(backend.seen(ME).len(), asked);
    }
    let server = asking(&backend).await;
    let ended = unsigned(&json!({"exp": now() - 1}));
    backend.knows(&ended, ann());
    let (status, _, told) = refusal(&server, &ended).await;
    assert!(status == 401 && told.contains("expired"), "{told}");
    assert_eq!(
        backend.seen(ME).len(),
        2,
        "nobody needs to be asked about that"
    );
    // One that is about to end is let in for as long as it says, whatever the backend says.
    let mut ending = Vec::new();
    for exp in [json!(now() + 4), json!(now() as f64 + 4.5)] {
        let token = unsigned(&json!({ "exp": exp }));
        backend.knows(&token, ann());
        ending.push((enter(&server, &token).await, token));
    }
    for (mut client, token) in ending {
        assert_eq!(client.close_code_unanswered().await, 4401);
        assert_eq!(refusal(&server, &token).await.0, 401);
    }
}

#[tokio::test]
async fn an_open_connection_is_asked_about_again_unless_its_token_tells_when_it_ends() {
    let backend = Backend::start().await;
    let server = asking_with(&backend, |config| {
        config.limits.auth_again_seconds = 1;
        config.limits.auth_cache_seconds = 0;
    })
    .await;
    let told = unsigned(&json!({"exp": now() + 3600}));
    // As good as none: milliseconds.
    let opaque_token = unsigned(&json!({"exp": (now() + 3600) * 1000}));
    backend.knows(&opaque_token, ann());
    backend.knows(&told, ann());
    let mut opaque = enter(&server, &opaque_token).await;
    let mut telling = enter(&server, &told).await;
    // As long as it is let in, or nobody can say, it stays.
    backend.requests(ME, 3).await;
    backend.answers_once(ME, Reply::status(500));
    backend.requests(ME, 5).await;
    opaque.ping().await;
    backend.forgets(&opaque_token);
    backend.forgets(&told);
    assert_eq!(opaque.close_code_unanswered().await, 4401);
    telling.ping().await;
    let about = |token: &str| {
        let asked = format!("Bearer {token}");
        let seen = backend.seen(ME);
        seen.iter()
            .filter(|one| one.header("authorization") == Some(&asked))
            .count()
    };
    assert_eq!((about(&told), about(&opaque_token) >= 4), (1, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_is_refused_cannot_stay_by_talking_without_a_pause() {
    let backend = Backend::start().await;
    let server = asking_with(&backend, |config| {
        config.limits.auth_again_seconds = 1;
        config.limits.auth_cache_seconds = 0;
    })
    .await;
    backend.knows("opaque", ann());
    let socket = handshake(server.address, "/ws?token=opaque", |_| {}).await;
    let (mut read, mut write) = socket.unwrap().0.into_inner().into_split();
    backend.forgets("opaque");
    // Pongs, which nobody answers.
    let talking = tokio::spawn(async move {
        let pongs = [0x8a, 0x80, 0, 0, 0, 0].repeat(10_000);
        while write.write_all(&pongs).await.is_ok() {}
    });
    let mut told = Vec::new();
    let _ = soon("the end", read.read_to_end(&mut told)).await;
    talking.abort();
    let code = 4401_u16.to_be_bytes();
    let close = told.iter().rposition(|byte| *byte == 0x88).unwrap();
    assert_eq!(&told[close + 2..close + 4], code, "{told:?}");
}

#[tokio::test]
async fn a_newer_token_on_an_open_connection_is_asked_about_and_takes_the_place_of_the_old() {
    let backend = Backend::start().await;
    let server = asking_with(&backend, |config| {
        config.limits.auth_again_seconds = 1;
        config.limits.auth_cache_seconds = 0;
    })
    .await;
    backend.knows("first", ann());
    backend.knows("second", ann());
    backend.knows("bob's", json!({"id": 8, "username": "bob"}));
    let mut client = enter(&server, "first").await;
    for (token, code) in [("bob's", "forbidden"), ("nobody's", "unauthorized")] {
        let refused = client
            .ask_in_vain(json!({"type": "auth", "token": token}))
            .await;
        assert_eq!(refused["code"], code, "{refused}");
    }
    let taken = client.ask(json!({"type": "auth", "token": "second"})).await;
    assert!(taken["data"]["exp"].as_i64().unwrap() > now());
    backend.forgets("first");
    backend.requests(ME, backend.seen(ME).len() + 2).await;
    client.ping().await;
    backend.forgets("second");
    assert_eq!(client.close_code_unanswered().await, 4401);
}

#[tokio::test]
async fn what_no_backend_needs_to_see_is_not_sent_to_it() {
    let backend = Backend::start().await;
    let server = asking(&backend).await;
    let long = "x".repeat(8193);
    for token in ["", "two words", &long] {
        assert_eq!(refusal(&server, token).await.0, 401);
    }
    assert!(backend.seen(ME).is_empty());
}

#[tokio::test]
async fn with_a_secret_as_well_nobody_is_asked() {
    let backend = Backend::start().await;
    let url = backend.url();
    let server = TestServer::with(|config| config.backend = Some(url.parse().unwrap())).await;
    server
        .client("ann")
        .await
        .send_room("general", "hello")
        .await;
    let me = http::me(server.address, "opaque").await;
    assert_eq!(me.status, 401);
    assert!(backend.seen(ME).is_empty());
}

#[tokio::test]
async fn a_backend_under_a_path_is_asked_under_that_path() {
    let backend = Backend::start().await;
    let url = format!("{}/app", backend.url());
    let server = TestServer::with(|config| {
        config.secret = None;
        config.backend = Some(url.parse().unwrap());
    })
    .await;
    let me = format!("/app{ME}");
    backend.answers(&me, Reply::json(200, &ann()));
    assert_eq!(http::me(server.address, "good").await.status, 200);
    assert_eq!(backend.seen(&me).len(), 1);
}
