//! Requests to other servers: over in a bounded time, with an answer of bounded size, and never sent on to somewhere else.
//!
//! What an answer means is not known here.

use std::{error::Error, fmt, net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{HeaderMap, Request, Uri, body::Body as _, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

/// Longest answer to a question, in bytes: a user is told in a few hundred, a set of keys in a few thousand.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// Bytes more for each byte that was sent: who answers with what he got, even twice and with each letter escaped, is heard.
const ECHO: usize = 8;

/// A connection is kept for the next request for so long: less than the five seconds after which Node's servers close one,
/// so that no request runs into a closing door.
const KEPT: Duration = Duration::from_secs(4);

/// What makes requests. Cheap to clone; connections are kept for the next one.
#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, as it came.
    pub content_type: Option<String>,
    /// `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// Why there is no answer, for an operator. Says nothing of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing, or not all of it, came in time.
    Late,
    /// It has more than so many bytes.
    Long(usize),
    /// No connection, or one that broke.
    Broken(String),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("it did not answer in time"),
            Self::Long(most) => write!(f, "its answer has more than {most} bytes"),
            Self::Broken(why) => write!(f, "it cannot be reached: {why}"),
        }
    }
}

impl Outbound {
    /// Requests to `url` and its neighbours that give up after `timeout`. Fails when `url` is https and the system has no
    /// certificates by which to know anybody.
    pub fn new(url: &Uri, timeout: Duration) -> Result<Self, std::io::Error> {
        let builder = HttpsConnectorBuilder::new();
        let builder = if url.scheme_str() == Some("https") {
            builder.with_provider_and_native_roots(aws_lc_rs::default_provider())?
        } else {
            let provider = aws_lc_rs::default_provider().into();
            let config =
                ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let config = config.map_err(std::io::Error::other)?;
            let nobody = RootCertStore::empty();
            builder.with_tls_config(config.with_root_certificates(nobody).with_no_client_auth())
        };
        let connector = builder.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(connector);
        Ok(Self { client, timeout })
    }

    /// Sends it and takes the whole answer, whatever it says.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, Silence> {
        self.in_time(request, false).await
    }

    /// The same for a question, which changes nothing: it is asked once more when the connection breaks, which may be one that
    /// was kept and that the other side was just closing (RFC 9112 section 9.3.1).
    pub async fn ask(&self, question: Request<Full<Bytes>>) -> Result<Answer, Silence> {
        self.in_time(question, true).await
    }

    async fn in_time(
        &self,
        mut request: Request<Full<Bytes>>,
        may_repeat: bool,
    ) -> Result<Answer, Silence> {
        const AGENT: &str = concat!("chat-server/", env!("CARGO_PKG_VERSION"));
        let agent = header::HeaderValue::from_static(AGENT);
        request.headers_mut().insert(header::USER_AGENT, agent);
        let answer = self.answer(request, may_repeat);
        let answer = tokio::time::timeout(self.timeout, answer).await;
        answer.unwrap_or(Err(Silence::Late))
    }

    async fn answer(
        &self,
        request: Request<Full<Bytes>>,
        may_repeat: bool,
    ) -> Result<Answer, Silence> {
        let sent = request.body().size_hint().exact().unwrap_or_default();
        let echo = usize::try_from(sent).map_or(usize::MAX, |sent| sent.saturating_mul(ECHO));
        let most = ANSWER_MAX_BYTES.saturating_add(echo);
        let spare = may_repeat.then(|| request.clone());
        let mut response = self.client.request(request).await;
        if let (Err(error), Some(spare)) = (&response, spare)
            && !error.is_connect()
        {
            response = self.client.request(spare).await;
        }
        let response = response.map_err(|error| Silence::Broken(cause(&error)))?;
        let status = response.status().as_u16();
        let header = |name| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let content_type = header(header::CONTENT_TYPE);
        let retry_after = header(header::RETRY_AFTER);
        let headers = response.headers().clone();
        let body = Limited::new(response.into_body(), most).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Silence::Long(most),
            false => Silence::Broken(cause(&*error)),
        })?;
        Ok(Answer {
            status,
            content_type,
            retry_after,
            headers,
            body: body.to_bytes(),
        })
    }
}

/// The address of `path`, which begins with a slash, under `base`, which does not end with one.
pub fn under(base: &Uri, path: &str) -> Uri {
    let base_path = base.path().trim_end_matches('/');
    let mut parts = base.clone().into_parts();
    // A path that was a URL's, and one of ours, make another.
    parts.path_and_query = format!("{base_path}{path}").parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| base.clone())
}

/// The port of the URL: given, or its scheme's.
pub fn port(url: &Uri) -> u16 {
    let default = match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    url.port_u16().unwrap_or(default)
}

/// Whether the URL names this machine.
pub fn is_here(url: &Uri) -> bool {
    let Some(host) = url.host() else {
        return false;
    };
    let host = host.trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse()
            .is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback())
}

/// The innermost cause, which is what an operator can act on.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
