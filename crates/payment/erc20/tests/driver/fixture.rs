//! A chain, and around the driver the two services that it talks to.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, TxKind, U256};
use golem_bus::Bus;
use golem_dev_chain::{Chain, Config, Handle, dev_accounts};
use golem_model::driver::{self, AccountMode, Init, SchedulePayment};
use golem_model::payment::local::{NotifyPayment, PaymentAbandoned, RegisterAccount, RegisterDriver};
use golem_model::payment::{self, Ack};
use golem_model::{Amount, Call, Caller, NodeId, identity};
use golem_payment_erc20::Settings;
use golem_service::{Clock, Context, ManualClock, SystemClock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const PLATFORM: &str = "erc20-hoodi-tglm";
pub(crate) const DRIVER: &str = "/local/driver/erc20";

/// Longest wait for anything; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestChain {
    pub(crate) chain: Handle,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl TestChain {
    pub(crate) async fn start(config: Config) -> Self {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let chain = Chain::start(config, &tasks, stop.clone()).await.unwrap();
        Self { chain, stop, tasks }
    }

    /// A block for each transaction and none without.
    pub(crate) async fn at_once() -> Self {
        Self::start(Config { block_time: None, mine_at_once: true, ..Config::default() }).await
    }

    /// Blocks only when the test makes them.
    pub(crate) async fn by_hand() -> Self {
        Self::start(Config { block_time: None, ..Config::default() }).await
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) notices: Vec<NotifyPayment>,
    pub(crate) abandoned: Vec<PaymentAbandoned>,
    pub(crate) accounts: Vec<RegisterAccount>,
    pub(crate) drivers: Vec<RegisterDriver>,
}

/// A daemon with nothing but the driver.
pub(crate) struct Node {
    pub(crate) bus: Bus,
    pub(crate) told: Arc<Mutex<Told>>,
    changed: Arc<watch::Sender<u64>>,
    /// The identity service signs.
    pub(crate) unlocked: Arc<watch::Sender<bool>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Account of the payer, one of those with coin.
pub(crate) fn payer() -> Address {
    dev_accounts()[1].address
}

pub(crate) fn text(address: Address) -> String {
    format!("{address:#x}")
}

pub(crate) fn glm(amount: &str) -> U256 {
    amount.parse::<Amount>().unwrap().wei()
}

pub(crate) fn settings(folder: &Path, chain: &Handle, change: impl Fn(String) -> String) -> Settings {
    std::fs::write(folder.join("config-payments.toml"), change(chain.payments_config("hoodi"))).unwrap();
    let (settings, warnings) = Settings::load(folder, &|_| None);
    assert_eq!(warnings, Vec::<String>::new());
    settings
}

impl Node {
    pub(crate) async fn start(folder: &Path, chain: &Handle) -> Self {
        Self::with_settings(folder, settings(folder, chain, |text| text)).await
    }

    pub(crate) async fn with_settings(folder: &Path, settings: Settings) -> Self {
        Self::with_clock(folder, settings, Arc::new(SystemClock)).await
    }

    pub(crate) async fn with_clock(folder: &Path, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let (bus, stop, tasks) = (Bus::new(), CancellationToken::new(), TaskTracker::new());
        let (told, changed) = (Arc::<Mutex<Told>>::default(), Arc::new(watch::Sender::new(0)));
        let unlocked = Arc::new(watch::Sender::new(true));
        bind_identity(&bus, &unlocked);
        bind_payment(&bus, &told, &changed);
        let ctx =
            Context { bus: bus.clone(), data_dir: folder.to_owned(), clock, tasks: tasks.clone(), stop: stop.clone() };
        golem_payment_erc20::start(ctx, settings).await.unwrap();
        Self { bus, told, changed, unlocked, stop, tasks }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) async fn call<C: Call>(&self, call: C) -> Result<C::Item, C::Error> {
        match self.bus.call(DRIVER, Caller::local(), call, Duration::from_secs(60)).await {
            Ok(item) => Ok(item),
            Err(golem_bus::CallError::Service(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) async fn init(&self) {
        let init = Init { address: text(payer()), network: Some("hoodi".into()), token: None, mode: AccountMode::SEND };
        self.call(init).await.unwrap();
    }

    pub(crate) async fn schedule(&self, id: &str, to: Address, amount: &str) {
        let answer = self.call(order(id, to, amount)).await.unwrap();
        assert_eq!(answer, id);
    }

    /// Waits until what the payment service was told satisfies `done`.
    pub(crate) async fn until<T>(&self, what: &str, done: impl Fn(&Told) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                changed.mark_unchanged();
                if let Some(found) = done(&self.told.lock().unwrap()) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        let found = tokio::time::timeout(PATIENCE, wait).await;
        found.unwrap_or_else(|_| panic!("{what}: {:?}", self.told.lock().unwrap()))
    }

    pub(crate) async fn notice(&self, id: &str) -> NotifyPayment {
        self.until(id, |told| told.notices.iter().find(|notice| notice.payment_id == id).cloned()).await
    }
}

pub(crate) fn order(id: &str, to: Address, amount: &str) -> SchedulePayment {
    SchedulePayment {
        payment_id: Some(id.to_owned()),
        amount: amount.parse().unwrap(),
        sender: text(payer()),
        recipient: text(to),
        platform: PLATFORM.to_owned(),
        deposit_id: None,
        due_date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
    }
}

/// Waits for something that nobody tells.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn bind_identity(bus: &Bus, unlocked: &Arc<watch::Sender<bool>>) {
    let unlocked = Arc::clone(unlocked);
    bus.bind(identity::ADDRESS, move |_, call: identity::Sign| {
        let unlocked = *unlocked.borrow();
        async move {
            let accounts = dev_accounts();
            let account = accounts.iter().find(|account| account.key.node_id() == call.node_id);
            let account = account.filter(|_| unlocked).ok_or(identity::Error::NodeNotFound(call.node_id))?;
            Ok(account.key.sign(&call.payload.try_into().unwrap()).as_bytes().to_vec())
        }
    });
    bus.bind(identity::ADDRESS, |_, call: identity::Get| async move {
        let identity::Get::ByNodeId(id) = call else { return Ok(None) };
        let known = dev_accounts().iter().any(|account| account.key.node_id() == id);
        Ok(known.then(|| info(id)))
    });
    bus.bind(identity::ADDRESS, |_, _: identity::Subscribe| async move { Ok(identity::Ack {}) });
}

fn info(node_id: NodeId) -> identity::IdentityInfo {
    identity::IdentityInfo { alias: None, node_id, is_locked: false, is_default: true, deleted: false }
}

fn bind_payment(bus: &Bus, told: &Arc<Mutex<Told>>, changed: &Arc<watch::Sender<u64>>) {
    fn on<C: Call<Item = Ack>>(
        bus: &Bus,
        told: &Arc<Mutex<Told>>,
        changed: &Arc<watch::Sender<u64>>,
        note: impl Fn(&mut Told, C) + Copy + Send + Sync + 'static,
    ) {
        let (told, changed) = (Arc::clone(told), Arc::clone(changed));
        bus.bind(payment::ADDRESS, move |_, call: C| {
            note(&mut told.lock().unwrap(), call);
            changed.send_modify(|count| *count += 1);
            async { Ok(Ack {}) }
        });
    }
    on(bus, told, changed, |told, call: NotifyPayment| told.notices.push(call));
    on(bus, told, changed, |told, call: PaymentAbandoned| told.abandoned.push(call));
    on(bus, told, changed, |told, call: RegisterAccount| told.accounts.push(call));
    on(bus, told, changed, |told, call: RegisterDriver| told.drivers.push(call));
}

/// The payment of a notice, as its payee receives it.
pub(crate) fn verification(notice: &NotifyPayment) -> driver::VerifyPayment {
    let payee = NodeId::from(notice.recipient.parse::<Address>().unwrap().into_array());
    driver::VerifyPayment {
        confirmation: notice.confirmation.clone(),
        platform: notice.platform.clone(),
        details: payment::Payment {
            payment_id: notice.payment_id.clone(),
            payer_id: NodeId::from(payer().into_array()),
            payee_id: payee,
            payer_addr: notice.sender.clone(),
            payee_addr: notice.recipient.clone(),
            payment_platform: notice.platform.clone(),
            amount: notice.amount,
            timestamp: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            agreement_payments: vec![],
            activity_payments: vec![],
            details: String::new(),
        },
    }
}

/// A clock that stands still in the future.
pub(crate) fn clock_ahead(seconds: i64) -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(SystemClock.now() + chrono::TimeDelta::seconds(seconds)))
}

/// Asks the chain itself.
pub(crate) async fn ask(chain: &Handle, method: &str, params: serde_json::Value) -> serde_json::Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let body = serde_json::json!({ "id": 1, "method": method, "params": params }).to_string();
    let reply = reqwest::Client::new().post(chain.url()).body(body).send().await.unwrap().text().await.unwrap();
    let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
    assert!(reply.get("error").is_none(), "{reply}");
    reply["result"].clone()
}

/// Sends a transaction of a development account, as another program would.
pub(crate) async fn send(chain: &Handle, account: usize, nonce: u64, to: Address, value: u64, input: Vec<u8>) {
    let transaction = TxEip1559 {
        chain_id: chain.chain_id(),
        nonce,
        gas_limit: if input.is_empty() { 21_000 } else { 500_000 },
        max_fee_per_gas: 15_000_000_000,
        max_priority_fee_per_gas: 5_000_000_000,
        to: TxKind::Call(to),
        value: U256::from(value),
        access_list: Default::default(),
        input: input.into(),
    };
    let raw = hex::encode(dev_accounts()[account].sign(transaction).encoded_2718());
    ask(chain, "eth_sendRawTransaction", serde_json::json!([format!("0x{raw}")])).await;
}
