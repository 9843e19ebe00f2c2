use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;
use crate::quota::{Changes, Cost, Kind};

fn quotas(text: &str) -> Quotas {
    Quotas::new(&toml::from_str(text).unwrap(), BTreeMap::new())
}

fn gate(limit: usize, queue_limit: usize) -> Admission {
    Admission::new("sessions", limit, queue_limit, &quotas(""))
}

fn of(owner: &str) -> Claim {
    Claim::new(Some(owner.to_owned()), Kind::Session, Cost::default())
}

fn has_come(ticket: &mut Ticket) -> bool {
    if let Ahead::Waits(waits) = &mut ticket.place
        && let Ok(place) = waits.come.try_recv()
    {
        ticket.place = Ahead::Come(place);
    }
    ticket.is_come()
}

#[tokio::test]
async fn the_queue_is_bounded() {
    let gate = gate(1, 1);
    let first = gate.enter(&of("ada")).unwrap();
    assert!(first.is_come() && first.notices().is_empty());
    let place = first.admitted().await.unwrap();
    let second = gate.enter(&of("ada")).unwrap();
    assert_eq!(
        second.notices(),
        ["Waiting in the queue: 1 sessions run (limits.sessions), 0 wait before this one."]
    );
    assert_eq!(gate.enter(&of("bob")).unwrap_err(), QueueFull::All("sessions"));
    let waiting = second.admitted();
    drop(place);
    assert!(waiting.await.is_some());
    assert!(gate.enter(&of("ada")).is_ok());
}

#[tokio::test]
async fn a_place_is_held_from_the_moment_it_was_asked_for() {
    let gate = gate(1, 9);
    let first = gate.enter(&of("ada")).unwrap();
    let second = gate.enter(&of("ada")).unwrap();
    let third = gate.enter(&of("ada")).unwrap();
    assert!(third.notices()[0].contains("1 wait before"));
    drop(first);
    // The third asks first and is not let in all the same.
    let mut third = Box::pin(third.admitted());
    assert!(third.as_mut().now_or_never().is_none());
    let place = second.admitted().await;
    assert!(third.as_mut().now_or_never().is_none());
    drop(place);
    assert!(third.await.is_some());
    let line = gate.gate.line();
    assert!(line.waiting.is_empty() && line.order.is_empty());
}

#[test]
fn owners_take_turns() {
    let gate = gate(1, 99);
    let mut running = gate.enter(&of("ada")).unwrap();
    let owners = ["ada", "ada", "ada", "bob", "bob", "eve"];
    let mut waiting: Vec<(usize, Ticket)> = owners
        .iter()
        .map(|owner| gate.enter(&of(owner)).unwrap())
        .enumerate()
        .collect();
    let told: Vec<String> = waiting
        .iter()
        .map(|(_, ticket)| ticket.notices()[0].clone())
        .collect();
    for (text, ahead) in told.iter().zip([0, 1, 2, 1, 3, 2]) {
        assert!(text.contains(&format!("{ahead} wait before")), "{text}");
    }
    let mut order = Vec::new();
    while !waiting.is_empty() {
        drop(running);
        let come = waiting
            .iter_mut()
            .position(|(_, ticket)| has_come(ticket))
            .unwrap();
        let (number, ticket) = waiting.remove(come);
        order.push(number);
        running = ticket;
        assert!(!waiting.iter_mut().any(|(_, ticket)| has_come(ticket)));
    }
    assert_eq!(order, [0, 3, 5, 1, 4, 2]);
}

#[test]
fn who_has_no_room_keeps_nobody_waiting() {
    let quotas = quotas("[default] \n sessions = 1 \n queued = 2");
    let gate = Admission::new("sessions", 3, 99, &quotas);
    let first = gate.enter(&of("ada")).unwrap();
    let mut second = gate.enter(&of("ada")).unwrap();
    assert_eq!(
        second.notices(),
        ["Waiting for room in the quota: 1 of 1 sessions run (quota.default)."]
    );
    let mut third = gate.enter(&of("ada")).unwrap();
    assert_eq!(
        gate.enter(&of("ada")).unwrap_err().to_string(),
        "2 of your sessions wait to be started, and that is the most (quota.default)."
    );
    assert!(gate.enter(&of("bob")).unwrap().is_come());
    // A change counts at once.
    let two = Changes {
        sessions: Some(2),
        ..Changes::default()
    };
    quotas.change("ada", two);
    assert!(has_come(&mut second) && !has_come(&mut third));
    drop(first);
    assert!(has_come(&mut third));
    drop((second, third));
    assert_eq!(quotas.report(Some("ada")).usage.sessions, 0);
    assert_eq!(gate.gate.line().running, 0);
}

#[test]
fn what_one_gate_frees_another_gives() {
    let quotas = quotas("[default] \n cores = 2");
    let sessions = Admission::new("sessions", 9, 9, &quotas);
    let batches = Admission::new("batches", 9, 9, &quotas);
    let cores = Cost {
        cores: 2,
        ..Cost::default()
    };
    let claim = |kind| Claim::new(Some("ada".to_owned()), kind, cores);
    let (session, batch) = (claim(Kind::Session), claim(Kind::Batch));
    let running = batches.enter(&batch).unwrap();
    let mut waiting = sessions.enter(&session).unwrap();
    assert!(!has_come(&mut waiting));
    drop(running);
    assert!(has_come(&mut waiting));
    // One that was counted when it ran already is given back as well.
    let counted = batches.count(&batch);
    drop(waiting);
    let mut next = sessions.enter(&session).unwrap();
    assert!(!has_come(&mut next));
    drop(counted);
    assert!(has_come(&mut next));
}

#[test]
fn one_that_waits_is_in_its_new_owners_line() {
    let quotas = quotas("[default] \n sessions = 1 \n queued = 2");
    let gate = Admission::new("sessions", 9, 9, &quotas);
    let bob = Some("bob".to_owned());
    let (running, waits) = (of("ada"), of("ada"));
    let mut first = gate.enter(&running).unwrap();
    let mut second = gate.enter(&waits).unwrap();
    let his = gate.enter(&of("bob")).unwrap();
    let mut later = gate.enter(&of("bob")).unwrap();
    assert!(has_come(&mut first) && !has_come(&mut second) && his.is_come());
    // It came before what he asked for later, and is his from now on.
    gate.hand_over(&waits, &bob).unwrap();
    drop(his);
    assert!(has_come(&mut second) && !has_come(&mut later));
    // He has no room for one that runs, nor for a third that waits.
    let over = gate.hand_over(&running, &bob).unwrap_err().to_string();
    assert_eq!(over, "1 of 1 sessions run (quota.default)");
    let (third, fourth) = (of("ada"), of("ada"));
    let (third_ticket, fourth_ticket) = (gate.enter(&third).unwrap(), gate.enter(&fourth).unwrap());
    gate.hand_over(&third, &bob).unwrap();
    let full = gate.hand_over(&fourth, &bob).unwrap_err().to_string();
    assert_eq!(
        full,
        "2 sessions wait to be started, and that is the most (quota.default)"
    );
    gate.take_back(&third, &Some("ada".to_owned()));
    drop((second, later));
    drop(first);
    let mut third_ticket = third_ticket;
    assert!(has_come(&mut third_ticket), "it is hers again");
    drop((third_ticket, fourth_ticket));
    let line = gate.gate.line();
    assert!(line.running == 0 && line.waiting.is_empty() && line.order.is_empty());
    drop(line);
    assert!(quotas.reports().is_empty());
}

proptest! {
    /// Whoever comes and goes: never more than the limits run, nobody waits where there is room, and nothing is left in the end.
    #[test]
    fn limits_hold(limit in 1..5usize, quota in 1..4u64, steps in prop::collection::vec((0..4usize, any::<prop::sample::Index>(), any::<bool>()), 1..80)) {
        let owners = ["ada", "bob", "eve", "joe"];
        let quotas = quotas(&format!("[default] \n sessions = {quota}"));
        let gate = Admission::new("sessions", limit, 1000, &quotas);
        let mut all: Vec<(usize, Ticket)> = Vec::new();
        for (owner, index, leaves) in steps {
            if leaves && !all.is_empty() {
                drop(all.swap_remove(index.index(all.len())));
            } else {
                all.push((owner, gate.enter(&of(owners[owner])).unwrap()));
            }
            let mut run = [0u64; 4];
            let mut wait = [0u64; 4];
            for (owner, ticket) in &mut all {
                if has_come(ticket) { run[*owner] += 1 } else { wait[*owner] += 1 }
            }
            let running: u64 = run.iter().sum();
            prop_assert!(running <= limit as u64);
            prop_assert!(run.iter().all(|count| *count <= quota));
            if running < limit as u64 {
                prop_assert!((0..4).all(|owner| wait[owner] == 0 || run[owner] == quota));
            }
        }
        all.clear();
        let line = gate.gate.line();
        prop_assert!(line.running == 0 && line.waiting.is_empty() && line.order.is_empty());
        drop(line);
        prop_assert!(quotas.reports().is_empty());
    }
}
