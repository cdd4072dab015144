//! What the doctor says of the way from outside: the right one, and proxies that spoil it.

use super::{
    Told, doctor,
    stand_in::{StandIn, answer},
};
use crate::common::binary::{Running, chat_server};

const ALIVE: &str = r#"{"status":"ok","version":"1.2.3","mode":"standalone","signup":true}"#;

fn ask(url: &str, more: &[&str]) -> Told {
    let folder = tempfile::tempdir().unwrap();
    doctor(folder.path(), &[&["--public-url", url], more].concat())
}

#[tokio::test]
async fn a_server_behind_its_public_url_is_found_and_takes_websockets() {
    let folder = tempfile::tempdir().unwrap();
    let server = Running::start(&mut chat_server(folder.path(), &["--bind", "127.0.0.1:0"]));
    let url = format!("http://{}", server.address);
    for url in [url.clone(), format!("{url}/")] {
        let told = ask(&url, &[]);
        told.says("ok", "public-url", "WebSocket passes");
        told.says("ok", "origin", "may connect");
    }
}

#[test]
fn a_proxy_that_drops_the_upgrade_is_told_with_the_lines_that_mend_it() {
    for (head, body, words, fix) in [
        (
            "426 Upgrade Required",
            "{}",
            "drops the Upgrade headers",
            "proxy_set_header Upgrade $http_upgrade",
        ),
        (
            "400 Bad Request",
            "",
            "drops the Upgrade headers",
            "reverse_proxy",
        ),
        (
            "200 OK\r\ncontent-type: text/html",
            "<html>",
            "drops the Upgrade headers",
            "proxy_http_version 1.1",
        ),
        ("500 Internal Server Error", "", "500", "proxy_pass"),
        (
            "403 Forbidden",
            r#"{"error":{"code":"forbidden","message":"the web page at origin x may not connect: …"}}"#,
            "refuses its own pages: the web page at origin x may not connect",
            "--public-url http://127.0.0.1",
        ),
    ] {
        let (head, body) = (head.to_owned(), body.to_owned());
        let proxy = StandIn::new(move |request| match request.starts_with("GET /healthz ") {
            true => answer("200 OK", ALIVE),
            false => answer(&head, &body),
        });
        let told_fix = ask(&proxy.url(), &[]).says("fail", "public-url", words);
        assert!(told_fix.contains(fix), "{told_fix}");
    }
    let upgraded = StandIn::new(|request| match request.starts_with("GET /healthz ") {
        true => answer("200 OK", ALIVE),
        false => {
            let request = request.to_lowercase();
            let asked = [
                "\r\nupgrade: websocket",
                "\r\nconnection: upgrade",
                "\r\norigin: http://127.0.0.1:",
            ];
            assert!(asked.iter().all(|line| request.contains(line)), "{request}");
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
                .into()
        }
    });
    ask(&upgraded.url(), &[]).says("ok", "public-url", "chat-server 1.2.3");
}

#[test]
fn a_public_url_that_leads_elsewhere_or_nowhere_is_told() {
    let lost = StandIn::saying("502 Bad Gateway", "<html>");
    let fix = ask(&lost.url(), &[]).says("fail", "public-url", "502");
    assert!(fix.contains("no server behind it"), "{fix}");
    let other = StandIn::saying("200 OK", "<html>");
    let fix = ask(&other.url(), &[]).says("fail", "public-url", "no chat-server's");
    assert!(fix.contains("pass everything"), "{fix}");
    let told = ask("http://chat.invalid", &[]);
    told.says("fail", "public-url", "gives no answer");
    told.says("warn", "public-url", "not encrypted");
    ask("https://user:s3cr3t@chat.invalid", &[]).says(
        "fail",
        "public-url",
        "user name or a password",
    );
}

#[test]
fn listening_to_the_network_without_a_proxy_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    doctor(folder.path(), &["--bind", "0.0.0.0:0"]).says("warn", "public-url", "ws://");
}
