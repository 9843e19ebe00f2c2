//! The lease book: who holds which device, and who waits. Pure: no clock, no I/O.
//!
//! Its rules: a device has one exclusive holder, or holders that together have no more than its memory. Those that wait are served in
//! their order: one that can't be served yet keeps from those behind it what it waits for, and nothing else: every device that would do for it, its
//! owner's quota, or the quota of all. So a large ask is not starved by small ones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ask::{Ask, Rules, cost};
use super::device::{Device, gib};

/// What a holder has of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The device's UUID.
    pub uuid: String,
    /// Its name when it was leased.
    pub name: String,
    /// Bytes of its memory.
    pub bytes: u64,
    /// All bytes of its memory.
    pub memory: u64,
    /// Whether others may have the rest.
    pub is_share: bool,
}

/// Leased devices for people: `GPU-1 (NVIDIA H200, 141 GiB)`.
#[must_use]
pub fn listed(parts: &[Part]) -> String {
    let one = |part: &Part| {
        let Part { uuid, name, .. } = part;
        let of = if part.is_share {
            format!("{} of {}", gib(part.bytes), gib(part.memory))
        } else {
            gib(part.memory)
        };
        format!("{uuid} ({name}, {of})")
    };
    parts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Leased devices as the store keeps them; none for none.
#[must_use]
pub fn stored(parts: &[Part]) -> Option<String> {
    (!parts.is_empty()).then(|| serde_json::to_string(parts).unwrap_or_default())
}

impl Part {
    /// What it is of a device, in thousandths.
    pub(super) fn cost(&self) -> u32 {
        if self.is_share {
            cost(self.bytes, self.memory)
        } else {
            super::ask::WHOLE
        }
    }
}

/// One that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The user; none without authentication.
    pub owner: Option<String>,
    /// What people know it by, such as `session 7`.
    pub who: String,
    /// What it has, in the order in which its processes see them.
    pub parts: Vec<Part>,
}

/// One that waits.
#[derive(Clone, Debug)]
struct Waiter {
    id: Uuid,
    owner: Option<String>,
    who: String,
    ask: Ask,
}

/// What those before one in the line keep for themselves.
#[derive(Default)]
struct Kept {
    devices: BTreeSet<String>,
    /// Those whose own quota one of theirs waits for.
    owners: BTreeSet<Option<String>>,
    /// Whether one waits for the quota of all.
    all: bool,
}

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    rules: Rules,
    /// Those that can be leased now.
    devices: BTreeMap<String, Device>,
    holders: BTreeMap<Uuid, Holder>,
    waiting: VecDeque<Waiter>,
}

impl Book {
    /// Nobody holds anything.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            ..Self::default()
        }
    }

    /// The devices that can be leased from now on. One that is missing stays with who holds it, and goes to nobody else.
    pub fn set_devices(&mut self, devices: impl IntoIterator<Item = Device>) {
        self.devices = devices
            .into_iter()
            .map(|device| (device.uuid.clone(), device))
            .collect();
    }

    /// What is held already: a driver of an earlier server's has it.
    pub fn adopt(&mut self, id: Uuid, holder: Holder) {
        self.holders.insert(id, holder);
    }

    /// Takes a place in the line; [`Book::serve`] tells when it is served.
    pub fn wait(&mut self, id: Uuid, owner: Option<String>, who: String, ask: Ask) {
        self.waiting.push_back(Waiter { id, owner, who, ask });
    }

    /// Holds nothing any more, and does not wait.
    pub fn leave(&mut self, id: Uuid) {
        self.holders.remove(&id);
        self.waiting.retain(|waiter| waiter.id != id);
    }

    /// Makes what one holds another's. False, and nothing has changed, where that owner may not hold so much.
    pub fn pass(&mut self, id: Uuid, owner: Option<String>, who: String) -> bool {
        let Some(holder) = self.holders.remove(&id) else {
            return false;
        };
        let costs = holder.parts.iter().map(Part::cost).sum();
        let may = self.owner_has_room(&owner, costs);
        let holder = match may {
            true => Holder { owner, who, ..holder },
            false => holder,
        };
        self.holders.insert(id, holder);
        may
    }

    /// Counts what is known as `who` as that user's from now on, whether it holds something or waits. False, and nothing has changed,
    /// where that user may not hold so much.
    pub fn hand_over(&mut self, who: &str, owner: &Option<String>) -> bool {
        let held = self.holders.iter().find(|(_, holder)| holder.who == who);
        if let Some(id) = held.map(|(id, _)| *id)
            && !self.pass(id, owner.clone(), who.to_owned())
        {
            return false;
        }
        for waiter in self.waiting.iter_mut().filter(|waiter| waiter.who == who) {
            waiter.owner.clone_from(owner);
        }
        true
    }

    /// Serves those whose turn it is: each with what it holds from now on, in the order of its parts.
    pub fn serve(&mut self) -> Vec<(Uuid, Vec<Part>)> {
        let mut served = Vec::new();
        let mut kept = Kept::default();
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain(|waiter| {
            if kept.all || kept.owners.contains(&waiter.owner) {
                return true;
            }
            let Some(parts) = self.parts_for(waiter, &kept.devices) else {
                self.keep_for(waiter, &mut kept);
                return true;
            };
            served.push((waiter.id, parts.clone()));
            let (owner, who) = (waiter.owner.clone(), waiter.who.clone());
            self.holders.insert(waiter.id, Holder { owner, who, parts });
            false
        });
        self.waiting = waiting;
        served
    }

    /// What one that is not served waits for.
    fn keep_for(&self, waiter: &Waiter, kept: &mut Kept) {
        let fit = self.devices.values().filter_map(|device| {
            let cost = waiter.ask.cost_of(device)?;
            Some((cost, &device.uuid))
        });
        let (mut costs, fit): (Vec<u32>, Vec<&String>) = fit.unzip();
        costs.sort_unstable();
        let least = costs.iter().take(waiter.ask.devices()).sum();
        if !self.owner_has_room(&waiter.owner, least) {
            kept.owners.insert(waiter.owner.clone());
        } else if !self.all_have_room(least) {
            kept.all = true;
        } else {
            kept.devices.extend(fit.into_iter().cloned());
        }
    }

    /// How many that want some of the same devices wait before this one, and who holds those. None when it does not wait.
    #[must_use]
    pub fn before(&self, id: Uuid) -> Option<(usize, Vec<&Holder>)> {
        let place = self.waiting.iter().position(|waiter| waiter.id == id)?;
        let fits = |ask: &Ask| -> BTreeSet<&str> {
            self.devices
                .values()
                .filter(|device| ask.bytes_of(device).is_some())
                .map(|device| device.uuid.as_str())
                .collect()
        };
        let wanted = fits(&self.waiting[place].ask);
        let ahead = self
            .waiting
            .range(..place)
            .filter(|waiter| !fits(&waiter.ask).is_disjoint(&wanted));
        let holders = self.holders.values().filter(|holder| {
            holder
                .parts
                .iter()
                .any(|part| wanted.contains(part.uuid.as_str()))
        });
        Some((ahead.count(), holders.collect()))
    }

    /// All that hold.
    pub fn holders(&self) -> impl Iterator<Item = (&Uuid, &Holder)> {
        self.holders.iter()
    }

    /// Those that can be leased, whether they are or not.
    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What the waiter can have now, without what those before it keep.
    fn parts_for(&self, waiter: &Waiter, kept: &BTreeSet<String>) -> Option<Vec<Part>> {
        let ask = &waiter.ask;
        let mut free: Vec<(u64, Part)> = self
            .devices
            .values()
            .filter(|device| !kept.contains(&device.uuid))
            .filter_map(|device| {
                let bytes = ask.bytes_of(device)?;
                // More than one are whole ones, which all cost the same.
                let costs = ask.cost_of(device)? * u32::try_from(ask.devices()).ok()?;
                if !self.owner_has_room(&waiter.owner, costs) || !self.all_have_room(costs) {
                    return None;
                }
                let left = self.left_of(device, ask.is_share())?;
                let part = Part {
                    uuid: device.uuid.clone(),
                    name: device.name.clone(),
                    bytes,
                    memory: device.memory,
                    is_share: ask.is_share(),
                };
                (bytes <= left).then_some((left, part))
            })
            .collect();
        // What is least of use to others: the smallest device, and of those that are shared the fullest.
        free.sort_by(|(left, part), (other_left, other)| {
            (left, part.memory, &part.uuid).cmp(&(other_left, other.memory, &other.uuid))
        });
        let parts: Vec<Part> = free
            .into_iter()
            .take(ask.devices())
            .map(|(_, part)| part)
            .collect();
        (parts.len() == ask.devices()).then_some(parts)
    }

    /// Bytes of a device that nobody holds; none where it is held in a way that allows no other.
    fn left_of(&self, device: &Device, to_share: bool) -> Option<u64> {
        let mut left = device.memory;
        for part in self.parts_of(&device.uuid) {
            if !to_share || !part.is_share {
                return None;
            }
            left = left.saturating_sub(part.bytes);
        }
        Some(left)
    }

    fn parts_of(&self, uuid: &str) -> impl Iterator<Item = &Part> {
        self.holders
            .values()
            .flat_map(|holder| &holder.parts)
            .filter(move |part| part.uuid == uuid)
    }

    fn owner_has_room(&self, owner: &Option<String>, costs: u32) -> bool {
        let own = self.holders.values().filter(|holder| holder.owner == *owner);
        leaves(self.rules.of_owner, own, costs)
    }

    fn all_have_room(&self, costs: u32) -> bool {
        leaves(self.rules.in_all, self.holders.values(), costs)
    }
}

/// Whether a quota leaves so much beside what is held of it.
fn leaves<'a>(limit: Option<u32>, holders: impl Iterator<Item = &'a Holder>, costs: u32) -> bool {
    let held: u32 = holders.flat_map(|holder| &holder.parts).map(Part::cost).sum();
    limit.is_none_or(|limit| held.saturating_add(costs) <= limit)
}
