//! Every history is exactly the part of the conversation that was asked for, as it was at some moment between the
//! question and the answer.

use std::collections::HashMap;

use super::{
    Facts, Verdict, must,
    trace::{Event, Frame, Part, Reply, Request, Trace, Where},
    who,
};

pub(super) fn exact(case: &Facts<'_>) -> Verdict {
    let known = known(case);
    for trace in &case.traces {
        for (_, answered) in trace.answers() {
            let ((asked_at, asked), reply) = (answered.asked, answered.reply);
            let (
                Request::History { place, part, limit },
                Reply::History {
                    place: told,
                    rows,
                    has_more,
                },
            ) = (asked, reply)
            else {
                continue;
            };
            let page = Page {
                whole: conversation(case, trace, place),
                known: &|id| {
                    let at = known.get(&(trace.era, id));
                    at.is_some_and(|at| *at < asked_at)
                },
                part: *part,
                ids: rows.iter().map(|row| row.id).collect(),
                has_more: *has_more,
            };
            must(told == place, || "a history of another place".into())
                .and_then(|()| page.judge(limit.unwrap_or(50) as usize))
                .map_err(|what| {
                    let Page { whole, ids, .. } = &page;
                    let me = who(trace);
                    format!("{what}: {me} asked for {asked:?}, got {ids:?}, more: {has_more}, of {whole:?}")
                })?;
        }
    }
    Ok(())
}

/// The ids of what `trace`'s user calls `place`.
fn conversation(case: &Facts<'_>, trace: &Trace, place: &Where) -> Vec<i64> {
    let rows = case.era(trace).rows.iter();
    rows.filter(|row| row.is_in(trace.user, place))
        .map(|row| row.id)
        .collect()
}

struct Page<'a> {
    /// The conversation as it is in the end.
    whole: Vec<i64>,
    /// Whether somebody knew of it before it was asked for, so that it must be in the answer.
    known: &'a dyn Fn(i64) -> bool,
    part: Part,
    ids: Vec<i64>,
    has_more: bool,
}

impl Page<'_> {
    fn judge(&self, limit: usize) -> Verdict {
        let Self { whole, ids, .. } = self;
        must(ids.len() <= limit, || "more than was asked for".into())?;
        must(!self.has_more || !ids.is_empty(), || {
            "nothing, and more of it".into()
        })?;
        let is_run = ids.first().is_none_or(|first| {
            let at = whole.partition_point(|id| id < first);
            whole[at..].starts_with(ids)
        });
        must(is_run, || "not a run of the conversation".into())?;
        let in_range = self.in_range();
        must(ids.iter().all(|id| in_range.contains(id)), || {
            "outside what was asked for".into()
        })?;
        // As far as the log reached for certain when it was asked for.
        let sure = in_range.iter().rev().find(|id| (self.known)(**id));
        let reaches = ids.last() >= sure;
        match self.part {
            Part::After(_) => {
                let begins = ids
                    .first()
                    .is_none_or(|first| in_range.first() == Some(first));
                must(begins, || "something before it is left out".into())?;
                must(self.has_more || reaches, || "the end is left out".into())?;
                must(!self.has_more || ids.last() < in_range.last(), || {
                    "there is no more".into()
                })
            }
            Part::Newest | Part::Before(_) => {
                must(reaches, || "the newest is left out".into())?;
                let is_more = ids.first().is_some_and(|first| in_range[0] < *first);
                must(self.has_more == is_more, || "hasMore is not true".into())
            }
        }
    }

    fn in_range(&self) -> Vec<i64> {
        let is_in_range = |id: &i64| match self.part {
            Part::Newest => true,
            Part::Before(before) => *id < before,
            Part::After(after) => *id > after,
        };
        self.whole.iter().copied().filter(is_in_range).collect()
    }
}

/// When each message was first known to somebody outside the server, by its era and id.
fn known(case: &Facts<'_>) -> HashMap<(usize, i64), u64> {
    let mut known = HashMap::new();
    let mut learn = |era: usize, id: i64, at: u64| {
        let first = known.entry((era, id)).or_insert(at);
        *first = at.min(*first);
    };
    for trace in &case.traces {
        for (stamp, event) in &trace.events {
            match event {
                Event::Heard(Frame::Live(row)) => learn(trace.era, row.id, *stamp),
                Event::Heard(Frame::Reply { reply, .. }) => match reply {
                    Reply::Sent(sent) => learn(trace.era, sent.id, *stamp),
                    Reply::History { rows, .. } => {
                        rows.iter().for_each(|row| learn(trace.era, row.id, *stamp));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }
    known
}
