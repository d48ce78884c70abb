//! What a build without some of its features says when it is asked for what is missing: which feature that is. And that
//! whatever needs none of them is there.

#![cfg(not(portable))]

mod support;

use openwork::config::{ConfigChange, Placement, Preemption, Strategy, VictimOrder};
use openwork::{Runtime, SegmentError, build_info, scope, with_segment, yield_now};
use support::{runtime, until};

fn is_on(name: &str) -> bool {
    let features = build_info().features;
    let found = features.iter().find(|feature| feature.name == name);
    found.expect("a feature of this name").on
}

/// Asks a runtime that runs, and a builder's other door is the same.
fn check(feature: &str, field: &str, set: impl Fn(&mut ConfigChange)) {
    let rt = runtime(1);
    let mut change = ConfigChange::default();
    set(&mut change);
    let before = rt.handle().config();
    match rt.handle().reconfigure(change) {
        Ok(_) => assert!(is_on(feature), "{field} was accepted"),
        Err(why) => {
            let told = why.to_string();
            assert!(!is_on(feature), "{told}");
            assert_eq!(why.field(), field);
            assert!(told.contains(&format!("`{feature}`")), "{told}");
            assert_eq!(rt.handle().config(), before);
        }
    }
}

struct AsUsual;

impl Strategy for AsUsual {}

#[test]
fn what_is_missing_is_refused_by_its_name() {
    check("preemption", "preemption", |c| {
        c.preemption = Some(Preemption::Forced);
    });
    for placement in [Placement::LeastLoaded, Placement::Affinity] {
        check("balance", "placement", |c| c.placement = Some(placement));
    }
    check("balance", "rebalance", |c| c.rebalance = Some(true));

    let builder = Runtime::builder().workers(1).strategy(AsUsual);
    let built = builder.clone().placement(Placement::Custom).build();
    assert_eq!(built.is_ok(), is_on("balance"));
    let built = builder.victims(VictimOrder::Custom).build();
    assert_eq!(built.is_ok(), is_on("balance"));
    let built = Runtime::builder()
        .workers(1)
        .preemption(Preemption::Forced)
        .build();
    assert_eq!(built.is_ok(), is_on("preemption"));

    match runtime(1).block_on(|| with_segment(1 << 20, || 5)) {
        Ok(value) => assert!(is_on("growth") && value == 5),
        Err(why) => {
            assert!(matches!(why, SegmentError::Unsupported));
            assert!(!is_on("growth") && why.to_string().contains("`growth`"));
        }
    }
}

#[test]
fn whatever_needs_none_of_them_is_there() {
    let rt = runtime(2);
    let sum: u64 = rt.block_on(|| {
        scope(|s| {
            let parts: Vec<_> = (0..100)
                .map(|n| {
                    s.spawn(move || {
                        yield_now();
                        n
                    })
                })
                .collect();
            parts.into_iter().map(|part| part.join().unwrap()).sum()
        })
    });
    assert_eq!(sum, 4950);
    until("all ends are counted", || {
        let snapshot = rt.snapshot();
        let ended: u64 = snapshot.workers.iter().map(|worker| worker.ended).sum();
        (snapshot.routines.spawned, ended) == (101, 101)
    });
}
