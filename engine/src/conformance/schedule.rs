//! What a schedule promises.

use crate::door::{Env, Site};
use std::collections::BTreeSet;

/// Everything a schedule promises.
pub fn check(env: &Env) {
    every_choice_comes_up(env);
    sites_that_take_turns_do_not_starve_each_other(env);
    tokens_are_never_drawn_twice(env);
    nonces_are_never_drawn_twice_and_no_bit_of_them_is_fixed(env);
}

fn every_choice_comes_up(env: &Env) {
    for choices in 1..=5 {
        let mut seen = BTreeSet::new();
        for _ in 0..1_000 {
            let picked = env.schedule.pick(Site::new("conformance", 1), choices);
            assert!(picked < choices, "{picked} was picked of {choices}");
            seen.insert(picked);
        }
        assert_eq!(seen.len(), choices, "a choice of {choices} never came up");
    }
}

/// A shared counter that deals choices in turn would give each of two alternating sites the same one for ever.
fn sites_that_take_turns_do_not_starve_each_other(env: &Env) {
    let mut seen = [[0_u32; 2]; 2];
    for _ in 0..1_000 {
        for (lane, seen) in seen.iter_mut().enumerate() {
            seen[env.schedule.pick(Site::new("conformance", lane as u64), 2)] += 1;
        }
    }
    assert!(seen.iter().flatten().all(|&count| count > 100), "a site is starved: {seen:?}");
}

fn tokens_are_never_drawn_twice(env: &Env) {
    let tokens: BTreeSet<u64> = (0..1_000).map(|_| env.schedule.token(Site::new("conformance", 2))).collect();
    assert_eq!(tokens.len(), 1_000, "a token was drawn twice");
}

/// What nobody can predict cannot be tested; what somebody could is noticed here if it repeats or stands still.
fn nonces_are_never_drawn_twice_and_no_bit_of_them_is_fixed(env: &Env) {
    let draw = |n: u64| env.schedule.nonce(Site::new("conformance", n % 3));
    let nonces: BTreeSet<[u8; 32]> = (0..1_000).map(draw).collect();
    assert_eq!(nonces.len(), 1_000, "a nonce was drawn twice");
    for bit in 0..256 {
        let ones = nonces.iter().filter(|nonce| nonce[bit / 8] >> (bit % 8) & 1 == 1).count();
        assert!((350..650).contains(&ones), "bit {bit} was set in {ones} of 1,000 nonces");
    }
}
