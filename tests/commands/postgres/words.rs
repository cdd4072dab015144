//! What is said about a database that cannot be opened, and where its password may stand: it is never in what is said.

use super::*;

#[test]
fn what_is_wrong_with_the_database_is_named_with_the_flag_and_the_fix() {
    let Some(place) = Place::new() else {
        return;
    };
    let rule = "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; echo host all locked 127.0.0.1/32 scram-sha-256 | cat - pg_hba.conf > new; mv new pg_hba.conf'";
    sql(&place.url, rule);
    sql(&place.url, "CREATE ROLE locked LOGIN PASSWORD 'hunter2'");
    sql(&place.url, "SELECT pg_reload_conf()");
    let url = place.url.replace("chat@", "chat:hunter3@");
    let server = url.rsplit_once('/').unwrap().0;
    let nobody = url.replace(&port_of(&url).to_string(), "1");
    let rows: [(String, i32, &[&str]); 10] = [
        (format!("{server}/nowhere"), 1, &["\"nowhere\"", "createdb"]),
        (
            url.replace("chat:", "nobody:"),
            1,
            &["\"nobody\"", "refuses the login"],
        ),
        (
            url.replace("chat:", "locked:"),
            1,
            &["password authentication failed"],
        ),
        (format!("{url}?sslmode=require"), 1, &["TLS", "sslmode="]),
        (format!("{url}?sslmode=on"), 2, &["sslmode is one of"]),
        (
            format!("{url}?hurry=1"),
            2,
            &["parameter number 1 after the ?"],
        ),
        (url.replace("hunter3@", "hunter@hunter@"), 2, &["@ as %40"]),
        (
            url.replace("postgres://", "Postgres://"),
            2,
            &["small letters"],
        ),
        (
            "host=127.0.0.1 user=chat password=hunter3".into(),
            2,
            &["postgres://user"],
        ),
        (
            nobody.replace("/chat_", ":x/chat_"),
            2,
            &["postgres://user:password@host/database"],
        ),
    ];
    let begun = Instant::now();
    for (url, code, parts) in rows {
        let run = place.start_in_vain(&["--db", &url], None);
        fails(&run, code, &[parts, &["--db (DATABASE_URL)"]].concat());
        let all = text(&run.stderr) + &text(&run.stdout);
        assert!(!all.contains("hunter"), "{all}");
    }
    let args = ["--bind", "127.0.0.1:0", "--db-wait", "0", "--db", &nobody];
    let run = output(&mut chat_server(place.folder.path(), &args));
    fails(
        &run,
        1,
        &[
            "nobody answers",
            "refused",
            "--db (DATABASE_URL)",
            "--db-wait",
        ],
    );
    assert!(begun.elapsed() < PATIENCE, "none of these was waited for");
    let wait = output(&mut place.command(&["--db-wait", "soon"]));
    fails(&wait, 2, &["--db-wait", "30s"]);
}

#[test]
fn a_dollar_in_a_dotenv_does_not_cut_a_password() {
    let folder = folder();
    let dotenv = folder.path().join(".env");
    std::fs::write(
        &dotenv,
        "DATABASE_URL=postgres://chat:hun$ter2@127.0.0.1:1/x\n",
    )
    .unwrap();
    let run = output(&mut chat_server(folder.path(), &["new-epoch"]));
    fails(&run, 2, &["line 1 (DATABASE_URL)", "single quotes"]);
    assert!(!text(&run.stderr).contains("hun"), "{run:?}");
    // Said on purpose, or kept together.
    for good in [
        "postgres://${PART}@127.0.0.1:1/x",
        "'postgres://chat:hun$ter2@127.0.0.1:1/x'",
    ] {
        std::fs::write(&dotenv, format!("PART=ann\nDATABASE_URL={good}\n")).unwrap();
        let run = output(&mut chat_server(folder.path(), &["new-epoch"]));
        fails(&run, 1, &["nobody answers"]);
    }
}

#[test]
fn a_role_that_may_not_add_to_the_tables_is_told_so_by_the_doctor_and_the_start() {
    let Some(mut place) = Place::new() else {
        return;
    };
    sql(
        &place.url,
        "CREATE TABLE users (id SERIAL PRIMARY KEY, username TEXT UNIQUE NOT NULL, created_at TIMESTAMP DEFAULT now());
         CREATE TABLE rooms (id SERIAL PRIMARY KEY, name TEXT UNIQUE NOT NULL, description TEXT, created_at TIMESTAMP DEFAULT now());
         CREATE TABLE messages (id SERIAL PRIMARY KEY, from_user INTEGER, to_user INTEGER, room TEXT, content TEXT NOT NULL, timestamp TIMESTAMP DEFAULT now());
         CREATE ROLE visitor LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO visitor; GRANT CREATE ON SCHEMA public TO visitor",
    );
    place.url = place.url.replace("chat@", "visitor@");
    found(&place.doctor(None), "fail", "owner of the table messages");
    let run = place.start_in_vain(&[], None);
    fails(
        &run,
        1,
        &[
            "an owner of the table messages",
            "only an owner can add columns",
        ],
    );
}
