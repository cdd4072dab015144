//! Many at once: nobody misses, doubles or reorders anything, also not while joining.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Scene, figure,
    oracle::{
        Era, gap,
        trace::{Frame, Reply},
    },
    play::recorder::{Recorder, judge, numbered, room},
};

const CLIENTS: usize = 20;
const ROOMS: [&str; 5] = ["r1", "r2", "r3", "r4", "r5"];
const PER_SECOND: usize = 500;

/// Sends its share at a steady pace and hears everybody's, until all of its own are answered; how long each answer took.
async fn talk(client: &mut Recorder, number: usize, messages: usize) -> Vec<Duration> {
    let mut pace = interval(Duration::from_secs(1) * CLIENTS as u32 / PER_SECOND as u32);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut sent, mut began, mut took) = (0, std::collections::HashMap::new(), Vec::new());
    while took.len() < messages {
        tokio::select! {
            _ = pace.tick(), if sent < messages => {
                let place = room(ROOMS[(number + sent) % ROOMS.len()]);
                let request = numbered(client.trace.user, place, sent * CLIENTS + number);
                let now = Instant::now();
                let asked = client.say(request).await;
                began.insert(asked, now);
                sent += 1;
            }
            frame = client.hear() => {
                if let Frame::Reply { reference: Some(asked), reply: Reply::Sent(_), .. } = frame {
                    took.push(began[&asked].elapsed());
                }
            }
        }
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_clients_in_five_rooms_see_the_same_of_everything() {
    let seconds = figure(2, 30);
    let messages = PER_SECOND * seconds / CLIENTS;
    let scene = Scene::new().await;
    let mut clients = Vec::new();
    for user in 1..=CLIENTS as i64 {
        let mut client = scene.connect(user).await;
        for name in ROOMS {
            client.join(name).await;
        }
        clients.push(client);
    }
    let talking = clients.into_iter().enumerate().map(|(number, mut client)| {
        tokio::spawn(async move {
            let took = talk(&mut client, number, messages).await;
            (client, took)
        })
    });
    let mut took = Vec::new();
    let mut clients = Vec::new();
    for talked in join_all(talking).await {
        let (client, its) = talked.unwrap();
        clients.push(client);
        took.extend(its);
    }
    let (epoch, rows) = scene.log();
    assert_eq!(rows.len(), CLIENTS * messages);
    let last = rows.last().unwrap().id;
    let mut traces = Vec::new();
    for mut client in clients {
        while client.seen().last() != Some(&last) {
            client.next_live().await;
        }
        assert_eq!(client.seen().len(), rows.len(), "each has each once");
        traces.push(client.cut());
    }
    judge(traces, (epoch, rows), 1000);
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    println!(
        "{} messages to {CLIENTS} clients: acknowledged after {:?} (median), {:?} (99 %), {:?} (worst)",
        took.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_joins_a_busy_room_has_history_and_live_without_a_seam() {
    let joins = figure(300, 2_000);
    let scene = Scene::new().await;
    let mut writer = scene.connect(1).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writing = tokio::spawn(async move {
        let mut number = 0;
        while !*stopped.borrow() {
            // Some at once, so that commits are of many sizes.
            let count = 1 + number % 31;
            let mut asked = 0;
            for _ in 0..count {
                number += 1;
                asked = writer.say(numbered(1, room("busy"), number)).await;
            }
            writer.answer_to(asked).await;
        }
        writer.cut()
    });
    let readers = (0..6).map(|reader| {
        let scene = &scene;
        async move {
            let mut traces = Vec::new();
            for _ in 0..joins / 6 {
                let mut reader = scene.connect(10 + reader).await;
                let (last_id, last_seq) = reader.join("busy").await;
                let first_live = reader.seen().first().copied();
                let first = match first_live {
                    Some(id) => id,
                    None => reader.next_live().await.id,
                };
                reader.next_live().await;
                traces.push((reader.cut(), last_id, last_seq, first));
            }
            traces
        }
    });
    let joined: Vec<_> = join_all(readers).await.into_iter().flatten().collect();
    stop.send(true).unwrap();
    let writer = writing.await.unwrap();
    let (epoch, rows) = scene.log();
    let seq_of = |id: i64| {
        rows.iter()
            .find(|row| row.id == id)
            .map_or(0, |row| row.seq)
    };
    let mut traces = vec![writer];
    for (trace, last_id, last_seq, first) in joined {
        assert_eq!(seq_of(last_id), last_seq);
        assert_eq!(
            seq_of(first),
            last_seq + 1,
            "live begins where history ends"
        );
        traces.push(trace);
    }
    println!(
        "{} joins while {} messages were said",
        traces.len() - 1,
        rows.len()
    );
    judge(traces, (epoch, rows), 1000);
}

/// What a connection has yet to see, if anything.
pub fn missing(
    client: &Recorder,
    (epoch, rows): &(String, Vec<crate::oracle::trace::Row>),
) -> Option<String> {
    let era = Era {
        epoch: epoch.clone(),
        rows: rows.clone(),
        inherited: 0,
    };
    gap::missing(&era, &client.trace)
}
