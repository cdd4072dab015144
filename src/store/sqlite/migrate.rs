//! From any older schema to the one in `schema.sql`, in one transaction, after a copy of the file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{OpenError, companion};

/// The schema of a new file.
pub(super) const SCHEMA: &str = include_str!("../../../schema.sql");

/// What `schema.sql` writes into `user_version`.
pub const SCHEMA_VERSION: i32 = 2;

/// `STEPS[n]` leads from version n + 1 to n + 2; it must end in what `schema.sql` says.
const STEPS: [&str; SCHEMA_VERSION as usize - 1] = [include_str!("to-version-2.sql")];

/// Brings the open file from version `from` to [`SCHEMA_VERSION`].
pub(super) fn migrate(
    connection: &mut Connection,
    database: &Path,
    from: i32,
) -> Result<(), OpenError> {
    run(connection, database, from, &STEPS, || {})
}

/// `after_each` is called after each step, with nothing committed yet.
fn run(
    connection: &mut Connection,
    database: &Path,
    from: i32,
    steps: &[&str],
    after_each: impl Fn(),
) -> Result<(), OpenError> {
    let done = usize::try_from(from - 1).unwrap_or(0);
    let Some(todo) = steps.get(done..).filter(|todo| !todo.is_empty()) else {
        return Ok(());
    };
    let copy = companion(database, &format!("v{from}-copy"));
    let failed = |source| OpenError::Migration {
        path: database.to_owned(),
        copy: copy.clone(),
        source,
    };
    copy_file(connection, &copy).map_err(failed)?;
    tracing::info!(from, to = from as usize + todo.len(), copy = %copy.display(), "migrating the database");
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    for step in todo {
        transaction.execute_batch(step).map_err(failed)?;
        after_each();
    }
    let reached = i32::try_from(steps.len() + 1).unwrap_or(i32::MAX);
    transaction
        .pragma_update(None, "user_version", reached)
        .map_err(failed)?;
    transaction.commit().map_err(failed)?;
    // Into the file itself at once, so that its header tells its version to whoever reads only that.
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .map_err(failed)
}

/// A whole copy under `target`; one that a broken attempt left behind is made again.
fn copy_file(connection: &Connection, target: &Path) -> rusqlite::Result<()> {
    let _ = std::fs::remove_file(target);
    connection.execute("VACUUM INTO ?1", [target.to_string_lossy()])?;
    restrict(target);
    Ok(())
}

/// Readable by its owner alone, like the database that it is a copy of.
fn restrict(_path: &Path) {
    #[cfg(unix)]
    if let Err(error) =
        std::fs::set_permissions(_path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
    {
        tracing::warn!(path = %_path.display(), %error, "the copy could not be made private");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_version_1() -> (tempfile::TempDir, std::path::PathBuf, Connection) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(include_str!("../../../tests/store/schema-v1.sql"))
            .unwrap();
        connection
            .execute(
                "INSERT INTO rooms (name, created_at) VALUES ('kept', 0)",
                [],
            )
            .unwrap();
        (folder, path, connection)
    }

    fn version(connection: &Connection) -> i32 {
        connection
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn the_schema_says_the_version_that_the_code_expects() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        assert_eq!(version(&connection), SCHEMA_VERSION);
    }

    #[test]
    fn steps_run_in_order_after_a_copy_and_keep_the_rows() {
        let (_folder, path, mut connection) = at_version_1();
        let steps = [
            "ALTER TABLE rooms ADD COLUMN topic TEXT",
            "UPDATE rooms SET topic = 'new'",
        ];
        run(&mut connection, &path, 1, &steps, || {}).unwrap();
        assert_eq!(version(&connection), 3);
        let topic: String = connection
            .query_row("SELECT topic FROM rooms", [], |row| row.get(0))
            .unwrap();
        assert_eq!(topic, "new");
        let copy = Connection::open(companion(&path, "v1-copy")).unwrap();
        assert_eq!(version(&copy), 1);
        assert_eq!(
            copy.query_row("SELECT name FROM rooms", [], |row| row.get::<_, String>(0))
                .unwrap(),
            "kept"
        );
    }

    #[test]
    fn a_step_that_fails_leaves_everything_as_it_was() {
        let (_folder, path, mut connection) = at_version_1();
        let steps = [
            "ALTER TABLE rooms ADD COLUMN topic TEXT",
            "no such statement",
        ];
        run(&mut connection, &path, 1, &steps, || {}).unwrap_err();
        assert_eq!(version(&connection), 1);
        connection.prepare("SELECT topic FROM rooms").unwrap_err();
    }

    /// What a process that is killed now leaves in the file system: the file and its log, as they are.
    fn what_a_kill_leaves(path: &Path, folder: &Path, number: usize) -> std::path::PathBuf {
        let image = folder.join(format!("killed-{number}.db"));
        std::fs::copy(path, &image).unwrap();
        let log = companion(path, "wal");
        if log.exists() {
            std::fs::copy(log, companion(&image, "wal")).unwrap();
        }
        image
    }

    #[test]
    fn a_kill_in_the_middle_leaves_the_old_file_and_one_after_it_the_new_never_between() {
        let (folder, path, mut connection) = at_version_1();
        connection
            .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
            .unwrap();
        // So small a cache that pages of the unfinished migration reach the log before its end.
        connection.pragma_update(None, "cache_size", 2).unwrap();
        let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
            INSERT INTO rooms (name, created_at) SELECT 'room ' || i, 0 FROM n";
        connection.execute_batch(fill).unwrap();
        let steps = [
            "ALTER TABLE rooms ADD COLUMN topic TEXT",
            "UPDATE rooms SET topic = 'new'",
            "CREATE INDEX rooms_topic ON rooms (topic)",
        ];
        let images = std::cell::RefCell::new(Vec::new());
        let kill = || {
            let number = images.borrow().len();
            let image = what_a_kill_leaves(&path, folder.path(), number);
            images.borrow_mut().push(image);
        };
        let unfinished = companion(&path, "wal").metadata().unwrap().len();
        run(&mut connection, &path, 1, &steps, kill).unwrap();
        kill();
        let images = images.into_inner();
        let grown = companion(&images[2], "wal").metadata().unwrap().len();
        assert!(grown > unfinished, "the log held nothing unfinished");
        for (number, image) in images.iter().enumerate() {
            let connection = Connection::open(image).unwrap();
            let is_new = number == steps.len();
            assert_eq!(version(&connection), if is_new { 4 } else { 1 });
            let fault: String = connection
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(fault, "ok");
            let rows = "SELECT count(*) FROM rooms WHERE name IS NOT NULL";
            let kept: i64 = connection.query_row(rows, [], |row| row.get(0)).unwrap();
            assert_eq!(kept, 2001);
            let topic = connection.prepare("SELECT topic FROM rooms");
            assert_eq!(topic.is_ok(), is_new);
        }
    }
}
