//! An Ethereum node for development: JSON-RPC over a virtual machine, in a library.
//!
//! [`Chain::start`] makes a chain with funded [`dev_accounts`], puts the contracts of `contracts/` on it and serves it
//! like any node, so wallets, official daemons and our own driver use it unchanged (spec 42 §5.13, §8). Every state of
//! its past stays readable. [`Handle`] also does what a real chain does to its users at bad times: stuck, dropped and
//! undone transactions, rising fees, endpoints that are down, behind or lying ([`Faults`], [`ChainFaults`]).
//!
//! Deliberately absent: peers, consensus, traces, subscriptions, disk, and proofs: `stateRoot` is a digest of the
//! history of changes, not the root of a trie.

mod accounts;
mod artifacts;
mod block;
mod evm;
mod faults;
mod http;
mod ledger;
mod pool;
mod rpc;
mod settings;
mod shared;
mod state;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::{SolCall, sol};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span};

pub use accounts::{DevAccount, dev_accounts};
pub use artifacts::{Contracts, creation_codes};
pub use faults::{ChainFaults, Faults, Undone};
use ledger::Ledger;
pub use settings::payments_config;
use shared::{Endpoint, Shared, now, send};

/// The tip that the chain's own transactions pay, in wei.
const TIP: u64 = 1_000_000_000;

sol! {
    function mint(address to, uint256 amount);
    function balanceOf(address account) returns (uint256);
}

/// How a chain is made.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    /// Default: that of the network hoodi.
    pub chain_id: u64,
    /// Time between blocks; none makes blocks only when told to or, with `mine_at_once`, for transactions.
    /// Official daemons refuse a node whose newest block is old (spec 42 §5.5), so a chain for them needs ticks.
    pub block_time: Option<Duration>,
    /// Gives each transaction a block when it arrives.
    pub mine_at_once: bool,
    /// Coin of each development account and of each address of `funded`, in wei.
    pub coin: U256,
    pub funded: Vec<Address>,
    /// Coin that `GET /donate/<address>` gives, in wei.
    pub donation: U256,
}

impl Default for Config {
    fn default() -> Self {
        let ether = U256::from(10).pow(U256::from(18));
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            chain_id: 560_048,
            block_time: Some(Duration::from_secs(1)),
            mine_at_once: false,
            coin: ether * U256::from(10_000),
            funded: Vec::new(),
            donation: ether,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}\n  hint: another program has the port; choose another one")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("the compiled contracts are damaged\n  hint: run `cargo xtask contracts`")]
    Artifact,
    #[error("contract {0} was not made")]
    Deploy(usize),
    #[error("no development accounts")]
    Accounts,
}

/// Why the chain did not do what its [`Handle`] was asked for.
#[derive(Debug, thiserror::Error)]
#[error("the chain refused a transaction of its own: {0}")]
pub struct GiveError(String);

/// Makes chains.
#[derive(Debug)]
pub struct Chain;

/// A running chain. Cheap to clone; the chain stops with its token, not with its handles.
#[derive(Clone, Debug)]
pub struct Handle {
    endpoint: Arc<Endpoint>,
    address: SocketAddr,
    contracts: Contracts,
    chain_id: u64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Chain {
    pub async fn start(config: Config, tasks: &TaskTracker, stop: CancellationToken) -> Result<Handle, StartError> {
        let mut accounts = dev_accounts();
        let funded: Vec<_> = accounts.iter().map(|account| account.address).chain(config.funded).collect();
        let funded = funded.into_iter().map(|address| (address, config.coin));
        let mut ledger = Ledger::new(config.chain_id, now(), funded);
        let (donor, owner) = (accounts.pop().ok_or(StartError::Accounts)?, accounts.drain(..).next());
        let owner = owner.ok_or(StartError::Accounts)?;
        let contracts = deploy(&mut ledger, &owner)?;
        let chain = Arc::new(Shared::new(ledger, config.mine_at_once, owner, donor, config.donation));
        let endpoint = Arc::new(Endpoint { chain, faults: Mutex::default() });
        let address = open(config.listen, &endpoint, tasks, &stop).await?;
        if let Some(block_time) = config.block_time {
            let chain = Arc::clone(&endpoint.chain);
            tasks.spawn(tick(chain, block_time, stop.clone()).instrument(info_span!("chain")));
        }
        debug!(%address, chain_id = config.chain_id, "chain started");
        Ok(Handle { endpoint, address, contracts, chain_id: config.chain_id, tasks: tasks.clone(), stop })
    }
}

async fn open(
    listen: SocketAddr,
    endpoint: &Arc<Endpoint>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tasks.spawn(http::serve(listener, Arc::clone(endpoint), stop.clone()));
    Ok(address)
}

async fn tick(chain: Arc<Shared>, block_time: Duration, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(block_time);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => chain.mine(),
        }
    }
}

fn deploy(ledger: &mut Ledger, owner: &DevAccount) -> Result<Contracts, StartError> {
    let contracts = Contracts::of(owner.address);
    for artifact in artifacts::DEPLOYED {
        let code = artifacts::creation_code(artifact, contracts.token).ok_or(StartError::Artifact)?;
        send(ledger, owner, TxKind::Create, U256::ZERO, code).map_err(|_| StartError::Artifact)?;
        ledger.mine(now());
    }
    let Contracts { token, multi_transfer, faucet, wrapper, lock } = contracts;
    for (index, address) in [token, multi_transfer, faucet, wrapper, lock].into_iter().enumerate() {
        if ledger.state.code(address, ledger.blocks.head()).is_none() {
            return Err(StartError::Deploy(index));
        }
    }
    Ok(contracts)
}

impl Handle {
    /// Where JSON-RPC is served.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub const fn contracts(&self) -> Contracts {
        self.contracts
    }

    /// Opens a further door to the same chain, with faults of its own.
    pub async fn open_door(&self, listen: SocketAddr) -> Result<Self, StartError> {
        let endpoint = Arc::new(Endpoint { chain: Arc::clone(&self.endpoint.chain), faults: Mutex::default() });
        let address = open(listen, &endpoint, &self.tasks, &self.stop).await?;
        Ok(Self { endpoint, address, ..self.clone() })
    }

    /// Text of a `config-payments.toml` that makes a daemon use this chain as `network`.
    pub fn payments_config(&self, network: &str) -> String {
        let donor = (self.address.ip().to_string(), self.address.port());
        payments_config(network, self.chain_id, &self.url(), &self.contracts, (&donor.0, donor.1))
    }

    /// The same by environment variables, without a faucet (spec 42 §3.2).
    pub fn environment(&self, network: &str) -> Vec<(String, String)> {
        let network = network.to_ascii_uppercase();
        let Contracts { token, multi_transfer, wrapper, lock, .. } = self.contracts;
        [
            ("GETH_ADDR", self.url()),
            ("TGLM_CONTRACT_ADDRESS", token.to_string()),
            ("MULTI_PAYMENT_CONTRACT_ADDRESS", multi_transfer.to_string()),
            ("WRAPPER_CONTRACT_ADDRESS", wrapper.to_string()),
            ("LOCK_PAYMENT_CONTRACT_ADDRESS", lock.to_string()),
        ]
        .map(|(name, value)| (format!("{network}_{name}"), value))
        .into()
    }

    /// Gives coin and tokens, in wei, and makes a block with that.
    pub fn give(&self, to: Address, coin: U256, glm: U256) -> Result<(), GiveError> {
        let owner = &self.endpoint.chain.owner;
        let token = self.contracts.token;
        self.endpoint.chain.with(|ledger| {
            let refused = |error: ledger::SubmitError| GiveError(error.to_string());
            if !coin.is_zero() {
                send(ledger, owner, TxKind::Call(to), coin, Bytes::new()).map_err(refused)?;
            }
            if !glm.is_zero() {
                let input = mintCall { to, amount: glm }.abi_encode();
                send(ledger, owner, TxKind::Call(token), U256::ZERO, input.into()).map_err(refused)?;
            }
            ledger.mine(now());
            Ok(())
        })
    }

    /// Coin of an account now, in wei.
    pub fn coin(&self, address: Address) -> U256 {
        self.endpoint.chain.with(|ledger| ledger.state.account(address, ledger.blocks.head()).balance)
    }

    /// Tokens of an account now, in wei.
    pub fn glm(&self, address: Address) -> U256 {
        let token = self.contracts.token;
        let outcome = self.endpoint.chain.with(|ledger| {
            let head = ledger.blocks.last()?;
            let mut message = evm::empty();
            message.kind = TxKind::Call(token);
            message.data = balanceOfCall { account: address }.abi_encode().into();
            let view = ledger.view(head.number());
            evm::run(view, ledger.surroundings(head), evm::Mode::Question, message).ok()
        });
        let output = outcome.and_then(|outcome| outcome.result.into_output()).unwrap_or_default();
        U256::try_from_be_slice(&output).unwrap_or_default()
    }

    /// Number of the newest block.
    pub fn head(&self) -> u64 {
        self.endpoint.chain.with(|ledger| ledger.blocks.head())
    }

    /// Hashes of all transactions of an account in the blocks, oldest first, with whether they succeeded.
    pub fn sent_by(&self, from: Address) -> Vec<(B256, bool)> {
        self.endpoint.chain.with(|ledger| {
            let blocks = (ledger.blocks.first()..=ledger.blocks.head()).filter_map(|number| ledger.blocks.get(number));
            let mined = blocks.flat_map(|block| &block.transactions);
            mined
                .filter(|mined| mined.transaction.from == from)
                .map(|mined| (mined.transaction.hash, mined.succeeded))
                .collect()
        })
    }

    /// Moves the time of blocks to come ahead of the wall clock, in seconds.
    pub fn set_time_ahead(&self, seconds: u64) {
        self.endpoint.chain.with(|ledger| ledger.move_time(seconds));
    }

    /// Makes a block now.
    pub fn mine(&self) {
        self.endpoint.chain.mine();
    }

    /// Undoes the newest blocks and makes others in their place.
    pub fn reorganise(&self, depth: u64, undone: Undone) {
        self.endpoint.chain.with(|ledger| ledger.reorganise(depth, undone, now()));
    }

    /// Forgets all waiting transactions, as a node does that was restarted.
    pub fn forget_waiting(&self) {
        self.endpoint.chain.with(|ledger| ledger.pool.clear());
    }

    /// Whether transactions wait for a block.
    pub fn has_waiting(&self) -> bool {
        self.endpoint.chain.with(|ledger| !ledger.pool.is_empty())
    }

    /// Faults of this door; the default takes them all back.
    pub fn set_faults(&self, faults: Faults) {
        self.endpoint.set_faults(faults);
    }

    pub fn set_chain_faults(&self, faults: ChainFaults) {
        self.endpoint.chain.with(|ledger| ledger.faults = faults);
    }
}
