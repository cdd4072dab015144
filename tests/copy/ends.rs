//! What lies at either end, read past the program.

use std::path::Path;

use rusqlite::{Connection, types::Value};

use super::sql;

pub fn open(path: &Path) -> Connection {
    Connection::open(path).unwrap()
}

/// Every row of every table of a file, but for the numbers of rooms, which mean nothing outside.
pub fn dump(path: &Path) -> Vec<String> {
    let connection = open(path);
    let mut rows = Vec::new();
    for (name, sql) in [
        ("log", "SELECT one, epoch, mode FROM log"),
        ("users", "SELECT * FROM users ORDER BY id"),
        (
            "rooms",
            "SELECT name, description, created_at, last_id, last_seq FROM rooms ORDER BY name",
        ),
        ("dms", "SELECT * FROM dms ORDER BY low, high"),
        ("messages", "SELECT * FROM messages ORDER BY id"),
        ("followers", "SELECT * FROM followers ORDER BY name"),
        ("parked", "SELECT * FROM parked ORDER BY follower, message"),
        ("sequence", "SELECT * FROM sqlite_sequence"),
    ] {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<Value> = (0..columns).map(|at| row.get(at).unwrap()).collect();
            rows.push(format!("{name} {values:?}"));
        }
    }
    rows
}

/// The statements that make an old log of the file that a first start made: accounts and guests, gaps in ids as a backup
/// or a foreign hand leaves them, odd words, cursors of those outside, and `more` messages in a room of their own.
pub fn old(more: u32) -> String {
    format!(
        r#"
        INSERT INTO users (id, username, email, password_hash, role, account_name, created_at) VALUES
            (41, 'Zoë', 'zoe@example.org', '$argon2id$x', 'admin', 'zoë', 1700000000123),
            (57, 'guest-57', NULL, NULL, 'user', 'guest-57', 1700000000999),
            (900719925474, 'from a token', NULL, NULL, 'user', NULL, 0);
        INSERT INTO rooms (name, description, created_at, last_id, last_seq) VALUES
            ('Ünïcode · 房间', 'a ''description'' with
two lines', 1700000001000, 1007, 2), ('empty', NULL, 1700000002000, 0, 0), ('bulk', NULL, 1, {last}, {more});
        INSERT INTO messages (id, from_user, to_user, room, content, timestamp, seq, nonce) VALUES
            (1001, 41, NULL, 'Ünïcode · 房间', '👩‍👩‍👧‍👦 ' || char(0x202e) || char(1, 9, 10, 13) || '\t\\N\. ﷺ', 1700000003001, 1, 'nonce ' || char(0) || '\N'),
            (1003, 41, 57, NULL, '   to you', 1700000003002, 1, NULL),
            (1004, 57, 41, NULL, 'and back', 1700000003003, 2, 'é'),
            (1005, 57, 57, NULL, 'to myself', 1700000003004, 1, NULL),
            (1007, 900719925474, NULL, 'Ünïcode · 房间', printf('%.*c', 15000, 'x'), -1, 2, 'same'),
            (1008, 41, 900719925474, NULL, 'NULL', 1700000003006, 1, 'same');
        INSERT INTO dms (low, high, last_id, last_seq) VALUES (41, 57, 1004, 2), (57, 57, 1005, 1), (41, 900719925474, 1008, 1);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {more})
        INSERT INTO messages (id, from_user, room, content, timestamp, seq, nonce)
            SELECT 2000 + 2 * i, 41, 'bulk', 'number ' || i, 1700000010000 + i, i, 'bulk-' || i FROM n;
        UPDATE sqlite_sequence SET seq = {last} + 33 WHERE name = 'messages';
        INSERT INTO followers (name, position, failing_since, failing_reason) VALUES
            ('backend', 1005, 1700000004000, 'http 503: 后端'), ('webhook', 1008, NULL, NULL);
        INSERT INTO parked (follower, message, reason, since, due_again) VALUES
            ('backend', 1001, '422 no', 1700000005000, 0), ('backend', 1003, 'gone', 1700000006000, 1), ('webhook', 1001, 'x', 1, 0);
        "#,
        last = 2000 + 2 * more,
    )
}

/// How many rows the tables of a database hold.
pub fn rows(url: &str, table: &str) -> u64 {
    sql(url, &format!("SELECT count(*) FROM {table}"))[0]
        .parse()
        .unwrap()
}
