//! What a person reads when a law is broken: the sentences, the logs, and every connection as two columns of a talk.

use std::fmt::Write as _;

use super::{
    Case, Era,
    trace::{Event, Frame, Reply, Request, Row, Trace, Where},
};

/// The whole case as text.
pub fn report(case: &Case, violations: &[String]) -> String {
    let mut text = format!("\n{}\n", violations.join("\n"));
    for (number, era) in case.eras.iter().enumerate() {
        let _ = writeln!(text, "\nlog {number}, {:?}: {}", era.epoch, rows(era));
    }
    for trace in &case.traces {
        let _ = writeln!(text, "\nuser {} in log {}", trace.user, trace.era);
        lines(trace, &mut text);
    }
    text
}

fn rows(era: &Era) -> String {
    let rows = era.rows.iter().map(row);
    rows.collect::<Vec<_>>().join(", ")
}

fn row(row: &Row) -> String {
    let nonce = row.nonce.as_deref().unwrap_or("-");
    let content = content(&row.content);
    format!(
        "{}({}→{} {nonce} {content})",
        row.id,
        row.from,
        place(&row.place)
    )
}

fn content(content: &str) -> &str {
    content.split(' ').next().unwrap_or_default()
}

fn place(place: &Where) -> String {
    match place {
        Where::Room(room) => room.clone(),
        Where::Dm(user) => format!("@{user}"),
    }
}

fn lines(trace: &Trace, text: &mut String) {
    for (stamp, event) in &trace.events {
        let line = match event {
            Event::Said(reference, request) => format!("→ {reference} {}", said(request)),
            Event::Heard(Frame::Live(live)) => format!("        ← {}", row(live)),
            Event::Heard(Frame::Reply {
                reference, reply, ..
            }) => format!("        ← {} {}", reference.unwrap_or(0), heard(reply)),
            other => format!("{other:?}"),
        };
        let _ = writeln!(text, "{stamp:5} {line}");
    }
}

fn said(request: &Request) -> String {
    match request {
        Request::Send {
            place: to,
            content: what,
            nonce,
        } => format!("send {} {nonce:?} {}", place(to), content(what)),
        Request::History {
            place: of,
            part,
            limit,
        } => format!("history {} {part:?} {limit:?}", place(of)),
        other => format!("{other:?}"),
    }
}

fn heard(reply: &Reply) -> String {
    match reply {
        Reply::Sent(sent) => format!(
            "sent {}{}",
            sent.id,
            if sent.duplicate { " again" } else { "" }
        ),
        Reply::History {
            place: of,
            rows,
            has_more,
        } => {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            format!("history {} {ids:?} more: {has_more}", place(of))
        }
        other => format!("{other:?}"),
    }
}
