use alloy_primitives::{Address, B256, Bytes, U256};
use chrono::{DateTime, Utc};
use golem_model::payment::Network;
use proptest::prelude::*;

use super::*;
use crate::network;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

fn hoodi() -> Chain {
    network::built_in(Network::Hoodi).unwrap()
}

fn queued(id: u8, recipient: u8, amount: u64) -> Queued {
    Queued {
        payment_id: format!("p{id}"),
        kind: Kind::Transfer,
        recipient: Address::repeat_byte(recipient),
        amount: U256::from(amount),
        deposit: None,
        due_at: at(0),
        created_at: at(0),
        not_before: at(0),
        tries: 0,
    }
}

const PACE: Pace = Pace { quiet: Duration::from_secs(1), gather: Duration::from_secs(60) };

#[test]
fn a_queue_is_collected_when_its_cycle_is_whole() {
    let check = |queue: &[Queued], now: i64, flush: bool, expected: Collect| {
        assert_eq!(collect(queue, at(now), PACE, flush), expected);
    };
    check(&[], 0, true, Collect::Nothing);
    let due = queued(1, 1, 5);
    check(std::slice::from_ref(&due), 0, false, Collect::At(at(1)));
    check(std::slice::from_ref(&due), 1, false, Collect::Now);
    check(std::slice::from_ref(&due), 0, true, Collect::Now);
    // New ones keep coming, but not for ever.
    let late = Queued { created_at: at(30), ..queued(2, 2, 5) };
    check(&[due.clone(), late.clone()], 30, false, Collect::Now);
    // Not due for long: it waits for company, not longer than the gather interval.
    let far = Queued { due_at: at(10_000), ..due.clone() };
    check(std::slice::from_ref(&far), 10, false, Collect::At(at(60)));
    check(&[far, late], 31, false, Collect::Now);
    let again = Queued { not_before: at(500), ..due };
    check(std::slice::from_ref(&again), 400, true, Collect::At(at(500)));
}

#[test]
fn payees_share_transactions_and_no_payee_comes_twice() {
    let queue: Vec<_> = (0..12).map(|id| queued(id, id % 11 + 1, 10)).collect();
    let job = next(&queue, at(0), &hoodi(), U256::from(1000)).job.unwrap();
    let multi = hoodi().multi.unwrap().address;
    assert_eq!((job.parcels.len(), job.target), (10, multi));
    assert_eq!(job.parcels[0].payment_ids, ["p0", "p11"]);
    assert_eq!(job.allowance, Some((multi, U256::from(110))));
    let rest: Vec<_> = queue.iter().filter(|queued| !job.payment_ids().contains(&queued.payment_id)).cloned().collect();
    let job = next(&rest, at(0), &hoodi(), U256::from(1000)).job.unwrap();
    assert_eq!((job.parcels.len(), job.target, job.allowance), (1, hoodi().token, None));
}

#[test]
fn what_the_account_cannot_pay_waits_and_is_counted() {
    let queue = [queued(1, 1, 60), queued(2, 2, 50), queued(3, 3, 30)];
    let plan = next(&queue, at(0), &hoodi(), U256::from(100));
    assert_eq!(plan.tokens_missing, U256::from(40));
    assert_eq!(plan.job.unwrap().payment_ids(), ["p1", "p3"]);
    let plan = next(&queue[..1], at(0), &hoodi(), U256::ZERO);
    assert_eq!((plan.job, plan.tokens_missing), (None, U256::from(60)));
}

#[test]
fn a_transfer_that_was_refused_goes_alone() {
    let refused = Queued { tries: 1, ..queued(1, 1, 10) };
    let queue = [refused.clone(), queued(2, 2, 10), queued(3, 3, 10)];
    let job = next(&queue, at(0), &hoodi(), U256::from(100)).job.unwrap();
    assert_eq!((job.payment_ids(), job.target), (vec!["p1".to_owned()], hoodi().token));
    let later = Queued { not_before: at(9), ..refused };
    let queue = [later, queued(2, 2, 10), queued(3, 3, 10)];
    assert_eq!(next(&queue, at(0), &hoodi(), U256::from(100)).job.unwrap().payment_ids(), ["p2", "p3"]);
}

#[test]
fn amounts_that_do_not_fit_a_packed_word_go_alone() {
    let huge = Queued { amount: abi::PACKED_MAX + U256::ONE, ..queued(1, 1, 0) };
    let queue = [huge, queued(2, 2, 10), queued(3, 3, 10)];
    let job = next(&queue, at(0), &hoodi(), U256::MAX).job.unwrap();
    assert_eq!((job.payment_ids(), job.target), (vec!["p1".to_owned()], hoodi().token));
}

#[test]
fn a_deposit_pays_its_own_and_is_closed_last() {
    let deposit = DepositKey { contract: Address::repeat_byte(0xdd), id: U256::from(7) };
    let of = |queued: Queued| Queued { deposit: Some(deposit), ..queued };
    let close = Queued { kind: Kind::CloseDeposit, ..of(queued(9, 9, 0)) };
    let queue = [close.clone(), of(queued(1, 1, 10)), queued(2, 2, 10), of(queued(3, 3, 10))];
    let job = next(&queue, at(0), &hoodi(), U256::ZERO).job.unwrap();
    assert_eq!(
        (job.payment_ids(), job.target, job.allowance),
        (vec!["p1".into(), "p3".into()], deposit.contract, None)
    );
    let retry = Queued { not_before: at(99), ..of(queued(1, 1, 10)) };
    assert_eq!(next(&[close.clone(), retry], at(0), &hoodi(), U256::ZERO).job, None);
    let job = next(&[close], at(0), &hoodi(), U256::ZERO).job.unwrap();
    assert_eq!(job.input, abi::close_deposit(deposit.id));
}

#[test]
fn fees_stay_below_the_ceiling() {
    assert_eq!(fees(100, 10, 1000), Some(Fees { max_fee: 210, tip: 10 }));
    assert_eq!(fees(100, 10, 105), Some(Fees { max_fee: 105, tip: 5 }));
    assert_eq!(fees(100, 10, 100), None);
    let old = Fees { max_fee: 80, tip: 10 };
    assert_eq!(bump(old, 40, 10, 1000), Some(Fees { max_fee: 91, tip: 12 }));
    assert_eq!(bump(old, 40, 10, 90), Some(Fees { max_fee: 90, tip: 12 }));
    assert_eq!(bump(old, 40, 10, 85), None);
    let eco = |extra| ceiling(&network::built_in(Network::Polygon).unwrap(), 100_000_000_000, Some(extra));
    assert_eq!((eco(10), eco(-90), eco(900)), (110_000_000_000, 25_011_000_000, 500_000_000_000));
    assert_eq!(ceiling(&hoodi(), 5, Some(0)), hoodi().max_fee_wei);
}

fn open(nonce: u64) -> OpenTransaction {
    let attempt =
        |byte: u8| Attempt { hash: B256::repeat_byte(byte), raw: Bytes::new(), max_fee: 100, tip: 10, made_at: at(0) };
    let attempts = vec![attempt(1), attempt(2)];
    OpenTransaction { id: 1, nonce, target: Address::ZERO, input: Bytes::new(), gas_limit: 1, attempts }
}

#[test]
fn a_look_at_the_chain_is_judged() {
    let check = |nonce: u64, mined: [Option<(u64, bool)>; 2], confirmations: u64, expected: Verdict| {
        let sight = Sight { nonce, head: 50, base_fee: 1, mined: mined.into() };
        assert_eq!(judge(&open(5), &sight, confirmations), expected);
    };
    let hash = B256::repeat_byte(2);
    check(6, [None, Some((50, true))], 0, Verdict::Final { hash, block: 50, succeeded: true });
    check(6, [None, Some((48, false))], 2, Verdict::Final { hash, block: 48, succeeded: false });
    check(6, [None, Some((49, true))], 2, Verdict::Young);
    check(6, [None, None], 0, Verdict::NonceUsed);
    check(5, [None, None], 0, Verdict::Waiting);
    check(4, [None, None], 0, Verdict::Gap);
}

#[test]
fn a_transaction_that_waits_too_long_pays_more() {
    let chain = hoodi();
    let newest = Attempt { max_fee: 2_000_000_000, tip: 1000, ..open(5).attempts[0].clone() };
    let check = |base_fee: u128, now: i64, expected: &str| {
        let sight = Sight { nonce: 5, head: 1, base_fee, mined: vec![] };
        let answer = match patience(&newest, &sight, &chain, chain.max_fee_wei, at(now)) {
            Patience::Wait => "wait",
            Patience::Replace(_) => "replace",
            Patience::Stuck => "stuck",
        };
        assert_eq!(answer, expected, "base fee {base_fee} at {now}");
    };
    check(1_000_000_000, 10, "wait");
    check(1_000_000_000, 60, "replace");
    check(3_000_000_000, 1, "replace");
    check(30_000_000_000, 1, "stuck");
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_overdrawn(
        amounts in proptest::collection::vec((0u8..6, 1u64..100, 0u32..2), 0..30),
        tokens in 0u64..2000,
    ) {
        let queue: Vec<_> = (0..).zip(&amounts)
            .map(|(id, &(to, amount, tries))| Queued { tries, ..queued(id, to, amount) }).collect();
        let plan = next(&queue, at(0), &hoodi(), U256::from(tokens));
        let total: u64 = amounts.iter().map(|&(_, amount, _)| amount).sum();
        prop_assert_eq!(plan.tokens_missing, U256::from(total.saturating_sub(tokens)));
        let Some(job) = plan.job else {
            prop_assert!(amounts.iter().all(|&(_, amount, _)| amount > tokens));
            return Ok(());
        };
        let ids = job.payment_ids();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        prop_assert_eq!(unique.len(), ids.len());
        let in_queue = |id: &String| queue.iter().find(|queued| queued.payment_id == *id).unwrap();
        for parcel in &job.parcels {
            let sum: U256 = parcel.payment_ids.iter().map(|id| in_queue(id).amount).sum();
            prop_assert_eq!(sum, parcel.amount);
            prop_assert!(parcel.payment_ids.iter().all(|id| in_queue(id).recipient == parcel.recipient));
        }
        let sum: U256 = job.parcels.iter().map(|parcel| parcel.amount).sum();
        prop_assert!(sum <= U256::from(tokens));
        let receivers: std::collections::BTreeSet<_> = job.parcels.iter().map(|parcel| parcel.recipient).collect();
        prop_assert_eq!(receivers.len(), job.parcels.len());
    }

    #[test]
    fn bumped_fees_are_taken_by_nodes(base in 0u128..1 << 60, old in 1u128..1 << 60, tip in 0u128..1 << 40, ceiling in 1u128..1 << 62) {
        let old = Fees { max_fee: old, tip: tip.min(old) };
        if let Some(new) = bump(old, base, tip, ceiling) {
            prop_assert!(new.max_fee <= ceiling && new.tip <= new.max_fee);
            prop_assert!(new.max_fee * 100 >= old.max_fee * 109 && new.tip * 100 >= old.tip * 110);
        }
    }
}
