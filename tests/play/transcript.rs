//! A script played step by step, and what everybody heard of it, letter by letter: in two worlds the same.
//!
//! The next step is taken when everybody has every answer and has seen everything, so that nothing depends on who was
//! quicker. Two things still do and are told apart: on one connection, answers come beside messages and not before or after
//! them. What a log is called is drawn by lot, and written as the number of the log. And ids may have gaps, where a send
//! that was refused has drawn one: a message is written as the how manieth of its log it is.

use std::fmt::Write as _;

use super::{
    link::{Heard, World},
    player::Player,
    script::{DEVICES, Op, ROOMS},
};
use crate::oracle::{
    Case, Era,
    trace::{Frame, Request, Row},
};

/// What was heard: by connection and step, messages in the order in which they came, then answers by request.
#[derive(Debug, Default)]
pub struct Transcript {
    step: usize,
    heard: Vec<(Key, String)>,
}

/// Step, connection, and the `ref` of an answer; messages come first.
type Key = (usize, usize, Option<i64>);

impl Transcript {
    pub(super) fn heard(&mut self, connection: usize, heard: &Heard) {
        let (reference, text) = match heard {
            Heard::Closed(code) => (Some(i64::MAX), format!("closed {code:?}")),
            Heard::Frame(text) => match Frame::parse(text) {
                Frame::Live(_) => (None, text.clone()),
                Frame::Reply { reference, .. } => (reference.or(Some(0)), text.clone()),
            },
        };
        self.heard.push(((self.step, connection, reference), text));
    }

    /// Line by line, with what is stored in the end.
    fn lines(mut self, case: &Case) -> Vec<String> {
        self.heard.sort_by_key(|(key, _)| *key);
        let eras = &case.eras;
        let heard = self.heard.into_iter().map(|((step, connection, _), text)| {
            let its = &eras[case.traces[connection].era];
            let text = counted(&counted(&text, "\"id\":", its), "\"lastId\":", its);
            let named = |text: String, (number, era): (usize, &Era)| {
                text.replace(&era.epoch, &format!("log {number}"))
            };
            let text = eras.iter().enumerate().fold(text, named);
            format!("step {step}, connection {connection}: {text}")
        });
        let stored = eras.iter().enumerate().flat_map(|(number, era)| {
            let rows = era.rows.iter().map(|row| Row {
                id: era.between(0, row.id).len() as i64,
                ..row.clone()
            });
            rows.map(move |row| format!("stored in log {number}: {row:?}"))
        });
        heard.chain(stored).collect()
    }
}

/// The text with the number behind each `name` as the count of the messages up to it.
fn counted(text: &str, name: &str, era: &Era) -> String {
    let mut parts = text.split(name);
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit());
        let (id, rest) = part.split_at(end.unwrap_or(part.len()));
        let count = era.between(0, id.parse().unwrap()).len();
        let _ = write!(written, "{name}{count}{rest}");
    }
    written
}

/// Plays `ops` step by step. Steps that would make it matter who is quicker are left out.
pub async fn transcript<W: World>(
    world: W,
    resume_limit: usize,
    ops: &[Op],
) -> (Case, W, Vec<String>) {
    let mut player = Player::new(world, resume_limit).await;
    player.transcript = Some(Transcript::default());
    for device in 0..DEVICES.len() {
        player.connect(device, true).await;
        player.say(device, Request::Join(ROOMS[0].into())).await;
        player.in_step().await;
    }
    for op in ops {
        if let Some(transcript) = &mut player.transcript {
            transcript.step += 1;
        }
        match *op {
            Op::Stall(..) | Op::Sip(..) | Op::Disk(_) | Op::Wait | Op::Expire | Op::Turns(_) => {}
            // Whoever says nothing keeps a cursor of a log that is no more, whose ids mean another message here and there.
            Op::ConnectSilently(device) => player.connect(device, true).await,
            _ => player.step(op).await,
        }
        player.in_step().await;
    }
    if let Some(transcript) = &mut player.transcript {
        transcript.step += 1;
    }
    player.heal().await;
    let case = player.case();
    let lines = player.transcript.take().expect("it was asked for");
    let lines = lines.lines(&case);
    (case, player.world, lines)
}

/// Where two transcripts part.
pub fn difference(one: &[String], other: &[String]) -> Option<String> {
    let at = (0..one.len().max(other.len())).find(|&at| one.get(at) != other.get(at))?;
    let mut told = format!("they part at line {at}:\n");
    for (name, lines) in [("one", one), ("other", other)] {
        let around = lines.iter().skip(at.saturating_sub(3)).take(5);
        for line in around {
            let _ = writeln!(told, "  {name}: {line}");
        }
    }
    Some(told)
}
