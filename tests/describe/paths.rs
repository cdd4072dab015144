//! The paths of the OpenAPI document are those of the router, and answer as they are described.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::common::{
    TestServer, described,
    http::{self, Answer},
};

const JSON: &str = "content-type: application/json";

async fn document(server: &TestServer) -> Value {
    let answer = http::get(server.address, "/api/v1/openapi.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// Every path with its methods, in lower case.
fn described_paths(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, methods)| {
            (
                path.clone(),
                methods.as_object().unwrap().keys().cloned().collect(),
            )
        })
        .collect()
}

fn sources(folder: PathBuf) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => text.push_str(&sources(path)),
            false => text.push_str(&fs::read_to_string(path).unwrap()),
        }
    }
    text
}

/// What the router is built from: every path as it is written, and the methods that it names.
fn routes() -> BTreeMap<String, BTreeSet<String>> {
    let text = sources(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"));
    let mut routes = BTreeMap::new();
    for (at, _) in text.match_indices(".route(") {
        let call = &text[at + ".route(".len()..];
        let (mut depth, mut end) = (1, 0);
        for (index, c) in call.char_indices() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                end = index;
                break;
            }
        }
        let path = call[..end].split('"').nth(1).unwrap();
        let methods: BTreeSet<String> = ["get", "post", "put", "patch", "delete"]
            .iter()
            .filter(|method| call[..end].contains(&format!("{method}(")))
            .map(|method| (*method).to_owned())
            .collect();
        // The sockets take any method, and refuse all but one.
        let methods = if call[..end].contains("any(") {
            [String::from("get")].into()
        } else {
            methods
        };
        routes.insert(path.to_owned(), methods);
    }
    routes
}

#[tokio::test]
async fn every_route_is_described_with_its_methods_and_nothing_else_is() {
    let server = TestServer::start().await;
    let described = described_paths(&document(&server).await);
    let routes = routes();
    assert!(routes.len() >= 10, "{routes:?}");
    for (path, methods) in &routes {
        let full = format!("/api/v1{path}");
        let found = described.get(path).or(described.get(&full));
        let found = found
            .unwrap_or_else(|| panic!("{path} is not described: see src/http/describe/operations"));
        assert_eq!(found, methods, "the methods of {path}");
    }
    for path in described.keys() {
        let short = path.strip_prefix("/api/v1").unwrap_or(path);
        assert!(
            routes.contains_key(path) || routes.contains_key(short),
            "{path} is described, but there is no such route"
        );
    }
}

#[tokio::test]
async fn every_described_path_is_there_and_takes_no_other_method() {
    let server = TestServer::start().await;
    let token = format!("authorization: Bearer {}", server.token(1, "ann"));
    for (template, methods) in described_paths(&document(&server).await) {
        let path = template.replace("{room}", "general").replace("{user}", "1");
        for method in ["get", "post", "put", "patch", "delete"] {
            let answer = http::request(
                server.address,
                &method.to_uppercase(),
                &path,
                &[&token, JSON],
                "",
            )
            .await;
            let is_missing = answer.status == 404 && answer.code() != "user_not_found";
            assert!(
                !is_missing,
                "{method} {path} is described, but there is no such path"
            );
            let is_socket = ["/ws", "/ws/chat"].contains(&&*path);
            let is_refused = answer.status == if is_socket { 426 } else { 405 };
            assert_eq!(
                is_refused,
                is_socket || !methods.contains(method),
                "{method} {path}: {answer:?}"
            );
        }
    }
}

/// What is sent to an operation, out of its first example, and what comes back.
async fn asked(
    server: &TestServer,
    path: &str,
    method: &str,
    operation: &Value,
    token: &str,
) -> Answer {
    let examples = operation["requestBody"]["content"]["application/json"]["examples"].as_object();
    let body = examples.and_then(|examples| examples.values().next_back());
    let body = body.map_or(String::new(), |example| example["value"].to_string());
    let header = format!("authorization: Bearer {token}");
    let path = path.replace("{room}", "general").replace("{user}", "1");
    http::request(
        server.address,
        &method.to_uppercase(),
        &path,
        &[&header, JSON],
        &body,
    )
    .await
}

#[tokio::test]
async fn every_operation_does_what_its_example_asks() {
    let server = TestServer::standalone().await;
    let document = document(&server).await;
    let guest = http::post(server.address, "/api/v1/auth/guest", "{}")
        .await
        .json();
    let token = guest["token"].as_str().unwrap();
    let paths = document["paths"].as_object().unwrap();
    // Who logs in must have registered.
    let register = "/api/v1/auth/register";
    let first = asked(&server, register, "post", &paths[register]["post"], token).await;
    assert_eq!(first.status, 201, "{first:?}");
    for (path, methods) in paths.iter().filter(|(path, _)| *path != register) {
        for (method, operation) in methods.as_object().unwrap() {
            // A handshake is no request like the others; the socket's own tests make it.
            if path.starts_with("/ws") {
                continue;
            }
            let answer = asked(&server, path, method, operation, token).await;
            let answers = operation["responses"].as_object().unwrap();
            let is_success = (200..300).contains(&answer.status);
            // The name is taken by then.
            let is_known = *path == "/api/v1/auth/guest" && answer.status == 409;
            assert!(is_success || is_known, "{method} {path}: {answer:?}");
            assert!(
                answers.contains_key(&answer.status.to_string()),
                "{method} {path}: {answer:?}"
            );
            let content = answers[&answer.status.to_string()]["content"]
                .as_object()
                .unwrap();
            let media_type = answer.header("content-type").unwrap();
            assert!(
                content
                    .keys()
                    .any(|described| media_type.starts_with(described)),
                "{path}: {media_type}"
            );
        }
    }
}

#[tokio::test]
async fn every_example_of_the_http_api_is_as_it_is_described() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    let mut judged = 0;
    let mut judge = |content: &Value| {
        let content = &content["application/json"];
        if !content["schema"].is_object() {
            return;
        }
        let judge = described::strict(&content["schema"], &document);
        let named = content["examples"].as_object().into_iter().flatten();
        let examples = named
            .map(|(_, example)| &example["value"])
            .chain(content.get("example"));
        for example in examples {
            assert!(
                judge.is_valid(example),
                "{example} is not as described: {}",
                content["schema"]
            );
            judged += 1;
        }
    };
    for operation in document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
    {
        judge(&operation["requestBody"]["content"]);
        for response in operation["responses"].as_object().unwrap().values() {
            judge(&response["content"]);
        }
    }
    assert!(judged > 40, "{judged}");
}

#[tokio::test]
async fn the_documents_may_be_read_by_every_page_that_may_use_the_api() {
    let server = TestServer::start().await;
    for path in ["/api/v1/openapi.json", "/asyncapi.json"] {
        let allowed = http::request(
            server.address,
            "GET",
            path,
            &["origin: http://localhost:5173"],
            "",
        )
        .await;
        assert_eq!(allowed.status, 200);
        assert_eq!(
            allowed.header("access-control-allow-origin"),
            Some("http://localhost:5173")
        );
        assert_eq!(allowed.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
        let refused = http::request(
            server.address,
            "GET",
            path,
            &["origin: http://evil.test"],
            "",
        )
        .await;
        assert_eq!((refused.status, &*refused.code()), (403, "forbidden"));
        let asked_before = http::request(
            server.address,
            "OPTIONS",
            path,
            &["origin: http://localhost:5173"],
            "",
        )
        .await;
        assert_eq!(asked_before.status, 204);
    }
}

#[tokio::test]
async fn the_error_codes_are_those_of_the_registry() {
    let server = TestServer::start().await;
    let document = document(&server).await;
    let codes = chat_server::protocol::ErrorCode::ALL.map(|code| json!(code.as_str()));
    let schema = &document["components"]["schemas"]["ErrorCode"];
    assert_eq!(schema["enum"], json!(codes));
    assert!(codes.iter().all(|code| {
        schema["description"]
            .as_str()
            .unwrap()
            .contains(code.as_str().unwrap())
    }));
}
