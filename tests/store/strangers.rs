//! What other programs do to the tables that nobody told this one of: triggers, rules, locks, sequences set back.

use super::*;
use common::{
    postgres::{Foreigner, Postgres, sql},
    proxy::Proxy,
};

fn url_of(log: &Log) -> String {
    match &log.backend {
        Backend::Postgres(url, _) => url.clone(),
        _ => unreachable!(),
    }
}

/// A trigger on `messages`, as another program would have made it.
fn trigger(url: &str, on: &str, body: &str) {
    sql(
        url,
        &format!(
            "CREATE FUNCTION theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
             CREATE TRIGGER theirs BEFORE {on} ON messages FOR EACH ROW EXECUTE FUNCTION theirs()"
        ),
    );
}

impl Log {
    /// The seqs of all that is said there, once it is so many.
    async fn all_of(&self, scope: Scope, count: usize) -> Vec<i64> {
        let all = async {
            loop {
                let all = self.all(scope.clone()).await;
                if all.len() >= count {
                    return all.iter().map(|message| message.seq).collect();
                }
            }
        };
        soon("all of them", all).await
    }
}

/// The contents of so many, as they are told.
async fn told(log: &mut Log, count: usize) -> Vec<String> {
    let told = log.announced(count).await;
    let contents = told.iter().map(|told| told.message.content.as_str().into());
    contents.collect()
}

fn insert(url: &str, contents: &[&str]) {
    let rows: Vec<String> = contents
        .iter()
        .map(|content| format!("(2, 'general', '{content}')"))
        .collect();
    let rows = rows.join(", ");
    sql(
        url,
        &format!("INSERT INTO messages (from_user, room, content) VALUES {rows}"),
    );
}

/// Nobody is told that a message is stored which a trigger has thrown away; those beside it are stored, without a hole.
#[tokio::test]
async fn what_a_trigger_throws_away_is_refused_alone() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    let body = "IF NEW.content LIKE 'spam%' THEN RETURN NULL; END IF; RETURN NEW;";
    trigger(&url, "INSERT", body);
    let mut receipts = Vec::new();
    for n in 0..12 {
        let what = if n % 4 == 1 { "spam" } else { "ham" };
        receipts.push(log.hand_over(said(1, &format!("{what} {n}"))).await);
    }
    let mut seqs = Vec::new();
    for (n, receipt) in receipts.into_iter().enumerate() {
        match (n % 4, soon("an answer", receipt).await) {
            (1, Err(AppendError::Store(StoreError::Internal(_)))) => {}
            (0 | 2 | 3, Ok(ack)) => seqs.push(ack.seq),
            (_, other) => panic!("{n}: {other:?}"),
        }
    }
    assert_eq!(seqs, (1..=9).collect::<Vec<_>>());
    let all = log.all(Scope::Room(general())).await;
    assert_eq!(positions(&log.announced(9).await), ids(&all));
}

/// One bad message among very many costs the others a few commits, and not one for each.
#[tokio::test]
async fn a_bad_message_in_a_full_batch_costs_a_few_commits() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let log = log.with_users().await;
    let url = url_of(&log);
    let body = "IF NEW.content = 'spam' THEN RETURN NULL; END IF; RETURN NEW;";
    trigger(&url, "INSERT", body);
    let mut foreigner = Foreigner::new(&url);
    foreigner.does("BEGIN; SELECT position FROM chat_log FOR UPDATE");
    // All that comes while the first one waits is one batch.
    let mut receipts = vec![log.hand_over(said(1, "ham")).await];
    for n in 0..250 {
        let what = if n == 100 { "spam" } else { "ham" };
        receipts.push(log.hand_over(said(1, what)).await);
    }
    foreigner.does("COMMIT");
    let answers = soon("the answers", futures_util::future::join_all(receipts)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 250);
    let commits = "SELECT count(DISTINCT xmin::text) < 30 FROM messages";
    assert_eq!(sql(&url, commits), ["t"]);
}

/// What a trigger turns into no message at all keeps neither the others' messages nor the next own ones from being told.
#[tokio::test]
async fn what_a_trigger_makes_blank_hides_nothing() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    let body = "IF NEW.content = 'vanishes' THEN NEW.content := ' '; END IF; RETURN NEW;";
    trigger(&url, "INSERT", body);
    let other = Log::postgres_at(url).await;
    let vanished = log.put(said(1, "vanishes")).await;
    assert!(
        matches!(vanished, Err(AppendError::Store(StoreError::Internal(_)))),
        "{vanished:?}"
    );
    other.put(said(2, "theirs")).await.unwrap();
    log.put(said(1, "own")).await.unwrap();
    assert_eq!(told(&mut log, 2).await, ["theirs", "own"]);
}

/// A program that changes every message at once takes its name off the rows: they are told all the same, once, in order, and
/// nobody takes the log for another.
#[tokio::test]
async fn messages_that_are_changed_at_once_are_told_once() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    // Behind `EXCEPTION` a row bears the name of a part of the transaction.
    sql(
        &url,
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         BEGIN UPDATE messages SET content = content || '!' WHERE id = NEW.id; EXCEPTION WHEN division_by_zero THEN NULL; END;
         RETURN NULL; END $$;
         CREATE TRIGGER touches AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION touch()",
    );
    let mut other = Log::postgres_at(url.clone()).await;
    let epoch = log.store.epoch().to_owned();
    let mut receipts = Vec::new();
    for n in 0..300 {
        let by = if n % 2 == 0 { &log } else { &other };
        receipts.push(by.hand_over(said(1, &n.to_string())).await);
        if n % 3 == 0 {
            soon("an ack", receipts.pop().unwrap()).await.unwrap();
        }
    }
    for receipt in receipts {
        soon("an ack", receipt).await.unwrap();
    }
    let all = ids(&log.all(Scope::Room(general())).await);
    assert_eq!(all.len(), 300);
    assert_eq!(positions(&log.announced(300).await), all);
    assert_eq!(positions(&other.announced(300).await), all);
    assert_eq!(sql(&url, "SELECT epoch FROM chat_log"), [epoch]);
}

fn positions(told: &[Committed]) -> Vec<i64> {
    told.iter().map(|told| told.message.id.get()).collect()
}

/// What a trigger makes of a message is what everybody is told, on the node that stored it as well.
#[tokio::test]
async fn what_a_trigger_makes_of_a_message_is_told_as_it_is_stored() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    trigger(
        &url,
        "INSERT",
        "NEW.content := replace(NEW.content, 'damn', '****'); RETURN NEW;",
    );
    log.put(said(1, "damn it")).await.unwrap();
    log.put(said(1, "fine")).await.unwrap();
    assert_eq!(told(&mut log, 2).await, ["**** it", "fine"]);
}

/// A row that cannot be changed, whatever the reason, keeps nobody else's out, at the start and later.
#[tokio::test]
async fn a_foreign_row_that_cannot_be_taken_in_is_passed_by() {
    for body in [
        "IF NEW.content LIKE 'poison%' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW;",
        "IF NEW.content LIKE 'poison%' THEN RETURN NULL; END IF; RETURN NEW;",
        "IF NEW.content LIKE 'poison%' THEN RETURN OLD; END IF; RETURN NEW;",
    ] {
        let Some(log) = Log::postgres().await else {
            return;
        };
        let mut log = log.with_users().await;
        let url = url_of(&log);
        trigger(&url, "UPDATE", body);
        insert(&url, &["one", "poison", "two", "poison again", "three"]);
        assert_eq!(told(&mut log, 3).await, ["one", "two", "three"], "{body}");
        assert_eq!(log.put(said(1, "own")).await.unwrap().seq, 4);
        let log = log.reopen().await;
        assert_eq!(log.put(said(1, "own")).await.unwrap().seq, 5);
    }
}

/// Where no row of `messages` may ever be changed, own messages go on, and so does a start.
#[tokio::test]
async fn a_table_that_is_only_added_to_is_served() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let log = log.with_users().await;
    let url = url_of(&log);
    sql(
        &url,
        "CREATE RULE only_added_to AS ON UPDATE TO messages DO INSTEAD NOTHING",
    );
    insert(&url, &["theirs", "theirs too"]);
    assert_eq!(log.put(said(1, "ours")).await.unwrap().seq, 1);
    let log = log.reopen().await;
    assert_eq!(log.put(said(1, "ours")).await.unwrap().seq, 2);
    assert_eq!(sql(&url, "SELECT last_seq FROM chat_rooms"), ["2"]);
}

/// While a foreign transaction makes a room, or holds the table of rooms, own sends do not wait for it, and of others' rows
/// only those of rooms that have none yet do.
#[tokio::test]
async fn a_room_that_a_foreign_transaction_makes_is_not_waited_for() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    sql(
        &url,
        "ALTER TABLE messages DROP CONSTRAINT messages_room_fkey",
    );
    let mut foreigner = Foreigner::new(&url);
    foreigner.does("BEGIN");
    foreigner.does("INSERT INTO rooms (name) VALUES ('held')");
    sql(
        &url,
        "INSERT INTO messages (from_user, room, content)
         VALUES (2, 'held', 'later'), (2, 'general', 'first'), (2, 'new', 'second')",
    );
    assert_eq!(told(&mut log, 2).await, ["first", "second"]);
    let before = std::time::Instant::now();
    for n in 0..5 {
        log.put(said(1, &n.to_string())).await.unwrap();
    }
    let took = before.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    log.announced(5).await;
    foreigner.does("COMMIT");
    assert_eq!(told(&mut log, 1).await, ["later"]);
}

/// A sequence that was set back, far or near, is moved on.
#[tokio::test]
async fn a_sequence_that_was_set_back_is_moved_on() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    for far in [50_000_000, 60_000_000] {
        let seq = "pg_get_serial_sequence('messages', 'id')";
        sql(&url, &format!("SELECT setval({seq}, {far})"));
        let last = log.put(said(1, "before")).await.unwrap();
        log.announced(1).await;
        sql(&url, "TRUNCATE messages RESTART IDENTITY");
        if far == 50_000_000 {
            insert(&url, &["theirs"]);
            assert_eq!(told(&mut log, 1).await, ["theirs"]);
        }
        let next = log.put(said(1, "after")).await.unwrap();
        assert!(next.id > last.id, "{next:?}");
        assert_eq!(told(&mut log, 1).await, ["after"]);
    }
}

/// Ids that another program chose itself, ahead of the sequence, are passed by.
#[tokio::test]
async fn ids_that_were_chosen_ahead_of_the_sequence_are_passed_by() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    let url = url_of(&log);
    log.put(said(1, "before")).await.unwrap();
    sql(
        &url,
        "INSERT INTO messages (id, from_user, room, content)
         SELECT n, 2, 'general', n::text FROM generate_series(2, 15000) n",
    );
    log.announced(1).await;
    for _ in 0..3 {
        log.put(said(1, "own")).await.unwrap();
    }
    assert_eq!(log.announced(14_999 + 3).await.len(), 15_002);
}

/// A column of theirs that must be filled is no reason to begin again and again.
#[tokio::test]
async fn a_column_that_must_be_filled_burns_no_numbers() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let log = log.with_users().await;
    let url = url_of(&log);
    sql(&url, "ALTER TABLE messages ADD COLUMN tenant TEXT NOT NULL");
    let refused = log.put(said(1, "x")).await;
    assert!(
        matches!(refused, Err(AppendError::Store(StoreError::Internal(_)))),
        "{refused:?}"
    );
    let next = sql(
        &url,
        "SELECT nextval(pg_get_serial_sequence('messages', 'id')) < 20",
    );
    assert_eq!(next, ["t"]);
}

/// Whatever the database's defaults are, what is said to be stored is on the disk, and the order is the log's.
#[tokio::test]
async fn weak_and_strict_defaults_of_the_database_do_not_count() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    let database = url.rsplit('/').next().unwrap();
    sql(
        &url,
        &format!(
            "ALTER DATABASE {database} SET synchronous_commit = off;
             ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'"
        ),
    );
    let log = Log::postgres_at(url.clone()).await;
    sql(
        &url,
        "CREATE TABLE seen (what TEXT);
         CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen VALUES (concat_ws(' ', current_setting('synchronous_commit'), current_setting('transaction_isolation')));
             RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION look();
         CREATE TRIGGER look BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION look()",
    );
    let log = log.with_users().await;
    log.put(said(1, "x")).await.unwrap();
    let seen = sql(&url, "SELECT DISTINCT what FROM seen");
    assert_eq!(seen, ["on read committed"]);
}

/// Own sends do not wait until all of a bulk of foreign rows is taken in.
#[tokio::test]
async fn own_sends_come_between_the_rows_of_a_foreign_bulk() {
    let Some(log) = Log::postgres().await else {
        return;
    };
    let mut log = log.with_users().await;
    // Late ones, whose ids lie before the end of the log, and after them some that are not.
    let seq = "pg_get_serial_sequence('messages', 'id')";
    sql(&url_of(&log), &format!("SELECT setval({seq}, 10000)"));
    log.put(said(1, "before")).await.unwrap();
    sql(
        &url_of(&log),
        "INSERT INTO messages (id, from_user, room, content)
         SELECT n, 2, 'general', n::text FROM generate_series(1, 9000) n",
    );
    log.announced(2).await;
    let own = log.put(said(1, "own")).await.unwrap();
    assert!(own.seq < 9002, "{own:?}");
    let all = log.all_of(Scope::Room(general()), 9002).await;
    assert_eq!(all, (1..=9002).collect::<Vec<_>>());
}

/// While a node's messages are still on their way through a slow line, the others store theirs.
#[tokio::test]
async fn a_node_behind_a_slow_line_holds_up_nobody() {
    let Some(url) = common::postgres::url_of_a_new_database() else {
        return;
    };
    let port = common::postgres::port_of(&url);
    let proxy = Proxy::to(port).await;
    let through = url.replace(&port.to_string(), &proxy.port.to_string());
    let slow = Log::postgres_at(through).await.with_users().await;
    let quick = Log::postgres_at(url.clone()).await;
    slow.put(said(1, "before")).await.unwrap();
    proxy.slow();
    let large = "x".repeat(16_000);
    let mut receipts = Vec::new();
    for _ in 0..120 {
        receipts.push(slow.hand_over(said(1, &large)).await);
    }
    let all = async {
        for receipt in receipts {
            soon("an ack", receipt).await.unwrap();
        }
    };
    let mut longest = Duration::ZERO;
    let small = async {
        loop {
            let before = std::time::Instant::now();
            quick.put(said(2, "small")).await.unwrap();
            longest = longest.max(before.elapsed());
        }
    };
    tokio::select! {
        () = all => {}
        () = small => {}
    }
    assert!(longest < Duration::from_millis(700), "{longest:?}");
}

/// A commit that the server's crash undid is never taken for stored, although its number is another node's afterwards.
#[tokio::test]
async fn a_transaction_that_a_crash_has_undone_is_not_taken_for_another_nodes() {
    for _ in 0..4 {
        let Some(server) = Postgres::that_writes_late() else {
            return;
        };
        if is_number_given_again(server).await {
            return;
        }
    }
    panic!("the server wrote each time before it was killed");
}

/// One crash, after which nothing may be acknowledged; whether the number of what was lost was given to another.
async fn is_number_given_again(mut server: Postgres) -> bool {
    let url = server.url_of_a_new_database();
    let proxy = Proxy::to(server.port).await;
    let through = url.replace(&server.port.to_string(), &proxy.port.to_string());
    let log = Log::postgres_at(through).await.with_users().await;
    log.put(said(2, "before")).await.unwrap();
    sql(
        &url,
        concat!(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ",
            "IF NEW.content = 'lost' THEN PERFORM pg_sleep(60); END IF; RETURN NULL; END $$; ",
            "CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON messages DEFERRABLE INITIALLY DEFERRED ",
            "FOR EACH ROW EXECUTE FUNCTION wait()"
        ),
    );
    let receipt = log.hand_over(said(1, "lost")).await;
    let waits = "SELECT backend_xid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query = 'COMMIT'";
    let mut xid = Vec::new();
    while xid.is_empty() {
        let url = url.clone();
        let looked = tokio::task::spawn_blocking(move || sql(&url, waits));
        xid = soon("a commit that waits", looked).await.unwrap();
    }
    proxy.cut();
    server.kill();
    server.rise();
    // As another node would have stored it.
    let another =
        "INSERT INTO messages (id, chat_position, chat_seq, chat_ms, from_user, room, content)
        VALUES (1000, 1000, 2, 5, 2, 'general', 'another''s') RETURNING xmin";
    // The first number after a crash may be one that was given before.
    let mut next = sql(&url, another);
    if next < xid {
        next = sql(&url, &another.replace("1000", "1001"));
    }
    proxy.mend();
    let answer = soon("an answer", receipt).await;
    assert!(answer.is_err(), "{answer:?}");
    next == xid
}
