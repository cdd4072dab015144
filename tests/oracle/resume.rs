//! What `resume` promises: all that was missed, or the true reason why not; and never by a position in another log.

use std::collections::HashMap;

use super::{
    Era, Facts, Verdict, must,
    trace::{Event, Frame, Reply, Request, Resumed, Row, Trace, Where},
    who,
};

/// An answer to `resume`, with what the connection had seen before it.
struct Answer<'a> {
    after: i64,
    asked: &'a [String],
    epoch: Option<&'a str>,
    resumed: &'a Resumed,
    /// The newest message that had come before.
    seen: i64,
    /// The newest `lastId` that had been told before.
    told: i64,
    /// Everything that comes live after it.
    rest: &'a [(u64, Event)],
    /// Rooms that it had been in before.
    old: Vec<&'a str>,
}

fn answers(trace: &Trace) -> Vec<Answer<'_>> {
    let (mut answers, mut seen, mut told, mut in_rooms) = (Vec::new(), 0, 0, Vec::new());
    let mut asked = HashMap::new();
    for (at, (_, event)) in trace.events.iter().enumerate() {
        match event {
            Event::Said(reference, request) => drop(asked.insert(*reference, request)),
            Event::Heard(Frame::Live(row)) => seen = seen.max(row.id),
            Event::Heard(Frame::Reply {
                reference: Some(reference),
                reply,
                ..
            }) => match (reply, asked.get(reference).copied()) {
                (Reply::Welcome { last_id, .. }, _) => told = told.max(*last_id),
                (Reply::Joined { room, .. }, _) => in_rooms.push(room.as_str()),
                (Reply::Left(room), _) => in_rooms.retain(|other| other != room),
                (
                    Reply::Resumed(resumed),
                    Some(Request::Resume {
                        after,
                        rooms,
                        epoch,
                    }),
                ) => {
                    answers.push(Answer {
                        after: *after,
                        asked: rooms,
                        epoch: epoch.as_deref(),
                        resumed,
                        seen,
                        told,
                        rest: &trace.events[at + 1..],
                        old: in_rooms.clone(),
                    });
                    told = told.max(resumed.last_id);
                    in_rooms.extend(resumed.rooms.iter().map(String::as_str));
                }
                _ => {}
            },
            _ => {}
        }
    }
    answers
}

pub(super) fn resume(case: &Facts<'_>) -> Verdict {
    for trace in &case.traces {
        for answer in answers(trace) {
            judge(&answer, trace, case.era(trace), case.resume_limit).map_err(|what| {
                let (after, told) = (answer.after, answer.resumed);
                format!(
                    "{what}: resume after {after} was answered with {told:?}, to {}",
                    who(trace)
                )
            })?;
        }
    }
    Ok(())
}

fn judge(answer: &Answer<'_>, trace: &Trace, era: &Era, limit: usize) -> Verdict {
    let &Answer {
        after,
        resumed,
        seen,
        told,
        ..
    } = answer;
    let is_asked = |room: &String| answer.asked.contains(room);
    let answered = resumed.rooms.iter().chain(&resumed.refused);
    must(answered.clone().all(is_asked), || {
        "a room that nobody asked for".into()
    })?;
    must(
        answer
            .asked
            .iter()
            .all(|room| answered.clone().any(|it| it == room)),
        || "a room without an answer".into(),
    )?;
    must(resumed.last_id <= era.last_id(), || {
        "lastId is after the end of the log".into()
    })?;
    must(resumed.last_id >= told, || {
        format!("lastId has gone back from {told}")
    })?;
    let is_missed = |row: &&Row| match &row.place {
        Where::Room(room) => resumed.rooms.contains(room),
        Where::Dm(_) => row.is_dm_of(trace.user),
    };
    let missed = era
        .between(after, resumed.last_id)
        .iter()
        .filter(is_missed)
        .count();
    let is_true = |reason: &str| match reason {
        "epoch" => answer.epoch.is_some_and(|epoch| epoch != era.epoch),
        "ahead" => after > resumed.last_id,
        "behind" => after < seen || was_due(answer, trace, era),
        "too_many" => missed > limit,
        _ => false,
    };
    let Some(reason) = &resumed.reason else {
        must(resumed.complete, || "incomplete without a reason".into())?;
        must(after >= seen, || format!("complete, and yet behind {seen}"))?;
        for reason in ["ahead", "too_many"] {
            must(!is_true(reason), || format!("complete, and yet {reason}"))?;
        }
        return must(resumed.replayed == missed, || {
            format!("{missed} were missed")
        });
    };
    must(!resumed.complete, || {
        "complete with a reason why not".into()
    })?;
    must(is_true(reason), || {
        format!("the reason is not true: {missed} missed, {seen} seen")
    })?;
    must(resumed.replayed == 0, || {
        "nothing is replayed, and something".into()
    })?;
    for (_, event) in answer.rest {
        match event {
            Event::Heard(Frame::Live(row)) => must(!is_withheld(row, answer), || {
                format!("{} came all the same", row.id)
            })?,
            // Another one may replay the same messages.
            Event::Heard(Frame::Reply {
                reply: Reply::Resumed(_),
                ..
            }) => break,
            _ => {}
        }
    }
    Ok(())
}

/// Whether something after the cursor was to come before the answer. It may have been dropped for want of room, and
/// after the answer it does not come any more.
fn was_due(answer: &Answer<'_>, trace: &Trace, era: &Era) -> bool {
    let rows = era.between(answer.after, answer.resumed.last_id).iter();
    rows.into_iter().any(|row| match &row.place {
        Where::Room(room) => answer.old.contains(&room.as_str()),
        Where::Dm(_) => row.is_dm_of(trace.user),
    })
}

/// A message that an incomplete resume said would not come.
fn is_withheld(row: &Row, answer: &Answer<'_>) -> bool {
    let is_listed = match &row.place {
        Where::Room(room) => answer.resumed.rooms.contains(room),
        Where::Dm(_) => true,
    };
    is_listed && row.id <= answer.resumed.last_id
}

/// A position in another log is never honoured, and every answer names the log it speaks of.
pub(super) fn epoch(case: &Facts<'_>) -> Verdict {
    for trace in &case.traces {
        let own = &case.era(trace).epoch;
        for answer in answers(trace) {
            let is_foreign = answer.epoch.is_some_and(|epoch| epoch != own);
            must(!(is_foreign && answer.resumed.complete), || {
                format!(
                    "a position in {:?} was honoured in {own}, for {}",
                    answer.epoch,
                    who(trace)
                )
            })?;
            must(answer.resumed.epoch == *own, || {
                format!(
                    "{} was told {}, the log is {own}",
                    who(trace),
                    answer.resumed.epoch
                )
            })?;
        }
        for (_, answered) in trace.answers() {
            if let Reply::Welcome { epoch, .. } = answered.reply {
                must(epoch == own, || {
                    format!("{} was welcomed to {epoch}, the log is {own}", who(trace))
                })?;
            }
        }
    }
    Ok(())
}
