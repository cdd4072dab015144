//! How webhooks are signed: as Standard Webhooks 1.0.0 says (<https://www.standardwebhooks.com>).

use std::{fmt, sync::Arc};

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};

/// What a secret begins with, so that it is known for what it is.
const PREFIX: &str = "whsec_";
/// How many bytes a secret may have.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How many one has that is made here.
const MADE_BYTES: usize = 32;

/// The key that both ends of a webhook know. Cheap to clone.
#[derive(Clone)]
pub struct WebhookKey(Arc<hmac::Key>);

impl fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookKey")
    }
}

impl WebhookKey {
    /// From `whsec_…`, or what is wrong with it, in words that follow its name and show nothing of it.
    pub fn parse(secret: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(secret).unwrap_or_default().trim();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(format!("does not begin with {PREFIX}"));
        };
        let Ok(bytes) = BASE64_STANDARD.decode(encoded) else {
            return Err(format!("is not base64 behind {PREFIX}"));
        };
        if !SECRET_BYTES.contains(&bytes.len()) {
            let (is, (least, most)) = (bytes.len(), SECRET_BYTES.into_inner());
            return Err(format!("has {is} bytes, and must have {least} to {most}"));
        }
        Ok(Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &bytes))))
    }

    /// A new secret, as it is written down.
    pub fn make() -> String {
        let bytes = rand::random::<[u8; MADE_BYTES]>();
        format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes))
    }

    /// The value of `webhook-signature` for this body, sent at `timestamp` (Unix seconds).
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signed = hmac::Context::with_key(&self.0);
        signed.update(format!("{id}.{timestamp}.").as_bytes());
        signed.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_another_implementation_makes() {
        let key = WebhookKey::parse(b"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        let body =
            r#"{"type":"message.created","timestamp":"2026-01-15T12:00:00.123Z","data":{"id":7}}"#;
        let signature = key.sign("00112233445566aa-7", 1_674_087_231, body.as_bytes());
        assert_eq!(signature, "v1,iUDUhWVo1DkeSwKl76ZzGZDJl4OurzTVn8trKfRmAaU=");
    }

    #[test]
    fn a_secret_that_is_none_is_told_without_showing_it() {
        let short = format!("whsec_{}", BASE64_STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        for (secret, fault) in [
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "does not begin"),
            ("whsec_%%%", "is not base64"),
            (short.as_str(), "has 23 bytes, and must have 24 to 64"),
            (long.as_str(), "has 65 bytes"),
            ("", "does not begin"),
        ] {
            let told = WebhookKey::parse(secret.as_bytes()).unwrap_err();
            assert!(told.starts_with(fault), "{secret}: {told}");
            assert!(!told.contains("MfKQ") && !told.contains("Bwc"));
        }
        let line = format!("{}\n", WebhookKey::make());
        assert!(WebhookKey::parse(line.as_bytes()).is_ok());
        assert_ne!(WebhookKey::make(), WebhookKey::make());
    }
}
