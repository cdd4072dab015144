//! What the doctor says of a backend in each way in which one can be wrong, and that it asks and never stores.

use std::{net::TcpListener, time::Instant};

use super::{
    Told, command, doctor,
    stand_in::{StandIn, answer},
    told,
};
use crate::common::{self, binary::Running};

const NO_TOKEN: &str = r#"{"error":"token missing"}"#;
const USER: &str = r#"{"data":{"id":7,"username":"ann"}}"#;

fn ask(backend: &str, more: &[&str]) -> Told {
    let folder = tempfile::tempdir().unwrap();
    doctor(folder.path(), &[&["--backend-url", backend], more].concat())
}

#[test]
fn a_backend_that_refuses_who_brings_no_token_is_as_it_should_be_and_nothing_is_posted() {
    let backend = StandIn::saying("401 Unauthorized", NO_TOKEN);
    let told = ask(
        &backend.url(),
        &["--webhook", &format!("{}/hook/s3cr3t", backend.url())],
    );
    told.says("ok", "backend", "answers 401");
    told.says("ok", "backend", "connected in");
    told.says("ok", "secret", "the backend judges tokens");
    told.says("ok", "copies", "without a token");
    told.says("ok", "webhook", "can be reached");
    assert!(!told.all.contains("s3cr3t"), "{}", told.all);
    let asked = backend.asked();
    let is_harmless = |line: &String| line.is_empty() || line.starts_with("GET ");
    assert!(asked.iter().all(is_harmless), "{asked:?}");
    assert!(
        asked
            .iter()
            .any(|line| line == "GET /api/v1/auth/me HTTP/1.1"),
        "{asked:?}"
    );
}

#[test]
fn each_fault_of_a_backend_is_told_with_its_fix() {
    let html = "<!doctype html><title>Log in</title>";
    for (head, body, status, words, fix) in [
        (
            "200 OK\r\ncontent-type: text/html",
            html,
            "fail",
            "HTML",
            "front end",
        ),
        (
            "302 Found\r\nlocation: https://id.example/login?next=s3cr3t",
            "",
            "fail",
            "https://id.example",
            "not followed",
        ),
        (
            "307 Temporary Redirect\r\nlocation: /login",
            "",
            "fail",
            "redirect",
            "not followed",
        ),
        ("404 Not Found", "{}", "fail", "404", "is found"),
        ("500 Internal Server Error", "{}", "fail", "500", "log"),
        ("502 Bad Gateway", html, "fail", "502", "start the backend"),
        (
            "429 Too Many Requests",
            "{}",
            "fail",
            "429",
            "more requests",
        ),
        ("418 I'm a teapot", "{}", "fail", "418", "401 is expected"),
        ("200 OK", USER, "warn", "without a token", "Authorization"),
    ] {
        let backend = StandIn::saying(head, body);
        let told = ask(&backend.url(), &[]);
        let told_fix = told.says(status, "backend", words);
        assert!(
            told_fix.contains(fix) && !told.all.contains("s3cr3t"),
            "{head}: {}",
            told.all
        );
    }
    let endless = StandIn::saying("200 OK", &"x".repeat(100_000));
    ask(&endless.url(), &[]).says("fail", "backend", "more than 65536 bytes");
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let fix =
        ask(&format!("http://{nobody}"), &[]).says("fail", "backend", "cannot be connected to");
    assert!(fix.contains("container"), "{fix}");
    let plain = StandIn::saying("200 OK", "");
    ask(&format!("https://{}", plain.address), &[]).says("fail", "backend", "gives no answer");
}

#[test]
fn a_backend_that_never_answers_does_not_hold_the_doctor_up() {
    let start = Instant::now();
    let silent = StandIn::new(|_| String::new());
    let url = silent.url();
    let told = ask(
        &url,
        &[
            "--public-url",
            &url,
            "--token",
            "abc",
            "--backend-token",
            "t",
        ],
    );
    told.says("fail", "backend", "did not answer in time");
    told.says("fail", "token", "503");
    told.says("fail", "public-url", "did not answer in time");
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn with_a_key_of_our_own_a_backend_that_is_away_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let away = StandIn::saying("500 Internal Server Error", "{}");
    let mut asked = command(folder.path(), &["--backend-url", &away.url()]);
    let told = told(asked.env("JWT_SECRET", "7f3c1d0a9b8e4f6521c0de9a7b3e5f10"));
    told.says("warn", "backend", "copies of messages wait");
    assert_eq!(told.code, Some(0));
}

#[tokio::test]
async fn a_chat_server_is_no_backend_least_of_all_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::on(folder.path());
    let url = format!("http://{}", server.address);
    ask(&url, &[]).says("fail", "backend", "a chat-server answers");
    let bind = server.address.to_string();
    ask(&url, &["--bind", &bind]).says("fail", "backend", "leads to this server itself");
}

#[test]
fn the_backend_is_asked_about_the_token_and_about_the_one_that_copies_bear() {
    let backend = StandIn::new(|head| match head.to_lowercase() {
        head if head.contains("bearer good") => answer("200 OK", USER),
        head if head.contains("bearer barred") => {
            answer("403 Forbidden", r#"{"error":"ann is banned"}"#)
        }
        _ => answer("401 Unauthorized", r#"{"error":"token revoked"}"#),
    });
    let url = backend.url();
    let told = ask(&url, &["--token", "good", "--backend-token", "good2"]);
    told.says("ok", "token", "user 7 \"ann\"");
    told.says("ok", "copies", "knows the token");
    let told = ask(&url, &["--token", "bad", "--backend-token", "s3cr3t"]);
    told.says(
        "fail",
        "token",
        "refused (401): the backend says: token revoked",
    );
    told.says("warn", "copies", "401");
    assert!(!told.all.contains("s3cr3t"), "{}", told.all);
    ask(&url, &["--token", "barred"]).says(
        "fail",
        "token",
        "refused (403): the backend says: ann is banned",
    );
    ask(&url, &["--backend-sync", "off"]).says("ok", "copies", "none");
    ask(&url, &["--backend-token", "a\nb"]).says("fail", "settings", "--backend-token");
}

#[test]
fn published_keys_are_fetched_and_must_be_of_the_configured_kind() {
    // The key of RFC 8037, appendix A.2.
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"oct","k":"AAAA"}]}"#;
    let folder = tempfile::tempdir().unwrap();
    let ask =
        |url: &str, more: &[&str]| doctor(folder.path(), &[&["--jwks-url", url], more].concat());
    let url = format!(
        "{}/keys?tenant=s3cr3t",
        StandIn::saying("200 OK", set).url()
    );
    let told = ask(&url, &["--jwt-algorithm", "EdDSA", "--token", "nonsense"]);
    told.says("ok", "keys", "2 keys, 1 of them for EdDSA");
    told.says("ok", "secret", "--jwks-url");
    told.says("fail", "token", "refused (401)");
    assert!(!told.all.contains("s3cr3t"), "{}", told.all);
    let fix = ask(&url, &[]).says("fail", "keys", "none of them for RS256");
    assert!(fix.contains("--jwt-algorithm"), "{fix}");
    for (head, body, words) in [
        ("200 OK", "<html>", "200 and an HTML page"),
        ("200 OK", "{}", "no set of keys"),
        ("404 Not Found", set, "404"),
    ] {
        ask(&StandIn::saying(head, body).url(), &[]).says("fail", "keys", words);
    }
    let away = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    ask(&format!("http://{away}"), &[]).says("fail", "keys", "gives no answer");
    ask("ftp://x", &[]).says("fail", "keys", "--jwks-url");
}

#[test]
fn a_backend_whose_clock_differs_is_told_of() {
    let date = |ahead: i64| {
        let time = jiff::Timestamp::from_second(common::now() + ahead).unwrap();
        let time = time.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let backend = StandIn::saying(&format!("401 Unauthorized\r\ndate: {time}"), NO_TOKEN);
        ask(&backend.url(), &[])
    };
    date(0).says("ok", "clock", "the same time");
    date(60).says("warn", "clock", "behind the backend's");
    date(-3600).says("fail", "clock", "ahead of the backend's");
}
