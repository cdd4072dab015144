//! Where messages are sent, and what such a request looks like.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use serde::Serialize;

use super::WebhookKey;
use crate::{
    outbound::under,
    protocol::{Message, Place, Timestamp},
};

/// Where a backend takes messages, under its URL.
const MESSAGES: &str = "/api/v1/chat/messages";

/// Names a message in all logs, and is the same in every attempt.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Where messages are sent, and how.
#[derive(Clone, Debug)]
pub struct Destination {
    url: Uri,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The message as it stands in the frames, with this `Authorization`.
    Backend(Option<HeaderValue>),
    /// The message in an envelope, signed with the key; direct messages too.
    Webhook(WebhookKey, bool),
}

/// What a webhook is told, as Standard Webhooks recommends.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: Timestamp,
    data: &'a Message,
}

impl Destination {
    /// The backend at `base`, which is given `bearer` with each message.
    pub fn backend(base: &Uri, mut bearer: Option<HeaderValue>) -> Self {
        if let Some(bearer) = &mut bearer {
            bearer.set_sensitive(true);
        }
        Self {
            url: under(base, MESSAGES),
            kind: Kind::Backend(bearer),
        }
    }

    /// The webhook at `url`; with `dms`, it is told of direct messages too.
    pub fn webhook(url: Uri, key: WebhookKey, dms: bool) -> Self {
        Self {
            url,
            kind: Kind::Webhook(key, dms),
        }
    }

    /// Where requests go.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// What operators see of it: a path or a query may be a secret.
    pub fn shown(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or("http");
        let authority = self.url.authority();
        format!(
            "{scheme}://{}",
            authority.map_or("", |authority| authority.as_str())
        )
    }

    /// What is in a request with the message and is not for those who read why it was not taken.
    pub(super) fn untold<'a>(&'a self, message: &'a Message) -> Vec<&'a str> {
        let path = self.url.path_and_query().map(PathAndQuery::as_str);
        let secret = match &self.kind {
            Kind::Backend(bearer) => bearer
                .as_ref()
                .and_then(|bearer| bearer.to_str().ok())
                .and_then(|bearer| bearer.strip_prefix("Bearer ")),
            Kind::Webhook(..) => path.filter(|&path| path != "/"),
        };
        secret
            .into_iter()
            .chain([message.content.as_str()])
            .collect()
    }

    /// Whether the message does not concern it.
    pub(super) fn passes_over(&self, message: &Message) -> bool {
        matches!(
            (&self.kind, &message.place),
            (Kind::Webhook(_, false), Place::Dm(_))
        )
    }

    /// The message of the log that `epoch` names, sent at `now` (Unix seconds).
    pub(super) fn request(
        &self,
        epoch: &str,
        message: &Message,
        now: i64,
    ) -> Result<Request<Full<Bytes>>, String> {
        let id = format!("{epoch}-{}", message.id);
        let body = match &self.kind {
            Kind::Backend(_) => serde_json::to_vec(message),
            Kind::Webhook(..) => serde_json::to_vec(&Event {
                r#type: "message.created",
                timestamp: message.timestamp,
                data: message,
            }),
        };
        let body = body.map_err(|error| format!("it cannot be written as JSON: {error}"))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(IDEMPOTENCY_KEY, &id);
        match &self.kind {
            Kind::Backend(Some(bearer)) => request = request.header(AUTHORIZATION, bearer),
            Kind::Backend(None) => {}
            Kind::Webhook(key, _) => {
                request = request
                    .header(WEBHOOK_ID, &id)
                    .header(WEBHOOK_TIMESTAMP, now)
                    .header(WEBHOOK_SIGNATURE, key.sign(&id, now, &body));
            }
        }
        let request = request.body(Full::new(body.into()));
        request.map_err(|error| format!("it cannot be put into a request: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::protocol::{Content, MessageId, RoomName, UserId, Username};

    fn message(place: Place) -> Message {
        Message {
            id: MessageId::new(7).unwrap(),
            seq: 3,
            from: UserId::new(1).unwrap(),
            username: Username::new("ada").unwrap(),
            place,
            content: Content::new("hello").unwrap(),
            timestamp: Timestamp::from_unix_ms(1_768_478_400_123),
            nonce: None,
        }
    }

    async fn sent(destination: &Destination) -> (Request<()>, String) {
        let message = message(Place::Room(RoomName::general()));
        let request = destination
            .request("00ff", &message, 1_768_478_500)
            .unwrap();
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (Request::from_parts(head, ()), body)
    }

    const DATA: &str = r#"{"id":7,"fromUser":1,"username":"ada","content":"hello","timestamp":"2026-01-15T12:00:00.123Z","room":"general","seq":3}"#;

    #[tokio::test]
    async fn a_backend_gets_the_message_as_the_frames_hold_it() {
        let base = "http://localhost:8080/app".parse().unwrap();
        let bearer = HeaderValue::from_static("Bearer abc");
        let (request, body) = sent(&Destination::backend(&base, Some(bearer))).await;
        assert_eq!(body, DATA);
        assert_eq!(
            request.uri(),
            "http://localhost:8080/app/api/v1/chat/messages"
        );
        assert_eq!(request.headers()["idempotency-key"], "00ff-7");
        assert_eq!(request.headers()["authorization"], "Bearer abc");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert!(!format!("{:?}", request.headers()).contains("abc"));
    }

    #[tokio::test]
    async fn a_webhook_gets_an_event_that_is_signed() {
        let key = WebhookKey::parse(b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        let url: Uri = "https://hooks.example/in/SECRET/?a=b".parse().unwrap();
        let destination = Destination::webhook(url.clone(), key.clone(), false);
        let (request, body) = sent(&destination).await;
        let event = format!(
            r#"{{"type":"message.created","timestamp":"2026-01-15T12:00:00.123Z","data":{DATA}}}"#
        );
        assert_eq!(body, event);
        assert_eq!(request.uri(), &url);
        let hello = message(Place::Room(RoomName::general()));
        assert_eq!(destination.untold(&hello), ["/in/SECRET/?a=b", "hello"]);
        assert_eq!(request.headers()["webhook-id"], "00ff-7");
        assert_eq!(request.headers()["webhook-timestamp"], "1768478500");
        assert_eq!(
            request.headers()["webhook-signature"],
            "v1,hU8yy8SNdrPLa+62Gx8MOKcSi5tpnwYdJci5h9GEE1g="
        );
        assert_eq!(destination.shown(), "https://hooks.example");
        let dm = message(Place::Dm(UserId::new(2).unwrap()));
        assert!(destination.passes_over(&dm));
        assert!(!Destination::webhook(url, key, true).passes_over(&dm));
    }
}
