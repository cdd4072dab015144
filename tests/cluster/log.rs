//! What is stored, read past the nodes.

use chat_server::protocol::Timestamp;
use serde::Deserialize;

use crate::{
    common::postgres::sql,
    oracle::{
        Era,
        trace::{Row, Where},
    },
};

/// Other programs' messages that no node has taken in yet.
pub const UNTAKEN: &str = "SELECT id FROM messages WHERE chat_position IS NULL";

const ROWS: &str = "
    SELECT json_build_object('id', m.chat_position, 'seq', m.chat_seq, 'from', m.from_user, 'username', u.username,
        'room', m.room, 'to', m.to_user, 'content', m.content, 'ms', m.chat_ms, 'nonce', convert_from(m.chat_nonce, 'UTF8'))
    FROM messages m JOIN users u ON u.id = m.from_user WHERE m.chat_position > 0 ORDER BY m.chat_position";

#[derive(Deserialize)]
struct Stored {
    id: i64,
    seq: i64,
    from: i64,
    username: String,
    room: Option<String>,
    to: Option<i64>,
    content: String,
    ms: i64,
    nonce: Option<String>,
}

/// All that is stored, by position.
pub fn read(url: &str) -> Era {
    let rows = sql(url, ROWS);
    let rows = rows.iter().map(|row| {
        let stored: Stored = serde_json::from_str(row).unwrap();
        Row {
            id: stored.id,
            seq: stored.seq,
            from: stored.from,
            username: stored.username,
            place: match (stored.room, stored.to) {
                (Some(room), _) => Where::Room(room),
                (None, to) => Where::Dm(to.expect("a message has a place")),
            },
            content: stored.content,
            timestamp: Timestamp::from_unix_ms(stored.ms).to_string(),
            nonce: stored.nonce,
        }
    });
    Era {
        epoch: sql(url, "SELECT epoch FROM chat_log").remove(0),
        rows: rows.collect(),
        inherited: 0,
    }
}
