//! Whatever a session does by itself, it does when it should and not before: every timer, on a clock that stands still
//! until it is moved.
//!
//! The core without sockets over the log in memory. Time is virtual, so an hour takes no time, and a moment before a
//! deadline is as exact as the deadline.
#![allow(
    dead_code,
    reason = "each test program uses its own part of the vocabulary"
)]

mod common;
mod oracle;
mod play;

use std::time::Duration;

use chat_server::{
    auth::Tokens,
    hub::End,
    protocol::{CloseCode, UserId, Username},
    session::{Event, Timing},
};
use common::SECRET;
use futures_util::FutureExt as _;
use play::{
    core::{TIMING, Wire},
    link::{Fault, Heard, Link as _, World as _},
    memory::MemoryWorld,
};
use tokio::time::{Instant, advance};

const MOMENT: Duration = Duration::from_millis(1);

/// Lets every task run until it waits.
async fn quiet() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

async fn pass(time: Duration) {
    quiet().await;
    advance(time).await;
    quiet().await;
}

/// What the server has sent and not been heard yet: the types of text frames, `ping`, and the code of the end.
fn heard(wire: &mut Wire) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(next) = wire.next_bytes().now_or_never() {
        match next {
            Ok(bytes) if bytes[0] == 0x89 => all.push("ping".into()),
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let kind = text.split(r#"{"type":""#).nth(1).unwrap();
                all.push(kind.split('"').next().unwrap().to_owned());
            }
            Err(End::Close(code)) => {
                all.push(code.code().to_string());
                break;
            }
            Err(End::Finish) => {
                all.push("end".into());
                break;
            }
        }
    }
    all
}

async fn say(wire: &mut Wire, text: &str) {
    wire.say(text.into()).await;
    quiet().await;
}

const HELLO: &str = r#"{"type":"hello","ref":1}"#;
const PING: &str = r#"{"type":"ping","ref":1}"#;
const DM_TO_1: &str = r#"{"type":"dm","to":1,"content":"psst","ref":1}"#;

#[tokio::test(start_paused = true)]
async fn messages_are_held_until_the_first_request_was_handled() {
    let mut world = MemoryWorld::new(1).await;
    let (mut ann, mut bob) = (world.connect(1).await, world.connect(2).await);
    say(&mut bob, DM_TO_1).await;
    assert_eq!(heard(&mut bob), ["dm_sent"]);
    assert_eq!(heard(&mut ann), [""; 0]);
    say(&mut ann, PING).await;
    assert_eq!(heard(&mut ann), ["pong", "dm"]);
}

#[tokio::test(start_paused = true)]
async fn between_hello_and_resume_nothing_comes() {
    let mut world = MemoryWorld::new(1).await;
    let (mut ann, mut bob) = (world.connect(1).await, world.connect(2).await);
    say(&mut bob, DM_TO_1).await;
    say(&mut ann, HELLO).await;
    say(&mut bob, DM_TO_1).await;
    assert_eq!(heard(&mut ann), ["welcome"]);
    say(&mut ann, r#"{"type":"resume","after":0,"rooms":[]}"#).await;
    assert_eq!(heard(&mut ann), ["resume_ack", "dm", "dm"]);
    let mut phone = world.connect(1).await;
    say(&mut phone, HELLO).await;
    say(&mut bob, DM_TO_1).await;
    assert_eq!(heard(&mut phone), ["welcome"]);
    pass(TIMING.hold).await;
    assert_eq!(heard(&mut phone), ["dm"], "after a second at the latest");
}

#[tokio::test(start_paused = true)]
async fn messages_are_held_for_a_second_at_most() {
    let mut world = MemoryWorld::new(1).await;
    let (mut ann, mut bob) = (world.connect(1).await, world.connect(2).await);
    say(&mut bob, DM_TO_1).await;
    pass(TIMING.hold - MOMENT).await;
    assert_eq!(heard(&mut ann), [""; 0]);
    pass(MOMENT).await;
    assert_eq!(heard(&mut ann), ["dm"]);
    say(&mut bob, DM_TO_1).await;
    assert_eq!(heard(&mut ann), ["dm"], "live from then on");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_pinged_every_25_seconds_and_not_before() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    for _ in 0..4 {
        pass(TIMING.ping - MOMENT).await;
        assert_eq!(heard(&mut ann), [""; 0]);
        pass(MOMENT).await;
        assert_eq!(heard(&mut ann), ["ping"]);
        ann.events.send(Event::Alive).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_silent_for_a_minute_is_closed() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    pass(Duration::from_secs(10)).await;
    say(&mut ann, PING).await;
    assert_eq!(heard(&mut ann), ["pong"]);
    // Looked at a moment before the end, and then once more.
    pass(TIMING.silence - Duration::from_secs(1)).await;
    pass(Duration::from_secs(1) - MOMENT).await;
    assert_eq!(heard(&mut ann), ["ping"], "59.999 seconds of silence");
    pass(MOMENT).await;
    assert_eq!(heard(&mut ann), ["1013"]);
}

#[tokio::test(start_paused = true)]
async fn a_ping_behind_much_that_was_written_has_more_time_to_be_answered() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    say(&mut ann, PING).await;
    assert_eq!(heard(&mut ann), ["pong"]);
    // Handed to the kernel; at the slowest pace that is allowed it takes ten seconds to be read.
    ann.outbox.written(10 * TIMING.slowest_reader);
    pass(TIMING.silence - Duration::from_secs(1)).await;
    pass(Duration::from_secs(10)).await;
    pass(Duration::from_secs(1) - MOMENT).await;
    assert_eq!(heard(&mut ann), ["ping"], "69.999 seconds of silence");
    pass(MOMENT).await;
    assert_eq!(heard(&mut ann), ["1013"]);
    let mut bob = world.connect(2).await;
    bob.outbox.written(10 * TIMING.slowest_reader);
    say(&mut bob, PING).await;
    pass(TIMING.silence - Duration::from_secs(1)).await;
    pass(Duration::from_secs(1)).await;
    assert_eq!(
        heard(&mut bob).last().unwrap(),
        "1013",
        "it was heard of since"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_is_enough_and_any_will_do() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    for round in 0..20 {
        pass(TIMING.silence - MOMENT).await;
        if round % 2 == 0 {
            ann.events.send(Event::Alive).unwrap();
            quiet().await;
        } else {
            say(&mut ann, PING).await;
        }
    }
    assert!(!heard(&mut ann).contains(&"1013".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_paused_reads_what_came_before_it_calls_a_client_silent() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    pass(Duration::from_secs(1)).await;
    // The whole process slept; what came in the meantime waits.
    ann.events.send(Event::Text(HELLO.into())).unwrap();
    advance(Duration::from_secs(600)).await;
    quiet().await;
    let first = heard(&mut ann);
    assert!(first.contains(&"welcome".to_owned()), "{first:?}");
    assert!(!first.contains(&"1013".to_owned()), "{first:?}");
    // A client that has nothing to say is given a second more to answer.
    let mut mute = world.connect(2).await;
    quiet().await;
    advance(Duration::from_secs(600)).await;
    quiet().await;
    assert_eq!(heard(&mut mute), ["ping"]);
    mute.events.send(Event::Alive).unwrap();
    pass(Duration::from_secs(1)).await;
    assert_eq!(heard(&mut mute), [""; 0]);
}

fn token(user: i64, now: i64, seconds: i64) -> String {
    let (user, name) = (
        UserId::new(user).unwrap(),
        Username::new(&format!("user{user}")).unwrap(),
    );
    let tokens = Tokens::new(SECRET, "JWT_SECRET");
    tokens.sign(user, &name, "user", now, seconds).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_ends_the_connection_to_the_second() {
    let mut world = MemoryWorld::new(1).await;
    let now = world.seconds();
    let mut ann = world.connect_until(1, now + 10).await;
    let mut bob = world.connect(2).await;
    say(&mut ann, HELLO).await;
    pass(Duration::from_secs(10) - MOMENT).await;
    assert_eq!(heard(&mut ann), ["welcome"]);
    pass(MOMENT).await;
    assert_eq!(heard(&mut ann), ["4401"]);
    say(&mut ann, PING).await;
    say(&mut bob, DM_TO_1).await;
    assert_eq!(heard(&mut ann), ["4401"], "nothing after the end");
}

#[tokio::test(start_paused = true)]
async fn a_newer_token_takes_the_place_of_the_old_ones_end() {
    let mut world = MemoryWorld::new(1).await;
    let now = world.seconds();
    let mut ann = world.connect_until(1, now + 10).await;
    pass(Duration::from_secs(9)).await;
    let newer = token(1, now, 20);
    say(&mut ann, &format!(r#"{{"type":"auth","token":"{newer}"}}"#)).await;
    assert_eq!(heard(&mut ann), ["auth_ack"]);
    pass(Duration::from_secs(11) - MOMENT).await;
    assert_eq!(heard(&mut ann), [""; 0]);
    pass(MOMENT).await;
    assert_eq!(heard(&mut ann), ["4401"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_moves_no_end() {
    let mut world = MemoryWorld::new(1).await;
    let now = world.seconds();
    let mut ann = world.connect_until(1, now + 10).await;
    for bad in [token(2, now, 3600), token(1, now - 100, 50), "no".into()] {
        say(&mut ann, &format!(r#"{{"type":"auth","token":"{bad}"}}"#)).await;
        assert_eq!(heard(&mut ann), ["error"]);
    }
    pass(Duration::from_secs(10)).await;
    assert_eq!(heard(&mut ann), ["4401"]);
}

#[tokio::test(start_paused = true)]
async fn a_laptop_that_slept_past_the_tokens_end_finds_out_at_the_next_ping() {
    let mut world = MemoryWorld::new(1).await;
    let now = world.seconds();
    let mut ann = world.connect_until(1, now + 3600).await;
    say(&mut ann, HELLO).await;
    pass(Duration::from_secs(1)).await;
    // The wall clock went on while monotonic time stood still.
    world.shift_clock(Duration::from_secs(7200), true);
    pass(TIMING.ping - Duration::from_secs(1) - MOMENT).await;
    assert_eq!(heard(&mut ann), ["welcome"]);
    pass(MOMENT).await;
    let heard = heard(&mut ann);
    assert_eq!(heard.last().unwrap(), "4401", "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_ends_nothing_and_forgives_nothing_for_long() {
    let mut world = MemoryWorld::new(1).await;
    let now = world.seconds();
    let mut ann = world.connect_until(1, now + 100).await;
    world.shift_clock(Duration::from_secs(3600), false);
    for _ in 0..8 {
        pass(TIMING.ping).await;
        ann.events.send(Event::Alive).unwrap();
    }
    let all = heard(&mut ann);
    assert!(all.iter().all(|kind| kind == "ping"), "{all:?}");
    world.shift_clock(Duration::from_secs(3600), true);
    pass(TIMING.ping).await;
    assert_eq!(heard(&mut ann).last().unwrap(), "4401");
}

#[tokio::test(start_paused = true)]
async fn silence_does_not_count_while_the_session_does_not_listen() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    // More on its way to the disk than one connection may have, and the disk is stuck.
    world.fault(Fault::Held(true));
    for _ in 0..=TIMING.in_flight {
        say(&mut ann, DM_TO_1).await;
    }
    for _ in 0..30 {
        pass(Duration::from_secs(10)).await;
    }
    assert!(heard(&mut ann).iter().all(|kind| kind == "ping"));
    world.fault(Fault::Held(false));
    quiet().await;
    let acks = heard(&mut ann)
        .iter()
        .filter(|kind| *kind == "dm_sent")
        .count();
    assert_eq!(acks, TIMING.in_flight + 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_log_is_asked_again_after_a_while_and_not_at_once() {
    let mut world = MemoryWorld::new(1).await;
    let (mut ann, mut bob) = (world.connect(1).await, world.connect(2).await);
    say(&mut bob, DM_TO_1).await;
    heard(&mut bob);
    world.refuse_reads(2);
    say(&mut ann, PING).await;
    assert_eq!(heard(&mut ann), ["pong"], "the first try fails");
    pass(TIMING.retry - MOMENT).await;
    assert_eq!(world.refusals_left(), 1);
    pass(MOMENT).await;
    assert_eq!(world.refusals_left(), 0, "the second try");
    assert_eq!(heard(&mut ann), [""; 0]);
    pass(TIMING.retry).await;
    assert_eq!(heard(&mut ann), ["dm"], "the third succeeds");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_falls_behind_is_noted_at_once_and_once() {
    let mut world = MemoryWorld::new(1).await;
    let (mut ann, mut bob) = (world.connect(1).await, world.connect(2).await);
    let content = "x".repeat(1000);
    let dm = format!(r#"{{"type":"dm","to":1,"content":"{content}","ref":1}}"#);
    say(&mut ann, PING).await;
    say(&mut bob, &dm).await;
    assert_eq!(heard(&mut ann), ["pong", "dm"]);
    // While this waits for her there is no room for a page of the log.
    say(&mut ann, r#"{"type":"dm_history","with":2}"#).await;
    say(&mut bob, &dm).await;
    assert_eq!(world.fell_behind(), 0);
    for _ in 0..2 {
        say(&mut bob, &dm).await;
        assert_eq!(world.fell_behind(), 1);
    }
    assert_eq!(heard(&mut ann), ["dm_history"]);
    for _ in 0..3 {
        quiet().await;
        assert_eq!(heard(&mut ann), ["dm"], "a page of the log");
    }
    assert_eq!(world.fell_behind(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_needs_no_timer() {
    let mut world = MemoryWorld::new(1).await;
    let mut ann = world.connect(1).await;
    let before = Instant::now();
    world.end(play::link::Ending::Stop).await;
    assert_eq!(ann.next().await, Heard::Closed(Some(1001)));
    assert_eq!(Instant::now(), before);
}

#[test]
fn every_timer_of_a_session_has_a_test() {
    // A new field does not compile here until it is named, and is not named until it has a test.
    let Timing {
        hold: _,           // messages_are_held_…
        ping: _,           // a_connection_is_pinged_…
        silence: _,        // a_connection_that_is_silent_…
        in_flight: _,      // silence_does_not_count_…
        ask_again: _,      // tests/wire/asked.rs: an_open_connection_is_asked_about_again_…
        retry: _,          // a_busy_log_is_asked_again_…
        slowest_reader: _, // a_ping_behind_much_that_was_written_…
    } = TIMING;
    assert_eq!(CloseCode::TooSlow.code(), 1013);
}
