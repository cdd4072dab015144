//! A token of which only the backend can tell when it ends is asked about again and again.

use tokio::{task::JoinHandle, time::sleep};

use super::Shared;
use crate::{auth::Denial, authority::Authority, clock::Clock, protocol::UserId};

/// Ends when the token is refused. Stops asking when it is dropped.
#[derive(Debug)]
pub(super) struct Watch(JoinHandle<()>);

impl Watch {
    /// Of `token`, by which `user` was let in; `None` when it tells itself when it ends.
    pub(super) fn of(shared: &Shared, token: &str, user: UserId) -> Option<Self> {
        if !shared.authority.must_ask_again(token) {
            return None;
        }
        let (authority, clock) = (shared.authority.clone(), shared.clock.clone());
        let (token, every) = (token.to_owned(), shared.timing.ask_again);
        Some(Self(tokio::spawn(async move {
            // Connections that began together, after a restart, do not ask together ever after.
            sleep(every.mul_f64(rand::random_range(0.5..=1.0))).await;
            while is_still(&authority, &clock, &token, user).await {
                sleep(every).await;
            }
        })))
    }

    /// Whether the token is refused by now.
    pub(super) fn is_over(watch: Option<&Self>) -> bool {
        watch.is_some_and(|Self(task)| task.is_finished())
    }

    /// Resolves when the token is refused. Safe to drop half-way.
    pub(super) async fn refused(watch: &mut Option<Self>) {
        match watch {
            // A task that broke off can vouch for nobody.
            Some(Self(task)) => drop(task.await),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn is_still(authority: &Authority, clock: &Clock, token: &str, user: UserId) -> bool {
    match authority.identity(token, clock.seconds(), 0).await {
        Ok(identity) => identity.user == user,
        // Who was let in stays as long as nobody says otherwise.
        Err(Denial::Unavailable(_)) => true,
        Err(Denial::Refused(refusal) | Denial::Forbidden(refusal)) => {
            tracing::info!(user_id = user.get(), reason = %refusal, "a token is not accepted any more");
            false
        }
    }
}
