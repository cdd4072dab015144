//! Who is connected to which node of one database.

use std::collections::HashSet;

use chat_server::store::Connected;

use super::*;
use common::postgres::sql;

fn url_of(log: &Log) -> String {
    match &log.backend {
        Backend::Postgres(url, _) => url.clone(),
        _ => unreachable!(),
    }
}

fn users(ids: impl IntoIterator<Item = i64>) -> HashSet<UserId> {
    ids.into_iter().map(user).collect()
}

/// These users, all of them in the room `general`.
fn connected<const N: usize>(ids: [i64; N]) -> Connected {
    Connected {
        users: users(ids),
        rooms: [(general(), users(ids))].into(),
    }
}

async fn meet(log: &Log, here: Option<Connected>) -> Connected {
    log.store.meet(here).await.unwrap()
}

#[tokio::test]
async fn each_node_hears_who_is_connected_to_the_others_until_they_depart() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let url = url_of(&first);
    let (second, third) = (
        Log::postgres_at(url.clone()).await,
        Log::postgres_at(url).await,
    );
    assert!(first.store.can_have_neighbours());
    assert_eq!(
        meet(&first, Some(connected([1, 2]))).await,
        Connected::default()
    );
    assert_eq!(
        meet(&second, Some(connected([2, 3]))).await,
        connected([1, 2])
    );
    assert_eq!(meet(&third, None).await, connected([1, 2, 3]));
    assert_eq!(
        meet(&first, None).await,
        connected([2, 3]),
        "as before is what was told before"
    );
    second.store.depart().await.unwrap();
    assert_eq!(meet(&third, None).await, connected([1, 2]));
}

/// A crash of the database empties the table, and a machine that died says nothing.
#[tokio::test]
async fn who_is_connected_is_told_again_when_it_was_forgotten_and_forgotten_when_it_is_not_told() {
    let Some(first) = Log::postgres().await else {
        return;
    };
    let url = url_of(&first);
    let second = Log::postgres_at(url.clone()).await;
    meet(&first, Some(connected([1]))).await;
    sql(&url, "TRUNCATE chat_nodes");
    assert_eq!(meet(&second, None).await, Connected::default());
    meet(&first, None).await;
    assert_eq!(meet(&second, None).await, connected([1]));
    sql(
        &url,
        "UPDATE chat_nodes SET seen = seen - interval '10 seconds'",
    );
    assert_eq!(meet(&second, None).await, Connected::default());
}

/// What one server says of a user and of a room.
async fn seen_by(server: &common::TestServer, token: &str) -> (Vec<i64>, i64) {
    let bearer = format!("authorization: Bearer {token}");
    let ask = async |path| {
        let answer = common::http::request(server.address, "GET", path, &[&bearer], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    };
    let users = ask("/api/v1/users?online=true").await;
    let users = users["users"].as_array().unwrap();
    let ids = users.iter().map(|user| user["id"].as_i64().unwrap());
    let rooms = ask("/api/v1/rooms").await;
    let rooms = rooms["rooms"].as_array().unwrap();
    let lounge = rooms.iter().find(|room| room["name"] == "lounge");
    let members = lounge.map_or(0, |room| room["memberCount"].as_i64().unwrap());
    (ids.collect(), members)
}

/// The lists of one server count the people of the other, each once, and forget them when it stops.
#[tokio::test]
async fn lists_of_people_and_members_are_the_same_on_every_server() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    let at = || {
        let url = chat_server::store::postgres::Url::parse(&url).unwrap();
        common::TestServer::with(move |config| {
            config.database = chat_server::store::Location::Postgres(url);
        })
    };
    let (first, second) = (at().await, at().await);
    let mut ann = first.connect(1, "ann").await;
    let mut ann_again = second.connect(1, "ann").await;
    let mut bob = second.connect(2, "bob").await;
    for client in [&mut ann, &mut ann_again, &mut bob] {
        client.join("lounge").await;
    }
    let token = first.token(1, "ann");
    let becomes = async |server: &common::TestServer, expected: (Vec<i64>, i64)| {
        soon("the lists", async {
            while seen_by(server, &token).await != expected {}
        })
        .await;
    };
    becomes(&first, (vec![1, 2], 2)).await;
    becomes(&second, (vec![1, 2], 2)).await;
    drop((ann_again, bob));
    second.stop().await;
    becomes(&first, (vec![1], 1)).await;
    drop(ann);
    first.stop().await;
}
