//! How large the storage is, as an operator reads it.

use schemars::JsonSchema;
use serde::Serialize;

/// How large the storage is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The database file; or the PostgreSQL database, with whatever else lies in it.
    pub bytes: u64,
    /// The write-ahead log beside the file; `null` when the log is in no file.
    pub wal_bytes: Option<u64>,
}
