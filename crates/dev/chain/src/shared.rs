//! The chain as its doors and its clock share it. Locks are held for one call and never over an await.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use serde_json::Value;

use crate::accounts::DevAccount;
use crate::block::SignedTransaction;
use crate::faults::Faults;
use crate::ledger::{Ledger, SubmitError};
use crate::rpc::Door;

/// Gas for anything that the chain itself sends; much more than its contracts take.
const OWN_GAS: u64 = 5_000_000;

#[derive(Debug)]
pub(crate) struct Shared {
    ledger: Mutex<(Ledger, bool)>,
    /// Deploys contracts and mints tokens.
    pub(crate) owner: DevAccount,
    donor: DevAccount,
    donation: U256,
}

/// A door with faults of its own.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) chain: Arc<Shared>,
    pub(crate) faults: Mutex<Faults>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "a development chain stands outside of the daemon and has its own time")]
pub(crate) fn now() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp()).unwrap_or_default()
}

impl Shared {
    pub(crate) const fn new(
        ledger: Ledger,
        mine_at_once: bool,
        owner: DevAccount,
        donor: DevAccount,
        donation: U256,
    ) -> Self {
        Self { ledger: Mutex::new((ledger, mine_at_once)), owner, donor, donation }
    }

    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut lock(&self.ledger).0)
    }

    pub(crate) fn mine(&self) {
        self.with(|ledger| ledger.mine(now()));
    }

    /// Sends coin from the donor; it arrives with the next block.
    pub(crate) fn donate(&self, to: Address) -> Result<B256, SubmitError> {
        let mut guard = lock(&self.ledger);
        let (ledger, mine_at_once) = &mut *guard;
        let hash = send(ledger, &self.donor, TxKind::Call(to), self.donation, Bytes::new())?;
        if *mine_at_once {
            ledger.mine(now());
        }
        Ok(hash)
    }
}

impl Endpoint {
    /// Outer `None`: the endpoint is down. Inner `None`: there is nothing to say.
    pub(crate) fn answer(&self, body: &[u8]) -> Option<Option<Value>> {
        let mut faults = lock(&self.faults);
        if faults.unavailable {
            return None;
        }
        let mut guard = lock(&self.chain.ledger);
        let (ledger, mine_at_once) = &mut *guard;
        Some(Door { ledger, faults: &mut faults, mine_at_once, now: now() }.answer(body))
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        *lock(&self.faults) = faults;
    }
}

/// Signs and submits a transaction of a development account.
pub(crate) fn send(
    ledger: &mut Ledger,
    from: &DevAccount,
    to: TxKind,
    value: U256,
    input: Bytes,
) -> Result<B256, SubmitError> {
    let mined = ledger.state.account(from.address, ledger.blocks.head()).nonce;
    let base_fee = u128::from(ledger.next_base_fee());
    let tip = u128::from(crate::TIP);
    let transaction = TxEip1559 {
        chain_id: ledger.chain_id,
        nonce: ledger.pool.next_nonce(from.address, mined),
        gas_limit: if input.is_empty() { 21_000 } else { OWN_GAS },
        max_fee_per_gas: base_fee * 2 + tip,
        max_priority_fee_per_gas: tip,
        to,
        value,
        access_list: Default::default(),
        input,
    };
    let signed = SignedTransaction::new(from.sign(transaction)).ok_or(SubmitError::Sender)?;
    let hash = signed.hash;
    ledger.submit(Arc::new(signed))?;
    Ok(hash)
}
