//! A backend for whoever has none: it knows the users, says whose a token is, and keeps a copy of every message.
//!
//! ```text
//! cargo run --example backend
//! cargo run -- --backend-url http://localhost:8080 --db demo.db
//! ```
//!
//! A chat-server asks two things of a backend, and the rules that they keep are said beside them: [`users::me`] and
//! [`copies::take`]. The log in is for front ends. There are no passwords, and all is forgotten at the end: a real one has
//! a database.

#![forbid(unsafe_code)]

#[path = "common/plain.rs"]
mod plain;

#[path = "backend/copies.rs"]
mod copies;
#[path = "backend/moods.rs"]
mod moods;
#[path = "backend/users.rs"]
mod users;

use std::{
    error::Error,
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use clap::Parser;
use copies::Copies;
use moods::Moods;
use plain::harmless;
use serde_json::json;
use tokio::net::TcpListener;
use users::Users;

/// Plays the backend of a chat-server: any name may log in, and a copy of every message is kept. For trying things out only
#[derive(Parser)]
struct Args {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR:PORT")]
    bind: SocketAddr,
    /// What the chat-server must send with each copy: start it with the same one
    #[arg(
        long,
        env = "BACKEND_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    backend_token: Option<String>,
    #[command(flatten)]
    moods: Moods,
}

struct Backend {
    args: Args,
    users: Mutex<Users>,
    copies: Mutex<Copies>,
}

type Shared = State<Arc<Backend>>;

/// Why not, in words that people will read: the chat-server passes those about a token on, and keeps those about a copy.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn refuse<T>(status: StatusCode, why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(status, why.into()))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ")
}

/// A lock whose holder panicked is still a lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line for the person who watches. Names and texts in it come from strangers.
fn say(line: &str) {
    if writeln!(std::io::stdout(), "{}", harmless(line)).is_err() {
        // Nobody reads any more.
        std::process::exit(0);
    }
}

fn routes(backend: &Arc<Backend>) -> Router {
    let moods = from_fn_with_state(backend.clone(), moods::misbehave);
    let users = Router::new()
        .route("/api/v1/auth/me", get(users::me))
        .route("/api/v1/auth/login", post(users::log_in))
        .layer(moods.clone())
        .layer(from_fn(users::cors));
    let copies = Router::new()
        .route(
            "/api/v1/chat/messages",
            get(copies::list).post(copies::take),
        )
        .layer(moods);
    users.merge(copies).with_state(backend.clone())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let listener = match TcpListener::bind(args.bind).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("{}: {error}; --bind takes another address", args.bind);
            std::process::exit(1);
        }
    };
    let address = listener.local_addr()?;
    let backend = Arc::new(Backend {
        args,
        users: Mutex::default(),
        copies: Mutex::default(),
    });
    say("A backend for trying things out: any name may log in, and all is forgotten at the end.");
    say(&format!(
        "Start the chat server with --backend-url http://{address}"
    ));
    say(&format!("ready addr={address}"));
    Ok(axum::serve(listener, routes(&backend)).await?)
}
