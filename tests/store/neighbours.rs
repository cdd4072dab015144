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
