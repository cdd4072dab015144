//! What is handed over is stored once, in order, and told once.

use super::*;

/// `append`: two messages handed over one after the other get their ids in that order.
pub async fn ids_follow_the_order_of_handing_over(log: Log) {
    let mut receipts = Vec::new();
    for n in 0..600 {
        receipts.push(log.hand_over(said(1, &n.to_string())).await);
    }
    let mut last: Option<MessageId> = None;
    for receipt in receipts {
        let ack = receipt.await.unwrap();
        assert!(last < Some(ack.id));
        last = Some(ack.id);
    }
    let stored: Vec<String> = log
        .all(Scope::Room(general()))
        .await
        .iter()
        .map(|m| m.content.as_str().into())
        .collect();
    assert_eq!(stored, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
}

/// `append`: `seq` is 1 … n without a hole in each room and each DM conversation, however many write at once.
pub async fn positions_have_no_holes(log: Log) {
    let log = Arc::new(log);
    log.store.create_room(room("other"), 10).await.unwrap();
    let writers = (0..6).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                let from = 1 + (writer + n) % 3;
                let next = match n % 3 {
                    0 => message(from, Place::Room(room("other")), "x", None),
                    1 => said(from, "x"),
                    _ => dm(from, 1 + from % 3, "x"),
                };
                log.put(next).await.unwrap();
            }
        })
    });
    futures_util::future::join_all(writers)
        .await
        .into_iter()
        .for_each(|done| done.unwrap());
    let pairs = [(1, 2), (2, 3), (3, 1)].map(|(a, b)| Scope::Dm(user(a), user(b)));
    let mut total = 0;
    for scope in pairs
        .into_iter()
        .chain([Scope::Room(general()), Scope::Room(room("other"))])
    {
        let messages = log.all(scope.clone()).await;
        let seqs: Vec<i64> = messages.iter().map(|message| message.seq).collect();
        assert_eq!(
            seqs,
            (1..=messages.len() as i64).collect::<Vec<_>>(),
            "{scope:?}"
        );
        total += messages.len();
    }
    assert_eq!(total, 300);
}

/// The feed tells every stored message once, in id order, as it is then read, with the connection it came from.
pub async fn the_feed_is_the_log(mut log: Log) {
    let mut receipts = Vec::new();
    for n in 0..300 {
        let origin = Some(Origin(n));
        receipts.push(
            log.hand_over(NewMessage {
                origin,
                ..said(1 + n as i64 % 3, &n.to_string())
            })
            .await,
        );
    }
    log.put(message(1, Place::Room(room("nowhere")), "refused", None))
        .await
        .unwrap_err();
    for receipt in receipts {
        receipt.await.unwrap();
    }
    let announced = log.announced(300).await;
    let messages: Vec<Message> = announced
        .iter()
        .map(|committed| (*committed.message).clone())
        .collect();
    assert_eq!(messages, log.all(Scope::Room(general())).await);
    assert!(
        announced
            .iter()
            .enumerate()
            .all(|(n, committed)| committed.origin == Some(Origin(n as u64)))
    );
}

/// `append`: what is announced can be read, whoever is quicker.
pub async fn what_is_announced_can_be_read(mut log: Log) {
    for n in 0..50 {
        let receipt = log.hand_over(said(1, &n.to_string())).await;
        let committed = log.announced(1).await.remove(0);
        let newest = Window::Before {
            before: Cursor::END,
            limit: 1,
        };
        let page = log
            .store
            .read(Scope::Room(general()), newest, usize::MAX)
            .await
            .unwrap();
        assert_eq!(page.messages, [(*committed.message).clone()]);
        assert_eq!(receipt.await.unwrap().id, committed.message.id);
    }
}

/// `append`: the same nonce from the same user is the same message, acknowledged as it was and announced once.
pub async fn a_nonce_is_one_message(mut log: Log) {
    let once = || message(1, Place::Room(general()), "once", Some("n"));
    // All of them in one commit, and one more in another.
    let mut receipts = Vec::new();
    for _ in 0..8 {
        receipts.push(log.hand_over(once()).await);
    }
    let mut acks = Vec::new();
    for receipt in receipts {
        acks.push(receipt.await.unwrap());
    }
    acks.push(log.put(once()).await.unwrap());
    let first = acks[0];
    assert!(!first.duplicate);
    assert!(acks[1..].iter().all(|&ack| ack
        == Ack {
            duplicate: true,
            ..first
        }));
    log.put(message(
        2,
        Place::Room(general()),
        "another user's",
        Some("n"),
    ))
    .await
    .unwrap();
    let announced = log.announced(2).await;
    assert_eq!(announced.len(), 2);
    assert_eq!(log.all(Scope::Room(general())).await.len(), 2);
}

/// `append`: the same nonce with another content or place is refused and stores nothing.
pub async fn a_nonce_stands_for_one_content_and_place(log: Log) {
    log.put(message(1, Place::Room(general()), "first", Some("n")))
        .await
        .unwrap();
    log.store.create_room(room("other"), 10).await.unwrap();
    for other in [
        message(1, Place::Room(general()), "second", Some("n")),
        message(1, Place::Room(room("other")), "first", Some("n")),
        message(1, Place::Dm(user(2)), "first", Some("n")),
    ] {
        assert!(matches!(
            log.put(other).await,
            Err(AppendError::NonceReused)
        ));
    }
    assert_eq!(log.all(Scope::Room(general())).await.len(), 1);
}

/// `append`: a place that does not exist is refused, and a refused row neither sinks its neighbours nor leaves a hole.
pub async fn a_refused_row_sinks_alone(log: Log) {
    let mut receipts = Vec::new();
    for n in 0..60 {
        let next = match n % 3 {
            0 => said(1, "good"),
            1 => message(1, Place::Room(room("nowhere")), "bad", None),
            _ => dm(1, 99, "bad"),
        };
        receipts.push(log.hand_over(next).await);
    }
    for (n, receipt) in receipts.into_iter().enumerate() {
        match (n % 3, receipt.await) {
            (0, Ok(ack)) => assert_eq!(ack.seq, n as i64 / 3 + 1),
            (1 | 2, Err(AppendError::UnknownPlace)) => {}
            (_, other) => panic!("row {n}: {other:?}"),
        }
    }
}

/// Stopping commits what was handed over.
pub async fn what_was_handed_over_before_the_stop_is_stored(log: Log) {
    let mut receipts = Vec::new();
    for n in 0..200 {
        receipts.push(log.hand_over(said(1, &n.to_string())).await);
    }
    let log = log.reopen().await;
    let mut acked = HashSet::new();
    for receipt in receipts {
        acked.insert(receipt.await.unwrap().id.get());
    }
    assert_eq!(
        acked,
        ids(&log.all(Scope::Room(general())).await)
            .into_iter()
            .collect()
    );
}
