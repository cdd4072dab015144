//! The oracle itself: an honest story passes, and for each law a story in which one thing is wrong is caught by that law.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod oracle;

use oracle::{
    Case, Era,
    trace::{Event, Frame, Part, Reply, Request, Resumed, Row, Sent, Trace, Where, canary},
};

const GENERAL: &str = "general";

fn general() -> Where {
    Where::Room(GENERAL.into())
}

/// The log of the story: 1 says something in `general`, 2 something to 1, 1 something more, each with a nonce.
fn log() -> Vec<Row> {
    let row = |id: i64, seq, from, place: Where| Row {
        id,
        seq,
        from,
        username: format!("user{from}"),
        content: canary(from, &place, id as usize, 0),
        place,
        timestamp: format!("time {id}"),
        nonce: Some(format!("n{id}")),
    };
    vec![
        row(1, 1, 1, general()),
        row(2, 1, 2, Where::Dm(1)),
        row(3, 2, 1, general()),
    ]
}

fn send(row: &Row) -> Request {
    Request::Send {
        place: row.place.clone(),
        content: row.content.clone(),
        nonce: row.nonce.clone(),
    }
}

fn sent(row: &Row) -> Reply {
    Reply::Sent(Sent {
        place: row.place.clone(),
        id: row.id,
        seq: row.seq,
        timestamp: row.timestamp.clone(),
        nonce: row.nonce.clone(),
        duplicate: false,
    })
}

fn live(id: i64) -> Event {
    Event::Heard(Frame::Live(log()[id as usize - 1].clone()))
}

fn reply(reference: i64, reply: Reply) -> Event {
    Event::Heard(Frame::Reply {
        reference: Some(reference),
        reply,
        leak: None,
    })
}

fn welcome(user: i64, last_id: i64) -> Event {
    let epoch = "first".into();
    reply(
        1,
        Reply::Welcome {
            user,
            epoch,
            last_id,
        },
    )
}

fn join() -> [Event; 2] {
    let joined = Reply::Joined {
        room: GENERAL.into(),
        last_id: 0,
        last_seq: 0,
    };
    [
        Event::Said(2, Request::Join(GENERAL.into())),
        reply(2, joined),
    ]
}

fn resumed(last_id: i64, replayed: usize) -> Resumed {
    Resumed {
        epoch: "first".into(),
        last_id,
        rooms: vec![GENERAL.into()],
        replayed,
        complete: true,
        reason: None,
        refused: Vec::new(),
    }
}

fn incomplete(reason: &str) -> Reply {
    Reply::Resumed(Resumed {
        complete: false,
        replayed: 0,
        reason: Some(reason.into()),
        ..resumed(3, 0)
    })
}

/// Connections: 1 of user 1, which is cut; 2 of user 2; 3 of user 3, who is in no room; 4 of user 1, which resumes.
const CUT: usize = 0;
const OTHER: usize = 1;
const STRANGER: usize = 2;
const BACK: usize = 3;

fn honest() -> Case {
    let log = log();
    let hello = || Event::Said(1, Request::Hello);
    let [join_2, joined_2] = join();
    let [join_1, joined_1] = join();
    let resume = Request::Resume {
        after: 1,
        rooms: vec![GENERAL.into()],
        epoch: Some("first".into()),
    };
    let history = Request::History {
        place: general(),
        part: Part::Newest,
        limit: Some(50),
    };
    let read = Reply::History {
        place: general(),
        rows: vec![log[0].clone(), log[2].clone()],
        has_more: false,
    };
    let events = [
        vec![
            hello(),
            welcome(1, 0),
            join_1,
            joined_1,
            Event::Said(3, send(&log[0])),
            live(1),
            reply(3, sent(&log[0])),
            Event::Said(4, send(&log[2])),
            Event::Cut,
        ],
        vec![
            hello(),
            welcome(2, 0),
            join_2,
            joined_2,
            live(1),
            Event::Said(3, send(&log[1])),
            reply(3, sent(&log[1])),
            live(3),
        ],
        vec![hello(), welcome(3, 0)],
        vec![
            hello(),
            welcome(1, 3),
            Event::Said(2, resume),
            reply(2, Reply::Resumed(resumed(3, 2))),
            live(2),
            live(3),
            Event::Said(3, history),
            reply(3, read),
        ],
    ];
    let mut stamp = 0;
    let mut stamped = |event| {
        stamp += 1;
        (stamp, event)
    };
    let traces = [1, 2, 3, 1].into_iter().zip(events);
    let traces = traces.map(|(user, events)| Trace {
        user,
        era: 0,
        events: events.into_iter().map(&mut stamped).collect(),
    });
    Case {
        traces: traces.collect(),
        eras: vec![Era {
            epoch: "first".into(),
            rows: log,
            inherited: 0,
        }],
        resume_limit: 8,
        healed: true,
    }
}

impl Case {
    /// Where on a connection `event` is.
    fn at(&self, connection: usize, event: &Event) -> usize {
        let events = &self.traces[connection].events;
        let found = events.iter().position(|(_, other)| other == event);
        found.expect("the story has it")
    }

    fn without(mut self, connection: usize, event: &Event) -> Self {
        let at = self.at(connection, event);
        self.traces[connection].events.remove(at);
        self
    }

    fn changed(mut self, connection: usize, event: &Event, to: Event) -> Self {
        let at = self.at(connection, event);
        self.traces[connection].events[at].1 = to;
        self
    }

    /// One more event at the end of a connection, later than everything.
    fn and(mut self, connection: usize, event: Event) -> Self {
        self.traces[connection].events.push((1000, event));
        self
    }

    fn without_row(mut self, id: i64) -> Self {
        self.eras[0].rows.retain(|row| row.id != id);
        self
    }

    /// Is caught by this law, perhaps by others too.
    fn breaks(&self, law: &str) {
        let violations = oracle::violations(self);
        let is_caught = violations.iter().any(|sentence| sentence.starts_with(law));
        assert!(is_caught, "{law} sleeps: {violations:?}");
    }
}

#[test]
fn an_honest_story_breaks_no_law() {
    assert_eq!(oracle::violations(&honest()), [""; 0]);
}

#[test]
fn lost_sees_what_was_acknowledged_and_is_not_there() {
    honest().without_row(1).breaks("LOST");
    let mut moved = honest();
    moved.eras[0].rows[0].timestamp = "another".into();
    moved.breaks("LOST");
}

#[test]
fn lost_sees_a_history_without_what_was_acknowledged() {
    let history = |rows: Vec<Row>, has_more| {
        let place = general();
        reply(
            3,
            Reply::History {
                place,
                rows,
                has_more,
            },
        )
    };
    let (log, case) = (log(), honest());
    let read = history(vec![log[0].clone(), log[2].clone()], false);
    for (rows, has_more) in [
        (vec![log[0].clone()], false),
        (vec![log[2].clone()], false),
        (vec![log[0].clone(), log[2].clone()], true),
        (vec![], false),
    ] {
        let lacking = history(rows, has_more);
        case.clone().changed(BACK, &read, lacking).breaks("LOST");
    }
}

#[test]
fn phantom_sees_what_was_shown_and_is_not_stored() {
    honest().without_row(2).breaks("PHANTOM");
}

#[test]
fn phantom_sees_what_was_refused_and_is_stored() {
    let refused = reply(3, Reply::Error("storage_full".into()));
    honest()
        .changed(OTHER, &reply(3, sent(&log()[1])), refused)
        .breaks("PHANTOM");
}

#[test]
fn dup_sees_two_rows_of_one_send() {
    let mut twice = honest();
    let copy = Row {
        id: 4,
        seq: 3,
        nonce: Some("n4".into()),
        ..twice.eras[0].rows[2].clone()
    };
    twice.eras[0].rows.push(copy);
    twice.breaks("DUP");
}

#[test]
fn dup_sees_two_rows_of_one_nonce() {
    let mut twice = honest();
    twice.eras[0].rows[2].nonce = Some("n1".into());
    twice.breaks("DUP");
}

#[test]
fn dup_sees_a_repeat_that_is_called_new_and_a_first_that_is_called_a_repeat() {
    let row = &log()[0];
    let again = honest().and(BACK, Event::Said(4, send(row)));
    again.clone().and(BACK, reply(4, sent(row))).breaks("DUP");
    let Reply::Sent(ack) = sent(row) else {
        unreachable!()
    };
    let repeat = Reply::Sent(Sent {
        duplicate: true,
        ..ack
    });
    assert_eq!(
        oracle::violations(&again.and(BACK, reply(4, repeat.clone()))),
        [""; 0]
    );
    honest()
        .changed(CUT, &reply(3, sent(row)), reply(3, repeat))
        .breaks("DUP");
}

#[test]
fn order_sees_a_hole_in_a_conversation() {
    let mut hole = honest();
    hole.eras[0].rows[2].seq = 3;
    hole.breaks("ORDER");
}

#[test]
fn order_sees_messages_that_come_twice_or_backwards() {
    honest().and(BACK, live(3)).breaks("ORDER");
    let mut backwards = honest();
    let (at, then) = (backwards.at(BACK, &live(2)), backwards.at(BACK, &live(3)));
    backwards.traces[BACK].events.swap(at, then);
    backwards.breaks("ORDER");
}

#[test]
fn gap_sees_a_message_that_was_passed_over() {
    honest().without(OTHER, &live(1)).breaks("GAP");
    honest().without(BACK, &live(2)).breaks("GAP");
}

#[test]
fn gap_sees_a_last_message_that_never_came() {
    let silent = honest().without(OTHER, &live(3));
    silent.breaks("GAP");
    // Whoever was cut before it need not have it.
    assert_eq!(oracle::violations(&silent.and(OTHER, Event::Cut)), [""; 0]);
}

#[test]
fn gap_sees_a_dm_that_comes_back_to_where_it_was_sent() {
    honest().changed(OTHER, &live(3), live(2)).breaks("GAP");
}

#[test]
fn gap_sees_a_join_that_is_told_a_false_end() {
    let [_, told] = join();
    let false_end = Reply::Joined {
        room: GENERAL.into(),
        last_id: 3,
        last_seq: 1,
    };
    honest()
        .changed(OTHER, &told, reply(2, false_end))
        .breaks("GAP");
}

#[test]
fn resume_sees_a_wrong_count_and_a_false_reason() {
    let answer = reply(2, Reply::Resumed(resumed(3, 2)));
    for wrong in [
        Reply::Resumed(resumed(3, 1)),
        incomplete("too_many"),
        incomplete("ahead"),
        incomplete("behind"),
        incomplete("epoch"),
        incomplete("a reason that nobody knows"),
    ] {
        honest()
            .changed(BACK, &answer, reply(2, wrong))
            .breaks("RESUME");
    }
}

#[test]
fn resume_sees_more_than_the_limit_and_what_comes_although_it_was_said_not_to() {
    let mut small = honest();
    small.resume_limit = 1;
    small.breaks("RESUME");
    let answer = reply(2, Reply::Resumed(resumed(3, 2)));
    small
        .changed(BACK, &answer, reply(2, incomplete("too_many")))
        .breaks("RESUME");
}

#[test]
fn epoch_sees_a_position_of_another_log_that_is_honoured() {
    let mut restored = honest();
    restored.eras[0].epoch = "second".into();
    restored.breaks("EPOCH");
}

#[test]
fn leak_sees_a_dm_and_a_room_where_they_do_not_belong() {
    honest().and(STRANGER, live(2)).breaks("LEAK");
    honest().and(STRANGER, live(1)).breaks("LEAK");
    let left = [
        Event::Said(4, Request::Leave(GENERAL.into())),
        reply(4, Reply::Left(GENERAL.into())),
    ];
    let mut gone = honest().without(OTHER, &live(3));
    for event in left.into_iter().chain([live(3)]) {
        gone = gone.and(OTHER, event);
    }
    gone.breaks("LEAK");
}

#[test]
fn leak_sees_a_content_in_an_error() {
    let text = r#"{"type":"error","message":"canary:2:user:1:2 is too long","data":{"code":"too_large"},"ref":9}"#;
    honest()
        .and(STRANGER, Event::Said(9, Request::Ping))
        .and(STRANGER, Event::Heard(Frame::parse(text)))
        .breaks("LEAK");
}

#[test]
fn leak_sees_a_strangers_history() {
    let place = Where::Dm(2);
    let rows = vec![log()[1].clone()];
    let asked = Request::History {
        place: place.clone(),
        part: Part::Newest,
        limit: None,
    };
    let read = Reply::History {
        place,
        rows,
        has_more: false,
    };
    honest()
        .and(STRANGER, Event::Said(2, asked))
        .and(STRANGER, reply(2, read))
        .breaks("LEAK");
}

#[test]
fn ident_sees_a_message_under_another_name() {
    let mut forged = honest();
    forged.eras[0].rows[0].from = 2;
    forged.breaks("IDENT");
    let renamed = Row {
        username: "user2".into(),
        ..log()[0].clone()
    };
    let renamed = Event::Heard(Frame::Live(renamed));
    honest().changed(OTHER, &live(1), renamed).breaks("IDENT");
    let own = welcome(3, 0);
    honest()
        .changed(STRANGER, &own, welcome(1, 0))
        .breaks("IDENT");
}

#[test]
fn live_sees_an_answer_that_never_comes_or_comes_to_another_request() {
    honest()
        .and(STRANGER, Event::Said(2, Request::Ping))
        .breaks("LIVE");
    honest()
        .and(STRANGER, Event::Said(2, Request::Ping))
        .and(STRANGER, reply(1, Reply::Pong))
        .breaks("LIVE");
    honest()
        .and(STRANGER, Event::Stuck("something".into()))
        .breaks("LIVE");
}
