//! Payments out of deposits, and transfers that the chain refuses for good.

use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall, sol};
use golem_dev_chain::{Handle, dev_accounts};
use golem_model::driver::{DriverReleaseDeposit, ValidateAllocation, ValidateAllocationResult};
use golem_model::payment::Deposit;

use crate::fixture::{Node, PLATFORM, TestChain, eventually, glm, order, payer, send, text, verification};

sol! {
    function approve(address spender, uint256 amount) returns (bool);
    function createDeposit(uint64 nonce, address spender, uint128 amount, uint128 flatFee, uint64 validTo) returns (uint256);
}

/// A deposit of 50 GLM with a fee of 1.
async fn deposit(chain: &Handle, nonce: u64, valid_to: u64) -> Deposit {
    let (funder, contracts) = (dev_accounts()[2].address, chain.contracts());
    chain.give(funder, U256::ZERO, glm("51")).unwrap();
    let approve = approveCall { spender: contracts.lock, amount: U256::MAX };
    send(chain, 2, 0, contracts.token, 0, approve.abi_encode()).await;
    let create = createDepositCall {
        nonce,
        spender: payer(),
        amount: glm("50").to(),
        flatFee: glm("1").to(),
        validTo: valid_to,
    };
    send(chain, 2, 1, contracts.lock, 0, create.abi_encode()).await;
    let id = (U256::from_be_slice(funder.as_slice()) << 96) | U256::from(nonce);
    Deposit { id: format!("{id:#x}"), contract: text(contracts.lock), validate: None }
}

fn allocation(deposit: Deposit, amount: &str, timeout: i64) -> ValidateAllocation {
    ValidateAllocation {
        address: text(payer()),
        platform: PLATFORM.into(),
        amount: amount.parse().unwrap(),
        timeout: chrono::DateTime::from_timestamp(timeout, 0),
        deposit: Some(deposit),
        past_allocations: vec![],
        active_allocations: vec![],
        new_allocation: true,
        unpaid: "0".parse().unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposit_pays_and_its_rest_goes_back() {
    let test = TestChain::at_once().await;
    let folder = tempfile::tempdir().unwrap();
    let deposit = deposit(&test.chain, 0x1700, 4_000_000_000).await;
    let node = Node::start(folder.path(), &test.chain).await;

    let with = |validate: &[(&str, &str)]| {
        let values = validate.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Deposit { validate: Some(values), ..deposit.clone() }
    };
    let ask = async |deposit: Deposit, amount: &str, timeout| node.call(allocation(deposit, amount, timeout)).await;
    let fee = ("flatFeeAmount", "1000000000000000000");
    assert_eq!(ask(with(&[fee]), "50", 2_000_000_000).await.unwrap(), ValidateAllocationResult::Valid);
    assert_eq!(
        ask(with(&[("flatFeeAmount", "0x7")]), "50", 2_000_000_000).await.unwrap(),
        ValidateAllocationResult::DepositValidationError("failed due to flatFeeAmount mismatch".into())
    );
    assert!(ask(with(&[]), "50", 2_000_000_000).await.is_err());
    let too_long = ask(deposit.clone(), "50", 4_000_000_001).await.unwrap();
    assert!(matches!(too_long, ValidateAllocationResult::TimeoutExceedsDeposit { .. }));
    let unknown = Deposit { id: "0x1".into(), ..deposit.clone() };
    assert_eq!(
        ask(unknown, "5", 2_000_000_000).await.unwrap(),
        ValidateAllocationResult::NoDeposit { deposit_id: "1".into() }
    );
    let foreign = Deposit { contract: text(Address::repeat_byte(3)), ..deposit.clone() };
    let refused = ask(foreign, "5", 2_000_000_000).await.unwrap();
    assert!(matches!(refused, ValidateAllocationResult::DepositValidationError(_)));

    let payee = Address::repeat_byte;
    for (id, to, amount) in [("a", 1, "3"), ("b", 2, "4"), ("c", 1, "5")] {
        let mut call = order(id, payee(to), amount);
        call.deposit_id = Some(deposit.clone());
        node.call(call).await.unwrap();
    }
    for id in ["a", "b", "c"] {
        let notice = node.notice(id).await;
        node.call(verification(&notice)).await.unwrap();
    }
    let release = DriverReleaseDeposit {
        platform: PLATFORM.into(),
        from: text(payer()),
        deposit_contract: deposit.contract.clone(),
        deposit_id: deposit.id.clone(),
    };
    node.call(release.clone()).await.unwrap();
    node.call(release).await.unwrap();
    eventually("closed", || test.chain.glm(dev_accounts()[2].address) == glm("38")).await;
    assert_eq!(
        (test.chain.glm(payee(1)), test.chain.glm(payee(2)), test.chain.glm(payer())),
        (glm("8"), glm("4"), glm("1"))
    );
    // One packed payment and the close; no allowance.
    assert_eq!(test.chain.sent_by(payer()).len(), 2);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_chain_refuses_for_good_is_given_up_and_harms_nobody_else() {
    let test = TestChain::at_once().await;
    test.chain.give(payer(), U256::ZERO, glm("10")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    let mut hopeless = order("hopeless", Address::repeat_byte(1), "1");
    hopeless.deposit_id =
        Some(Deposit { id: "0x77".into(), contract: text(test.chain.contracts().lock), validate: None });
    node.call(hopeless).await.unwrap();
    node.schedule("good", Address::repeat_byte(2), "1").await;
    node.notice("good").await;
    let abandoned = node.until("abandoned", |told| told.abandoned.first().cloned()).await;
    assert_eq!(abandoned.payment_id, "hopeless");
    assert!(abandoned.reason.contains("deposit is not open"), "{}", abandoned.reason);
    assert_eq!(test.chain.sent_by(payer()).len(), 1);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_receiver_of_a_batch_holds_up_nobody_else() {
    let test = TestChain::at_once().await;
    let folder = tempfile::tempdir().unwrap();
    let deposit = deposit(&test.chain, 1, 4_000_000_000).await;
    let node = Node::start(folder.path(), &test.chain).await;
    // The contract does not let a spender pay itself.
    for (id, to) in [("a", Address::repeat_byte(1)), ("bad", payer()), ("c", Address::repeat_byte(3))] {
        let mut call = order(id, to, "2");
        call.deposit_id = Some(deposit.clone());
        node.call(call).await.unwrap();
    }
    assert_eq!(node.notice("a").await.confirmation, node.notice("c").await.confirmation);
    let abandoned = node.until("abandoned", |told| told.abandoned.first().cloned()).await;
    assert_eq!(abandoned.payment_id, "bad");
    assert!(abandoned.reason.contains("spender cannot pay itself"), "{}", abandoned.reason);
    assert_eq!(test.chain.sent_by(payer()).len(), 1);
    node.stop().await;
    test.end().await;
}
