//! A session's GPUs: told when it gets them, watched while it has them, lost when they do nothing for too long.

use std::sync::Arc;
use std::time::Duration;

use super::{Actor, Done};
use crate::config::{Gpu, IdleGpus};
use crate::gpu::{self, Waiting, listed};
use crate::store::Op;
use crate::turn::Held;

/// What is to be done about GPUs that do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quiet {
    /// Nothing.
    No,
    /// Its log warns.
    Long,
    /// They are lost.
    TooLong,
}

/// What is to be done about GPUs that have done nothing for so long.
fn quiet(config: &Gpu, idle: Duration) -> Quiet {
    match config.idle_timeout.positive() {
        Some(limit) if idle >= limit => Quiet::TooLong,
        Some(limit) if idle >= limit.saturating_sub(config.idle_warning.get()) => Quiet::Long,
        _ => Quiet::No,
    }
}

impl Actor {
    /// What the driver holds while it lives.
    pub(super) fn holds(&mut self, held: Held) {
        self.held = held;
        self.snapshot.gpu_usage = self.held.usage().cloned();
        if !self.held.gpus().is_empty() {
            let gpus = listed(self.held.gpus());
            self.snapshot.gpus = Some(gpus.as_str().into());
            self.note(format!("GPUs: {gpus}."));
        }
    }

    /// Tells how the line for GPUs moves; as often as the session's times are looked at, at most.
    pub(super) fn watch_line(&mut self) {
        let notice = self.waiting.as_ref().and_then(Waiting::notice);
        if let Some(notice) = notice.filter(|notice| !self.snapshot.notes.contains(notice)) {
            self.note(notice);
            self.publish();
        }
    }

    /// Looks at what the driver does with its GPUs, and with others'.
    pub(super) async fn watch_gpus(&mut self, is_idle: bool) {
        let Some(usage) = self.held.usage().cloned() else {
            return;
        };
        let strays = usage.strays();
        for uuid in &strays {
            self.note(format!(
                "A process of this session uses {uuid}, which the session does not hold."
            ));
        }
        let idle = match is_idle && !self.held.gpus().is_empty() {
            true => self.contacts.inactive().min(usage.quiet()),
            false => Duration::ZERO,
        };
        let shared = Arc::clone(&self.shared);
        let config = &shared.config.gpu;
        let limit = config.idle_timeout;
        match quiet(config, idle) {
            Quiet::No => self.gpus_warned = false,
            Quiet::Long if !self.gpus_warned => {
                self.gpus_warned = true;
                let lost = match config.idle_action {
                    IdleGpus::End => "the session ends",
                    IdleGpus::GiveBack => "the session loses them",
                };
                let left = humantime::format_duration(Duration::from_secs(
                    limit.get().saturating_sub(idle).as_secs(),
                ));
                self.note(format!(
                    "Its GPUs do nothing: {lost} in {left} unless a statement is run (gpu.idle_timeout)."
                ));
                self.publish();
            }
            Quiet::Long => {}
            Quiet::TooLong if config.idle_action == IdleGpus::End => {
                self.end(format!("Its GPUs did nothing for {limit} (gpu.idle_timeout)."))
                    .await;
            }
            Quiet::TooLong if usage.is_on() => {
                self.end(format!(
                    "Its GPUs did nothing for {limit} (gpu.idle_timeout), and its processes kept them open."
                ))
                .await;
            }
            Quiet::TooLong => self.give_gpus_back().await,
        }
        if !strays.is_empty() {
            self.publish();
        }
    }

    /// The session goes on without its GPUs. They are free once the driver does not name them to its processes, and the store knows it.
    async fn give_gpus_back(&mut self) {
        let Some(driver) = &self.driver else {
            return;
        };
        if !driver.set_environment(&gpu::Mask::of(&[]).environment).await {
            // It is ending, or busy with other questions: the next look tries again.
            return;
        }
        let op = Op::ReturnGpus {
            id: driver.id.to_string(),
        };
        let lease = self.held.give_back();
        self.snapshot.gpus = None;
        let limit = self.shared.config.gpu.idle_timeout;
        self.note(format!(
            "Its GPUs did nothing for {limit} and were given back (gpu.idle_timeout): the session goes on without them."
        ));
        let store = self.shared.store.clone();
        self.work.push(Box::pin(async move {
            store.insist(op).await;
            drop(lease);
            Done::Nothing
        }));
        self.publish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_a_warning_then_the_end() {
        let config: Gpu = toml::from_str("idle_timeout = '1h'\nidle_warning = '10m'").unwrap();
        for (minutes, expected) in [
            (0, Quiet::No),
            (49, Quiet::No),
            (50, Quiet::Long),
            (59, Quiet::Long),
            (60, Quiet::TooLong),
        ] {
            assert_eq!(
                quiet(&config, Duration::from_secs(minutes * 60)),
                expected,
                "{minutes}"
            );
        }
        assert_eq!(quiet(&Gpu::default(), Duration::from_secs(1 << 20)), Quiet::No);
    }
}
