//! Where each room and each pair ends: read and written under the log's lock, by which alone they are kept right.

use std::collections::HashMap;

use tokio_postgres::{Client, Error, Statement};

/// A conversation, as a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Talk {
    Room(String),
    /// The smaller id first.
    Pair(i64, i64),
}

impl Talk {
    pub(super) fn pair(a: i64, b: i64) -> Self {
        Self::Pair(a.min(b), a.max(b))
    }
}

/// The statements, parsed once for each connection.
#[derive(Debug)]
pub(super) struct HeadSql {
    rooms: Statement,
    pairs: Statement,
    store_rooms: Statement,
    store_pairs: Statement,
    store_position: Statement,
}

impl HeadSql {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            rooms: client
                .prepare(
                    // One that has no end and yet messages was renamed by another program: it counts on.
                    "SELECT n.name, coalesce(c.last_seq, (SELECT m.chat_seq FROM messages m WHERE m.room = n.name
                        AND m.chat_position > 0 ORDER BY m.chat_position DESC LIMIT 1), 0)
                     FROM unnest($1::text[]) AS n (name) LEFT JOIN chat_rooms c ON c.name = n.name",
                )
                .await?,
            pairs: client
                .prepare(
                    "SELECT d.low, d.high, d.last_seq FROM unnest($1::bigint[], $2::bigint[]) AS p (low, high)
                     JOIN chat_dms d ON d.low = p.low AND d.high = p.high",
                )
                .await?,
            store_rooms: client
                .prepare(
                    "INSERT INTO chat_rooms (name, last_position, last_seq)
                     SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
                     ON CONFLICT (name) DO UPDATE SET last_position = excluded.last_position, last_seq = excluded.last_seq",
                )
                .await?,
            store_pairs: client
                .prepare(
                    "INSERT INTO chat_dms (low, high, last_position, last_seq)
                     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])
                     ON CONFLICT (low, high) DO UPDATE SET last_position = excluded.last_position, last_seq = excluded.last_seq",
                )
                .await?,
            store_position: client
                .prepare("UPDATE chat_log SET position = $1")
                .await?,
        })
    }
}

/// The last position and seq of some conversations; of one that has none, zeros.
#[derive(Debug, Default)]
pub(super) struct Heads {
    of: HashMap<Talk, (i64, i64)>,
    moved: HashMap<Talk, ()>,
}

impl Heads {
    /// Reads where `talks` end. The log MUST be locked by an earlier statement of the same connection.
    pub(super) async fn load(
        client: &Client,
        sql: &HeadSql,
        talks: impl Iterator<Item = Talk>,
    ) -> Result<Self, Error> {
        let (mut names, mut lows, mut highs) = (Vec::new(), Vec::new(), Vec::new());
        let mut unique: Vec<Talk> = talks.collect();
        unique.sort_unstable();
        unique.dedup();
        for talk in unique {
            match talk {
                Talk::Room(name) => names.push(name),
                Talk::Pair(low, high) => {
                    lows.push(low);
                    highs.push(high);
                }
            }
        }
        // Asked at once; the server answers one after the other.
        let (rooms, pairs) = futures_util::future::join(
            client.query(&sql.rooms, &[&names]),
            client.query(&sql.pairs, &[&lows, &highs]),
        )
        .await;
        let mut heads = Self::default();
        for row in rooms? {
            heads
                .of
                .insert(Talk::Room(row.try_get(0)?), (0, row.try_get(1)?));
        }
        for row in pairs? {
            let pair = Talk::Pair(row.try_get(0)?, row.try_get(1)?);
            heads.of.insert(pair, (0, row.try_get(2)?));
        }
        Ok(heads)
    }

    /// The next seq of `talk`, which now ends at `position`.
    pub(super) fn next(&mut self, talk: Talk, position: i64) -> i64 {
        let head = self.of.entry(talk.clone()).or_default();
        *head = (position, head.1 + 1);
        let seq = head.1;
        self.moved.insert(talk, ());
        seq
    }

    /// Writes what moved, and where the log ends.
    pub(super) async fn store(
        &self,
        client: &Client,
        sql: &HeadSql,
        position: i64,
    ) -> Result<(), Error> {
        let (mut names, mut at, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lows, mut highs, mut pairs_at, mut pair_seqs) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for talk in self.moved.keys() {
            let (last, seq) = self.of.get(talk).copied().unwrap_or_default();
            match talk {
                Talk::Room(name) => {
                    names.push(name.as_str());
                    at.push(last);
                    seqs.push(seq);
                }
                Talk::Pair(low, high) => {
                    lows.push(*low);
                    highs.push(*high);
                    pairs_at.push(last);
                    pair_seqs.push(seq);
                }
            }
        }
        let (rooms, pairs, end) = futures_util::future::join3(
            client.execute(&sql.store_rooms, &[&names, &at, &seqs]),
            client.execute(&sql.store_pairs, &[&lows, &highs, &pairs_at, &pair_seqs]),
            client.execute(&sql.store_position, &[&position]),
        )
        .await;
        rooms.and(pairs).and(end).map(drop)
    }
}

/// Numbers after $1 that nobody else will ever have and no row has, so many as $2 (`append.sql`). The log MUST be locked.
pub(super) const DRAW: &str = "SELECT pg_temp.chat_draw($1, $2)";

/// Locks the log until the transaction ends, and tells where it ends. Of what is waited for after that, nothing is worth
/// that all the others wait as well; the setting comes after the lock, since what a `WITH` locks is not torn apart.
pub(super) const LOCK: &str = "
    WITH locked AS (SELECT position FROM chat_log WHERE one = 1 FOR UPDATE)
    SELECT position, set_config('lock_timeout', '200', true) FROM locked";

/// What became of a transaction: the server knows after the connection is gone, and after a restart.
pub(super) const STATUS: &str = "SELECT pg_xact_status($1::text::xid8)";
