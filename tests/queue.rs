//! Where a reader stands in the log: every way from live to behind and back.

use std::collections::VecDeque;

use chat_server::{
    frame::Frame,
    hub::{Pushed, Queue},
    protocol::{Cursor, MessageId},
};

const LIMIT_BYTES: usize = 100;

fn frame(id: i64) -> Frame {
    Frame::encoded(&[u8::try_from(id).unwrap(); 30])
}

fn id(id: i64) -> MessageId {
    MessageId::new(id).unwrap()
}

fn at(position: i64) -> Cursor {
    Cursor::new(position).unwrap()
}

fn live() -> Queue {
    let mut queue = Queue::new(Cursor::START);
    assert_eq!(queue.begin_page(), None);
    queue
}

fn push(queue: &mut Queue, ids: std::ops::RangeInclusive<i64>) -> Pushed {
    ids.map(|n| queue.push(id(n), frame(n), LIMIT_BYTES))
        .last()
        .unwrap()
}

fn page(ids: std::ops::RangeInclusive<i64>) -> Vec<(MessageId, Frame)> {
    ids.map(|n| (id(n), frame(n))).collect()
}

/// The messages that wait, as taken and written by a pump; a reply is 0.
fn take(queue: &mut Queue, most: usize) -> Vec<i64> {
    let mut batch = VecDeque::new();
    queue.take(&mut batch, most, usize::MAX);
    let ids = batch
        .iter()
        .map(|item| item.message.map_or(0, MessageId::get));
    let ids = ids.collect();
    queue.written(batch.iter().map(|item| item.frame.len_bytes()).sum());
    ids
}

#[test]
fn a_new_reader_is_not_live_and_what_it_misses_is_in_the_log() {
    let mut queue = Queue::new(at(5));
    assert_eq!(push(&mut queue, 6..=6), Pushed::Left);
    assert_eq!(queue.begin_page(), Some(at(5)));
    queue.finish_page(page(6..=6), false);
    assert!(queue.is_live());
    assert_eq!(push(&mut queue, 7..=7), Pushed::Queued);
    assert_eq!(take(&mut queue, 9), [6, 7]);
}

#[test]
fn whoever_falls_behind_keeps_the_replies_and_goes_on_after_what_was_taken() {
    let mut queue = live();
    push(&mut queue, 1..=2);
    assert_eq!(take(&mut queue, 1), [1]);
    queue.add(frame(9).into());
    assert_eq!(push(&mut queue, 3..=4), Pushed::FellBehind);
    assert_eq!(push(&mut queue, 5..=5), Pushed::Left);
    assert_eq!(take(&mut queue, 9), [0]);
    assert_eq!((queue.bytes(), queue.sent()), (0, at(1)));
    assert_eq!(queue.begin_page(), Some(at(1)));
    queue.finish_page(page(2..=3), true);
    assert_eq!(take(&mut queue, 9), [2, 3]);
    assert_eq!(queue.begin_page(), Some(at(3)));
    queue.finish_page(page(4..=5), false);
    push(&mut queue, 6..=6);
    assert_eq!(take(&mut queue, 9), [4, 5, 6]);
}

#[test]
fn what_was_taken_can_no_longer_be_dropped_and_counts_as_kept() {
    let mut queue = live();
    push(&mut queue, 1..=3);
    assert_eq!(queue.kept_bytes(), 0);
    let mut batch = VecDeque::new();
    queue.take(&mut batch, 9, 31);
    assert_eq!(
        (batch.len(), queue.kept_bytes(), queue.bytes()),
        (2, 60, 90)
    );
    assert_eq!(push(&mut queue, 4..=4), Pushed::FellBehind);
    assert_eq!((queue.kept_bytes(), queue.bytes()), (60, 60));
    queue.written(60);
    assert_eq!((queue.bytes(), queue.sent()), (0, at(2)));
}

#[test]
fn what_comes_while_the_last_page_is_read_follows_it_once() {
    let mut queue = live();
    push(&mut queue, 1..=4);
    queue.begin_page();
    push(&mut queue, 5..=7);
    queue.finish_page(page(1..=6), false);
    assert!(queue.is_live());
    assert_eq!(take(&mut queue, 9), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn more_than_can_be_held_while_a_page_is_read_is_another_page() {
    let mut queue = live();
    push(&mut queue, 1..=4);
    queue.begin_page();
    push(&mut queue, 5..=9);
    queue.finish_page(page(1..=4), false);
    assert_eq!(take(&mut queue, 9), [1, 2, 3, 4]);
    assert_eq!(queue.begin_page(), Some(at(4)));
}

#[test]
fn a_page_that_could_not_be_read_is_still_missing() {
    let mut queue = live();
    push(&mut queue, 1..=4);
    queue.begin_page();
    push(&mut queue, 5..=5);
    queue.stop_reading();
    assert_eq!((queue.begin_page(), queue.bytes()), (Some(at(0)), 0));
}

#[test]
fn own_dms_do_not_come_back_out_of_the_log() {
    let mut queue = live();
    push(&mut queue, 1..=1);
    queue.skip(id(2));
    assert_eq!(push(&mut queue, 3..=5), Pushed::FellBehind);
    queue.skip(id(6));
    assert_eq!(queue.begin_page(), Some(at(0)));
    queue.finish_page(page(1..=3), true);
    queue.begin_page();
    queue.finish_page(page(4..=6), false);
    assert_eq!(take(&mut queue, 9), [1, 3, 4, 5]);
    assert_eq!(queue.own(), 0);
}

#[test]
fn with_nothing_waiting_an_own_dm_moves_the_position() {
    let mut queue = live();
    push(&mut queue, 1..=1);
    take(&mut queue, 9);
    queue.skip(id(2));
    assert_eq!(queue.own(), 0);
    assert_eq!(push(&mut queue, 3..=6), Pushed::FellBehind);
    assert_eq!((queue.begin_page(), queue.sent()), (Some(at(2)), at(1)));
}

#[test]
fn a_resume_has_own_dms_replayed() {
    let mut queue = live();
    push(&mut queue, 1..=1);
    queue.skip(id(2));
    queue.leave_to_log();
    queue.skip(id(3));
    queue.rewind(at(1), at(2), true);
    assert_eq!(queue.begin_page(), Some(at(1)));
    queue.finish_page(page(2..=3), false);
    assert_eq!(take(&mut queue, 9), [1, 2]);
}

#[test]
fn a_resume_forgets_nothing_that_was_owed_before() {
    let mut queue = live();
    push(&mut queue, 1..=1);
    take(&mut queue, 9);
    push(&mut queue, 2..=5);
    queue.leave_to_log();
    queue.rewind(at(9), at(9), false);
    assert_eq!(queue.begin_page(), Some(at(1)));
}

#[test]
fn what_still_waits_after_a_resume_is_read_again_when_it_is_dropped() {
    let mut queue = live();
    push(&mut queue, 1..=1);
    take(&mut queue, 9);
    push(&mut queue, 2..=3);
    queue.leave_to_log();
    queue.rewind(at(3), at(3), false);
    queue.begin_page();
    assert_eq!(push(&mut queue, 4..=5), Pushed::FellBehind);
    assert_eq!(queue.begin_page(), Some(at(1)));
}
