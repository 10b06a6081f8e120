//! Two nodes that can bill and pay one another.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use chrono::Utc;
use golem_api_rest::Identity;
use golem_bus::{Bus, Payload, RawError, RawReply, RawRequest, RawService};
use golem_keys::SecretKey;
use golem_model::activity::{self, AgreementRole, GetAgreementId};
use golem_model::driver::{self, DriverDetails, NetworkDetails, VerifyPaymentError};
use golem_model::exe_unit::ActivityError;
use golem_model::market::{self, GetAgreement, Role, RpcMessageError};
use golem_model::payment::local::{GenericError, NotifyPayment, RegisterAccount, RegisterDriver, RpcEndpoints};
use golem_model::payment::{ADDRESS, Ack, Network};
use golem_model::{Amount, Call, Caller, NodeId, identity};
use golem_payment_service::{Config, Handle};
use golem_service::{Context, SystemClock};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub(crate) const PLATFORM: &str = "erc20-hoodi-tglm";
pub(crate) const WAIT: Duration = Duration::from_secs(20);

/// Key of the requestor in the recorded vectors.
pub(crate) const REQUESTOR_KEY: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
pub(crate) const PROVIDER_KEY: &str = "0202020202020202020202020202020202020202020202020202020202020202";

/// Transfers that everybody can look up, by transaction.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    transfers: HashMap<Vec<u8>, (String, String, Amount)>,
    /// Balance of every account.
    pub(crate) balance: Amount,
    /// Drivers of payees do not see transfers yet.
    pub(crate) lags: bool,
}

/// What the fake driver was asked to transfer, by payment id.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    pub(crate) scheduled: BTreeMap<String, driver::SchedulePayment>,
    pub(crate) calls: usize,
    /// Refuses transfers.
    pub(crate) broken: bool,
    /// Transfers wait for [`Node::confirm`].
    pub(crate) manual: bool,
    /// Where transfers are kept beyond the process.
    pub(crate) journal: Option<PathBuf>,
}

impl Driver {
    /// Knows what the journal says.
    fn with_journal(journal: Option<PathBuf>) -> Self {
        let text = journal.as_ref().and_then(|journal| std::fs::read_to_string(journal).ok()).unwrap_or_default();
        let known = text.lines().map(|line| serde_json::from_str::<driver::SchedulePayment>(line).unwrap());
        let scheduled = known.map(|transfer| (transfer.payment_id.clone().unwrap(), transfer)).collect();
        Self { scheduled, journal, ..Self::default() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Agreements(Arc<Mutex<HashMap<String, market::Agreement>>>);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) bus: Bus,
    pub(crate) router: Router,
    pub(crate) driver: Arc<Mutex<Driver>>,
    chain: Arc<Mutex<Chain>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    key: SecretKey,
    config: Config,
    dir: PathBuf,
    /// Removes the folder at the end.
    folder: Option<Arc<tempfile::TempDir>>,
    world: World,
}

type DriverSettings = Arc<dyn Fn(&Path) -> golem_payment_erc20::Settings + Send + Sync>;

/// What nodes share.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) chain: Arc<Mutex<Chain>>,
    agreements: Agreements,
    /// Activity → agreement.
    activities: Arc<Mutex<HashMap<String, String>>>,
    buses: Arc<Mutex<HashMap<NodeId, Bus>>>,
    /// Nodes nobody reaches.
    pub(crate) away: Arc<Mutex<HashSet<NodeId>>>,
    /// Messages that peers do not know.
    pub(crate) unknown: Arc<Mutex<HashSet<String>>>,
    /// Where drivers keep transfers beyond the process.
    pub(crate) journal: Option<PathBuf>,
    /// Settings of the real driver for a data folder, where a test wants it in place of the fake one.
    pub(crate) erc20: Option<DriverSettings>,
}

impl World {
    pub(crate) fn new() -> Self {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        Self {
            chain: Arc::new(Mutex::new(Chain { balance: Amount::whole(1000), ..Chain::default() })),
            agreements: Agreements(Arc::default()),
            activities: Arc::default(),
            buses: Arc::default(),
            away: Arc::default(),
            unknown: Arc::default(),
            journal: None,
            erc20: None,
        }
    }

    /// An agreement of both, with an activity.
    pub(crate) fn agree(&self, requestor: NodeId, provider: NodeId, session: &str) -> (String, String) {
        let agreement = uuid::Uuid::new_v4().simple().to_string().repeat(2);
        let activity = uuid::Uuid::new_v4().simple().to_string();
        self.agree_on(requestor, provider, session, (agreement, activity))
    }

    pub(crate) fn agree_on(
        &self,
        requestor: NodeId,
        provider: NodeId,
        session: &str,
        (agreement, activity): (String, String),
    ) -> (String, String) {
        let now = Utc::now_for_test();
        let subscription = format!("{}-{}", "a".repeat(32), "b".repeat(64));
        let value = json!({
            "agreementId": agreement,
            "demand": {
                "properties": {
                    "golem.com.payment.chosen-platform": PLATFORM,
                    "golem.com.payment.platform.erc20-hoodi-tglm.address": requestor,
                },
                "constraints": "()", "demandId": subscription, "requestorId": requestor, "timestamp": now,
            },
            "offer": {
                "properties": { "golem.com.payment.platform.erc20-hoodi-tglm.address": provider },
                "constraints": "()", "offerId": subscription, "providerId": provider, "timestamp": now,
            },
            "validTo": now, "state": "Approved", "timestamp": now, "appSessionId": session,
        });
        self.agreements.0.lock().unwrap().insert(agreement.clone(), serde_json::from_value(value).unwrap());
        self.activities.lock().unwrap().insert(activity.clone(), agreement.clone());
        (agreement, activity)
    }

    pub(crate) async fn requestor(&self) -> Node {
        self.requestor_with(Config::default()).await
    }

    pub(crate) async fn requestor_with(&self, config: Config) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::start(self, REQUESTOR_KEY, config, dir.path().to_owned()).await;
        node.folder = Some(Arc::new(dir));
        node
    }

    pub(crate) async fn provider(&self) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::start(self, PROVIDER_KEY, Config::default(), dir.path().to_owned()).await;
        node.folder = Some(Arc::new(dir));
        node
    }
}

trait NowForTest {
    fn now_for_test() -> chrono::DateTime<Utc>;
}

impl NowForTest for Utc {
    fn now_for_test() -> chrono::DateTime<Utc> {
        golem_service::Clock::now(&SystemClock)
    }
}

/// Carries calls to the other bus as bytes, as the net does.
struct Bridge(World);

impl RawService for Bridge {
    fn call(&self, request: RawRequest) -> RawReply {
        let mut parts = request.address.splitn(6, '/').skip(2);
        let (from, _, to, rest) =
            (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let (from, to): (NodeId, NodeId) = (from.parse().unwrap(), to.parse().unwrap());
        if self.0.away.lock().unwrap().contains(&to) {
            return RawReply::error(RawError::failure("node is not reachable"));
        }
        let message = rest.rsplit('/').next().unwrap().to_owned();
        if self.0.unknown.lock().unwrap().contains(&message) {
            return RawReply::error(RawError::bad_request("endpoint address not found"));
        }
        let Some(bus) = self.0.buses.lock().unwrap().get(&to).cloned() else {
            return RawReply::error(RawError::failure("node is not known"));
        };
        let data = Payload::from(request.data.into_bytes().unwrap());
        bus.call_raw(RawRequest {
            caller: Caller::from(from),
            address: format!("/public/{rest}"),
            data,
            no_reply: request.no_reply,
        })
    }
}

impl Node {
    pub(crate) async fn start(world: &World, key: &str, config: Config, dir: PathBuf) -> Self {
        let key: SecretKey = key.parse().unwrap();
        let id = key.node_id();
        let bus = Bus::new();
        bus.bind_raw("/from", Arc::new(Bridge(world.clone())));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let ctx = Context {
            bus: bus.clone(),
            data_dir: dir.clone(),
            clock: Arc::new(SystemClock),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let driver = Arc::new(Mutex::new(Driver::with_journal(world.journal.clone())));
        bind_neighbours(&bus, id, &key, world);
        let handle: Handle = golem_payment_service::start(ctx.clone(), config.clone()).await.unwrap();
        match &world.erc20 {
            Some(settings) => {
                golem_payment_erc20::start(ctx, settings(&dir)).await.unwrap();
            }
            None => {
                bind_driver(&bus, &driver, &world.chain, &tasks);
                register(&bus, id).await;
            }
        }
        world.buses.lock().unwrap().insert(id, bus.clone());
        let router = Router::new()
            .nest("/payment-api/v1", golem_payment_service::routes(handle))
            .layer(axum::Extension(Identity::new(id, "test")));
        let chain = Arc::clone(&world.chain);
        Self { id, bus, router, driver, chain, tasks, stop, key, config, dir, folder: None, world: world.clone() }
    }

    /// Stops the node and starts it again with the same data; its driver keeps what it was told.
    pub(crate) async fn restart(self) -> Self {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(WAIT, self.tasks.wait()).await.expect("the service does not stop");
        let Self { key, config, dir, folder, world, driver, .. } = self;
        let text: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut node = Self::start(&world, &text, config, dir).await;
        node.folder = folder;
        let known = std::mem::take(&mut *driver.lock().unwrap());
        *node.driver.lock().unwrap() = known;
        node
    }

    /// One HTTP exchange: status, content type, body.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &Value, body: &str) -> (u16, String, String) {
        let mut request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        for (name, value) in headers.as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap());
        }
        let response = self.router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind.unwrap_or_default(), String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let (status, _, text) = self.ask(method, &format!("/payment-api/v1{path}"), &Value::Null, body).await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.json("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Status and body of a POST.
    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.json("POST", path, &body.to_string()).await
    }

    pub(crate) async fn made(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 201, "{path}: {answer}");
        answer
    }

    pub(crate) async fn done(&self, path: &str, body: Value) {
        let (status, answer) = self.post(path, body).await;
        assert_eq!((status, &answer), (200, &Value::Null), "{path}");
    }

    pub(crate) async fn other(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.json(method, path, &body.to_string()).await
    }

    pub(crate) async fn allocate(&self, amount: &str) -> String {
        let made = self.made("/allocations", json!({ "totalAmount": amount, "paymentPlatform": PLATFORM })).await;
        made["allocationId"].as_str().unwrap().to_owned()
    }

    /// Issues and sends a note; answers its id.
    pub(crate) async fn bill_note(&self, activity: &str, amount: &str) -> String {
        let note = self.made("/debitNotes", json!({ "activityId": activity, "totalAmountDue": amount })).await;
        let id = note["debitNoteId"].as_str().unwrap().to_owned();
        self.done(&format!("/debitNotes/{id}/send"), Value::Null).await;
        id
    }

    pub(crate) async fn bill_invoice(&self, agreement: &str, activity: &str, amount: &str) -> String {
        let new = json!({ "agreementId": agreement, "activityIds": [activity], "amount": amount,
            "paymentDueDate": "2036-01-01T00:00:00Z" });
        let invoice = self.made("/invoices", new).await;
        let id = invoice["invoiceId"].as_str().unwrap().to_owned();
        self.done(&format!("/invoices/{id}/send"), Value::Null).await;
        id
    }

    /// Waits for an event of a document at this node.
    pub(crate) async fn wait_for(&self, kind: &str, id: &str, event: &str) {
        let all = json!({ "X-Requestor-Events": "RECEIVED,ACCEPTED,REJECTED,CANCELLED,SETTLED",
            "X-Provider-Events": "RECEIVED,ACCEPTED,REJECTED,CANCELLED,SETTLED" });
        let mut after = String::new();
        let until = tokio::time::Instant::now() + WAIT;
        while tokio::time::Instant::now() < until {
            let path = format!("/payment-api/v1/{kind}Events?timeout=1{after}");
            let (status, _, text) = self.ask("GET", &path, &all, "").await;
            assert_eq!(status, 200, "{text}");
            let events: Vec<Value> = serde_json::from_str(&text).unwrap();
            for found in &events {
                if found[format!("{kind}Id")] == id && found["eventType"] == event {
                    return;
                }
                after = format!("&afterTimestamp={}", found["eventDate"].as_str().unwrap());
            }
        }
        panic!("no {event} of {kind} {id}");
    }

    pub(crate) async fn call<C: Call>(&self, call: C) -> C::Item {
        self.bus.call(ADDRESS, Caller::local(), call, WAIT).await.unwrap()
    }

    /// The driver's transfers are on the chain; the service hears of each.
    pub(crate) async fn confirm(&self) {
        let scheduled: Vec<_> = self.driver.lock().unwrap().scheduled.values().cloned().collect();
        for transfer in scheduled {
            self.notify(&transfer).await.unwrap();
        }
    }

    pub(crate) async fn notify(
        &self,
        transfer: &driver::SchedulePayment,
    ) -> Result<Ack, golem_bus::CallError<GenericError>> {
        notify(&self.bus, &self.chain, transfer).await
    }

    /// Ends the node as a clean stop does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(WAIT, self.tasks.wait()).await.expect("the service does not stop");
    }
}

async fn notify(
    bus: &Bus,
    chain: &Mutex<Chain>,
    transfer: &driver::SchedulePayment,
) -> Result<Ack, golem_bus::CallError<GenericError>> {
    let id = transfer.payment_id.clone().unwrap();
    let mut hash = id.clone().into_bytes();
    hash.resize(32, 0);
    let entry = (transfer.sender.clone(), transfer.recipient.clone(), transfer.amount);
    chain.lock().unwrap().transfers.insert(hash.clone(), entry);
    let notice = NotifyPayment {
        driver: "erc20".to_owned(),
        platform: transfer.platform.clone(),
        amount: transfer.amount,
        sender: transfer.sender.clone(),
        recipient: transfer.recipient.clone(),
        payment_id: id,
        confirmation: driver::PaymentConfirmation { confirmation: hash },
    };
    bus.call(ADDRESS, Caller::local(), notice, WAIT).await
}

fn details() -> DriverDetails {
    let networks = [Network::Hoodi, Network::Holesky, Network::Polygon, Network::Goerli].map(|network| {
        let tokens = BTreeMap::from([(network.token().to_owned(), network.platform().to_string())]);
        (network.name().to_owned(), NetworkDetails { default_token: network.token().to_owned(), tokens })
    });
    DriverDetails {
        default_network: "hoodi".to_owned(),
        networks: networks.into_iter().collect(),
        recv_init_required: false,
    }
}

async fn register(bus: &Bus, id: NodeId) {
    let driver = RegisterDriver { driver_name: "erc20".to_owned(), details: details() };
    bus.call(ADDRESS, Caller::local(), driver, WAIT).await.unwrap();
    let account = RegisterAccount {
        address: id.to_string(),
        driver: "erc20".to_owned(),
        network: "hoodi".to_owned(),
        token: "tGLM".to_owned(),
        mode: driver::AccountMode::BOTH,
    };
    bus.call(ADDRESS, Caller::local(), account, WAIT).await.unwrap();
}

/// Identity, market and activity services.
fn bind_neighbours(bus: &Bus, id: NodeId, key: &SecretKey, world: &World) {
    let signer: SecretKey = SecretKey::from_bytes(&key.expose()).unwrap();
    let signer = Arc::new(signer);
    bus.bind::<identity::Sign, _, _>(identity::ADDRESS, move |_, call| {
        let signer = Arc::clone(&signer);
        async move {
            assert_eq!(call.node_id, id);
            let digest: [u8; 32] = call.payload.try_into().unwrap();
            Ok(signer.sign(&digest).as_ref().to_vec())
        }
    });
    bus.bind::<identity::Get, _, _>(identity::ADDRESS, move |_, call| {
        let own = matches!(call, identity::Get::ByDefault) || call == identity::Get::ByNodeId(id);
        let info =
            identity::IdentityInfo { alias: None, node_id: id, is_locked: false, is_default: true, deleted: false };
        async move { Ok(own.then_some(info)) }
    });
    bus.bind::<identity::List, _, _>(identity::ADDRESS, move |_, _| {
        let info =
            identity::IdentityInfo { alias: None, node_id: id, is_locked: false, is_default: true, deleted: false };
        async move { Ok(vec![info]) }
    });
    bus.bind::<identity::Subscribe, _, _>(identity::ADDRESS, |_, _| async { Ok(identity::Ack {}) });
    let agreements = world.agreements.clone();
    bus.bind::<GetAgreement, _, _>(market::PUBLIC_ADDRESS, move |caller, call| {
        let found = agreements.0.lock().unwrap().get(call.agreement_id.as_str()).cloned();
        let is_party = |found: &market::Agreement| {
            let party = match call.role {
                Role::Provider => found.provider_id(),
                Role::Requestor => found.requestor_id(),
            };
            party == id && caller.node_id() == Some(id)
        };
        let found = found.filter(is_party).ok_or_else(|| RpcMessageError::NotFound(String::new()));
        async move { found }
    });
    let (activities, agreements) = (Arc::clone(&world.activities), world.agreements.clone());
    bus.bind::<GetAgreementId, _, _>(activity::LOCAL_ADDRESS, move |_, call| {
        let agreement = activities.lock().unwrap().get(&call.activity_id).cloned();
        let agreement = agreement.filter(|agreement| {
            let agreements = agreements.0.lock().unwrap();
            let found = &agreements[agreement];
            match call.role {
                AgreementRole::Provider => found.provider_id() == id,
                AgreementRole::Requestor => found.requestor_id() == id,
            }
        });
        let text = format!("DAO error: Not found: agreement id for activity: {}", call.activity_id);
        async move { agreement.ok_or(ActivityError::Service(text)) }
    });
}

fn bind_driver(bus: &Bus, driver: &Arc<Mutex<Driver>>, chain: &Arc<Mutex<Chain>>, tasks: &TaskTracker) {
    let address = driver::address("erc20");
    let (state, ledger, own, spawner) = (Arc::clone(driver), Arc::clone(chain), bus.clone(), tasks.clone());
    bus.bind::<driver::SchedulePayment, _, _>(&address, move |_, call| {
        let (state, ledger, own) = (Arc::clone(&state), Arc::clone(&ledger), own.clone());
        let mut driver = state.lock().unwrap();
        driver.calls += 1;
        let id = call.payment_id.clone().unwrap();
        let answer =
            if driver.broken { Err(GenericError::new("no endpoint of the chain answers")) } else { Ok(id.clone()) };
        let is_new = answer.is_ok() && driver.scheduled.insert(id, call.clone()).is_none();
        if let Some(journal) = driver.journal.as_ref().filter(|_| is_new) {
            let mut file = std::fs::File::options().create(true).append(true).open(journal).unwrap();
            writeln!(file, "{}", serde_json::to_string(&call).unwrap()).unwrap();
        }
        if is_new && !driver.manual {
            spawner.spawn(async move { notify(&own, &ledger, &call).await });
        }
        drop(driver);
        async move { answer }
    });
    let ledger = Arc::clone(chain);
    bus.bind::<driver::VerifyPayment, _, _>(&address, move |_, call| {
        let ledger = ledger.lock().unwrap();
        let found = ledger.transfers.get(&call.confirmation.confirmation).cloned().filter(|_| !ledger.lags);
        async move {
            let (sender, recipient, amount) =
                found.ok_or_else(|| VerifyPaymentError::NotYet("Transaction not found".to_owned()))?;
            Ok(driver::PaymentDetails { recipient, sender, amount, date: None })
        }
    });
    let ledger = Arc::clone(chain);
    bus.bind::<driver::ValidateAllocation, _, _>(&address, move |_, call| {
        let balance = ledger.lock().unwrap().balance;
        async move { Ok(validate(&call, balance)) }
    });
    let ledger = Arc::clone(chain);
    bus.bind::<driver::GetAccountBalance, _, _>(&address, move |_, _| {
        let token_balance = ledger.lock().unwrap().balance;
        async move {
            Ok(driver::AccountBalance {
                gas_details: None,
                token_balance,
                block_number: 0,
                block_datetime: chrono::DateTime::UNIX_EPOCH,
            })
        }
    });
    bus.bind::<driver::DriverStatus, _, _>(&address, |_, _| async { Ok(Vec::new()) });
    bus.bind::<driver::Init, _, _>(&address, |_, _| async { Err(GenericError::new("not an identity of this node")) });
    bus.bind::<driver::DriverReleaseDeposit, _, _>(&address, |_, _| async { Ok(Ack {}) });
    bus.bind::<driver::GetRpcEndpoints, _, _>(&address, |_, _| async {
        Ok(RpcEndpoints { endpoints: json!({}), sources: json!({}) })
    });
    bus.bind::<driver::ShutDown, _, _>(&address, |_, _| async { Ok(Ack {}) });
}

/// The rules of spec 40 §5.2 and 42 §6.4, as far as they need no chain.
fn validate(call: &driver::ValidateAllocation, balance: Amount) -> driver::ValidateAllocationResult {
    use driver::ValidateAllocationResult as Outcome;
    if let Some(deposit) = &call.deposit {
        let digits = deposit.id.strip_prefix("0x").unwrap_or(&deposit.id);
        if deposit.contract.parse::<NodeId>().is_err() {
            return Outcome::MalformedDepositContract;
        }
        return match u128::from_str_radix(digits, 16) {
            Err(_) => Outcome::MalformedDepositId,
            Ok(number) => Outcome::NoDeposit { deposit_id: number.to_string() },
        };
    }
    let remaining = Amount::sum(call.active_allocations.iter().map(|one| one.remaining_amount)).unwrap();
    let reserved = remaining.checked_add(call.unpaid).unwrap();
    let available = balance.minus_or_zero(reserved);
    if call.amount > available {
        return Outcome::InsufficientAccountFunds {
            requested_funds: call.amount,
            available_funds: available,
            reserved_funds: reserved,
        };
    }
    Outcome::Valid
}
