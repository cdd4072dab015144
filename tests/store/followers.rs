//! Those outside who are told of every message: their cursors, and what they refused.

use super::*;

const WHO: Follower = Follower::Backend;

async fn follow(log: &Log) -> Standing {
    log.store.follow(WHO, Begin::Oldest).await.unwrap()
}

/// Three messages, in a room, to a user, in a room, and a follower who was told of none.
async fn three(log: &Log) -> [MessageId; 3] {
    follow(log).await;
    let mut ids = Vec::new();
    for next in [said(1, "one"), dm(2, 3, "two"), said(3, "three")] {
        ids.push(log.put(next).await.unwrap().id);
    }
    ids.try_into().unwrap()
}

async fn advance(log: &Log, to: MessageId, parked: Option<&str>) {
    let parked = parked.map(str::to_owned);
    log.store.advance(WHO, to, parked).await.unwrap();
}

/// What is parked: ids and reasons.
async fn parked(log: &Log) -> Vec<(i64, String)> {
    let parked = log.store.parked(WHO, Cursor::START, 100).await.unwrap();
    parked
        .into_iter()
        .map(|parked| (parked.id.get(), parked.reason))
        .collect()
}

async fn due(log: &Log) -> Vec<i64> {
    ids(&log.store.due_again(WHO, 100).await.unwrap())
}

fn at(id: i64) -> Cursor {
    Cursor::new(id).unwrap()
}

/// `follow`: at the oldest or the newest message the first time; whatever is said later, where it was. One does not move
/// the other.
pub async fn a_new_follower_begins_at_either_end_and_an_old_one_where_it_was(log: Log) {
    assert_eq!(log.store.standings().await.unwrap(), []);
    let none = log.store.follow(Follower::Webhook, Begin::Newest);
    assert_eq!(none.await.unwrap().position, Cursor::START);
    let log = log.another().await.with_users().await;
    log.put(said(1, "before")).await.unwrap();
    let last = log.put(said(1, "newest")).await.unwrap().id;
    let newest = log.store.follow(Follower::Webhook, Begin::Newest);
    assert_eq!(newest.await.unwrap().position, last.into());
    let fresh = Standing {
        follower: WHO,
        position: Cursor::START,
        parked: 0,
        failing: None,
    };
    assert_eq!(follow(&log).await, fresh);
    log.put(said(1, "later")).await.unwrap();
    for begin in [Begin::Oldest, Begin::Newest] {
        let webhook = log.store.follow(Follower::Webhook, begin).await.unwrap();
        let backend = log.store.follow(WHO, begin).await.unwrap();
        assert_eq!(webhook.position, last.into(), "{begin:?}");
        assert_eq!(backend, fresh, "{begin:?}");
        assert_eq!(log.store.standings().await.unwrap(), [backend, webhook]);
    }
}

/// `lead`: of one follower once, of another as well, and again by who comes when it is let go.
pub async fn each_follower_has_one_who_leads_and_another_after_that(log: Log) {
    for _ in 0..2 {
        let backend = soon("the lead", log.store.lead(WHO)).await.unwrap();
        let webhook = soon("another's", log.store.lead(Follower::Webhook)).await;
        drop((backend, webhook.unwrap()));
    }
}

/// `log`: every message of every conversation, by id, whole as its reader gets it.
pub async fn the_log_is_read_in_id_order_over_rooms_and_dms_together(log: Log) {
    log.store.create_room(room("other"), 10).await.unwrap();
    let elsewhere = message(2, Place::Room(room("other")), "2", Some("nonce"));
    for next in [said(1, "1"), elsewhere, dm(3, 1, "3"), said(2, "4")] {
        log.put(next).await.unwrap();
    }
    let all = log.store.log(Cursor::START, 100, usize::MAX).await.unwrap();
    let said: Vec<&str> = all.iter().map(|m| m.content.as_str()).collect();
    assert_eq!(said, ["1", "2", "3", "4"]);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(all[1..2], log.all(Scope::Room(room("other"))).await);
    assert_eq!(all[2..3], log.all(Scope::Dm(user(1), user(3))).await);
    let rest = log.store.log(all[1].id.into(), 100, usize::MAX).await;
    assert_eq!(rest.unwrap(), all[2..]);
    let none = log.store.log(all[3].id.into(), 100, usize::MAX).await;
    assert_eq!(none.unwrap(), []);
    let end = log.store.log(Cursor::END, 100, usize::MAX).await;
    assert_eq!(end.unwrap(), []);
}

/// `log`: at most so many, and so many bytes, but always one.
pub async fn what_is_read_of_the_log_is_bounded_in_rows_and_bytes(log: Log) {
    for content in ["x".repeat(1000), "y".repeat(1000), "z".repeat(10)] {
        log.put(said(1, &content)).await.unwrap();
    }
    let all = log.store.log(Cursor::START, 3, usize::MAX).await.unwrap();
    let size = |n: usize| -> usize { all[..n].iter().map(Message::encoded_len_at_most).sum() };
    for (limit, max_bytes, expected) in [
        (1, usize::MAX, 1),
        (2, usize::MAX, 2),
        (3, size(3), 3),
        (3, size(3) - 1, 2),
        (3, size(2) - 1, 1),
        (3, 0, 1),
    ] {
        let log = log
            .store
            .log(Cursor::START, limit, max_bytes)
            .await
            .unwrap();
        assert_eq!(log, all[..expected], "{limit} rows, {max_bytes} bytes");
    }
}

/// `advance`: to a later message; what comes late from a cursor that was overtaken does not move it back.
pub async fn a_cursor_moves_forward_only(log: Log) {
    let [first, second, third] = three(&log).await;
    for (to, stands) in [(first, first), (third, third), (second, third)] {
        advance(&log, to, None).await;
        assert_eq!(follow(&log).await.position, stands.into());
    }
    advance(&log, first, Some("too late")).await;
    let standing = follow(&log).await;
    assert_eq!((standing.position, standing.parked), (third.into(), 1));
}

/// All of it is in the log's file, and a restart changes none of it.
pub async fn a_cursor_and_what_is_parked_outlive_the_process(log: Log) {
    let [first, second, third] = three(&log).await;
    advance(&log, first, Some("bad")).await;
    advance(&log, second, None).await;
    let why = "connection refused".to_owned();
    log.store.note_failure(WHO, why.clone()).await.unwrap();
    log.ask_again(WHO, first);
    let (before, kept) = (follow(&log).await, parked(&log).await);
    let log = log.reopen().await;
    assert_eq!(follow(&log).await, before);
    assert_eq!((before.position, before.parked), (second.into(), 1));
    assert_eq!(before.failing.unwrap().1, why);
    assert_eq!(parked(&log).await, kept);
    assert_eq!(due(&log).await, [first.get()]);
    let next = log.store.log(before.position, 1, usize::MAX).await.unwrap();
    assert_eq!(ids(&next), [third.get()]);
}

/// `note_failure`: since the first, for the reason of the last; `advance` forgets it.
pub async fn a_failure_is_noted_from_its_first_moment_until_the_cursor_moves(log: Log) {
    let [first, second, _] = three(&log).await;
    let note = |why: &str| log.store.note_failure(WHO, why.to_owned());
    note("refused").await.unwrap();
    let (since, why) = follow(&log).await.failing.unwrap();
    assert_eq!(why, "refused");
    note("timed out").await.unwrap();
    let standing = follow(&log).await;
    assert_eq!(standing.failing, Some((since, "timed out".into())));
    assert_eq!(standing.position, Cursor::START);
    advance(&log, first, None).await;
    assert_eq!(follow(&log).await.failing, None);
    note("again").await.unwrap();
    let again = follow(&log).await.failing.unwrap();
    assert!(again.0 > since, "a new failure begins anew");
    advance(&log, second, Some("parked")).await;
    assert_eq!(follow(&log).await.failing, None);
}

/// `parked`: in id order, from a cursor on, at most so many, and of this follower only.
pub async fn what_is_parked_is_told_by_id_with_its_reason(log: Log) {
    let [first, second, third] = three(&log).await;
    let other = Follower::Webhook;
    log.store.follow(other, Begin::Oldest).await.unwrap();
    for (id, reason) in [
        (first, "422 no"),
        (second, "400 nö"),
        (third, "413 \"long\""),
    ] {
        advance(&log, id, Some(reason)).await;
    }
    let theirs = Some("theirs".to_owned());
    log.store.advance(other, second, theirs).await.unwrap();
    let all = log.store.parked(WHO, Cursor::START, 100).await.unwrap();
    let reasons: Vec<&str> = all.iter().map(|parked| parked.reason.as_str()).collect();
    assert_eq!(reasons, ["422 no", "400 nö", "413 \"long\""]);
    assert!(all.is_sorted_by(|a, b| a.id < b.id));
    assert!(all.iter().all(|parked| !parked.due_again));
    let stored = log.all(Scope::Room(general())).await;
    assert!(all[0].since > stored[1].timestamp);
    for (after, limit, expected) in [
        (Cursor::START, 2, &all[..2]),
        (first.into(), 100, &all[1..]),
        (first.into(), 1, &all[1..2]),
        (third.into(), 100, &[]),
        (Cursor::START, 0, &[]),
    ] {
        let found = log.store.parked(WHO, after, limit).await.unwrap();
        assert_eq!(found, expected, "{after:?} {limit}");
    }
    let counts = log.store.standings().await.unwrap();
    let counts: Vec<u64> = counts.iter().map(|standing| standing.parked).collect();
    assert_eq!(counts, [3, 1]);
}

/// `advance` without a reason: the message is there, whatever an operator did about it in the meantime.
pub async fn what_was_taken_after_all_is_not_parked(log: Log) {
    let [first, second, _] = three(&log).await;
    advance(&log, first, Some("skipped")).await;
    advance(&log, second, Some("skipped")).await;
    advance(&log, first, None).await;
    assert_eq!(parked(&log).await, [(second.get(), "skipped".into())]);
    assert_eq!(follow(&log).await.position, second.into());
}

/// `due_again`, `conclude_again`: what is asked for is due, whole and by id, until it is told what came of it.
pub async fn what_an_operator_wants_again_is_due_until_it_is_concluded(log: Log) {
    let all = three(&log).await;
    let [first, second, third] = all;
    for id in all {
        advance(&log, id, Some("no")).await;
    }
    assert_eq!(due(&log).await, [0_i64; 0]);
    log.ask_again(WHO, third);
    log.ask_again(WHO, first);
    let whole = log.store.due_again(WHO, 100).await.unwrap();
    let log_of_all = log.store.log(Cursor::START, 3, usize::MAX).await.unwrap();
    assert_eq!(whole, [log_of_all[0].clone(), log_of_all[2].clone()]);
    let one = log.store.due_again(WHO, 1).await.unwrap();
    assert_eq!(ids(&one), [first.get()]);
    let others = log.store.due_again(Follower::Webhook, 100).await;
    assert_eq!(others.unwrap(), []);
    let since = log.store.parked(WHO, Cursor::START, 1).await.unwrap()[0].since;
    let conclude = |id, why: Option<&str>| {
        let why = why.map(str::to_owned);
        log.store.conclude_again(WHO, id, why)
    };
    conclude(first, Some("still no")).await.unwrap();
    conclude(third, None).await.unwrap();
    assert_eq!(due(&log).await, [0_i64; 0]);
    let left = [
        (first.get(), "still no".into()),
        (second.get(), "no".into()),
    ];
    assert_eq!(parked(&log).await, left);
    let again = log.store.parked(WHO, Cursor::START, 1).await.unwrap();
    assert_eq!((again[0].since, again[0].due_again), (since, false));
    assert_eq!(follow(&log).await.position, third.into(), "no cursor moved");
}

/// Whoever does not know whether a change is stored may ask for it again.
pub async fn every_change_done_twice_is_done_once(log: Log) {
    let [first, second, _] = three(&log).await;
    let conclude = |why: Option<&str>| {
        let why = why.map(str::to_owned);
        log.store.conclude_again(WHO, first, why)
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        advance(&log, first, Some("no")).await;
        seen.push((follow(&log).await, parked(&log).await));
    }
    log.ask_again(WHO, first);
    advance(&log, first, Some("no")).await;
    assert_eq!(
        due(&log).await,
        [first.get()],
        "what was asked for stays so"
    );
    for _ in 0..2 {
        conclude(Some("no")).await.unwrap();
        seen.push((follow(&log).await, parked(&log).await));
    }
    assert!(seen.iter().all(|state| *state == seen[0]), "{seen:?}");
    for _ in 0..2 {
        conclude(None).await.unwrap();
        assert_eq!(parked(&log).await, []);
    }
    conclude(Some("late")).await.unwrap();
    assert_eq!(parked(&log).await, [], "what is not parked stays so");
    for _ in 0..2 {
        advance(&log, second, None).await;
        assert_eq!(follow(&log).await.position, second.into());
    }
}

/// A change of a follower that is not there, or about a message that is not, changes nothing and is no error.
pub async fn who_never_followed_has_nothing_to_change(log: Log) {
    let [first, ..] = three(&log).await;
    let (nobody, why) = (Follower::Webhook, || Some("no".to_owned()));
    log.store.advance(nobody, first, why()).await.unwrap();
    log.store.note_failure(nobody, "no".into()).await.unwrap();
    let concluded = log.store.conclude_again(nobody, first, why());
    concluded.await.unwrap();
    let standings = log.store.standings().await.unwrap();
    assert_eq!(standings, [follow(&log).await]);
    assert_eq!(standings[0].position, at(0));
    let unknown = MessageId::new(first.get() + 100).unwrap();
    log.store.conclude_again(WHO, unknown, why()).await.unwrap();
    advance(&log, first, Some("no")).await;
    advance(&log, unknown, Some("no")).await;
    assert_eq!(parked(&log).await, [(first.get(), "no".into())]);
}
