//! Coming back: exactly what was missed, whatever had been received before, once.

use std::time::Duration;

use crate::{
    Scene, figure,
    load::missing,
    play::recorder::{judge, numbered, resume, room},
};

#[tokio::test]
async fn a_client_that_has_received_nothing_yet_resumes_all_the_same() {
    let scene = Scene::new().await;
    let mut writer = scene.connect(1).await;
    let mut traces = Vec::new();
    for round in 0..100 {
        let name = format!("room-{round}");
        let mut ann = scene.connect(2).await;
        let (position, _) = ann.join(&name).await;
        assert_eq!(position, 0, "nothing was ever said here");
        let after = scene.log().1.last().map_or(0, |row| row.id);
        traces.push(ann.cut());
        let mut last = 0;
        for number in 0..5 {
            let number = round * 5 + number;
            last = writer.send(numbered(1, room(&name), number)).await.id;
        }
        scene.server.relayed(last).await;
        let mut ann = scene.connect(2).await;
        let resumed = ann.resume(after, &[&name], None).await;
        assert_eq!((resumed.complete, resumed.replayed), (true, 5));
        for _ in 0..5 {
            ann.next_live().await;
        }
        traces.push(ann.cut());
    }
    traces.push(writer.cut());
    judge(traces, scene.log(), 1000);
}

#[tokio::test]
async fn resuming_twice_during_another_and_on_a_new_socket_repeats_nothing() {
    let runs = figure(120, 500);
    let scene = Scene::new().await;
    let mut writer = scene.connect(1).await;
    let mut traces = Vec::new();
    let (mut cursor, mut number) = (0, 0);
    for run in 0..runs {
        for _ in 0..20 {
            number += 1;
            writer.send(numbered(1, room("general"), number)).await;
        }
        let log = scene.log();
        let last = log.1.last().unwrap().id;
        let mut ann = scene.silent(2).await;
        match run % 4 {
            // Twice without anything new in between.
            0 => {
                ann.ask(resume(cursor, &["general"], None)).await;
                while ann.seen().last() != Some(&last) {
                    ann.next_live().await;
                }
                let again = ann.resume(last, &["general"], Some(&log.0)).await;
                assert_eq!((again.complete, again.replayed), (true, 0));
            }
            // Another while the first is being replayed, from the same cursor.
            1 => {
                ann.say(resume(cursor, &["general"], None)).await;
                let second = ann.say(resume(cursor, &["general"], None)).await;
                ann.answer_to(second).await;
            }
            // The socket is replaced in the middle: the new one goes on where the old one was.
            2 => {
                ann.ask(resume(cursor, &["general"], None)).await;
                for _ in 0..run % 20 {
                    ann.next_live().await;
                }
                let reached = ann.seen().last().copied().unwrap_or(cursor);
                traces.push(ann.cut());
                ann = scene.silent(2).await;
                ann.ask(resume(reached, &["general"], None)).await;
            }
            // While others go on talking.
            _ => {
                ann.say(resume(cursor, &["general"], None)).await;
                for _ in 0..5 {
                    number += 1;
                    writer.say(numbered(1, room("general"), number)).await;
                }
                writer.ask(crate::oracle::trace::Request::Ping).await;
            }
        }
        let log = scene.log();
        while missing(&ann, &log).is_some() {
            ann.next_live().await;
        }
        cursor = log.1.last().unwrap().id;
        traces.push(ann.cut());
    }
    println!("{runs} runs over {number} messages");
    traces.push(writer.cut());
    judge(traces, scene.log(), 1000);
}

#[tokio::test]
async fn after_two_idle_days_nothing_is_missing_and_nothing_is_replayed() {
    let scene = Scene::new().await;
    let mut ann = scene.connect(1).await;
    ann.join("general").await;
    let sent = ann.send(numbered(1, room("general"), 1)).await;
    if ann.seen().is_empty() {
        ann.next_live().await;
    }
    assert_eq!(ann.seen(), [sent.id]);
    let epoch = scene.log().0;
    scene.pass(Duration::from_secs(48 * 3600));
    let scene = scene.restarted().await;
    let mut back = scene.connect(1).await;
    let resumed = back.resume(sent.id, &["general"], Some(&epoch)).await;
    assert_eq!((resumed.complete, resumed.replayed), (true, 0));
    assert_eq!(resumed.last_id, sent.id);
    back.ask(crate::oracle::trace::Request::Ping).await;
    assert_eq!(back.seen(), [0; 0]);
    judge(vec![ann.cut(), back.cut()], scene.log(), 1000);
}
