//! Makes signed transactions; the key never leaves the identity service.

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, Signature, TxKind, U256};
use chrono::{DateTime, Utc};
use golem_bus::{Bus, CallError};
use golem_model::{Caller, NodeId, identity};

use crate::plan::Fees;
use crate::store::Attempt;

/// Time for a signature: the identity service is in this process or next door.
const SIGN_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    #[error("the identity service did not sign: {0}")]
    Refused(String),
    #[error("the signature is not one of the account")]
    Wrong,
}

/// Everything but the signature.
#[derive(Clone, Debug)]
pub(crate) struct Unsigned {
    pub(crate) chain_id: u64,
    pub(crate) nonce: u64,
    pub(crate) gas_limit: u64,
    pub(crate) fees: Fees,
    pub(crate) target: Address,
    pub(crate) input: Bytes,
}

/// Has 32 bytes signed as they are: 65 bytes `v ‖ r ‖ s`.
pub(crate) async fn sign_hash(bus: &Bus, signer: Address, hash: [u8; 32]) -> Result<Vec<u8>, SignError> {
    let call = identity::Sign { node_id: NodeId::from(signer.into_array()), payload: hash.to_vec() };
    bus.call(identity::ADDRESS, Caller::local(), call, SIGN_WITHIN).await.map_err(|error| match error {
        CallError::Service(error) => SignError::Refused(error.to_string()),
        CallError::Bus(error) => SignError::Refused(error.to_string()),
    })
}

impl Unsigned {
    pub(crate) async fn sign(self, bus: &Bus, sender: Address, now: DateTime<Utc>) -> Result<Attempt, SignError> {
        let Self { chain_id, nonce, gas_limit, fees, target, input } = self;
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fees.max_fee,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(target),
            value: U256::ZERO,
            access_list: Default::default(),
            input,
        };
        let hash = transaction.signature_hash();
        let signature = parse(&sign_hash(bus, sender, hash.0).await?).ok_or(SignError::Wrong)?;
        if signature.recover_address_from_prehash(&hash).ok() != Some(sender) {
            return Err(SignError::Wrong);
        }
        let envelope: TxEnvelope = transaction.into_signed(signature).into();
        Ok(Attempt {
            hash: *envelope.tx_hash(),
            raw: envelope.encoded_2718().into(),
            max_fee: fees.max_fee,
            tip: fees.tip,
            made_at: now,
        })
    }
}

fn parse(bytes: &[u8]) -> Option<Signature> {
    let (v, numbers) = bytes.split_first()?;
    let (r, s) = (numbers.get(..32)?, numbers.get(32..64)?);
    let parity = match v {
        0 | 27 => false,
        1 | 28 => true,
        _ => return None,
    };
    (numbers.len() == 64).then(|| Signature::new(U256::from_be_slice(r), U256::from_be_slice(s), parity))
}
