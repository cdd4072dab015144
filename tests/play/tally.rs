//! What really happened over many scripts: a model that never falls behind, never resumes and never fails proves nothing.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use crate::oracle::{
    Case,
    trace::{Event, Frame, Reply, Request, Where},
};

/// How often each kind of thing happened.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<Cow<'static, str>, u64>);

/// What a model must have seen, whatever else.
pub const MUST_HAPPEN: [&str; 40] = [
    "asked: hello",
    "asked: join",
    "asked: leave",
    "asked: message",
    "asked: dm",
    "asked: room_history",
    "asked: dm_history",
    "asked: resume",
    "asked: ping",
    "seen: message",
    "seen: dm",
    "seen: own dm in a replay",
    "sent: new",
    "sent: duplicate",
    "sent: never answered",
    "sent: never answered, and stored",
    "sent: never answered, and not stored",
    "resume: complete, something missed",
    "resume: complete, nothing missed",
    "resume: without an epoch",
    "resume: refused rooms",
    "resume: too_many",
    "resume: ahead",
    "resume: behind",
    "resume: epoch",
    "resume: again while one is replayed",
    "history: with more",
    "history: whole",
    "history: empty",
    "error: nonce_reused",
    "error: user_not_found",
    "error: forbidden",
    "error: storage_full",
    "closed: 1001",
    "closed: 1011",
    "closed: 4401",
    "closed: cut by the client",
    "log: wiped",
    "log: restored",
    "reader: fell behind",
];

impl Tally {
    fn count(&mut self, what: impl Into<Cow<'static, str>>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    /// Counts all of a case, in which readers fell behind so often.
    pub fn add(&mut self, case: &Case, fell_behind: u64) {
        self.count("cases");
        if fell_behind > 0 {
            *self.0.entry("reader: fell behind".into()).or_default() += fell_behind;
        }
        for era in case.eras.iter().skip(1) {
            self.count(match era.inherited {
                0 => "log: wiped",
                _ => "log: restored",
            });
        }
        for trace in &case.traces {
            let mut replayed = Vec::new();
            let mut said: Vec<(i64, &Request)> = Vec::new();
            for (_, event) in &trace.events {
                match event {
                    Event::Said(reference, request) => {
                        self.count(kind(request));
                        said.push((*reference, request));
                    }
                    Event::Heard(Frame::Live(row)) => {
                        self.count(match &row.place {
                            Where::Room(_) => "seen: message",
                            Where::Dm(_)
                                if row.from == trace.user && replayed.contains(&row.id) =>
                            {
                                "seen: own dm in a replay"
                            }
                            Where::Dm(_) => "seen: dm",
                        });
                    }
                    Event::Heard(Frame::Reply {
                        reference, reply, ..
                    }) => {
                        let at = said
                            .iter()
                            .position(|(asked, _)| Some(*asked) == *reference);
                        let asked = at.map(|at| said.remove(at).1);
                        self.reply(reply);
                        if let (Some(Request::Resume { after, epoch, .. }), Reply::Resumed(it)) =
                            (asked, reply)
                        {
                            let rows = case.eras[trace.era].between(*after, it.last_id);
                            replayed.extend(rows.iter().map(|row| row.id));
                            if epoch.is_none() {
                                self.count("resume: without an epoch");
                            }
                            let waits = |(_, next): &(i64, &Request)| {
                                matches!(next, Request::Resume { .. })
                            };
                            if it.replayed > 0 && said.iter().any(waits) {
                                self.count("resume: again while one is replayed");
                            }
                        }
                    }
                    Event::Closed(Some(code)) => self.count(format!("closed: {code}")),
                    Event::Closed(None) => self.count("closed: without a word"),
                    Event::Cut => self.count("closed: cut by the client"),
                    Event::Stuck(_) => self.count("stuck"),
                }
            }
            for (_, request) in said {
                if let Request::Send { content, .. } = request {
                    self.count("sent: never answered");
                    let mut rows = case.eras[trace.era].rows.iter();
                    self.count(match rows.any(|row| row.content == *content) {
                        true => "sent: never answered, and stored",
                        false => "sent: never answered, and not stored",
                    });
                }
            }
        }
    }

    fn reply(&mut self, reply: &Reply) {
        match reply {
            Reply::Sent(sent) if sent.duplicate => self.count("sent: duplicate"),
            Reply::Sent(_) => self.count("sent: new"),
            Reply::Error(code) => self.count(format!("error: {code}")),
            Reply::History { rows, has_more, .. } => {
                self.count(match (has_more, rows.is_empty()) {
                    (true, _) => "history: with more",
                    (false, true) => "history: empty",
                    (false, false) => "history: whole",
                });
            }
            Reply::Resumed(resumed) => {
                if !resumed.refused.is_empty() {
                    self.count("resume: refused rooms");
                }
                match &resumed.reason {
                    Some(reason) => self.count(format!("resume: {reason}")),
                    None if resumed.replayed > 0 => {
                        self.count("resume: complete, something missed")
                    }
                    None => self.count("resume: complete, nothing missed"),
                }
            }
            _ => {}
        }
    }

    /// What did not happen, of what must.
    pub fn missing<'a>(&self, must: &[&'a str]) -> Vec<&'a str> {
        let never = |what: &&&str| !self.0.contains_key(**what);
        must.iter().filter(never).copied().collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|(what, count)| writeln!(f, "{count:9} {what}"))
    }
}

fn kind(request: &Request) -> &'static str {
    match request {
        Request::Hello => "asked: hello",
        Request::Ping => "asked: ping",
        Request::Auth(_) => "asked: auth",
        Request::Join(_) => "asked: join",
        Request::Leave(_) => "asked: leave",
        Request::Send {
            place: Where::Room(_),
            ..
        } => "asked: message",
        Request::Send { .. } => "asked: dm",
        Request::History {
            place: Where::Room(_),
            ..
        } => "asked: room_history",
        Request::History { .. } => "asked: dm_history",
        Request::Resume { .. } => "asked: resume",
    }
}
