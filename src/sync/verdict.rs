//! What an answer means for the message that was sent, and what an operator is told of it.

use std::time::Duration;

use serde_json::Value;

use super::pace::retry_after;
use crate::{
    outbound::{Answer, Silence},
    protocol::is_unsafe_in_names,
};

/// Most of an answer that is kept as a reason, in characters.
const EXCERPT_MAX_CHARS: usize = 200;
/// An excerpt that shares so many characters in a row with the message repeats it.
const REPEATED_CHARS: usize = 16;

/// What some editors begin a UTF-8 file with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The message is there.
    Taken,
    /// It will not be taken as it is, for this reason.
    Refused(String),
    /// It may be taken later.
    Again {
        /// Why not now.
        reason: String,
        /// Not before this has passed.
        at_least: Duration,
    },
}

/// What `answer` means at `now` (Unix seconds). Of what was `sent`, the message's text and what is secret in the request,
/// nothing gets into a reason: logs and the page show it.
pub(super) fn judge(answer: Result<Answer, Silence>, sent: &[&str], now: i64) -> Verdict {
    let again = |reason: String| Verdict::Again {
        reason,
        at_least: Duration::ZERO,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(silence) => return again(silence.to_string()),
    };
    let status = answer.status;
    match status {
        // A dev server or a captive portal answers everything with a page, and keeps nothing.
        200..=299 if is_page(&answer) => again(format!("it answered {status} with a web page")),
        200..=299 | 409 => Verdict::Taken,
        401 | 408 | 429 | 300..=399 | 500..=599 => Verdict::Again {
            reason: words(status, &answer, sent),
            at_least: answer
                .retry_after
                .as_deref()
                .map_or(Duration::ZERO, |value| retry_after(value, now)),
        },
        400..=499 => Verdict::Refused(words(status, &answer, sent)),
        _ => again(format!("it answered {status}, which means nothing")),
    }
}

/// Said to be one, and it is: frameworks call every answer HTML that nobody gave a type, also an empty one or `ok`.
fn is_page(answer: &Answer) -> bool {
    let kind = answer.content_type.as_deref().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_html = kind.eq_ignore_ascii_case("text/html")
        || kind.eq_ignore_ascii_case("application/xhtml+xml");
    let text = answer.body.strip_prefix(BYTE_ORDER_MARK);
    let text = text.unwrap_or(&answer.body).trim_ascii_start();
    is_html && text.starts_with(b"<")
}

/// The status and what is fit to be kept of the answer, which is nothing of what was `sent`.
fn words(status: u16, answer: &Answer, sent: &[&str]) -> String {
    let hint = match status {
        300..=399 => ", which sends elsewhere and is not followed: give the URL that it leads to",
        401 => ", so it does not accept who sends: see --backend-token, or the webhook's secret",
        _ => "",
    };
    let said = match is_page(answer) {
        true => "a web page".to_owned(),
        false => excerpt(&answer.body),
    };
    if said.is_empty() {
        format!("it answered {status}{hint}")
    } else if sent.iter().any(|text| repeats_as_any(&said, text)) {
        format!(
            "it answered {status}{hint}; what it said repeats what it was sent and is not shown here"
        )
    } else {
        format!("it answered {status}{hint}: {said}")
    }
}

/// Where backends say why, `error`, `message` or `detail`, as text or as an object with `message`; else the beginning, of
/// JSON without its escapes of letters, behind which nobody would know a text again.
fn excerpt(body: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(body).ok();
    let why = json.as_ref().and_then(|json| {
        let fields = ["error", "message", "detail"].iter();
        fields
            .filter_map(|&field| json.get(field))
            .find_map(|value| value.get("message").unwrap_or(value).as_str())
    });
    let text = match (why, &json) {
        (Some(why), _) => why.into(),
        (None, Some(json)) => json.to_string().into(),
        (None, None) => String::from_utf8_lossy(body),
    };
    let cut: String = cleaned(&text).chars().take(EXCERPT_MAX_CHARS).collect();
    cut.trim_end().to_owned()
}

/// On one line, without what could steer a terminal or reorder text.
fn cleaned(text: &str) -> String {
    let spaced = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c });
    let kept: String = spaced.filter(|&c| !is_unsafe_in_names(c)).collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `said` repeats `text` as it is, or as it is written in JSON.
fn repeats_as_any(said: &str, text: &str) -> bool {
    let json = Value::from(text).to_string();
    repeats(said, &cleaned(text)) || repeats(said, &cleaned(json.trim_matches('"')))
}

/// Whether `said` holds a short `content` as words of its own, or a good part of a longer one.
fn repeats(said: &str, content: &str) -> bool {
    if content.is_empty() {
        return false;
    }
    if content.chars().count() < REPEATED_CHARS {
        let is_apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        return said.match_indices(content).any(|(at, part)| {
            is_apart(said[..at].chars().next_back())
                && is_apart(said[at + part.len()..].chars().next())
        });
    }
    let starts = said.char_indices().map(|(at, _)| at);
    starts
        .filter_map(|at| {
            let end = said[at..].char_indices().nth(REPEATED_CHARS - 1);
            end.map(|(last, c)| &said[at..at + last + c.len_utf8()])
        })
        .any(|part| content.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, content_type: &str, body: &str) -> Answer {
        Answer {
            status,
            content_type: (!content_type.is_empty()).then(|| content_type.to_owned()),
            retry_after: None,
            headers: Default::default(),
            body: body.to_owned().into(),
        }
    }

    fn of(status: u16) -> Verdict {
        judge(Ok(answer(status, "application/json", "{}")), &["hello"], 0)
    }

    const TOKEN: &str = "9f2c51d0a7";

    fn refusal(body: &str, content: &str) -> String {
        match judge(Ok(answer(422, "", body)), &[content, TOKEN], 0) {
            Verdict::Refused(reason) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_status_says_whether_it_is_taken_refused_or_to_be_tried_again() {
        for status in [200, 201, 202, 204, 409] {
            assert_eq!(of(status), Verdict::Taken, "{status}");
        }
        for status in [301, 302, 307, 401, 408, 429, 500, 502, 503, 504, 100, 600] {
            assert!(matches!(of(status), Verdict::Again { .. }), "{status}");
        }
        for status in [400, 402, 403, 404, 405, 410, 413, 422, 451] {
            assert!(matches!(of(status), Verdict::Refused(_)), "{status}");
        }
    }

    #[test]
    fn a_web_page_is_no_receipt_and_silence_is_none_either() {
        for kind in [
            "text/html",
            "Text/HTML; charset=utf-8",
            "application/xhtml+xml",
        ] {
            let verdict = judge(Ok(answer(200, kind, "<p>")), &["hello"], 0);
            assert!(matches!(verdict, Verdict::Again { .. }), "{kind}");
        }
        // Flask, PHP and Express call these HTML.
        for body in ["", "ok", "{\"id\":7}"] {
            let verdict = judge(
                Ok(answer(201, "text/html; charset=utf-8", body)),
                &["hello"],
                0,
            );
            assert_eq!(verdict, Verdict::Taken, "{body}");
        }
        let marked = answer(200, "text/html", "\u{feff}\n <!doctype html>");
        assert!(matches!(
            judge(Ok(marked), &["hello"], 0),
            Verdict::Again { .. }
        ));
        for silence in [
            Silence::Late,
            Silence::Long(65_536),
            Silence::Broken("refused".into()),
        ] {
            assert!(matches!(
                judge(Err(silence), &["hello"], 0),
                Verdict::Again { .. }
            ));
        }
    }

    #[test]
    fn who_says_when_is_obeyed() {
        let mut busy = answer(503, "", "");
        busy.retry_after = Some("7".to_owned());
        let Verdict::Again { at_least, .. } = judge(Ok(busy), &["hello"], 0) else {
            panic!("503 is no end");
        };
        assert_eq!(at_least.as_secs(), 7);
    }

    #[test]
    fn a_reason_is_one_short_clean_line() {
        let long = format!("a\u{1b}[31m\n\tb\u{202e} {}", "x".repeat(500));
        let reason = refusal(&long, "hello");
        assert!(
            reason.starts_with("it answered 422: a[31m b xxx"),
            "{reason}"
        );
        assert!(reason.chars().count() < 230 && !reason.contains(char::is_control));
        for body in [
            r#"{"error":"too old"}"#,
            r#"{"error":{"code":"x","message":"too old"}}"#,
            r#"{"message":"too old"}"#,
            "too  old",
        ] {
            assert_eq!(refusal(body, "hello"), "it answered 422: too old");
        }
        assert_eq!(refusal("", "hello"), "it answered 422");
    }

    #[test]
    fn a_reason_never_holds_the_message_nor_what_is_secret_in_the_request() {
        let long = "a secret that nobody else should read,\nnot even in a log";
        for (body, content) in [
            (r#"{"error":"cannot store 'hello'"}"#, "hello"),
            (
                r#"{"got":["\u043f\u0440\u0438\u0432\u0435\u0442"]}"#,
                "привет",
            ),
            (r#"{"got":"so\n\"short\""}"#, "so\n\"short\""),
            (r#"{"error":"no such token: 9f2c51d0a7"}"#, "hello"),
            (r#"{"error":"bad: secret that nobody else sho..."}"#, long),
            (
                r#"{"content":"a secret that nobody else should read,\nnot even in a log","ok":false}"#,
                long,
            ),
        ] {
            let reason = refusal(body, content);
            assert!(
                reason.ends_with("repeats what it was sent and is not shown here"),
                "{reason}"
            );
        }
        assert_eq!(
            refusal("othello is no user", "hello"),
            "it answered 422: othello is no user"
        );
    }
}
