//! What is in use of one account, and what of it a limit leaves. Pure.

use super::cost::{Cost, ENDLESS};
use super::limits::{GPU, Limits};

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A session.
    Session,
    /// A batch.
    Batch,
}

/// What is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sessions that run.
    pub sessions: u64,
    /// Batches that run.
    pub batches: u64,
    /// Cores, memory and GPUs of those.
    pub cost: Cost,
}

impl Usage {
    /// Why there is no room for one more of this cost: a sentence with usage and limit; none where there is.
    pub(super) fn why_not(&self, kind: Kind, cost: Cost, limits: &Limits) -> Option<String> {
        let (used, most, what) = match kind {
            Kind::Session => (self.sessions, limits.sessions, "sessions"),
            Kind::Batch => (self.batches, limits.batches, "batches"),
        };
        if let Some(most) = most.filter(|most| used >= *most) {
            return Some(format!("{used} of {most} {what} run"));
        }
        let amounts = amounts(cost, limits);
        let used = [self.cost.cores, self.cost.memory, self.cost.gpus];
        let over = amounts.into_iter().zip(used).find(|((_, asked, most, _), used)| {
            *asked > 0 && most.is_some_and(|most| used.saturating_add(*asked) > most)
        });
        over.map(|((what, asked, most, show), used)| {
            let most = show(most.unwrap_or(0));
            format!(
                "{} of {most} {what} are in use, and it asks for {}",
                show(used),
                show(asked)
            )
        })
    }

    pub(super) fn add(&mut self, kind: Kind, cost: Cost) {
        *self.count(kind) += 1;
        self.cost.cores = self.cost.cores.saturating_add(cost.cores);
        self.cost.memory = self.cost.memory.saturating_add(cost.memory);
        self.cost.gpus = self.cost.gpus.saturating_add(cost.gpus);
    }

    pub(super) fn subtract(&mut self, kind: Kind, cost: Cost) {
        let count = self.count(kind);
        *count = count.saturating_sub(1);
        self.cost.cores = self.cost.cores.saturating_sub(cost.cores);
        self.cost.memory = self.cost.memory.saturating_sub(cost.memory);
        self.cost.gpus = self.cost.gpus.saturating_sub(cost.gpus);
    }

    fn count(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Session => &mut self.sessions,
            Kind::Batch => &mut self.batches,
        }
    }
}

/// What of a cost is over its limit by itself, so that it can never run: what is asked for and the limit, in words.
pub(super) fn never(cost: Cost, limits: &Limits) -> Option<String> {
    amounts(cost, limits)
        .into_iter()
        .find(|(_, asked, most, _)| most.is_some_and(|most| *asked > most))
        .map(|(what, asked, most, show)| {
            let most = show(most.unwrap_or(0));
            match asked {
                ENDLESS => format!(
                    "its {what} have no bound that can be read from the conf, and {most} are the most; say how many \
                     executors, cores and how much memory it may have"
                ),
                asked => format!("{} {what} are asked for, and {most} are the most", show(asked)),
            }
        })
}

type Shown = fn(u64) -> String;

fn amounts(cost: Cost, limits: &Limits) -> [(&'static str, u64, Option<u64>, Shown); 3] {
    [
        ("cores", cost.cores, limits.cores, |cores| cores.to_string()),
        ("memory", cost.memory, limits.memory, bytes),
        ("GPUs", cost.gpus, limits.gpus, gpus),
    ]
}

/// Bytes as people write them.
pub(super) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

fn gpus(thousandths: u64) -> String {
    let (whole, part) = (thousandths / GPU, thousandths % GPU);
    match part {
        0 => whole.to_string(),
        part => format!("{whole}.{part:03}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn cost(cores: u64, gib: u64, gpus: u64) -> Cost {
        Cost {
            cores,
            memory: gib * GIB,
            gpus,
        }
    }

    #[test]
    fn what_there_is_no_room_for() {
        let limits = Limits {
            sessions: Some(2),
            cores: Some(4),
            memory: Some(8 * GIB),
            gpus: Some(1000),
            ..Limits::default()
        };
        let mut usage = Usage::default();
        assert_eq!(usage.why_not(Kind::Session, cost(4, 8, 1000), &limits), None);
        usage.add(Kind::Session, cost(3, 6, 500));
        let why = |usage: &Usage, kind, cost| usage.why_not(kind, cost, &limits).unwrap();
        assert_eq!(
            why(&usage, Kind::Session, cost(2, 1, 0)),
            "3 of 4 cores are in use, and it asks for 2"
        );
        assert_eq!(
            why(&usage, Kind::Batch, cost(1, 4, 0)),
            "6.0 GiB of 8.0 GiB memory are in use, and it asks for 4.0 GiB"
        );
        assert_eq!(
            why(&usage, Kind::Batch, cost(1, 1, 750)),
            "0.5 of 1 GPUs are in use, and it asks for 0.75"
        );
        usage.add(Kind::Session, cost(0, 0, 0));
        assert_eq!(why(&usage, Kind::Session, cost(0, 0, 0)), "2 of 2 sessions run");
        assert_eq!(usage.why_not(Kind::Batch, cost(0, 0, 0), &limits), None);
        usage.subtract(Kind::Session, cost(3, 6, 500));
        usage.subtract(Kind::Session, cost(0, 0, 0));
        assert_eq!(usage, Usage::default());
    }

    #[test]
    fn what_can_never_run() {
        let limits = Limits {
            cores: Some(4),
            memory: Some(8 * GIB),
            ..Limits::default()
        };
        assert_eq!(never(cost(4, 8, 9000), &limits), None);
        assert_eq!(
            never(cost(5, 8, 0), &limits).unwrap(),
            "5 cores are asked for, and 4 are the most"
        );
        let endless = Cost {
            memory: ENDLESS,
            ..Cost::default()
        };
        assert!(never(endless, &limits).unwrap().contains("no bound"));
        assert_eq!(never(endless, &Limits::default()), None);
    }
}
