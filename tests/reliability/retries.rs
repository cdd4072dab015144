//! A send repeated is the same message, however often, wherever, whenever and beside whatever.

use std::time::Duration;

use crate::{
    Scene, figure,
    oracle::trace::{Reply, Request, Trace, Where, canary},
    play::recorder::{Recorder, judge, numbered, room},
};

/// Where send `number` goes: a room, another room, or user 2.
fn place(number: usize) -> Where {
    match number % 3 {
        0 => room("general"),
        1 => room("other"),
        _ => Where::Dm(2),
    }
}

/// Says each of `numbers` on `clients` by turns, all of them before the first answer is waited for.
async fn storm(clients: &mut [Recorder], numbers: impl Iterator<Item = usize>) {
    let mut last = vec![0; clients.len()];
    for (turn, number) in numbers.enumerate() {
        let at = (turn / 2) % clients.len();
        last[at] = clients[at].say(numbered(1, place(number), number)).await;
    }
    for (client, asked) in clients.iter_mut().zip(last) {
        if asked > 0 {
            client.answer_to(asked).await;
        }
    }
}

#[tokio::test]
async fn a_storm_of_repeats_leaves_one_row_for_each_send() {
    let ids = figure(1_000, 10_000);
    let mut scene = Scene::new().await;
    scene.connect(2).await.cut();
    let mut traces: Vec<Trace> = Vec::new();
    // Which sends are repeated in which round: none of some, all five of others.
    let repeated = |round: usize| (0..ids).filter(move |number| number % 6 >= round);
    for (round, wait) in [0, 0, 0, 1, 24, 1_000].into_iter().enumerate() {
        if round == 2 {
            scene = scene.restarted().await;
        }
        scene.pass(Duration::from_secs(wait * 3600));
        let mut clients = [scene.connect(1).await, scene.connect(1).await];
        storm(&mut clients, repeated(round)).await;
        if round == 1 {
            // On another connection while the first repeat is under way.
            storm(
                &mut clients,
                repeated(round).flat_map(|number| [number, number]),
            )
            .await;
        }
        traces.extend(clients.map(Recorder::cut));
    }
    let (epoch, rows) = scene.log();
    assert_eq!(rows.len(), ids);
    let is_repeat = |(_, answered): &(u64, crate::oracle::trace::Answered<'_>)| matches!(answered.reply, Reply::Sent(sent) if sent.duplicate);
    let repeats: usize = traces
        .iter()
        .map(|trace| trace.answers().iter().filter(|it| is_repeat(it)).count())
        .sum();
    println!("{ids} sends, {repeats} repeats");
    judge(traces, (epoch, rows), 1000);
}

#[tokio::test]
async fn the_same_nonce_on_eight_connections_at_once_is_one_row_and_one_first() {
    let rounds = figure(200, 1_000);
    let scene = Scene::new().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(scene.connect(1).await);
    }
    for round in 0..rounds {
        let request = numbered(1, room("general"), round);
        let mut asked = Vec::new();
        for client in &mut clients {
            asked.push(client.say(request.clone()).await);
        }
        let mut acks = Vec::new();
        for (client, asked) in clients.iter_mut().zip(asked) {
            match client.answer_to(asked).await {
                Reply::Sent(sent) => acks.push(sent),
                other => panic!("{other:?}"),
            }
        }
        let firsts = acks.iter().filter(|ack| !ack.duplicate).count();
        assert_eq!(firsts, 1, "round {round}: {acks:?}");
        assert!(
            acks.iter()
                .all(|ack| (ack.id, ack.seq) == (acks[0].id, acks[0].seq))
        );
    }
    let (epoch, rows) = scene.log();
    assert_eq!(rows.len(), rounds);
    let traces = clients.into_iter().map(Recorder::cut).collect();
    judge(traces, (epoch, rows), 1000);
}

#[tokio::test]
async fn another_content_or_place_under_a_known_nonce_changes_nothing() {
    let scene = Scene::new().await;
    scene.connect(2).await.cut();
    let (mut ann, mut phone) = (scene.connect(1).await, scene.connect(1).await);
    for round in 0..100 {
        let first = numbered(1, place(round), round);
        let sent = ann.send(first.clone()).await;
        let Request::Send { nonce, .. } = &first else {
            unreachable!()
        };
        for (turn, elsewhere) in [place(round), place(round + 1)].into_iter().enumerate() {
            let changed = Request::Send {
                content: canary(1, &elsewhere, 1_000 + 2 * round + turn, 0),
                place: elsewhere,
                nonce: nonce.clone(),
            };
            let client = if turn == 0 { &mut ann } else { &mut phone };
            let refused = client.ask(changed).await;
            assert_eq!(
                refused,
                Reply::Error("nonce_reused".into()),
                "round {round}"
            );
        }
        let again = phone.send(first).await;
        assert!(again.duplicate);
        assert_eq!((again.id, again.timestamp), (sent.id, sent.timestamp));
    }
    let (epoch, rows) = scene.log();
    assert_eq!(rows.len(), 100);
    judge(vec![ann.cut(), phone.cut()], (epoch, rows), 1000);
}
