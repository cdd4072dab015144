//! Requests to other servers: over in a bounded time, with an answer of bounded size, and never sent on to somewhere else.
//!
//! What an answer means is not known here.

use std::{fmt, net::IpAddr, time::Duration};

use reqwest::{RequestBuilder, Url, redirect::Policy};

/// Longest answer, in bytes: a user is told in a few hundred, a set of keys in a few thousand.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// What makes requests. Cheap to clone; connections are kept for the next one.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: reqwest::Client,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// The body, whole.
    pub body: Vec<u8>,
}

/// Why there is no answer, for an operator. Says nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing, or not all of it, came in time.
    Late,
    /// It has more than [`ANSWER_MAX_BYTES`].
    Long,
    /// No connection, or one that broke.
    Broken(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("it did not answer in time"),
            Self::Long => write!(f, "its answer has more than {ANSWER_MAX_BYTES} bytes"),
            Self::Broken(why) => write!(f, "it cannot be reached: {why}"),
        }
    }
}

impl Outbound {
    /// Requests that give up after `timeout`. A server on this machine is asked directly, others by the proxy that the
    /// environment names. Fails when the system's certificates cannot be read.
    pub fn new(url: &Url, timeout: Duration) -> Result<Self, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("chat-server/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(timeout);
        if is_here(url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| chain(&error))?;
        Ok(Self { client })
    }

    /// A request that is to be completed and given to [`Outbound::send`].
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Sends it and takes the whole answer, whatever it says.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Silence> {
        let mut response = request.send().await.map_err(|error| silence(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| silence(&error))? {
            if body.len() + chunk.len() > ANSWER_MAX_BYTES {
                return Err(Silence::Long);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            retry_after,
            body,
        })
    }
}

/// Whether the URL names this machine.
pub fn is_here(url: &Url) -> bool {
    let Some(host) = url.host_str() else {
        return false;
    };
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

fn silence(error: &reqwest::Error) -> Silence {
    match error.is_timeout() {
        true => Silence::Late,
        false => Silence::Broken(chain(error)),
    }
}

/// The innermost cause, which is what an operator can act on; the outer ones repeat the URL.
fn chain(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
