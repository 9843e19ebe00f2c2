//! Batches shared and handed over.

use std::sync::Arc;

use super::life::Ask;
use super::registry::{Batch, Batches};
use crate::ownership::{Grantee, Share};
use crate::sharing::{Possession, SharingError, ids_named};
use crate::store::Subject;

impl Batches {
    /// The batch of this name that runs as this user, and is another's; none where there are several.
    #[must_use]
    pub fn run_as(&self, user: &str, name: &str) -> Option<Batch> {
        let ids = ids_named(&self.shared.table.by_name, name);
        let mut found = ids
            .into_iter()
            .filter_map(|id| self.by_id(id))
            .filter(|batch| batch.whose.get().proxy_user.as_deref() == Some(user));
        found.next().filter(|_| found.next().is_none())
    }

    /// Shares a batch, in place of what that user or group was given before.
    ///
    /// # Errors
    /// See [`SharingError`]. Cancel safety: what was begun is done.
    pub async fn share(&self, batch: &Batch, share: Share) -> Result<(), SharingError> {
        self.shared.sharing.put(&possession(batch), share).await
    }

    /// Takes a share back. False where there is none.
    ///
    /// # Errors
    /// It could not be stored. Cancel safety: as of [`Batches::share`].
    pub async fn unshare(&self, batch: &Batch, with: Grantee) -> Result<bool, SharingError> {
        self.shared.sharing.remove(&possession(batch), with).await
    }

    /// Makes a batch that user's, with its name, and what it takes of quotas and GPUs. Its driver goes on as it was started.
    ///
    /// # Errors
    /// See [`SharingError`]. Cancel safety: as of [`Batches::share`].
    pub async fn hand_over(&self, batch: &Batch, to: &str) -> Result<(), SharingError> {
        let shelf = Arc::clone(&self.shared);
        let possession = possession(batch);
        self.shared.sharing.hand_over(shelf, &possession, to).await?;
        batch
            .ask(Ask::Note(format!("The batch was handed over to {to}.")))
            .await;
        Ok(())
    }
}

fn possession(batch: &Batch) -> Possession {
    Possession {
        subject: Subject::Batch(batch.id),
        name: batch.name.clone(),
        whose: Arc::clone(&batch.whose),
        claim: batch.claim.clone(),
    }
}
