//! Who and what there is besides messages.

use super::*;

/// `see_user`, `user`: whoever was seen is known; a new name takes the place of the old one, also in the history.
pub async fn users_are_known_by_their_last_name(log: Log) {
    assert_eq!(log.store.user(user(9)).await.unwrap(), None);
    log.store.see_user(user(9), name("nine")).await.unwrap();
    log.put(said(9, "x")).await.unwrap();
    let renamed = log.store.see_user(user(9), name("neun")).await.unwrap();
    assert_eq!(renamed.username, name("neun"));
    assert_eq!(log.store.user(user(9)).await.unwrap(), Some(renamed));
    assert_eq!(
        log.all(Scope::Room(general())).await[0].username,
        name("neun")
    );
    log.store
        .see_user(user(8), name("neun"))
        .await
        .expect("two users may bear one name");
}

/// `create_account`, `account`: a name belongs to one account, in any case of letters, and no token renames it.
pub async fn account_names_are_unique(log: Log) {
    let account = |username: &str, hash: Option<&str>| NewAccount {
        username: name(username),
        password_hash: hash.map(Into::into),
        role: "user",
    };
    let ann = log
        .store
        .create_account(account("Ann É", Some("hash")))
        .await
        .unwrap()
        .unwrap();
    assert!(
        log.store
            .create_account(account("ANN é", None))
            .await
            .unwrap()
            .is_none()
    );
    let found = log.store.account(name("ann É")).await.unwrap().unwrap();
    assert_eq!(
        (&found.user, found.password_hash.as_deref()),
        (&ann, Some("hash"))
    );
    assert!(
        log.store.account(name("user1")).await.unwrap().is_none(),
        "a backend's user has no account"
    );
    let seen = log
        .store
        .see_user(ann.id, name("Somebody else"))
        .await
        .unwrap();
    assert_eq!(seen.username, ann.username);
    let guest = log
        .store
        .create_account(account("guest", None))
        .await
        .unwrap()
        .unwrap();
    assert!(guest.id > ann.id);
}

/// `create_room`, `room_exists`: `general` is there, a room is made once, and not beyond the limit.
pub async fn rooms_are_made_once_and_up_to_a_limit(log: Log) {
    assert!(log.store.room_exists(general()).await.unwrap());
    assert!(!log.store.room_exists(room("new")).await.unwrap());
    for (name, came_of_it) in [
        ("new", RoomOutcome::Made),
        ("new", RoomOutcome::Known),
        ("one too many", RoomOutcome::Full),
    ] {
        let made = log.store.create_room(room(name), 2).await;
        assert_eq!(made.unwrap(), came_of_it, "{name}");
    }
    assert!(!log.store.room_exists(room("one too many")).await.unwrap());
    assert!(log.store.room_exists(room("new")).await.unwrap());
}

/// `probe`: succeeds while messages can be stored.
pub async fn a_probe_tells_that_messages_can_be_stored(log: Log) {
    log.store.probe().await.unwrap();
}
