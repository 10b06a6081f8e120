//! The driver's endpoints on the bus, `/local/driver/erc20` (spec 42 §1.2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use golem_bus::Bus;
use golem_model::driver::{
    self, AccountMode, DriverReleaseDeposit, DriverStatus, DriverStatusError, Enter, Exit, FlushPaymentResult,
    FlushPayments, Fund, GetAccountBalance, GetRpcEndpoints, Init, SchedulePayment, ShutDown, SignPayment,
    SignPaymentCanonicalized, Transfer, ValidateAllocation, VerifyPayment, VerifySignature,
};
use golem_model::payment::local::{GenericError, RegisterAccount, RpcEndpoints};
use golem_model::payment::{self, Ack, Deposit, Network, Payment, PaymentPlatform};
use golem_model::{Amount, Call, Caller, NodeId, identity};
use golem_payment_core::signature;

use crate::DRIVER;
use crate::account;
use crate::arrow::arrow;
use crate::driver::{Driver, Net};
use crate::fund;
use crate::store::{Kind, LaneKey, NewTransfer};
use crate::transaction;
use crate::verify;

/// Network of calls that name none; the command line has the same.
const DEFAULT_NETWORK: Network = Network::Hoodi;

/// Time for an answer of a service of this daemon.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

type Answer<T> = Result<T, GenericError>;

pub(crate) fn bind(driver: &Arc<Driver>) {
    let bus = driver.bus.clone();
    on(&bus, driver, |driver, call: Init| async move { init(&driver, call).await });
    on(&bus, driver, |driver, call: Fund| async move { fund_account(&driver, call).await });
    on(&bus, driver, |driver, call: GetAccountBalance| async move {
        let net = net_of_platform(&driver, &call.platform)?;
        account::balance(net, address(&call.address)?).await.map_err(GenericError::new)
    });
    on(&bus, driver, |driver, call: SchedulePayment| async move { schedule(&driver, call).await });
    on(&bus, driver, |driver, call: Transfer| async move { transfer(&driver, call).await });
    on(&bus, driver, |driver, call: VerifyPayment| async move { verify::verify(&driver, call).await });
    on(&bus, driver, |driver, call: ValidateAllocation| async move { account::validate(&driver, call).await });
    on(&bus, driver, |driver, call: DriverReleaseDeposit| async move { close_deposit(&driver, call).await });
    on(&bus, driver, |driver, call: FlushPayments| async move { Ok(flush(&driver, call)) });
    on(&bus, driver, |driver, call: DriverStatus| async move { status(&driver, call) });
    on(&bus, driver, |driver, call: GetRpcEndpoints| async move { endpoints(&driver, call).await });
    on(&bus, driver, |driver, call: SignPayment| async move {
        sign(&driver, &call.0, signature::legacy(&call.0).as_bytes()).await
    });
    on(&bus, driver, |driver, call: SignPaymentCanonicalized| async move {
        sign(&driver, &call.0, signature::canonical(&call.0).as_bytes()).await
    });
    on(&bus, driver, |_, call: VerifySignature| async move { Ok(is_signed(&call)) });
    on(&bus, driver, |_, _: Enter| async move { Err(GenericError::new("NOT_IMPLEMENTED")) });
    on(&bus, driver, |_, _: Exit| async move { Err(GenericError::new("NOT_IMPLEMENTED")) });
    // All that is on its way is in the books and goes on after the next start.
    on(&bus, driver, |_, _: ShutDown| async move { Ok(Ack {}) });
    on(&bus, driver, |driver, event: identity::Event| async move {
        if let identity::Event::AccountUnlocked { identity } = event {
            driver.wake_all(Some(Address::from(*identity.as_bytes())), false);
        }
        Ok(())
    });
}

fn on<C, F, Fut>(bus: &Bus, driver: &Arc<Driver>, handler: F)
where
    C: Call,
    F: Fn(Arc<Driver>, C) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<C::Item, C::Error>> + Send + 'static,
{
    let driver = Arc::clone(driver);
    bus.bind(&driver::address(DRIVER), move |_caller, call| handler(Arc::clone(&driver), call));
}

pub(crate) fn address(text: &str) -> Answer<Address> {
    text.parse().map_err(|_| {
        let text: String = text.chars().take(100).collect();
        GenericError::new(format!("`{text}` is not an address"))
    })
}

fn net(driver: &Driver, network: Network) -> Answer<&Net> {
    let missing = || GenericError::new(format!("Chain {} not found in config file", network.chain_id()));
    driver.nets.get(&network).map(AsRef::as_ref).ok_or_else(missing)
}

fn net_of_name<'a>(driver: &'a Driver, name: Option<&str>) -> Answer<&'a Net> {
    let network = name.map_or(Ok(DEFAULT_NETWORK), str::parse);
    net(driver, network.map_err(|_| GenericError::new("the network is not known to the driver"))?)
}

pub(crate) fn net_of_platform<'a>(driver: &'a Driver, platform: &str) -> Answer<&'a Net> {
    let parsed: Option<PaymentPlatform> = platform.to_ascii_lowercase().parse().ok();
    let network = parsed.as_ref().and_then(|platform| platform.network().parse::<Network>().ok());
    match network {
        Some(network) if Some(network.platform()) == parsed => net(driver, network),
        _ => {
            let platform: String = platform.chars().take(100).collect();
            Err(GenericError::new(format!("Unable to find network for platform: {platform}")))
        }
    }
}

/// Refuses senders whose key is not here: their transfers would wait for ever.
async fn check_identity(driver: &Driver, sender: Address) -> Answer<()> {
    let get = identity::Get::ByNodeId(NodeId::from(sender.into_array()));
    match driver.bus.call(identity::ADDRESS, Caller::local(), get, ANSWER_WITHIN).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(GenericError::new(format!("there is no identity {} on this node", crate::text(sender)))),
        Err(error) => Err(GenericError::new(error)),
    }
}

async fn init(driver: &Driver, call: Init) -> Answer<Ack> {
    let account = address(&call.address)?;
    let net = net_of_name(driver, call.network.as_deref())?;
    if call.mode.sends() {
        check_identity(driver, account).await?;
    }
    driver.books.put_account(net.chain.network, account, call.mode.bits).await.map_err(GenericError::new)?;
    register_account(driver, net.chain.network, account, call.mode).await
}

pub(crate) async fn register_account(
    driver: &Driver,
    network: Network,
    account: Address,
    mode: AccountMode,
) -> Answer<Ack> {
    let call = RegisterAccount {
        address: crate::text(account),
        driver: DRIVER.to_owned(),
        network: network.name().to_owned(),
        token: network.token().to_owned(),
        mode,
    };
    driver.bus.call(payment::ADDRESS, Caller::local(), call, ANSWER_WITHIN).await.map_err(GenericError::new)
}

async fn fund_account(driver: &Arc<Driver>, call: Fund) -> Answer<String> {
    let account = address(&call.address)?;
    let network = net_of_name(driver, call.network.as_deref())?.chain.network;
    check_identity(driver, account).await?;
    fund::fund(driver, net(driver, network)?, account, call.mint_only).await
}

async fn schedule(driver: &Arc<Driver>, call: SchedulePayment) -> Answer<String> {
    let SchedulePayment { payment_id, amount, sender, recipient, platform, deposit_id, due_date } = call;
    let network = net_of_platform(driver, &platform)?.chain.network;
    let order = Order { network, payment_id, amount, sender, recipient, deposit: deposit_id, due_at: due_date };
    enqueue(driver, order, true).await
}

async fn transfer(driver: &Arc<Driver>, call: Transfer) -> Answer<String> {
    let Transfer { sender, to, amount, network, .. } = call;
    let network = net_of_name(driver, network.as_deref())?.chain.network;
    let due_at = driver.now();
    let order = Order { network, payment_id: None, amount, sender, recipient: to, deposit: None, due_at };
    enqueue(driver, order, false).await
}

struct Order {
    network: Network,
    payment_id: Option<String>,
    amount: Amount,
    sender: String,
    recipient: String,
    deposit: Option<Deposit>,
    due_at: chrono::DateTime<chrono::Utc>,
}

async fn enqueue(driver: &Arc<Driver>, order: Order, notify: bool) -> Answer<String> {
    let (sender, recipient) = (address(&order.sender)?, address(&order.recipient)?);
    let amount = order.amount.wei();
    if amount.is_zero() || order.amount.is_negative() {
        return Err(GenericError::new("the amount must be at least the token's smallest unit"));
    }
    if recipient.is_zero() {
        return Err(GenericError::new("the zero address cannot be paid"));
    }
    let deposit = order.deposit.as_ref().map(account::deposit_key).transpose();
    let deposit = deposit.map_err(|_| GenericError::new("the deposit's id or contract is malformed"))?;
    if deposit.is_some() && amount > crate::abi::PACKED_MAX {
        return Err(GenericError::new("the amount is too large for a deposit"));
    }
    check_identity(driver, sender).await?;
    let payment_id = match order.payment_id {
        Some(id) if id.is_empty() || id.len() > 200 => return Err(GenericError::new("the payment id is malformed")),
        Some(id) => id,
        None => uuid::Uuid::new_v4().simple().to_string(),
    };
    let lane = LaneKey { network: order.network, sender };
    let new = NewTransfer {
        lane,
        payment_id: payment_id.clone(),
        kind: Kind::Transfer,
        recipient,
        amount,
        deposit,
        due_at: order.due_at,
        notify,
        now: driver.now(),
    };
    driver.books.enqueue(new).await.map_err(GenericError::new)?;
    arrow!("erc20-queued");
    driver.wake(lane, false);
    Ok(payment_id)
}

async fn close_deposit(driver: &Arc<Driver>, call: DriverReleaseDeposit) -> Answer<Ack> {
    let network = net_of_platform(driver, &call.platform)?.chain.network;
    let sender = address(&call.from)?;
    let deposit = Deposit { id: call.deposit_id, contract: call.deposit_contract, validate: None };
    let deposit =
        account::deposit_key(&deposit).map_err(|_| GenericError::new("the deposit's id or contract is malformed"))?;
    check_identity(driver, sender).await?;
    let (lane, now) = (LaneKey { network, sender }, driver.now());
    let new = NewTransfer {
        lane,
        // Asking twice is asking once.
        payment_id: format!("close_deposit_{:#066x}-{:#x}", deposit.id, deposit.contract),
        kind: Kind::CloseDeposit,
        recipient: Address::ZERO,
        amount: U256::ZERO,
        deposit: Some(deposit),
        due_at: now,
        notify: false,
        now,
    };
    driver.books.enqueue(new).await.map_err(GenericError::new)?;
    driver.wake(lane, false);
    Ok(Ack {})
}

fn flush(driver: &Driver, call: FlushPayments) -> FlushPaymentResult {
    let account = call.node_id.map(|id| Address::from(*id.as_bytes()));
    if driver.wake_all(account, true) { FlushPaymentResult::FlushScheduled } else { FlushPaymentResult::FlushNotNeeded }
}

fn status(driver: &Driver, call: DriverStatus) -> Result<Vec<payment::DriverStatusProperty>, DriverStatusError> {
    let network = match call.network {
        Some(name) => Some(name.parse().map_err(|_| DriverStatusError::NetworkNotFound(name))?),
        None => None,
    };
    Ok(driver.troubles.of(network))
}

async fn endpoints(driver: &Driver, call: GetRpcEndpoints) -> Answer<RpcEndpoints> {
    let wanted: Vec<&Net> = match call.network.as_deref() {
        Some(name) => vec![net_of_name(driver, Some(name))?],
        None => driver.nets.values().map(AsRef::as_ref).collect(),
    };
    let look = (call.verify || call.resolve) && !call.no_wait;
    let mut found = BTreeMap::new();
    let mut sources = BTreeMap::new();
    for net in wanted {
        let name = net.chain.network.name();
        found.insert(name, net.pool.report(look).await);
        sources.insert(name, net.pool.sources());
    }
    let json = |map: BTreeMap<_, _>| serde_json::to_value(map).map_err(GenericError::new);
    Ok(RpcEndpoints { endpoints: json(found)?, sources: json(sources)? })
}

async fn sign(driver: &Driver, payment: &Payment, text: &[u8]) -> Answer<Vec<u8>> {
    let signer = Address::from(*payment.payer_id.as_bytes());
    transaction::sign_hash(&driver.bus, signer, signature::digest(text)).await.map_err(GenericError::new)
}

fn is_signed(call: &VerifySignature) -> bool {
    let text = match &call.canonical {
        Some(bytes) if signature::says_the_same(&call.payment, bytes) => bytes.clone(),
        Some(_) => return false,
        None => signature::legacy(&call.payment).into_bytes(),
    };
    let signer = Address::from(*call.payment.payer_id.as_bytes());
    let digest = alloy_primitives::B256::from(signature::digest(&text));
    let [v @ (0 | 1), numbers @ ..] = call.signature.as_slice() else { return false };
    if numbers.len() != 64 {
        return false;
    }
    let (r, s) = numbers.split_at(32);
    let signature = alloy_primitives::Signature::new(U256::from_be_slice(r), U256::from_be_slice(s), *v == 1);
    signature.recover_address_from_prehash(&digest).is_ok_and(|found| found == signer)
}
