//! The driver is killed at each of its arrows and started again: nothing is lost and nothing paid twice.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};

use alloy_primitives::{Address, U256};

use crate::fixture::{Node, TestChain, glm, payer};

const FOLDER: &str = "GOLEM_TEST_CRASH_FOLDER";
const PAYEES: [(&str, Address, &str); 3] = [
    ("a", Address::repeat_byte(0x71), "1"),
    ("b", Address::repeat_byte(0x72), "2"),
    ("c", Address::repeat_byte(0x71), "0.5"),
];

fn told(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// What runs in the child: a payment service that repeats its orders after each start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (settings, _) = golem_payment_erc20::Settings::load(folder, &|_| None);
    let node = Node::with_settings(folder, settings).await;
    for (id, payee, amount) in PAYEES {
        node.schedule(id, payee, amount).await;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("told")).unwrap();
    for (id, ..) in PAYEES {
        if !told(folder).contains(&id.to_owned()) {
            node.notice(id).await;
            writeln!(file, "{id}").unwrap();
        }
    }
    node.stop().await;
}

fn run_child(folder: &Path, arrow: Option<&str>) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "crash::child", "--nocapture"]).env(FOLDER, folder);
    child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    if let Some(arrow) = arrow {
        child.env("GOLEM_PAYMENT_KILL_AT", arrow);
    }
    child.status().unwrap()
}

async fn killed_at(arrow: &'static str) {
    let test = TestChain::at_once().await;
    test.chain.give(payer(), U256::ZERO, glm("100")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    crate::fixture::settings(folder.path(), &test.chain, |text| text);
    let path = folder.path().to_owned();
    let (killed, again) =
        tokio::task::spawn_blocking(move || (run_child(&path, Some(arrow)), run_child(&path, None))).await.unwrap();
    assert!(!killed.success(), "{arrow} was not reached");
    assert!(again.success(), "{arrow}");
    // At most: approve, and one transfer for each order; each payee got exactly what was ordered.
    let sent = test.chain.sent_by(payer());
    assert!(sent.iter().all(|(_, ok)| *ok) && sent.len() <= 4, "{arrow}: {sent:?}");
    assert_eq!(test.chain.glm(PAYEES[0].1), glm("1.5"), "{arrow}");
    assert_eq!(test.chain.glm(PAYEES[1].1), glm("2"), "{arrow}");
    assert_eq!(test.chain.glm(payer()), glm("96.5"), "{arrow}");
    test.end().await;
}

macro_rules! killed {
    ($($test:ident: $arrow:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            killed_at($arrow).await;
        }
    )*};
}

killed! {
    killed_when_queued: "erc20-queued";
    killed_when_signed: "erc20-signed";
    killed_when_stored: "erc20-stored";
    killed_when_broadcast: "erc20-broadcast";
    killed_when_mined: "erc20-mined";
    killed_when_confirmed: "erc20-confirmed";
    killed_when_notified: "erc20-notified";
}
