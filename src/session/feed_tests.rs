use proptest::prelude::*;

use super::*;

fn feed(replay_bytes: usize) -> Arc<Feed> {
    let limits = (replay_bytes, 64 * 1024);
    Arc::new(Feed::new(7, limits, SessionState::Idle, std::iter::empty()))
}

fn id(seq: u64) -> EventId {
    EventId { epoch: 7, seq }
}

/// All there is for a reader now; it must not have to wait.
fn read(reader: &mut Reader) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(news) = reader.feed.after(reader.at) {
        let News::Events(first, events) = news else {
            panic!("{news:?}");
        };
        assert_eq!(first, id(reader.at + 1));
        reader.at += events.len() as u64;
        all.extend(events);
    }
    all
}

#[test]
fn ids_are_read_as_they_are_written() {
    assert_eq!("7-12".parse(), Ok(id(12)));
    assert_eq!(id(12).to_string(), "7-12");
    for odd in ["", "7", "7-", "-12", "7-x", "7-1-2"] {
        assert!(odd.parse::<EventId>().is_err(), "{odd}");
    }
}

#[tokio::test]
async fn phases_of_the_start_are_told_once_and_kept() {
    let feed = feed(1 << 20);
    let phase = |name, ms| Phase {
        name,
        took: Duration::from_millis(ms),
    };
    let mut early = feed.follow(Some(id(0)));
    for told in [phase("queue", 1), phase("jvm", 2), phase("jvm", 3)] {
        feed.started(told);
    }
    let told = [phase("queue", 1), phase("jvm", 2)];
    assert_eq!(read(&mut early), told.map(Event::Start));
    let News::Reset(_, reset) = feed.follow(None).next().await else {
        panic!("no reset");
    };
    assert_eq!(reset.start, told);
}

#[tokio::test]
async fn a_reader_begins_with_what_there_is() {
    let feed = feed(1 << 20);
    feed.state(SessionState::Busy);
    feed.output(3, 0, Bytes::from_static(b"a\r"));
    feed.output(3, 2, Bytes::from_static(b"b"));
    let mut reader = feed.follow(None);
    let News::Reset(at, reset) = reader.next().await else {
        panic!("no reset");
    };
    assert_eq!(
        (at, reset.because, reset.state),
        (id(3), Because::New, SessionState::Busy)
    );
    assert_eq!(reset.text.unwrap().shown(), "a\rb");
    feed.state(SessionState::Idle);
    feed.close();
    let News::Events(first, events) = reader.next().await else {
        panic!("no event");
    };
    assert_eq!((first, events), (id(4), vec![Event::State(SessionState::Idle)]));
    assert!(matches!(reader.next().await, News::Ended));
}

#[tokio::test]
async fn who_can_not_go_on_begins_anew() {
    let feed = feed(EVENT_LEAST * 4);
    for _ in 0..10 {
        feed.state(SessionState::Busy);
    }
    let because = async |after: EventId| match feed.follow(Some(after)).next().await {
        News::Reset(at, reset) => {
            assert_eq!(at, id(10));
            Some(reset.because)
        }
        _ => None,
    };
    assert_eq!(because(id(5)).await, Some(Because::TooOld));
    assert_eq!(because(id(6)).await, None);
    assert_eq!(because(id(11)).await, Some(Because::TooOld));
    assert_eq!(because(id(u64::MAX)).await, Some(Because::TooOld));
    let earlier = EventId { epoch: 6, seq: 10 };
    assert_eq!(because(earlier).await, Some(Because::Restarted));
    let mut slow = feed.follow(Some(id(8)));
    for _ in 0..10 {
        feed.state(SessionState::Busy);
    }
    assert!(matches!(slow.next().await, News::Behind));
}

proptest! {
    /// Whatever a client says that it has read last: it goes on after that, or begins anew.
    #[test]
    fn any_cursor_is_followed(text in "7-[0-9]{0,22}|-?[0-9]{0,3}-[0-9]{0,3}|.{0,12}", pieces in 0_u64..5) {
        let feed = feed(64 * 1024);
        for at in 0..pieces {
            feed.output(0, at, Bytes::from_static(b"x"));
        }
        let after: Option<EventId> = text.parse().ok();
        let mut reader = feed.follow(after);
        let begins = reader.reset.is_some();
        let last = feed.now(Because::New).0;
        let is_known = after.is_some_and(|after| after.epoch == 7 && after.seq <= last);
        prop_assert_eq!(begins, !is_known);
        prop_assert!(begins || read(&mut reader).len() as u64 == last - after.map_or(0, |after| after.seq));
    }

    /// However large the events are and however often a reader is cut off, it has each that is kept once, and in order.
    #[test]
    fn nothing_is_lost_or_repeated(
        steps in prop::collection::vec((1..2000_usize, any::<bool>(), any::<bool>()), 1..100),
        replay in 1000..100_000_usize,
    ) {
        let feed = feed(replay);
        let mut reader = feed.follow(Some(id(0)));
        let (mut told, mut seen, mut kept) = (0, 0, 0);
        for (size, is_read, is_cut) in steps {
            feed.output(0, told, Bytes::from(vec![b'x'; size]));
            told += size as u64;
            kept += size.max(EVENT_LEAST);
            if is_cut {
                reader = feed.follow(Some(id(reader.at)));
            }
            let fell_behind = reader.reset.is_some() || matches!(feed.after(reader.at), Some(News::Behind));
            prop_assert!(!fell_behind || kept > replay);
            if fell_behind {
                reader = feed.follow(None);
                let (last, _) = feed.now(Because::New);
                (reader.reset, reader.at, seen, kept) = (None, last, told, 0);
            } else if is_read {
                for event in read(&mut reader) {
                    let Event::Output(piece) = event else { panic!("{event:?}") };
                    prop_assert_eq!((piece.from, piece.skipped), (seen, 0));
                    seen += piece.bytes.len() as u64;
                }
                prop_assert_eq!(seen, told);
                kept = 0;
            }
            let ring = feed.ring();
            prop_assert!(ring.bytes <= replay.max(2000));
            prop_assert_eq!(ring.bytes, ring.events.iter().map(Event::weight).sum::<usize>());
        }
    }
}
