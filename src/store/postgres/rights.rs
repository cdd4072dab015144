//! Whether the role may do what must be done, asked before anything is done: an operator is told all that is missing at once.

use tokio_postgres::Client;

use super::error::OpenError;

/// What is done to the tables that may be another program's, or to some of their columns. Locking a row needs a right to
/// change it.
const ON_TABLES: &str = "
    SELECT string_agg(format('%s on table %s', needed.what, needed.name), ', ') FROM (VALUES
        ('SELECT', 'users'), ('UPDATE', 'users'), ('SELECT', 'rooms'), ('UPDATE', 'rooms'),
        ('SELECT', 'messages'), ('INSERT', 'messages'), ('UPDATE', 'messages')) AS needed (what, name)
    WHERE to_regclass(needed.name) IS NOT NULL AND NOT has_any_column_privilege(to_regclass(needed.name), needed.what)";

const ON_SEQUENCE: &str = "
    SELECT format('USAGE on sequence %s', s.name) FROM (
        SELECT pg_get_serial_sequence('messages', 'id') AS name WHERE to_regclass('messages') IS NOT NULL) s
    WHERE s.name IS NOT NULL AND NOT has_sequence_privilege(s.name, 'USAGE')";

/// What this program made may have been made by another role.
const ON_OURS: &str = "
    SELECT format('%s on table %s', string_agg(w.what, ', '), c.relname) FROM pg_class c, (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS w (what)
    WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('chat_log'))
    AND c.relkind = 'r' AND c.relname IN ('chat_log', 'chat_probe', 'chat_rooms', 'chat_dms', 'chat_accounts', 'chat_followers',
        'chat_parked', 'chat_nodes', 'chat_secrets')
    AND NOT has_table_privilege(c.oid, w.what) GROUP BY c.relname ORDER BY c.relname";

/// What the first start needs besides: a table belongs to those who may add columns to it.
const TO_INSTALL: &str = "
    SELECT 'CREATE on a schema of its search_path' WHERE NOT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)
    UNION ALL SELECT 'to be an owner of the table messages, to which columns are added'
    FROM pg_class c WHERE c.oid = to_regclass('messages') AND NOT pg_has_role(c.relowner, 'USAGE')";

/// In a database that has a log.
pub(super) async fn judge(client: &Client) -> Result<(), OpenError> {
    judge_all(client, &[ON_TABLES, ON_SEQUENCE, ON_OURS]).await
}

/// In one to which the log is to be added.
pub(super) async fn judge_before(client: &Client) -> Result<(), OpenError> {
    judge_all(client, &[TO_INSTALL, ON_TABLES, ON_SEQUENCE]).await
}

async fn judge_all(client: &Client, questions: &[&str]) -> Result<(), OpenError> {
    let mut missing = Vec::new();
    for question in questions {
        for row in client.query(*question, &[]).await? {
            missing.extend(row.try_get::<_, Option<String>>(0)?);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let role = client.query_one("SELECT current_user::text", &[]).await?;
    Err(OpenError::Rights {
        role: role.try_get(0)?,
        missing: missing.join("; "),
    })
}
