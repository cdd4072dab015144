//! The built-in accounts of standalone mode: register, log in, be a guest, get a fresh token.
//!
//! Passwords are hashed with argon2id at OWASP's parameters: 19 MiB and two passes each.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Rate, RateLimiter, failure,
    hashing::{HashError, Hashers, NotHashed},
};
use crate::{
    auth::{Identity, Tokens},
    protocol::{ErrorCode, Reject, UserId, Username},
    store::{NewAccount, Store, User},
};

/// Shortest and longest password, in characters.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 10..=256;

/// How the accounts are run.
#[derive(Clone, Debug)]
pub struct AccountPolicy {
    /// Register and guest are open.
    pub signup: bool,
    /// Life of a token, in seconds.
    pub token_ttl_seconds: i64,
    /// Accounts and guests made from one address.
    pub signups: Rate,
    /// Passwords hashed at the same time.
    pub hashing_at_once: usize,
    /// Passwords that may wait to be hashed.
    pub hashing_in_line: usize,
}

/// The verbs for built-in accounts.
#[derive(Debug)]
pub struct Accounts {
    store: Arc<dyn Store>,
    tokens: Arc<Tokens>,
    policy: AccountPolicy,
    signups: RateLimiter<IpAddr>,
    hashers: Hashers,
}

/// A token and whose it is: the body of every successful answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Grant {
    /// A signed token.
    pub token: String,
    /// Its user.
    pub user: PublicUser,
}

/// A user as told over HTTP.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PublicUser {
    /// The id.
    pub id: UserId,
    /// The name.
    pub username: Username,
    /// The role.
    pub role: String,
}

impl From<&Identity> for PublicUser {
    fn from(identity: &Identity) -> Self {
        Self {
            id: identity.user,
            username: identity.username.clone(),
            role: identity.role.clone(),
        }
    }
}

impl Accounts {
    /// The accounts in `store`, whose tokens `tokens` signs. Fails when the system gives no thread.
    pub fn new(
        store: Arc<dyn Store>,
        tokens: Arc<Tokens>,
        policy: AccountPolicy,
    ) -> std::io::Result<Self> {
        let hashers = Hashers::start(policy.hashing_at_once, policy.hashing_in_line)?;
        let signups = RateLimiter::new(policy.signups);
        Ok(Self {
            store,
            tokens,
            policy,
            signups,
            hashers,
        })
    }

    /// Whether register and guest are open.
    pub fn signup(&self) -> bool {
        self.policy.signup
    }

    /// Makes an account with a password, for somebody at the address `from`.
    pub async fn register(
        &self,
        from: IpAddr,
        username: &str,
        password: &str,
        now: i64,
    ) -> Result<Grant, Reject> {
        self.must_be_open()?;
        let username = checked_name(username)?;
        checked_password(password)?;
        self.take_signup(from)?;
        // Asked before the costly hash; the insert decides.
        if self
            .store
            .account(username.clone())
            .await
            .map_err(failure)?
            .is_some()
        {
            return Err(name_taken(&username));
        }
        let password = password.to_owned();
        let hash = self
            .hash(move |argon2| Ok(argon2.hash_password(password.as_bytes())?.to_string()))
            .await?;
        let account = NewAccount {
            username: username.clone(),
            password_hash: Some(hash),
            role: "user",
        };
        let user = self.store.create_account(account).await.map_err(failure)?;
        self.grant(user.ok_or_else(|| name_taken(&username))?, now)
    }

    /// Lets somebody in who knows the password. Every way in which it does not fit gets the same answer.
    pub async fn login(&self, username: &str, password: &str, now: i64) -> Result<Grant, Reject> {
        let account = match Username::new(username) {
            Ok(name) => self.store.account(name).await.map_err(failure)?,
            Err(_) => None,
        };
        let (user, hash) = account.map_or((None, None), |account| {
            (Some(account.user), account.password_hash)
        });
        // Somebody unknown costs a hash too, or the time would tell who exists.
        let hash = hash.unwrap_or_else(|| NOBODYS_HASH.to_owned());
        let password = password.to_owned();
        let fits = self.hash(move |argon2| {
            let parsed = PasswordHash::new(&hash)?;
            Ok(argon2.verify_password(password.as_bytes(), &parsed).is_ok())
        });
        match (fits.await?, user) {
            (true, Some(user)) => self.grant(user, now),
            _ => Err(Reject::new(
                ErrorCode::Unauthorized,
                "this username and password do not fit",
            )),
        }
    }

    /// Lets somebody at the address `from` in without a password, under a free name.
    pub async fn guest(
        &self,
        from: IpAddr,
        username: Option<&str>,
        now: i64,
    ) -> Result<Grant, Reject> {
        self.must_be_open()?;
        let username = username.map(checked_name).transpose()?;
        self.take_signup(from)?;
        if let Some(username) = username {
            let user = self.new_guest(username.clone()).await?;
            return self.grant(user.ok_or_else(|| name_taken(&username))?, now);
        }
        for _ in 0..GUEST_NAME_TRIES {
            let username = checked_name(&format!("guest-{:06x}", rand::random_range(0..1 << 24)))?;
            if let Some(user) = self.new_guest(username).await? {
                return self.grant(user, now);
            }
        }
        Err(Reject::new(
            ErrorCode::Unavailable,
            "no free guest name was found: try again, or choose a name",
        ))
    }

    /// Rooms are limited by user, so users are limited by address. Programs on this machine make as many as they need.
    fn take_signup(&self, from: IpAddr) -> Result<(), Reject> {
        let from = from.to_canonical();
        if from.is_loopback() {
            return Ok(());
        }
        self.signups.take(network_of(from)).map_err(|wait_ms| {
            tracing::warn!(%from, "an account was refused: too many from one address (--new-accounts-per-minute)");
            let message = "too many new accounts from this address in a short time: wait, then try again";
            Reject::rate_limited(message, wait_ms)
        })
    }

    async fn new_guest(&self, username: Username) -> Result<Option<User>, Reject> {
        let account = NewAccount {
            username,
            password_hash: None,
            role: "guest",
        };
        self.store.create_account(account).await.map_err(failure)
    }

    /// A fresh token for the bearer of a good one.
    pub fn refresh(&self, identity: &Identity, now: i64) -> Result<Grant, Reject> {
        let Identity {
            user,
            username,
            role,
            ..
        } = identity.clone();
        self.grant(
            User {
                id: user,
                username,
                role,
            },
            now,
        )
    }

    fn grant(&self, user: User, now: i64) -> Result<Grant, Reject> {
        let User { id, username, role } = user;
        let token = self
            .tokens
            .sign(id, &username, &role, now, self.policy.token_ttl_seconds)
            .map_err(|error| {
                tracing::error!(%error, "signing a token failed");
                Reject::new(ErrorCode::Internal, "the server failed; its log says why")
            })?;
        Ok(Grant {
            token,
            user: PublicUser { id, username, role },
        })
    }

    fn must_be_open(&self) -> Result<(), Reject> {
        if self.policy.signup {
            return Ok(());
        }
        Err(Reject::new(
            ErrorCode::Forbidden,
            "signing up is closed here (--no-signup): log in, or ask the operator",
        ))
    }

    /// Runs `work` when it is its turn.
    async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce(Argon2<'static>) -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Reject> {
        self.hashers.run(work).await.map_err(|error| match error {
            NotHashed::LineFull => {
                tracing::warn!(
                    "a login was turned away: too many passwords are waiting to be checked"
                );
                Reject::rate_limited(
                    "too many logins at once: wait, then try again",
                    LINE_FULL_WAIT_MS,
                )
            }
            NotHashed::Failed(error) => {
                tracing::error!(%error, "hashing a password failed");
                Reject::new(ErrorCode::Internal, "the server failed; its log says why")
            }
        })
    }
}

/// What a login that finds no place in line is told to wait: about as long as the line takes.
const LINE_FULL_WAIT_MS: u64 = 2_000;
/// Random guest names tried before giving up; with 16 million of them a second try is rare.
const GUEST_NAME_TRIES: usize = 8;
/// A hash at the parameters in use that no password is known for.
const NOBODYS_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5LWlzLWhlcmU$0000000000000000000000000000000000000000000";

/// What one subscriber has: an address of version 4, the first 64 bits of one of version 6 (RFC 6177).
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    }
}

fn checked_name(name: &str) -> Result<Username, Reject> {
    Username::new(name).map_err(|fault| Reject::invalid("username", format!("username {fault}")))
}

fn checked_password(password: &str) -> Result<(), Reject> {
    let (least, most) = (PASSWORD_CHARS.start(), PASSWORD_CHARS.end());
    if PASSWORD_CHARS.contains(&password.chars().count()) {
        return Ok(());
    }
    Err(Reject::invalid(
        "password",
        format!("password must have {least} to {most} characters"),
    ))
}

fn name_taken(name: &Username) -> Reject {
    Reject::new(
        ErrorCode::NameTaken,
        format!("the name {name} is taken: choose another one"),
    )
    .on("username")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_hash_can_be_checked_and_costs_what_a_real_one_does() {
        let nobody = PasswordHash::new(NOBODYS_HASH).unwrap();
        let real = Argon2::default().hash_password(b"correct horse").unwrap();
        assert_eq!(nobody.params, real.params);
        assert!(
            Argon2::default()
                .verify_password(b"correct horse", &nobody)
                .is_err()
        );
    }
}
