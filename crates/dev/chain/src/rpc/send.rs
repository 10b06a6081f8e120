//! Takes signed transactions.

use std::sync::Arc;

use alloy_consensus::TxEnvelope;
use alloy_eips::eip2718::Decodable2718;
use alloy_primitives::B256;

use super::params::Params;
use super::{Answer, Door, RpcError, json as out};
use crate::block::SignedTransaction;
use crate::ledger::SubmitError;

/// Largest signed transaction, as other nodes have it.
const TRANSACTION_BYTES_MAX: usize = 128 * 1024;

impl Door<'_> {
    pub(crate) fn send_raw(&mut self, params: &Params) -> Answer {
        let bytes = params.bytes(0)?;
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(RpcError::failed("oversized data"));
        }
        let envelope = TxEnvelope::decode_2718_exact(&bytes)
            .map_err(|error| RpcError::failed(format!("failed to decode signed transaction: {error}")))?;
        self.send(envelope).map(out::data)
    }

    fn send(&mut self, envelope: TxEnvelope) -> Result<B256, RpcError> {
        let refused = |error: SubmitError| RpcError::failed(error.to_string());
        let transaction = SignedTransaction::new(envelope).ok_or_else(|| refused(SubmitError::Sender))?;
        let hash = transaction.hash;
        if self.faults.drop_next > 0 {
            self.faults.drop_next -= 1;
            return Ok(hash);
        }
        self.ledger.submit(Arc::new(transaction)).map_err(refused)?;
        if *self.mine_at_once {
            self.ledger.mine(self.now);
        }
        if self.faults.lose_reply_next > 0 {
            self.faults.lose_reply_next -= 1;
            return Err(RpcError::failed("connection lost"));
        }
        Ok(hash)
    }
}
