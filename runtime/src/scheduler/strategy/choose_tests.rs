//! Tests of [`super::choose`]; apart from it, because that file is compiled into a bench as well.

use super::choose::*;

#[test]
fn the_least_loaded_is_here_among_equals() {
    let least = |loads: &[u64], here| least_loaded(loads.len(), here, |i| loads[i]);
    assert_eq!(least(&[3, 1, 1, 2], 2), 2);
    assert_eq!(least(&[3, 1, 1, 2], 3), 1);
    assert_eq!(least(&[0, 0, 0], 7), 1, "a caller outside has any number");
}

#[test]
fn the_most_loaded_is_somebody_else_who_has_something() {
    let most = |loads: &[u64], me| most_loaded(loads.len(), me, |i| loads[i]);
    assert_eq!(most(&[9, 1, 4], 0), Some(2));
    assert_eq!(most(&[9, 1, 4], 2), Some(0));
    assert_eq!(most(&[9, 0, 0], 0), None);
    assert_eq!(most(&[9], 0), None);
}

#[test]
fn an_appetite_follows_success_within_bounds() {
    let mut appetite = Appetite::FIRST;
    let fed: Vec<u32> = (0..5)
        .map(|_| {
            appetite = appetite.fed();
            appetite.amount
        })
        .collect();
    assert_eq!(fed, [8, 16, 32, 32, 32]);
    assert_eq!([1, 10, 63, 1000].map(|n| appetite.limit(n)), [1, 5, 32, 32]);
    for _ in 0..10 {
        appetite = appetite.starved();
    }
    assert_eq!(
        appetite,
        Appetite {
            amount: 1,
            rounds: 1
        }
    );
    assert_eq!(appetite.limit(1000), 1);
    assert_eq!(appetite.fed().rounds, ROUNDS_MAX);
}

#[test]
fn an_imbalance_moves_up_to_the_mean() {
    let found = |loads: &[u64], ratio| imbalance(loads.len(), ratio, |i| loads[i], |i| loads[i]);
    let moved = |from, to, count| Some(Move { from, to, count });
    assert_eq!(found(&[20, 0], 1.5), moved(0, 1, 10));
    assert_eq!(found(&[20, 0], 2.0), None, "20 is not more than twice 10");
    assert_eq!(found(&[0, 4, 40, 4], 2.0), moved(2, 0, 12));
    assert_eq!(found(&[3, 0, 0, 0], 1.1), None, "too little to be worth it");
    assert_eq!(found(&[8, 8], 1.1), None);
    assert_eq!(found(&[100], 1.1), None);
    // What is bound to its worker stays.
    assert_eq!(imbalance(2, 1.5, |_| 0, |i| [20, 0][i]), None);
    assert_eq!(
        imbalance(2, 1.5, |i| [3, 0][i], |i| [20, 0][i]),
        moved(0, 1, 3)
    );
}
