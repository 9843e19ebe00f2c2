//! How much room uploads take, each owner's and all together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytesize::ByteSize;

use super::error::UploadError;
use crate::config;
use crate::quota::Quotas;

/// What the smallest upload counts for: its entries on the disk and in memory are not for nothing.
const LEAST: u64 = 64 * 1024;

/// The room of all uploads.
#[derive(Debug)]
pub(super) struct Room {
    limits: config::Upload,
    quotas: Quotas,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: u64,
    owners: HashMap<Option<String>, u64>,
}

impl Room {
    pub(super) fn new(limits: config::Upload, quotas: Quotas) -> Self {
        Self {
            limits,
            quotas,
            taken: Mutex::default(),
        }
    }

    /// Takes the room of an upload that was there at the start, whatever the limits are now.
    pub(super) fn occupy(&self, owner: Option<&String>, size: u64) {
        let mut taken = self.lock();
        taken.total += size.max(LEAST);
        *taken.owners.entry(owner.cloned()).or_default() += size.max(LEAST);
    }

    /// Gives the room of an upload back.
    pub(super) fn leave(&self, owner: Option<&String>, size: u64) {
        let mut taken = self.lock();
        taken.give(owner, size.max(LEAST));
    }

    /// How many bytes an owner's uploads count for.
    pub(super) fn taken(&self, owner: Option<&str>) -> u64 {
        let taken = self.lock();
        taken.owners.get(&owner.map(str::to_owned)).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn give(&mut self, owner: Option<&String>, bytes: u64) {
        self.total = self.total.saturating_sub(bytes);
        let owner = owner.cloned();
        let left = self
            .owners
            .get(&owner)
            .map_or(0, |taken| taken.saturating_sub(bytes));
        match left {
            0 => drop(self.owners.remove(&owner)),
            left => drop(self.owners.insert(owner, left)),
        }
    }
}

/// The room that an upload on its way takes. Dropped, it is given back.
#[derive(Debug)]
pub(super) struct Share<'a> {
    room: &'a Room,
    owner: Option<&'a String>,
    bytes: u64,
}

impl<'a> Share<'a> {
    /// Takes what the smallest upload needs.
    pub(super) fn begin(room: &'a Room, owner: Option<&'a String>) -> Result<Self, UploadError> {
        let mut share = Self {
            room,
            owner,
            bytes: 0,
        };
        share.grow(LEAST)?;
        Ok(share)
    }

    /// Takes what an upload of so many bytes needs.
    pub(super) fn grow(&mut self, size: u64) -> Result<(), UploadError> {
        let limits = &self.room.limits;
        if size > limits.max_bytes.bytes().max(LEAST) {
            return Err(UploadError::TooLarge(limits.max_bytes));
        }
        let Some(more) = size.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return Ok(());
        };
        let quota = self.room.quotas.uploads(self.owner.map(String::as_str));
        let mut taken = self.room.lock();
        let own = taken.owners.get(&self.owner.cloned()).copied().unwrap_or(0);
        if let Some((most, by)) = quota.filter(|(most, _)| own + more > *most) {
            let shown = |bytes: u64| ByteSize::b(bytes).display().iec().to_string();
            let (used, most) = (shown(own.saturating_sub(self.bytes)), shown(most));
            return Err(UploadError::OverQuota { used, most, by });
        }
        if own + more > limits.owner_bytes.bytes() {
            return Err(UploadError::OwnerFull(limits.owner_bytes));
        }
        if taken.total + more > limits.total_bytes.bytes() {
            return Err(UploadError::Full);
        }
        taken.total += more;
        taken.owners.insert(self.owner.cloned(), own + more);
        self.bytes += more;
        Ok(())
    }

    /// The upload is there, and its room is taken until it goes.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.lock().give(self.owner, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Size;

    #[test]
    fn room_is_given_back() {
        let limits = config::Upload {
            max_bytes: Size::kib(100),
            owner_bytes: Size::kib(200),
            total_bytes: Size::kib(280),
            ..config::Upload::default()
        };
        let quotas = toml::from_str("[bob] \n users = ['bob'] \n uploads = '130KiB'").unwrap();
        let room = Room::new(limits, Quotas::new(&quotas, BTreeMap::new()));
        let (ada, bob) = ("ada".to_owned(), "bob".to_owned());
        let mut first = Share::begin(&room, Some(&ada)).unwrap();
        assert!(matches!(
            first.grow(100 * 1024 + 1),
            Err(UploadError::TooLarge(_))
        ));
        first.grow(100 * 1024).unwrap();
        let second = Share::begin(&room, Some(&ada)).unwrap();
        assert!(matches!(
            Share::begin(&room, Some(&ada)),
            Err(UploadError::OwnerFull(_))
        ));
        let third = Share::begin(&room, Some(&bob)).unwrap();
        assert!(matches!(Share::begin(&room, None), Err(UploadError::Full)));
        drop(third);
        drop(second);
        let second = Share::begin(&room, Some(&bob)).unwrap();
        let third = Share::begin(&room, Some(&bob)).unwrap();
        let over = Share::begin(&room, Some(&bob)).unwrap_err().to_string();
        assert!(
            over.contains("128.0 KiB of 130.0 KiB") && over.contains("quota.bob"),
            "{over}"
        );
        assert_eq!(room.taken(Some("bob")), 128 << 10);
        drop((second, third));
        let second = Share::begin(&room, Some(&ada)).unwrap();
        second.keep();
        first.keep();
        room.leave(Some(&ada), 1);
        room.leave(Some(&ada), 100 * 1024);
        assert_eq!(room.lock().total, 0);
        assert!(room.lock().owners.is_empty());
    }
}
