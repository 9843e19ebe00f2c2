use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn quotas(text: &str) -> Quotas {
    Quotas::new(&toml::from_str(text).unwrap(), BTreeMap::new())
}

fn session(owner: &str, cores: u64) -> Claim {
    let cost = Cost {
        cores,
        ..Cost::default()
    };
    Claim::new(Some(owner.to_owned()), Kind::Session, cost)
}

#[derive(Default)]
struct Counted(AtomicUsize);

impl Freed for Counted {
    fn freed(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn what_is_taken_comes_back() {
    let quotas = quotas("[default] \n sessions = 1 \n cores = 4");
    let told = Arc::new(Counted::default());
    let listener: Weak<Counted> = Arc::downgrade(&told);
    quotas.tell(listener);
    let first = quotas.take(&session("ada", 1)).unwrap();
    let over = quotas.take(&session("ada", 1)).unwrap_err();
    assert_eq!(over.to_string(), "1 of 1 sessions run (quota.default)");
    assert_eq!(quotas.why_not(&session("ada", 1)), Some(over.to_string()));
    let other = quotas.take(&session("bob", 4)).unwrap();
    assert_eq!(quotas.reports().len(), 2);
    drop(first);
    assert_eq!(told.0.load(Ordering::Relaxed), 1);
    assert!(quotas.take(&session("ada", 1)).is_ok());
    drop(other);
    assert_eq!(quotas.reports().len(), 0);
    assert!(quotas.check(&session("ada", 4)).is_ok());
    assert_eq!(
        quotas.check(&session("ada", 5)).unwrap_err().to_string(),
        "Over quota: 5 cores are asked for, and 4 are the most; in use are 0 cores and 0 B memory (quota.default)."
    );
}

#[test]
fn a_group_has_its_own_together() {
    let quotas = quotas("[team] \n groups = ['staff'] \n together = true \n sessions = 2");
    let staff = ["staff".to_owned()];
    quotas.know(Some("ada"), &staff);
    quotas.know(Some("bob"), &staff);
    let _first = quotas.take(&session("ada", 0)).unwrap();
    let second = quotas.take(&session("bob", 0)).unwrap();
    assert!(quotas.take(&session("ada", 0)).is_err());
    assert!(quotas.take(&session("eve", 0)).is_ok());
    // One who leaves the group gives back what was the group's.
    quotas.know(Some("bob"), &[]);
    drop(second);
    assert!(quotas.take(&session("ada", 0)).is_ok());
    assert_eq!(quotas.report(Some("ada")).usage.sessions, 1);
    assert!(quotas.report(Some("ada")).together);
}

#[test]
fn what_is_handed_over_is_counted_for_its_new_owner() {
    let quotas = quotas("[default] \n sessions = 1 \n cores = 2");
    let bob = Some("bob".to_owned());
    let (first, second) = (session("ada", 1), session("ada", 1));
    let lease = quotas.take(&first).unwrap();
    quotas.hand_over(&first, &bob).unwrap();
    assert_eq!(first.clone().owner(), bob);
    assert_eq!(quotas.report(Some("ada")).usage, Usage::default());
    assert_eq!(quotas.report(Some("bob")).usage.cost.cores, 1);
    let _second = quotas.take(&second).unwrap();
    let over = quotas.hand_over(&second, &bob).unwrap_err().to_string();
    assert_eq!(over, "1 of 1 sessions run (quota.default)");
    assert_eq!(second.owner().as_deref(), Some("ada"));
    // One that waits takes nothing; one that could never run is not taken.
    quotas.hand_over(&session("ada", 2), &bob).unwrap();
    let never = quotas
        .hand_over(&session("ada", 3), &bob)
        .unwrap_err()
        .to_string();
    assert_eq!(never, "3 cores are asked for, and 2 are the most (quota.default)");
    quotas.take_back(&first, &Some("ada".to_owned()));
    assert_eq!(
        quotas.report(Some("ada")).usage.sessions,
        2,
        "whatever the limits are"
    );
    drop(lease);
    assert_eq!(quotas.report(Some("ada")).usage.sessions, 1);
    assert_eq!(quotas.report(Some("bob")).usage, Usage::default());
}

#[test]
fn changes_count_at_once() {
    let quotas = quotas("[default] \n sessions = 1");
    let _first = quotas.take(&session("ada", 0)).unwrap();
    let two = Changes {
        sessions: Some(2),
        ..Changes::default()
    };
    quotas.change("ada", two);
    let _second = quotas.take(&session("ada", 0)).unwrap();
    let over = quotas.take(&session("ada", 0)).unwrap_err().to_string();
    assert_eq!(over, "2 of 2 sessions run (the quota that an administrator set)");
    assert_eq!(quotas.report(Some("ada")).changes, Some(two));
    quotas.change("ada", Changes::default());
    assert_eq!(quotas.report(Some("ada")).limits.sessions, Some(1));
}

#[test]
fn statements_are_counted_for_each_user() {
    let quotas = quotas("[default] \n statements_per_minute = 2");
    for user in [Some("ada"), Some("bob"), None] {
        assert!(quotas.statement(user).is_ok());
        assert!(quotas.statement(user).is_ok());
        let late = quotas.statement(user).unwrap_err();
        assert!((1..=30).contains(&late.seconds()), "{late}");
    }
    assert!(
        super::Quotas::new(&BTreeMap::new(), BTreeMap::new())
            .statement(None)
            .is_ok()
    );
}
