//! From what was set about tokens to whoever judges them.

use std::time::Duration;

use hyper::Uri;

use crate::{
    auth::{Key, Secret, Tokens},
    authority::{Authority, Backend, Patience, PublishedKeys},
    config::{Config, StartupError},
    outbound::{Outbound, under},
    store::{SecretError, Secrets},
};

/// Who judges the backend's tokens; `None` when there is no backend, and the built-in accounts' tokens are this server's.
pub fn backends_authority(config: &Config) -> Result<Option<Authority>, StartupError> {
    if let Some(tokens) = backends_tokens(config)? {
        return Ok(Some(tokens.into()));
    }
    let timeout = Duration::from_millis(config.limits.auth_timeout_ms);
    if let Some((url, algorithm)) = config.jwks.clone() {
        let outbound = outbound("--jwks-url", &url, timeout)?;
        let keys = PublishedKeys::new(outbound, url, algorithm, config.demands.clone());
        return Ok(Some(Authority::Published(keys.into())));
    }
    let Some(url) = &config.backend else {
        return Ok(None);
    };
    let patience = Patience {
        answer: timeout,
        yes: Duration::from_secs(config.limits.auth_cache_seconds),
    };
    let outbound = outbound("--backend-url", url, timeout)?;
    let backend = Backend::new(outbound, under(url, "/api/v1/auth/me"), patience);
    Ok(Some(Authority::Backend(backend)))
}

fn outbound(flag: &str, url: &Uri, timeout: Duration) -> Result<Outbound, StartupError> {
    Outbound::new(url, timeout).map_err(|error| {
        StartupError::Usage(format!(
            "{flag} {url} is https, and this system has no certificates to check it with: {error}; install them \
             (ca-certificates), or name a file of them in SSL_CERT_FILE"
        ))
    })
}

/// The backend's tokens, if they are verified with a key that is set.
pub fn backends_tokens(config: &Config) -> Result<Option<Tokens>, StartupError> {
    let tokens = match (&config.secret, &config.public_key) {
        (Some(named), _) => Tokens::new(named.secret.as_bytes(), named.name),
        (None, Some(pem)) => {
            const NAME: &str = "--jwt-public-key";
            let key = Key::of_pem(pem, NAME)
                .map_err(|fault| StartupError::Usage(format!("{NAME} {fault}")))?;
            Tokens::signed_elsewhere(key)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(tokens.that_say(config.demands.clone())))
}

/// The name of the secret that signs the tokens of the built-in accounts.
pub const TOKENS_SECRET: &str = "secret";

/// Standalone mode's tokens, whose secret is kept with the log.
pub async fn kept_tokens(secrets: &Secrets) -> Result<Tokens, StartupError> {
    let secret = secrets.kept(TOKENS_SECRET, Secret::random).await?;
    Ok(tokens_of(secrets, &secret)?)
}

/// The same with what was found there.
pub fn tokens_of(secrets: &Secrets, secret: &Secret) -> Result<Tokens, SecretError> {
    if secret.as_bytes().len() < Secret::RANDOM_BYTES {
        let why = "it is shorter than what was written; delete it to get a new one, which ends all sessions";
        return Err(secrets.error(TOKENS_SECRET, why.into()));
    }
    Ok(Tokens::new(secret.as_bytes(), "this server's own secret"))
}
