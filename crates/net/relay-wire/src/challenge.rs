//! Proof of work (spec 10 §5): a counter in front of the challenge whose SHA3-512 has leading zero bits.

use sha3::{Digest, Sha3_512};

/// Bytes of a challenge.
pub const CHALLENGE_BYTES: usize = 16;
/// Bytes of a solution: counter and hash.
pub const SOLUTION_BYTES: usize = 72;
/// Hardest challenge of a relay that we solve: minutes on a slow core. Relays ask for 16.
pub const RELAY_DIFFICULTY_MAX: u64 = 28;
/// Hardest challenge of a node that we solve. Nodes ask for 1; a relay's challenge handed on by a node (spec 10 §16) is above.
pub const NODE_DIFFICULTY_MAX: u64 = 8;
/// What we ask of nodes, as all peers do.
pub const NODE_DIFFICULTY: u64 = 1;

pub type Solution = [u8; SOLUTION_BYTES];

/// Tries all counters from zero; `None` when there is no solution among the first `tries`.
pub fn solve(challenge: &[u8], difficulty: u64, tries: u64) -> Option<Solution> {
    (0..tries).find_map(|counter| {
        let prefix = counter.to_be_bytes();
        let hash = hash(&prefix, challenge);
        (leading_zeros(&hash) >= difficulty).then(|| {
            let mut solution = [0; SOLUTION_BYTES];
            let (head, tail) = solution.split_at_mut(prefix.len());
            head.copy_from_slice(&prefix);
            tail.copy_from_slice(&hash);
            solution
        })
    })
}

pub fn is_solved(challenge: &[u8], difficulty: u64, solution: &[u8]) -> bool {
    solution.len() == SOLUTION_BYTES
        && solution.split_first_chunk::<8>().is_some_and(|(prefix, claimed)| {
            let hash = hash(prefix, challenge);
            hash[..] == *claimed && leading_zeros(&hash) >= difficulty
        })
}

fn hash(prefix: &[u8; 8], challenge: &[u8]) -> [u8; 64] {
    Sha3_512::new().chain_update(prefix).chain_update(challenge).finalize().into()
}

fn leading_zeros(hash: &[u8; 64]) -> u64 {
    let mut bits = 0;
    for byte in hash {
        bits += u64::from(byte.leading_zeros());
        if *byte != 0 {
            break;
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_of_zeros_counts_all_its_bits() {
        assert_eq!(leading_zeros(&[0; 64]), 512);
        let mut hash = [0; 64];
        hash[1] = 0x10;
        assert_eq!(leading_zeros(&hash), 11);
    }

    #[test]
    fn the_search_ends_at_its_limit() {
        assert_eq!(solve(&[7; 16], 60, 100), None);
    }

    proptest! {
        #[test]
        fn a_solution_is_accepted_and_a_changed_one_is_not(challenge: [u8; 16], difficulty in 0..10u64, at in 0..72usize) {
            let mut solution = solve(&challenge, difficulty, 1 << 20).unwrap();
            prop_assert!(is_solved(&challenge, difficulty, &solution));
            prop_assert!(!is_solved(&challenge, 200, &solution));
            solution[at] ^= 1;
            prop_assert!(!is_solved(&challenge, 0, &solution));
        }

        #[test]
        fn any_bytes_are_judged(challenge: Vec<u8>, difficulty: u64, solution: Vec<u8>) {
            prop_assert!(!is_solved(&challenge, difficulty.max(1), &solution));
        }
    }
}
