//! The lease book under random sequences of all that can happen to it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::ask::{Ask, Rules, WHOLE, cost};
use super::book::{Book, Holder, Part};
use super::device::Device;

const GIB: u64 = 1 << 30;

fn device(uuid: &str, name: &str, gib: u64) -> Device {
    Device {
        uuid: uuid.to_owned(),
        name: name.to_owned(),
        memory: gib * GIB,
    }
}

fn inventory() -> Vec<Device> {
    vec![
        device("GPU-1", "NVIDIA H200", 141),
        device("GPU-2", "NVIDIA H200", 141),
        device("GPU-3", "Tesla T4", 16),
        device("MIG-4", "NVIDIA H200 MIG 3g.71gb", 71),
        device("MIG-5", "NVIDIA H200 MIG 1g.18gb", 18),
    ]
}

fn ask(thousandths: Option<u32>, memory: Option<u64>, kind: Option<&str>) -> Ask {
    Ask {
        thousandths,
        memory: memory.map(|gib| gib * GIB),
        kind: kind.map(str::to_owned),
    }
}

fn id(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Ask(u8, Ask),
    /// One that waits or holds, by its place among all, goes.
    Leave(prop::sample::Index),
    /// The server ends; the next one has what was stored: holders, and those that wait ask again.
    Restart,
    Lose(prop::sample::Index),
    Find,
}

fn asks() -> impl Strategy<Value = Ask> {
    let amount = prop_oneof![
        4 => Just(Some(WHOLE)),
        2 => Just(Some(2 * WHOLE)),
        3 => (1..WHOLE).prop_map(Some),
        2 => Just(None),
    ];
    let kind =
        prop_oneof![5 => Just(None), 1 => Just(Some("H200")), 1 => Just(Some("t4")), 1 => Just(Some("mig"))];
    (amount, prop::option::of(1..80_u64), kind).prop_map(|(amount, memory, kind)| {
        // A part of unknown size has to be of some size.
        ask(amount, memory.or(amount.is_none().then_some(10)), kind)
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..4_u8, asks()).prop_map(|(owner, ask)| Step::Ask(owner, ask)),
        5 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => Just(Step::Restart),
        1 => any::<prop::sample::Index>().prop_map(Step::Lose),
        1 => Just(Step::Find),
    ];
    prop::collection::vec(step, 1..60)
}

/// The book, and what a server and its store know beside it.
struct World {
    book: Book,
    rules: Rules,
    next: u32,
    waiting: BTreeMap<Uuid, (u8, Ask)>,
    holding: BTreeMap<Uuid, (Holder, Ask)>,
    devices: Vec<Device>,
}

impl World {
    fn new(rules: Rules) -> Self {
        let mut world = Self {
            book: Book::new(rules),
            rules,
            next: 0,
            waiting: BTreeMap::new(),
            holding: BTreeMap::new(),
            devices: inventory(),
        };
        world.book.set_devices(inventory());
        world
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Ask(owner, ask) => {
                if ask.check(&inventory(), self.rules).is_ok() {
                    self.next += 1;
                    self.wait(id(self.next), *owner, ask.clone());
                }
            }
            Step::Leave(at) => {
                let all: Vec<Uuid> = self.waiting.keys().chain(self.holding.keys()).copied().collect();
                if !all.is_empty() {
                    self.leave(*at.get(&all));
                }
            }
            Step::Restart => self.restart(),
            Step::Lose(at) => {
                if !self.devices.is_empty() {
                    self.devices.remove(at.index(self.devices.len()));
                    self.book.set_devices(self.devices.clone());
                }
            }
            Step::Find => {
                self.devices = inventory();
                self.book.set_devices(inventory());
            }
        }
        self.serve();
    }

    fn wait(&mut self, id: Uuid, owner: u8, ask: Ask) {
        self.waiting.insert(id, (owner, ask.clone()));
        self.book.wait(id, Some(owner.to_string()), id.to_string(), ask);
    }

    fn leave(&mut self, id: Uuid) {
        self.book.leave(id);
        self.waiting.remove(&id);
        self.holding.remove(&id);
    }

    fn restart(&mut self) {
        self.book = Book::new(self.rules);
        self.book.set_devices(self.devices.clone());
        for (id, (holder, _)) in &self.holding {
            self.book.adopt(*id, holder.clone());
        }
        for (id, (owner, ask)) in std::mem::take(&mut self.waiting) {
            self.wait(id, owner, ask);
        }
    }

    fn serve(&mut self) {
        let held_before: BTreeMap<Uuid, Vec<Part>> = self
            .book
            .holders()
            .map(|(id, holder)| (*id, holder.parts.clone()))
            .collect();
        for (id, parts) in self.book.serve() {
            assert!(!held_before.contains_key(&id), "granted twice");
            let (owner, ask) = self.waiting.remove(&id).expect("only those that wait are served");
            assert_eq!(parts.len(), ask.devices());
            for part in &parts {
                let device = self.devices.iter().find(|device| device.uuid == part.uuid);
                let device = device.expect("only what is there is leased");
                assert_eq!(ask.bytes_of(device), Some(part.bytes));
                assert!(
                    !held_before
                        .values()
                        .flatten()
                        .any(|held| { held.uuid == part.uuid && !(held.is_share && part.is_share) })
                );
            }
            let (owner, who) = (Some(owner.to_string()), id.to_string());
            self.holding.insert(id, (Holder { owner, who, parts }, ask));
        }
        self.check();
    }

    fn check(&self) {
        let book: BTreeMap<Uuid, Holder> = self
            .book
            .holders()
            .map(|(id, holder)| (*id, holder.clone()))
            .collect();
        let known: BTreeMap<Uuid, Holder> = self
            .holding
            .iter()
            .map(|(id, (holder, _))| (*id, holder.clone()))
            .collect();
        assert_eq!(
            book, known,
            "a lease without a holder, or a holder without its lease"
        );
        assert_eq!(self.book.waiting(), self.waiting.len());
        let mut used: BTreeMap<&str, (u64, u64, usize, bool)> = BTreeMap::new();
        let mut of_owner: BTreeMap<&Option<String>, u32> = BTreeMap::new();
        for holder in known.values() {
            for part in &holder.parts {
                let (bytes, memory, count, exclusive) = used.entry(&part.uuid).or_default();
                *bytes += part.bytes;
                *memory = part.memory;
                *count += 1;
                *exclusive |= !part.is_share;
                *of_owner.entry(&holder.owner).or_default() += cost(part.bytes, part.memory);
            }
        }
        for (uuid, (bytes, memory, count, exclusive)) in used {
            assert!(bytes <= memory, "{uuid} is oversubscribed");
            assert!(
                count == 1 || !exclusive,
                "{uuid} has two holders, one of them alone"
            );
        }
        if let Some(limit) = self.rules.of_owner {
            assert!(of_owner.values().all(|held| *held <= limit));
        }
        if let Some(limit) = self.rules.in_all {
            assert!(of_owner.values().sum::<u32>() <= limit);
        }
    }

    /// All that wait are served once holders end, the oldest first, while others keep coming: nobody is starved.
    fn drain(&mut self) {
        self.step(&Step::Find);
        // One comes for each that ends, so that a rule that starves never gets to the end.
        let mut rounds = 20 * (self.waiting.len() + self.holding.len());
        let first: Vec<Uuid> = self.waiting.keys().copied().collect();
        while first.iter().any(|id| self.waiting.contains_key(id)) {
            assert!(rounds > 0, "one that waits is starved");
            rounds -= 1;
            let oldest = *self.holding.keys().next().expect("nobody holds and some wait");
            self.leave(oldest);
            // A small one that comes late does not overtake.
            self.step(&Step::Ask(0, ask(Some(100), None, None)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn nothing_is_leased_twice_and_nobody_starves(
        steps in steps(),
        of_owner in prop::option::of(prop_oneof![Just(WHOLE), Just(2 * WHOLE)]),
        in_all in prop::option::of(Just(3 * WHOLE)),
    ) {
        let mut world = World::new(Rules { sharing: true, of_owner, in_all });
        for step in &steps {
            world.step(step);
        }
        world.drain();
    }
}

#[test]
fn one_that_waits_keeps_its_place() {
    let mut book = Book::new(Rules::default());
    book.set_devices(inventory());
    let wait = |book: &mut Book, number, ask: Ask| {
        book.wait(id(number), None, format!("session {number}"), ask);
        book.serve().into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    let h200 = || ask(Some(WHOLE), Some(100), None);
    assert_eq!(wait(&mut book, 1, h200()), [id(1)]);
    // Two large ones are not there; a large one that comes later waits behind, a small one does not.
    assert_eq!(wait(&mut book, 2, ask(Some(2 * WHOLE), Some(100), None)).len(), 0);
    assert_eq!(wait(&mut book, 3, h200()).len(), 0);
    assert_eq!(wait(&mut book, 4, ask(Some(WHOLE), None, Some("t4"))), [id(4)]);
    let (ahead, holders) = book.before(id(3)).unwrap();
    assert_eq!(
        (ahead, holders.len(), holders[0].who.as_str()),
        (1, 1, "session 1")
    );
    book.leave(id(1));
    assert_eq!(book.serve()[0].0, id(2));
    book.leave(id(2));
    assert_eq!(book.serve()[0].0, id(3));
    assert_eq!(book.before(id(3)).map(|(ahead, _)| ahead), None);
}
