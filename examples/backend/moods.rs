//! Ways to misbehave, for seeing what a chat does when its backend is not well.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use clap::Args;

use crate::{Refusal, Shared, plain::isolated, say};

#[derive(Args)]
pub struct Moods {
    /// Let every answer wait, such as 3s or 250ms
    #[arg(long, value_parser = duration, value_name = "TIME")]
    slow: Option<Duration>,
    /// Answer this share of the requests with 500, and do nothing
    #[arg(long, value_parser = share, default_value = "0", value_name = "0…1")]
    fail: f64,
    /// Keep this share of the copies, and hang up instead of saying so
    #[arg(long, value_parser = share, default_value = "0", value_name = "0…1")]
    lose_answers: f64,
}

impl Moods {
    pub fn loses_this_answer(&self) -> bool {
        rand::random_bool(self.lose_answers)
    }
}

pub async fn misbehave(State(backend): Shared, request: Request, next: Next) -> Response {
    let moods = &backend.args.moods;
    if let Some(time) = moods.slow {
        tokio::time::sleep(time).await;
    }
    if rand::random_bool(moods.fail) {
        let path = isolated(request.uri().path());
        say(&format!("failed   {} {path}", request.method()));
        let why = "this backend was started with --fail".to_owned();
        return Refusal(StatusCode::INTERNAL_SERVER_ERROR, why).into_response();
    }
    next.run(request).await
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or_default(), 1.0),
    };
    let seconds = number.parse().ok().map(|number: f64| number * unit);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.ok_or_else(|| "a number and a unit, such as 3s or 250ms".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1, such as 0.3".to_owned())
}
