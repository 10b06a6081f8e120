//! What happens to payments when the chain, its nodes or the daemon do not behave.

use alloy_primitives::{Address, U256};
use golem_dev_chain::{ChainFaults, Faults, Undone};
use golem_model::driver::{DriverStatus, FlushPaymentResult, FlushPayments};
use golem_model::payment::DriverStatusProperty;

use alloy_sol_types::{SolCall, sol};

use crate::fixture::{Node, TestChain, ask, eventually, glm, payer, send, settings, text};

sol! {
    function approve(address spender, uint256 amount) returns (bool);
    function transferFrom(address from, address to, uint256 amount) returns (bool);
}

const PAYEE: Address = Address::repeat_byte(0x77);

fn rich(test: TestChain) -> TestChain {
    test.chain.give(payer(), U256::ZERO, glm("100")).unwrap();
    test
}

async fn troubles(node: &Node) -> Vec<DriverStatusProperty> {
    node.call(DriverStatus { network: Some("hoodi".into()) }).await.unwrap()
}

async fn until_trouble(node: &Node, wanted: impl Fn(&DriverStatusProperty) -> bool) {
    let look = async {
        while !troubles(node).await.iter().any(&wanted) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), look).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_a_node_forgot_is_said_again() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    test.chain.set_faults(Faults { drop_next: 1, ..Faults::default() });
    node.schedule("a", PAYEE, "1").await;
    node.notice("a").await;
    assert_eq!((test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE)), (1, glm("1")));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_got_lost_pays_once() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    test.chain.set_faults(Faults { lose_reply_next: 1, ..Faults::default() });
    node.schedule("a", PAYEE, "1").await;
    node.notice("a").await;
    assert_eq!((test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE)), (1, glm("1")));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fee_spike_replaces_the_transaction_by_one_that_pays_more() {
    let test = rich(TestChain::by_hand().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("a", PAYEE, "1").await;
    eventually("sent", || test.chain.has_waiting()).await;
    let gwei = 1_000_000_000;
    // Above the maximum of 20 gwei nothing can be done but wait.
    test.chain.set_chain_faults(ChainFaults { base_fee: Some(30 * gwei), ..ChainFaults::default() });
    test.chain.mine();
    until_trouble(&node, |trouble| matches!(trouble, DriverStatusProperty::TxStuck { .. })).await;
    test.chain.set_chain_faults(ChainFaults { base_fee: Some(10 * gwei), ..ChainFaults::default() });
    let paid = async {
        loop {
            test.chain.mine();
            if test.chain.glm(PAYEE) == glm("1") {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), paid).await.unwrap();
    node.notice("a").await;
    assert_eq!(test.chain.sent_by(payer()).len(), 1);
    assert_eq!(troubles(&node).await, vec![]);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undone_blocks_before_the_confirmations_cause_no_second_payment() {
    let test = rich(TestChain::by_hand().await);
    let folder = tempfile::tempdir().unwrap();
    let settings =
        settings(folder.path(), &test.chain, |text| text.replace("confirmation-blocks = 0", "confirmation-blocks = 2"));
    let node = Node::with_settings(folder.path(), settings).await;
    for forgotten in [Undone::Wait, Undone::Forgotten] {
        let id = format!("{forgotten:?}");
        let before = (test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE));
        node.schedule(&id, PAYEE, "1").await;
        eventually("sent", || test.chain.has_waiting()).await;
        test.chain.mine();
        assert_eq!(test.chain.glm(PAYEE), before.1 + glm("1"));
        test.chain.reorganise(1, forgotten);
        // A forgotten one comes again from the driver.
        eventually("again", || test.chain.has_waiting() || test.chain.glm(PAYEE) == before.1 + glm("1")).await;
        assert!(node.told.lock().unwrap().notices.iter().all(|notice| notice.payment_id != id));
        (0..3).for_each(|_| test.chain.mine());
        node.notice(&id).await;
        assert_eq!((test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE)), (before.0 + 1, before.1 + glm("1")));
    }
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_transaction_that_is_undone_is_sent_again_as_it_was() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("a", PAYEE, "1").await;
    let notice = node.notice("a").await;
    test.chain.reorganise(1, Undone::Forgotten);
    assert_eq!(test.chain.glm(PAYEE), U256::ZERO);
    eventually("sent again", || test.chain.glm(PAYEE) == glm("1")).await;
    let sent = test.chain.sent_by(payer());
    assert_eq!((sent.len(), sent[0].0.to_vec()), (1, notice.confirmation.confirmation));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_wait_for_tokens_and_go_on_when_they_come() {
    let test = TestChain::at_once().await;
    test.chain.give(payer(), U256::ZERO, glm("5")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("much", PAYEE, "7.5").await;
    node.schedule("little", PAYEE, "5").await;
    // What fits is paid.
    node.notice("little").await;
    until_trouble(&node, |trouble| {
        matches!(trouble, DriverStatusProperty::InsufficientToken { needed_token_est, .. } if needed_token_est == "7.5")
    })
    .await;
    test.chain.give(payer(), U256::ZERO, glm("8")).unwrap();
    node.notice("much").await;
    eventually("no trouble", || test.chain.glm(PAYEE) == glm("12.5")).await;
    assert_eq!(troubles(&node).await, vec![]);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_wait_for_the_key() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.unlocked.send_replace(false);
    node.schedule("a", PAYEE, "1").await;
    until_trouble(&node, |trouble| matches!(trouble, DriverStatusProperty::CantSign { .. })).await;
    node.unlocked.send_replace(true);
    let id = golem_dev_chain::dev_accounts()[1].key.node_id();
    let event = golem_model::identity::Event::AccountUnlocked { identity: id };
    node.call(event).await.unwrap();
    node.notice("a").await;
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_a_lying_and_a_slow_node_are_passed_over() {
    let test = rich(TestChain::at_once().await);
    let (dead, lying, mute) = (
        test.chain.open_door(([127, 0, 0, 1], 0).into()).await.unwrap(),
        test.chain.open_door(([127, 0, 0, 1], 0).into()).await.unwrap(),
        test.chain.open_door(([127, 0, 0, 1], 0).into()).await.unwrap(),
    );
    dead.set_faults(Faults { unavailable: true, ..Faults::default() });
    lying.set_faults(Faults { chain_id: Some(1), ..Faults::default() });
    let limited = [("eth_getBlockByNumber".to_owned(), "rate limit exceeded".to_owned())];
    mute.set_faults(Faults { errors: limited.into(), ..Faults::default() });
    let folder = tempfile::tempdir().unwrap();
    let urls = [dead.url(), lying.url(), mute.url(), "http://127.0.0.1:1".to_owned(), test.chain.url()].join(",");
    let settings = settings(folder.path(), &test.chain, |text| {
        text.replace(&format!("endpoints = \"{}\"", test.chain.url()), &format!("endpoints = \"{urls}\""))
    });
    let node = Node::with_settings(folder.path(), settings).await;
    node.schedule("a", PAYEE, "1").await;
    node.notice("a").await;
    assert_eq!(troubles(&node).await, vec![]);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_node_payments_wait_and_the_status_says_so() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    test.chain.set_faults(Faults { unavailable: true, ..Faults::default() });
    node.schedule("a", PAYEE, "1").await;
    until_trouble(&node, |trouble| matches!(trouble, DriverStatusProperty::RpcError { .. })).await;
    test.chain.set_faults(Faults::default());
    node.notice("a").await;
    assert_eq!(troubles(&node).await, vec![]);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_driver_goes_on_where_it_was() {
    let test = rich(TestChain::by_hand().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("a", PAYEE, "1").await;
    eventually("sent", || test.chain.has_waiting()).await;
    node.stop().await;
    // The node was restarted too and forgot it.
    test.chain.forget_waiting();
    let node = Node::start(folder.path(), &test.chain).await;
    eventually("sent again", || test.chain.has_waiting()).await;
    test.chain.mine();
    node.notice("a").await;
    node.stop().await;
    // A notice whose acknowledgement was cut off by the stop may come again; a transaction may not.
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("b", PAYEE, "1").await;
    eventually("sent", || test.chain.has_waiting()).await;
    test.chain.mine();
    node.notice("b").await;
    assert_eq!((test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE)), (2, glm("2")));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_wrong_batch_contract_each_is_paid_alone() {
    // The token refuses what is meant for the batch contract; an address without a contract takes it and does nothing.
    for wrong in [None, Some(Address::repeat_byte(0x99))] {
        let test = rich(TestChain::at_once().await);
        let contracts = test.chain.contracts();
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), &test.chain, |text| {
            text.replace(&contracts.multi_transfer.to_string(), &wrong.unwrap_or(contracts.token).to_string())
        });
        let node = Node::with_settings(folder.path(), settings).await;
        let other = Address::repeat_byte(0x78);
        node.schedule("a", PAYEE, "1").await;
        node.schedule("b", other, "2").await;
        node.notice("a").await;
        node.notice("b").await;
        assert_eq!((test.chain.glm(PAYEE), test.chain.glm(other)), (glm("1"), glm("2")));
        assert_eq!(test.chain.glm(payer()), glm("97"));
        node.stop().await;
        test.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nonce_used_by_another_program_causes_no_loss_and_no_second_payment() {
    let test = rich(TestChain::by_hand().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("a", PAYEE, "1").await;
    eventually("sent", || test.chain.has_waiting()).await;
    // Another program with the same key takes the same nonce while ours is out of the nodes' sight.
    test.chain.set_faults(Faults {
        errors: [("eth_sendRawTransaction".into(), "try later".into())].into(),
        ..Faults::default()
    });
    test.chain.forget_waiting();
    let other = test.chain.open_door(([127, 0, 0, 1], 0).into()).await.unwrap();
    send(&other, 1, 0, Address::repeat_byte(0x55), 1, vec![]).await;
    (0..5).for_each(|_| test.chain.mine());
    until_trouble(&node, |trouble| matches!(trouble, DriverStatusProperty::TxStuck { .. })).await;
    assert_eq!(test.chain.glm(PAYEE), U256::ZERO);
    test.chain.set_faults(Faults::default());
    // Only when the other one lies deep is ours sent again.
    (0..10).for_each(|_| test.chain.mine());
    eventually("sent again", || test.chain.has_waiting()).await;
    test.chain.mine();
    node.notice("a").await;
    assert_eq!((test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE)), (2, glm("1")));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_receipts_never_cause_a_second_payment() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    test.chain.set_faults(Faults { hide_receipts: true, ..Faults::default() });
    node.schedule("a", PAYEE, "1").await;
    until_trouble(&node, |trouble| matches!(trouble, DriverStatusProperty::TxStuck { .. })).await;
    (0..20).for_each(|_| test.chain.mine());
    // Time in which a driver that gave up too early would pay again.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    test.chain.set_faults(Faults::default());
    node.notice("a").await;
    assert_eq!((test.chain.sent_by(payer()).len(), test.chain.glm(PAYEE)), (1, glm("1")));
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lags_is_not_used() {
    let test = rich(TestChain::at_once().await);
    // An hour passes on the chain; the lagging door shows what was before.
    (0..3).for_each(|_| test.chain.mine());
    let lagging = test.chain.open_door(([127, 0, 0, 1], 0).into()).await.unwrap();
    lagging.set_faults(Faults { head_behind: test.chain.head(), ..Faults::default() });
    test.chain.set_time_ahead(3600);
    test.chain.mine();
    let folder = tempfile::tempdir().unwrap();
    let urls = [lagging.url(), test.chain.url()].join(",");
    let mut settings = settings(folder.path(), &test.chain, |text| {
        text.replace(&format!("endpoints = \"{}\"", test.chain.url()), &format!("endpoints = \"{urls}\""))
    });
    let chain = settings.chains.values_mut().next().unwrap();
    chain.head_behind = Some(std::time::Duration::from_secs(120));
    let clock = crate::fixture::clock_ahead(3600);
    let node = Node::with_clock(folder.path(), settings, clock).await;
    node.schedule("a", PAYEE, "1").await;
    // The clock stands still, so the queue is never quiet for long enough.
    let flush = FlushPayments { node_id: None, flush_date: chrono::DateTime::UNIX_EPOCH };
    assert_eq!(node.call(flush).await.unwrap(), FlushPaymentResult::FlushScheduled);
    node.notice("a").await;
    let report = golem_model::driver::GetRpcEndpoints { network: None, verify: true, resolve: false, no_wait: false };
    let report = node.call(report).await.unwrap().endpoints["hoodi"].clone();
    let of = |url: &str| report.as_array().unwrap().iter().find(|endpoint| endpoint["url"] == url).unwrap();
    assert!(of(&lagging.url())["problem"].as_str().unwrap().contains("newest block is"), "{report}");
    assert_eq!(of(&test.chain.url())["ok"], true);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_wait_for_coin_and_go_on_when_it_comes() {
    let test = rich(TestChain::at_once().await);
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    ask(&test.chain, "anvil_setBalance", serde_json::json!([text(payer()), "0x10"])).await;
    node.schedule("a", PAYEE, "1").await;
    until_trouble(&node, |trouble| match trouble {
        DriverStatusProperty::InsufficientGas { needed_gas_est, .. } => {
            !needed_gas_est.starts_with('-') && needed_gas_est.contains("0.")
        }
        _ => false,
    })
    .await;
    ask(&test.chain, "anvil_setBalance", serde_json::json!([text(payer()), "0xde0b6b3a7640000"])).await;
    node.notice("a").await;
    assert_eq!(troubles(&node).await, vec![]);
    node.stop().await;
    test.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reverted_transaction_is_never_told_as_a_payment() {
    let test = TestChain::by_hand().await;
    test.chain.give(payer(), U256::ZERO, glm("1")).unwrap();
    let thief = golem_dev_chain::dev_accounts()[4].address;
    let token = test.chain.contracts().token;
    send(&test.chain, 1, 0, token, 0, approveCall { spender: thief, amount: U256::MAX }.abi_encode()).await;
    test.chain.mine();
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(folder.path(), &test.chain).await;
    node.schedule("a", PAYEE, "1").await;
    eventually("sent", || test.chain.has_waiting()).await;
    // With a higher tip the tokens are gone before the payment in the same block.
    let take = transferFromCall { from: payer(), to: thief, amount: glm("1") };
    send(&test.chain, 4, 0, token, 0, take.abi_encode()).await;
    test.chain.mine();
    assert!(!test.chain.sent_by(payer()).last().unwrap().1);
    until_trouble(&node, |trouble| matches!(trouble, DriverStatusProperty::InsufficientToken { .. })).await;
    assert_eq!(node.told.lock().unwrap().notices, vec![]);
    test.chain.give(payer(), U256::ZERO, glm("1")).unwrap();
    eventually("sent again", || test.chain.has_waiting()).await;
    test.chain.mine();
    let notice = node.notice("a").await;
    let sent = test.chain.sent_by(payer());
    assert_eq!((sent.len(), sent[2].1, sent[2].0.to_vec()), (3, true, notice.confirmation.confirmation));
    node.stop().await;
    test.end().await;
}
