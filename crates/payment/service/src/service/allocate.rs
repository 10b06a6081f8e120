//! Allocations: made, amended, released (spec 40 §5, 41 §3.1 to §3.4).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use golem_model::driver::{self, AccountMode, ValidateAllocationResult};
use golem_model::payment::{Allocation, AllocationUpdate, Deposit, MarketDecoration, NewAllocation, PaymentPlatform};
use golem_model::{Amount, NodeId};
use golem_payment_core::books::Funds;
use golem_payment_core::decoration::{Offered, decorate};
use golem_payment_core::platform::{self, ChoiceError};
use golem_store::StoreError;
use golem_store::rusqlite::Connection;
use tracing::{info, warn};

use super::{Service, until};
use crate::error::OpError;
use crate::store::allocation::{self, Stored};

/// Timeout of an allocation that names none.
const DEFAULT_LIFE: TimeDelta = TimeDelta::days(3650);
/// Longest sleep, so that a changed wall clock is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How often a validation is repeated because other allocations came in between.
const VALIDATIONS_MAX: usize = 8;
/// Live allocations of one identity.
const LIVE_MAX: usize = 10_000;
/// Longest address of a client.
const ADDRESS_LEN_MAX: usize = 100;

/// Why an allocation is refused, with what clients are shown as `application/problem+json`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AllocationProblem {
    #[error("Payment platform doesn't parse")]
    BadPlatform(#[source] ChoiceError),
    #[error("Account not registered")]
    NotRegistered { address: String, platform: PaymentPlatform },
    #[error("{cause}")]
    Internal { cause: String, address: String, platform: String },
    #[error("allocation not valid")]
    Invalid { result: ValidateAllocationResult, address: String, platform: String },
}

impl From<AllocationProblem> for OpError {
    fn from(problem: AllocationProblem) -> Self {
        Self::Allocation(Box::new(problem))
    }
}

/// What the driver is asked, whatever is done with the answer.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) address: String,
    pub(crate) platform: String,
    /// What is wanted in addition to what is allocated already.
    pub(crate) amount: Amount,
    pub(crate) timeout: Option<DateTime<Utc>>,
    pub(crate) deposit: Option<Deposit>,
    pub(crate) is_new: bool,
    /// The allocation that is amended; it does not stand in its own way.
    pub(crate) amended: Option<String>,
}

/// What is promised of an account: compared before and after the driver was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Promised(Amount);

fn promised(db: &Connection, platform: &str, address: &str) -> Result<Promised, OpError> {
    let live = allocation::of_address(db, platform, address)?;
    let plain = live.iter().filter(|one| !one.released && one.deposit.is_none());
    let remaining = Amount::sum(plain.map(|one| one.funds.remaining()));
    let unpaid = allocation::unpaid(db, platform, address)?;
    let sum = remaining.and_then(|remaining| remaining.checked_add(unpaid));
    sum.map(Promised).ok_or_else(|| OpError::Internal("the sum of allocations overflows".to_owned()))
}

impl Service {
    pub(crate) async fn allocate(self: &Arc<Self>, owner: NodeId, new: NewAllocation) -> Result<Allocation, OpError> {
        let amount = positive(new.total_amount)?;
        let platform = platform::choose(new.payment_platform.as_ref(), &self.registry.other_drivers())
            .map_err(AllocationProblem::BadPlatform)?;
        let address = new.address.filter(|address| !address.is_empty()).unwrap_or_else(|| owner.to_string());
        if address.len() > ADDRESS_LEN_MAX {
            return Err(OpError::BadRequest(format!("an address has at most {ADDRESS_LEN_MAX} characters")));
        }
        let address = address.to_ascii_lowercase();
        let now = self.now();
        let invalid =
            |result| AllocationProblem::Invalid { result, address: address.clone(), platform: platform.to_string() };
        if let Some(requested_timeout) = new.timeout.filter(|timeout| *timeout <= now) {
            return Err(invalid(ValidateAllocationResult::TimeoutPassed { requested_timeout }).into());
        }
        self.ensure_account(&address, &platform).await?;
        let wish = Wish {
            address: address.clone(),
            platform: platform.to_string(),
            amount,
            timeout: new.timeout,
            deposit: new.deposit.clone(),
            is_new: true,
            amended: None,
        };
        let stored = Stored {
            id: uuid::Uuid::new_v4().to_string(),
            owner,
            address,
            platform: platform.to_string(),
            funds: Funds::new(amount),
            created: now,
            updated: now,
            timeout: new.timeout.unwrap_or(now + DEFAULT_LIFE),
            deposit: new.deposit,
            released: false,
        };
        let view = stored.view();
        self.validated(&wish, move |db| {
            if allocation::live(db, owner)?.len() >= LIVE_MAX {
                return Err(OpError::BadRequest(format!(
                    "there are {LIVE_MAX} allocations; release some with `yagna payment release-allocations`"
                )));
            }
            allocation::insert(db, &stored)?;
            Ok(())
        })
        .await?;
        self.live.changed(owner);
        self.timeouts_changed.notify_one();
        Ok(view)
    }

    /// Asks the driver, then makes `change`, and asks again when others were granted something in between.
    async fn validated(
        &self,
        wish: &Wish,
        change: impl Fn(&Connection) -> Result<(), OpError> + Send + Sync + 'static,
    ) -> Result<(), OpError> {
        let change = Arc::new(change);
        for _ in 0..VALIDATIONS_MAX {
            let (platform, address) = (wish.platform.clone(), wish.address.clone());
            let before = self.store.read(move |db| promised(db, &platform, &address)).await?;
            let result = self.validate(wish).await?;
            if result != ValidateAllocationResult::Valid {
                let (address, platform) = (wish.address.clone(), wish.platform.clone());
                return Err(AllocationProblem::Invalid { result, address, platform }.into());
            }
            let (platform, address, change) = (wish.platform.clone(), wish.address.clone(), Arc::clone(&change));
            let unseen = wish.deposit.is_some();
            let made = self.store.write(move |db| {
                if !unseen && promised(db, &platform, &address)?.0 > before.0 {
                    return Ok(false);
                }
                change(db).map(|()| true)
            });
            if made.await? {
                return Ok(());
            }
        }
        Err(OpError::Internal("too many allocations of this account are made at the same time".to_owned()))
    }

    /// What the driver says of a wish.
    pub(crate) async fn validate(&self, wish: &Wish) -> Result<ValidateAllocationResult, OpError> {
        if self.config.skip_allocation_validation && wish.deposit.is_none() {
            return Ok(ValidateAllocationResult::Valid);
        }
        let (platform, address) = (wish.platform.clone(), wish.address.clone());
        let look = move |db: &Connection| {
            Ok::<_, StoreError>((
                allocation::of_address(db, &platform, &address)?,
                allocation::unpaid(db, &platform, &address)?,
            ))
        };
        let (known, unpaid) = self.store.read(look).await?;
        let (past, active): (Vec<_>, Vec<_>) = known.iter().partition(|one| one.released);
        let call = driver::ValidateAllocation {
            address: wish.address.clone(),
            platform: wish.platform.clone(),
            amount: wish.amount,
            timeout: wish.timeout,
            deposit: wish.deposit.clone(),
            past_allocations: past.into_iter().map(Stored::view).collect(),
            active_allocations: active
                .into_iter()
                .filter(|one| wish.deposit.is_none() || wish.amended.as_ref() != Some(&one.id))
                .map(Stored::view)
                .collect(),
            new_allocation: wish.is_new,
            unpaid,
        };
        self.driver(&super::settle::driver_of(&wish.platform), call).await.map_err(|error| {
            let cause = match error {
                golem_bus::CallError::Service(error) => error.to_string(),
                golem_bus::CallError::Bus(error) => error.to_string(),
            };
            AllocationProblem::Internal { cause, address: wish.address.clone(), platform: wish.platform.clone() }.into()
        })
    }

    /// The driver is ready to send from `address`.
    async fn ensure_account(&self, address: &str, platform: &PaymentPlatform) -> Result<(), OpError> {
        let registered = || self.registry.account(platform.as_str(), address).is_some_and(|account| account.send);
        if registered() {
            return Ok(());
        }
        let not_registered =
            || AllocationProblem::NotRegistered { address: address.to_owned(), platform: platform.clone() };
        let (name, network, token) = self.registry.platform(platform.as_str()).ok_or_else(not_registered)?;
        let init = driver::Init {
            address: address.to_owned(),
            network: Some(network),
            token: Some(token),
            mode: AccountMode::SEND,
        };
        if let Err(error) = self.driver(&name, init).await {
            warn!(address, %platform, %error, "the driver does not serve an account");
        }
        if registered() { Ok(()) } else { Err(not_registered().into()) }
    }

    pub(crate) async fn amend(
        self: &Arc<Self>,
        owner: NodeId,
        id: &str,
        update: AllocationUpdate,
    ) -> Result<Allocation, OpError> {
        let now = self.now();
        let current = self.allocation(owner, id).await?;
        let mut funds = current.funds;
        let growth = match update.total_amount {
            Some(total) => funds.amend(positive(total)?)?,
            None => Amount::ZERO,
        };
        if update.timeout.is_some_and(|timeout| timeout <= now) {
            return Err(OpError::BadRequest("New allocation timeout is in the past".to_owned()));
        }
        let mut deposit = current.deposit.clone();
        if let Some(new) = update.deposit {
            let text = "Cannot update deposit of an allocation created without one";
            deposit.as_mut().ok_or_else(|| OpError::BadRequest(text.to_owned()))?.validate = new.validate;
        }
        let (new_timeout, total) = (update.timeout.unwrap_or(current.timeout), update.total_amount);
        // With a deposit, what is still to be taken from it must be in it: not only the growth (spec 40 §5.3).
        let amount = match deposit {
            Some(_) => {
                let key = id.to_owned();
                let owed = self.store.read(move |db| Ok::<_, StoreError>(allocation::owed(db, &key)?)).await?;
                funds.remaining().checked_add(owed).unwrap_or(funds.total)
            }
            None => growth,
        };
        let wish = Wish {
            address: current.address.clone(),
            platform: current.platform.clone(),
            amount,
            timeout: Some(new_timeout),
            deposit: deposit.clone(),
            is_new: false,
            amended: Some(current.id.clone()),
        };
        let key = id.to_owned();
        let change = move |db: &Connection| {
            // Something may have been spent meanwhile.
            let mut stored = live(db, owner, &key)?;
            if let Some(total) = total {
                stored.funds.amend(total.money()?)?;
            }
            stored.timeout = new_timeout;
            stored.deposit = deposit.clone();
            allocation::save(db, &stored)?;
            Ok(())
        };
        if growth.is_zero() && wish.deposit.is_none() {
            self.store.write(move |db| change(db)).await?;
        } else {
            self.validated(&wish, change).await?;
        }
        self.live.changed(owner);
        self.timeouts_changed.notify_one();
        Ok(self.allocation(owner, id).await?.view())
    }

    /// A live allocation; 404 or 410 otherwise.
    async fn allocation(&self, owner: NodeId, id: &str) -> Result<Stored, OpError> {
        let key = id.to_owned();
        self.store.read(move |db| live(db, owner, &key)).await
    }

    pub(crate) async fn release(self: &Arc<Self>, owner: NodeId, id: &str) -> Result<(), OpError> {
        let key = id.to_owned();
        let change = move |db: &Connection| {
            let stored = live(db, owner, &key)?;
            allocation::release(db, owner, &key)?;
            Ok::<_, OpError>(stored)
        };
        let released = self.store.write(move |db| change(db)).await?;
        self.released(&released);
        Ok(())
    }

    /// All allocations of all identities.
    pub(crate) async fn release_all(self: &Arc<Self>) -> Result<(), OpError> {
        self.release_where(|_| true).await?;
        Ok(())
    }

    /// Releases what `which` chooses; answers when the next timeout of the rest is.
    async fn release_where(
        self: &Arc<Self>,
        which: impl Fn(&Stored) -> bool + Send + 'static,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let change = move |db: &Connection| {
            let (chosen, rest): (Vec<_>, Vec<_>) = allocation::all_live(db)?.into_iter().partition(|one| which(one));
            for one in &chosen {
                allocation::release(db, one.owner, &one.id)?;
            }
            Ok::<_, StoreError>((chosen, rest.iter().map(|one| one.timeout).min()))
        };
        let (released, next) = self.store.write(move |db| change(db)).await?;
        released.iter().for_each(|one| self.released(one));
        Ok(next)
    }

    fn released(self: &Arc<Self>, allocation: &Stored) {
        info!(allocation = allocation.id, owner = %allocation.owner, "allocation released");
        self.live.changed(allocation.owner);
        if allocation.deposit.is_some() {
            // The deposit is closed in the next run, also when there is nothing to pay.
            self.settle_soon(allocation.owner, allocation.platform.clone());
        }
    }

    pub(crate) async fn decorations(&self, owner: NodeId, ids: &str) -> Result<MarketDecoration, OpError> {
        let known = self.allocations(owner).await?;
        let offered: Option<Vec<_>> = ids
            .split(',')
            .map(|id| {
                let one = known.list.iter().find(|one| one.id == id.trim())?;
                Some(Offered {
                    platform: one.platform.clone(),
                    address: one.address.clone(),
                    deposit: one.deposit.is_some(),
                })
            })
            .collect();
        offered.map(|offered| decorate(&offered)).ok_or(OpError::NotFound)
    }
}

fn positive(amount: Amount) -> Result<Amount, OpError> {
    let amount = amount.money()?;
    if amount.is_zero() {
        return Err(OpError::BadRequest("the amount of an allocation must be more than nothing".to_owned()));
    }
    Ok(amount)
}

fn live(db: &Connection, owner: NodeId, id: &str) -> Result<Stored, OpError> {
    let stored = allocation::get(db, owner, id)?.ok_or(OpError::NotFound)?;
    if stored.released {
        return Err(OpError::Gone(format!("Allocation {id} has been already released")));
    }
    Ok(stored)
}

/// Releases allocations whose time is over, those of before the start at once.
pub(super) async fn run_timeouts(service: Arc<Service>) {
    loop {
        let changed = service.timeouts_changed.notified();
        let now = service.now();
        let next = match service.release_where(move |one| one.timeout <= now).await {
            Ok(next) => next,
            Err(error) => {
                warn!(%error, "cannot look for allocations whose time is over");
                None
            }
        };
        let sleep = until(service.now(), next, SLEEP_MAX);
        tokio::select! {
            biased;
            () = service.stop.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(sleep) => {}
        }
    }
}
