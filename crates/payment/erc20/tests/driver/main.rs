//! The driver against the development chain, from order to notice.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::print_stderr, reason = "test code")]

mod anvil;
mod crash;
mod deposit;
mod fixture;
mod trouble;

use alloy_primitives::{Address, U256};
use fixture::{Node, PLATFORM, TestChain, glm, order, payer, text, verification};
use golem_model::driver::{
    AccountMode, DriverStatus, Fund, GetAccountBalance, GetRpcEndpoints, Transfer, ValidateAllocation,
    ValidateAllocationResult, VerifyPaymentError,
};

fn payee(byte: u8) -> Address {
    Address::repeat_byte(byte)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_payments_of_a_cycle_become_one_transaction_that_payees_can_verify() {
    let test = TestChain::at_once().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.init().await;

    let fund = Fund { address: text(payer()), network: None, token: None, mint_only: true };
    let told = node.call(fund.clone()).await.unwrap();
    assert!(told.starts_with("Successfully received 0 ETH and 1000 tGLM on hoodi network"), "{told}");
    let balance = node.call(GetAccountBalance { address: text(payer()), platform: PLATFORM.into() }).await.unwrap();
    assert_eq!(balance.token_balance.to_string(), "1000");
    assert_eq!(balance.gas_details.unwrap().currency_short_name, "tETH");
    // Who has enough gets no more.
    let told = node.call(fund).await.unwrap();
    assert!(told.starts_with("Successfully received 0 ETH and 0 tGLM"), "{told}");

    // Two for the same payee and one for another.
    node.schedule("a", payee(1), "1.5").await;
    node.schedule("b", payee(2), "2").await;
    node.schedule("c", payee(1), "0.25").await;
    let notices = [node.notice("a").await, node.notice("b").await, node.notice("c").await];
    assert_eq!(test.chain.glm(payee(1)), glm("1.75"));
    assert_eq!(test.chain.glm(payee(2)), glm("2"));
    // Mint, approve, and one multi transfer.
    assert_eq!(test.chain.sent_by(payer()).len(), 3);
    assert!(notices.iter().all(|notice| notice.confirmation == notices[0].confirmation));
    assert_eq!((notices[0].amount.to_string().as_str(), notices[0].sender.as_str()), ("1.5", text(payer()).as_str()));

    for notice in &notices {
        let details = node.call(verification(notice)).await.unwrap();
        let expected = if notice.payment_id == "b" { "2" } else { "1.75" };
        assert_eq!(details.amount, expected.parse().unwrap());
        assert_eq!((details.recipient, details.sender), (notice.recipient.clone(), notice.sender.clone()));
        assert!(details.date.is_some());
    }
    let refusal = async |change: &dyn Fn(&mut golem_model::driver::VerifyPayment)| {
        let mut call = verification(&notices[1]);
        change(&mut call);
        node.call(call).await.unwrap_err()
    };
    let refused = |text: &str| VerifyPaymentError::Refused(text.to_owned());
    assert_eq!(
        refusal(&|call| call.details.amount = "2.1".parse().unwrap()).await,
        refused("Transaction found but amount insufficient")
    );
    assert_eq!(
        refusal(&|call| call.details.payee_addr = text(payee(3))).await,
        refused("Transaction found but not matching")
    );
    assert_eq!(
        refusal(&|call| call.platform = "erc20-nowhere-tglm".into()).await,
        refused("Unable to find network for platform: erc20-nowhere-tglm")
    );
    let unknown = refusal(&|call| call.confirmation.confirmation = vec![7; 32]).await;
    assert_eq!(unknown, VerifyPaymentError::NotYet("Receipt not found".into()));
    assert!(matches!(refusal(&|call| call.confirmation.confirmation.clear()).await, VerifyPaymentError::Refused(_)));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_payment_needs_no_allowance_and_repeating_an_order_pays_once() {
    let test = TestChain::at_once().await;
    test.chain.give(payer(), U256::ZERO, glm("10")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("once", payee(1), "0.000000000000000001").await;
    node.notice("once").await;
    node.schedule("once", payee(1), "0.000000000000000001").await;
    let other = node.call(order("once", payee(1), "5")).await.unwrap_err();
    assert!(other.inner.contains("belongs to another transfer"), "{other}");
    node.schedule("next", payee(2), "3").await;
    node.notice("next").await;
    assert_eq!(test.chain.sent_by(payer()).len(), 2);
    assert_eq!(test.chain.glm(payee(1)), U256::ONE);

    let transfer = Transfer {
        sender: text(payer()),
        to: text(payee(5)),
        amount: "1".parse().unwrap(),
        network: Some("hoodi".into()),
        token: None,
        gas_price: None,
        max_gas_price: None,
        gas_limit: None,
        gasless: false,
    };
    node.call(transfer).await.unwrap();
    fixture::eventually("transfer", || test.chain.glm(payee(5)) == glm("1")).await;
    assert_eq!(node.told.lock().unwrap().notices.len(), 2);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eleven_payees_need_two_transactions() {
    let test = TestChain::at_once().await;
    test.chain.give(payer(), U256::ZERO, glm("100")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    for id in 1..=11 {
        node.schedule(&format!("p{id}"), payee(id), "1").await;
    }
    for id in 1..=11 {
        node.notice(&format!("p{id}")).await;
        assert_eq!(test.chain.glm(payee(id)), glm("1"));
    }
    // Approve, ten at once, the last alone.
    assert_eq!(test.chain.sent_by(payer()).len(), 3);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_driver_introduces_itself_and_its_accounts_after_each_start() {
    let test = TestChain::at_once().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    let driver = node.until("driver", |told| told.drivers.first().cloned()).await;
    assert_eq!((driver.details.default_network.as_str(), driver.details.networks.len()), ("holesky", 9));
    assert_eq!(driver.details.networks["polygon"].tokens["GLM"], "erc20-polygon-glm");
    node.init().await;
    node.stop().await;
    let node = Node::start(folder.path(), &test.chain).await;
    let account = node.until("account", |told| told.accounts.first().cloned()).await;
    assert_eq!((account.address, account.network.as_str(), account.mode), (text(payer()), "hoodi", AccountMode::SEND));

    let endpoints = GetRpcEndpoints { network: None, verify: true, resolve: true, no_wait: false };
    let report = node.call(endpoints).await.unwrap();
    assert_eq!(report.endpoints["hoodi"][0]["ok"], true);
    assert_eq!(node.call(DriverStatus { network: None }).await.unwrap(), vec![]);
    assert!(node.call(DriverStatus { network: Some("nowhere".into()) }).await.is_err());
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allocations_are_granted_by_what_the_account_holds() {
    let test = TestChain::at_once().await;
    test.chain.give(payer(), U256::ZERO, glm("10")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    let ask = async |amount: &str| {
        node.call(ValidateAllocation {
            address: text(payer()),
            platform: PLATFORM.into(),
            amount: amount.parse().unwrap(),
            timeout: None,
            deposit: None,
            past_allocations: vec![],
            active_allocations: vec![],
            new_allocation: true,
            unpaid: "1".parse().unwrap(),
        })
        .await
        .unwrap()
    };
    assert_eq!(ask("9").await, ValidateAllocationResult::Valid);
    let ValidateAllocationResult::InsufficientAccountFunds { available_funds, .. } = ask("9.5").await else {
        panic!("must be refused")
    };
    assert_eq!(available_funds.to_string(), "9");
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coin_comes_from_the_donor_of_the_development_chain() {
    let test = TestChain::at_once().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    // An account with key and without coin: its key is the fourth, its coin is taken away first.
    let poor = golem_dev_chain::dev_accounts()[3].address;
    fixture::ask(&test.chain, "anvil_setBalance", serde_json::json!([text(poor), "0x0"])).await;
    let fund = Fund { address: text(poor), network: Some("hoodi".into()), token: None, mint_only: false };
    let told = node.call(fund).await.unwrap();
    assert!(told.contains("ETH and 1000 tGLM on hoodi network"), "{told}");
    assert_eq!(test.chain.glm(poor), glm("1000"));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_orders_are_refused_with_a_reason() {
    let test = TestChain::at_once().await;
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    let check = async |change: &dyn Fn(&mut golem_model::driver::SchedulePayment), words: &str| {
        let mut call = order("x", payee(1), "1");
        change(&mut call);
        let error = node.call(call).await.unwrap_err();
        assert!(error.inner.contains(words), "{words}: {error}");
    };
    check(&|call| call.amount = "0".parse().unwrap(), "smallest unit").await;
    check(&|call| call.amount = "-1".parse().unwrap(), "smallest unit").await;
    check(&|call| call.recipient = "0x12".into(), "not an address").await;
    check(&|call| call.recipient = text(Address::ZERO), "zero address").await;
    check(&|call| call.sender = text(payee(9)), "no identity").await;
    check(&|call| call.platform = "erc20-mainnet-glm".into(), "not found in config file").await;
    check(&|call| call.platform = "erc20-hoodi-glm".into(), "Unable to find network").await;
    check(&|call| call.payment_id = Some(String::new()), "malformed").await;
    node.stop().await;
    test.end().await;
}
