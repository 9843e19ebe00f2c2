//! Sessions shared and handed over.

use std::sync::Arc;

use super::handle::Session;
use super::registry::Sessions;
use crate::ownership::{Grantee, Share};
use crate::sharing::{Possession, SharingError, ids_named};
use crate::store::Subject;

impl Sessions {
    /// The session of this name that runs as this user, and is another's; none where there are several.
    #[must_use]
    pub fn run_as(&self, user: &str, name: &str) -> Option<Session> {
        let ids = ids_named(&self.shared.sessions.by_name, name);
        let mut found = ids
            .into_iter()
            .filter_map(|id| self.by_id(id))
            .filter(|session| session.whose.get().proxy_user.as_deref() == Some(user));
        found.next().filter(|_| found.next().is_none())
    }

    /// Shares a session, in place of what that user or group was given before.
    ///
    /// # Errors
    /// See [`SharingError`]. Cancel safety: what was begun is done.
    pub async fn share(&self, session: &Session, share: Share) -> Result<(), SharingError> {
        self.shared.sharing.put(&possession(session), share).await
    }

    /// Takes a share back. False where there is none.
    ///
    /// # Errors
    /// It could not be stored. Cancel safety: as of [`Sessions::share`].
    pub async fn unshare(&self, session: &Session, with: Grantee) -> Result<bool, SharingError> {
        self.shared.sharing.remove(&possession(session), with).await
    }

    /// Makes a session that user's, with its name, and what it takes of quotas and GPUs. Its driver goes on as it was started.
    ///
    /// # Errors
    /// See [`SharingError`]. Cancel safety: as of [`Sessions::share`].
    pub async fn hand_over(&self, session: &Session, to: &str) -> Result<(), SharingError> {
        let shelf = Arc::clone(&self.shared);
        let possession = possession(session);
        self.shared.sharing.hand_over(shelf, &possession, to).await?;
        session
            .note(format!("The session was handed over to {to}."))
            .await;
        Ok(())
    }
}

fn possession(session: &Session) -> Possession {
    Possession {
        subject: Subject::Session(session.id),
        name: session.name.clone(),
        whose: Arc::clone(&session.whose),
        claim: session.claim.clone(),
    }
}
