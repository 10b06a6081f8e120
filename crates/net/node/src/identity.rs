//! Identities of this node at run time, and proofs in their name (spec 11 §8).
//!
//! Keys stay with the identity service: challenges are signed through the bus.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use golem_bus::{Bus, CallError};
use golem_keys::{PublicKey, Signature};
use golem_model::identity::{self, GetPubKey, IdentityInfo, List, Sign};
use golem_model::{Caller, NodeId};
use golem_net_relay_core::{Proof, ProofToken};
use golem_net_relay_wire::{challenge, proof};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::engine::Command;
use crate::shared::Shared;

/// The identity service is in this process; a longer wait means that it hangs.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(10);
/// Challenges that are solved at once on threads of their own.
const SOLVERS_MAX: usize = 2;
/// Up to this difficulty the search takes microseconds and needs no other thread.
const EASY: u64 = 8;

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("the identity service does not answer")]
    Bus(#[source] golem_bus::BusError),
    #[error("the identity service answered with an error")]
    Service(#[source] identity::Error),
    #[error("there is no default identity")]
    NoDefault,
}

impl From<CallError<identity::Error>> for IdentityError {
    fn from(error: CallError<identity::Error>) -> Self {
        match error {
            CallError::Service(error) => Self::Service(error),
            CallError::Bus(error) => Self::Bus(error),
        }
    }
}

/// The identities, and the keys of the unlocked ones, default first.
pub(crate) struct Identities {
    pub(crate) default: NodeId,
    pub(crate) all: Vec<NodeId>,
    pub(crate) keys: Vec<PublicKey>,
}

/// Asks the identity service. `network_id` is the default identity of this process once it is known.
pub(crate) async fn list(bus: &Bus, network_id: Option<NodeId>) -> Result<Identities, IdentityError> {
    let list = bus.call(identity::ADDRESS, Caller::local(), List {}, IDENTITY_TIMEOUT).await?;
    let default = network_id
        .or_else(|| list.iter().find(|id| id.is_default).map(|id| id.node_id))
        .ok_or(IdentityError::NoDefault)?;
    let mut usable: Vec<&IdentityInfo> = list.iter().filter(|id| !id.is_locked && !id.deleted).collect();
    usable.sort_by_key(|id| id.node_id != default);
    let mut keys = Vec::new();
    // Without its default identity a node would be another one.
    if usable.first().is_some_and(|id| id.node_id == default) {
        for id in usable {
            let key = bus.call(identity::ADDRESS, Caller::local(), GetPubKey(id.node_id), IDENTITY_TIMEOUT).await?;
            match PublicKey::try_from(&*key) {
                Ok(key) => keys.push(key),
                Err(error) => warn!(identity = %id.node_id, %error, "an identity is left out"),
            }
        }
    }
    let all = list.iter().filter(|id| !id.deleted).map(|id| id.node_id).collect();
    Ok(Identities { default, all, keys })
}

/// Brings the net up to date with the identity service.
#[derive(Clone)]
pub(crate) struct Refresh {
    pub(crate) bus: Bus,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
}

impl Refresh {
    pub(crate) async fn now(&self) {
        match list(&self.bus, Some(self.shared.default_id())).await {
            Ok(identities) => {
                self.shared.set_own(identities.default, identities.all);
                // The engine has stopped otherwise.
                let _ = self.commands.send(Command::Identities(identities.keys)).await;
            }
            Err(error) => warn!(%error, "identities cannot be read"),
        }
    }
}

/// Answers challenges.
#[derive(Clone)]
pub(crate) struct Prover {
    pub(crate) bus: Bus,
    pub(crate) tasks: TaskTracker,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) session_key: PublicKey,
    /// Unlocked identities, default first.
    pub(crate) ids: Arc<Mutex<Vec<NodeId>>>,
    /// Signatures over the session key are the same for the life of the process.
    pub(crate) session_signatures: Arc<Mutex<HashMap<NodeId, Signature>>>,
    pub(crate) solvers: Arc<Semaphore>,
}

impl Prover {
    pub(crate) fn new(bus: Bus, tasks: TaskTracker, commands: mpsc::Sender<Command>, session_key: PublicKey) -> Self {
        Self {
            bus,
            tasks,
            commands,
            session_key,
            ids: Arc::default(),
            session_signatures: Arc::default(),
            solvers: Arc::new(Semaphore::new(SOLVERS_MAX)),
        }
    }

    pub(crate) fn set_ids(&self, ids: Vec<NodeId>) {
        *self.ids.lock().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    pub(crate) fn prove(&self, token: ProofToken, challenge: Bytes, difficulty: u64) {
        let prover = self.clone();
        self.tasks.spawn(async move {
            let proof = prover.answer(challenge, difficulty).await;
            // The engine has stopped otherwise.
            let _ = prover.commands.send(Command::Proved { token, proof }).await;
        });
    }

    async fn answer(&self, challenge: Bytes, difficulty: u64) -> Option<Proof> {
        // Far more than a solution needs on average; a search that fails then is bad luck of one in e^256.
        let tries = 1u64.checked_shl(u32::try_from(difficulty + 8).ok()?)?;
        let solution = if difficulty <= EASY {
            challenge::solve(&challenge, difficulty, tries)
        } else {
            let _one_of_few = self.solvers.acquire().await.ok()?;
            tokio::task::spawn_blocking(move || challenge::solve(&challenge, difficulty, tries)).await.ok()?
        }?;
        let digest = proof::solution_digest(&solution);
        let key_digest = proof::session_key_digest(&self.session_key);
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut signatures, mut session_signatures) = (Vec::new(), Vec::new());
        for (place, id) in ids.into_iter().enumerate() {
            let signed = async {
                let solution = self.sign(id, &digest).await?;
                Some((solution, self.session_signature(id, &key_digest).await?))
            };
            match signed.await {
                Some((solution, key)) => {
                    signatures.push(solution);
                    session_signatures.push(key);
                }
                // Locked meanwhile. Without the default identity there is no proof.
                None if place == 0 => return None,
                None => {}
            }
        }
        let solution = Bytes::copy_from_slice(&solution);
        (!signatures.is_empty()).then_some(Proof { solution, signatures, session_signatures })
    }

    async fn session_signature(&self, id: NodeId, digest: &[u8; 32]) -> Option<Signature> {
        let known = self.session_signatures.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
        if known.is_some() {
            return known;
        }
        let signature = self.sign(id, digest).await?;
        self.session_signatures.lock().unwrap_or_else(PoisonError::into_inner).insert(id, signature);
        Some(signature)
    }

    async fn sign(&self, node_id: NodeId, digest: &[u8; 32]) -> Option<Signature> {
        let sign = Sign { node_id, payload: digest.to_vec() };
        match self.bus.call(identity::ADDRESS, Caller::local(), sign, IDENTITY_TIMEOUT).await {
            Ok(signature) => Signature::try_from(&*signature).ok(),
            Err(error) => {
                warn!(identity = %node_id, %error, "an identity cannot sign for its session");
                None
            }
        }
    }
}
