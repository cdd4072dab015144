//! Every cursor that a client can come with, and the one answer to each.

use serde_json::json;

use crate::{
    Scene,
    common::{Client, TestServer},
    play::{
        kept::Kept,
        link::Change,
        recorder::{numbered, room},
    },
};

/// Which log the client says that its cursor is of.
#[derive(Clone, Copy, Debug)]
enum Epoch {
    This,
    None,
    Another,
}

/// What is said about a cursor: complete with so many, or the reason why not.
type Answer = Result<u64, &'static str>;

/// Asks on a connection of its own, after everything else has been said.
async fn resume(server: &TestServer, after: i64, epoch: Option<&str>, rooms: &[&str]) -> Answer {
    let mut client = server.connect_silent(2, "user2").await;
    let mut request = json!({"type": "resume", "after": after, "rooms": rooms});
    if let Some(epoch) = epoch {
        request["epoch"] = epoch.into();
    }
    let data = client.ask(request).await["data"].clone();
    let replayed = data["replayed"].as_u64().unwrap();
    match data["reason"].as_str() {
        None => {
            assert_eq!(data["complete"], true);
            for _ in 0..replayed {
                client.next_message().await;
            }
            client.expect_silence().await;
            Ok(replayed)
        }
        Some(reason) => {
            assert_eq!((&data["complete"], replayed), (&json!(false), 0));
            client.expect_silence().await;
            Err(["epoch", "ahead", "too_many", "behind"]
                .into_iter()
                .find(|known| *known == reason)
                .unwrap())
        }
    }
}

/// A server that replays at most ten, with twelve messages in `general` and none in `empty`.
async fn twelve() -> (Scene, String) {
    let mut scene = Scene::new().await;
    let folder = scene.server.stop().await;
    scene.server = TestServer::in_folder(folder, |config| {
        config.limits.rate_limit = 0;
        config.limits.resume_max = 10;
    })
    .await;
    let mut writer = scene.connect(1).await;
    for number in 1..=12 {
        writer.send(numbered(1, room("general"), number)).await;
    }
    writer.join("empty").await;
    let (epoch, rows) = scene.log();
    scene.server.relayed(rows.last().unwrap().id).await;
    (scene, epoch)
}

#[tokio::test]
async fn a_cursor_of_this_log_is_honoured_and_no_other() {
    let (scene, epoch) = twelve().await;
    use Epoch::{Another, None, This};
    let rows: [(Epoch, i64, Answer); 15] = [
        (This, 12, Ok(0)),
        (This, 7, Ok(5)),
        (This, 2, Ok(10)),
        (This, 1, Err("too_many")),
        (This, 0, Err("too_many")),
        (This, 13, Err("ahead")),
        (This, (1 << 53) - 1, Err("ahead")),
        (None, 12, Ok(0)),
        (None, 7, Ok(5)),
        (None, 0, Err("too_many")),
        (None, 13, Err("ahead")),
        (Another, 12, Err("epoch")),
        (Another, 7, Err("epoch")),
        (Another, 0, Err("epoch")),
        (Another, 13, Err("epoch")),
    ];
    for (which, after, expected) in rows {
        let epoch = match which {
            This => Some(&*epoch),
            None => Option::None,
            Another => Some("another"),
        };
        let answer = resume(&scene.server, after, epoch, &["general"]).await;
        assert_eq!(answer, expected, "{which:?} at {after}");
    }
}

#[tokio::test]
async fn a_room_that_was_never_joined_or_never_was_is_joined_by_a_resume() {
    let (scene, epoch) = twelve().await;
    let epoch = Some(&*epoch);
    assert_eq!(resume(&scene.server, 0, epoch, &["empty"]).await, Ok(0));
    assert_eq!(resume(&scene.server, 0, epoch, &["new"]).await, Ok(0));
    assert_eq!(resume(&scene.server, 0, epoch, &[]).await, Ok(0));
    let both = ["general", "new"];
    assert_eq!(resume(&scene.server, 7, epoch, &both).await, Ok(5));
}

#[tokio::test]
async fn what_is_no_cursor_is_refused_and_joins_nothing() {
    let (scene, _) = twelve().await;
    let mut client = scene.server.connect(2, "user2").await;
    for (after, field) in [
        (json!(-1), "after"),
        (json!(1.5), "after"),
        (json!("7"), "after"),
        (json!(null), "after"),
        (json!(9_007_199_254_740_992_u64), "after"),
    ] {
        let request = json!({"type": "resume", "after": after, "rooms": ["general"]});
        let error = client.ask_in_vain(request).await;
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("invalid_field"), &json!(field))
        );
    }
    let mut writer = scene.connect(1).await;
    let sent = writer.send(numbered(1, room("general"), 99)).await;
    scene.server.relayed(sent.id).await;
    client.expect_silence().await;
}

#[tokio::test]
async fn a_cursor_behind_what_came_already_is_not_honoured() {
    let (scene, epoch) = twelve().await;
    let mut client: Client = scene.server.connect(2, "user2").await;
    client.join("general").await;
    let mut writer = scene.connect(1).await;
    let sent = writer.send(numbered(1, room("general"), 13)).await;
    assert_eq!(client.next_message().await.id, sent.id);
    let request =
        json!({"type": "resume", "after": sent.id - 1, "rooms": ["general"], "epoch": epoch});
    let data = client.ask(request).await["data"].clone();
    assert_eq!(
        (&data["complete"], &data["reason"]),
        (&json!(false), &json!("behind"))
    );
    client.expect_silence().await;
}

/// The log as it was at message 12, under another name; and an empty one.
#[tokio::test]
async fn a_cursor_of_a_log_that_was_replaced_is_not_honoured() {
    for change in [Change::Restore, Change::Wipe] {
        let (mut scene, epoch) = twelve().await;
        let file = Kept::in_folder(scene.server.folder.path());
        file.back_up();
        let mut writer = scene.connect(1).await;
        for number in 13..=15 {
            writer.send(numbered(1, room("general"), number)).await;
        }
        writer.cut();
        let folder = scene.server.stop().await;
        Kept::in_folder(folder.path()).change(change);
        scene.server = TestServer::in_folder(folder, |config| config.limits.rate_limit = 0).await;
        scene.server.connect(2, "user2").await.cut();
        // Ids begin anew where they were, so that 13 … are other messages than the client knows.
        let mut writer = scene.connect(1).await;
        for number in 16..=40 {
            writer.send(numbered(1, room("general"), number)).await;
        }
        for after in [0, 12, 15, 1_000] {
            let answer = resume(&scene.server, after, Some(&epoch), &["general"]).await;
            assert_eq!(answer, Err("epoch"), "{change:?} at {after}");
        }
        let (renamed, rows) = scene.log();
        assert_ne!(renamed, epoch);
        let last = rows.last().unwrap().id;
        scene.server.relayed(last).await;
        let answer = resume(&scene.server, last - 3, Some(&renamed), &["general"]).await;
        assert_eq!(answer, Ok(3));
    }
}
