//! What blocks and states hold.

use alloy_primitives::U256;
use serde_json::{Value, json};

use super::params::{BlockName, Params};
use super::{Answer, Door, RpcError, json as out};
use crate::block::Block;

/// The tip that wallets are advised to pay.
pub(crate) const TIP: u64 = 1_000_000_000;

/// Most blocks in an answer about fees, as other nodes have it.
const FEE_HISTORY_MAX: u64 = 1024;

impl Door<'_> {
    /// The block of that name, none when it does not exist. Pending is the newest: nothing is known of the next.
    pub(crate) fn find(&self, name: BlockName) -> Option<&Block> {
        let head = self.head();
        let blocks = &self.ledger.blocks;
        match name {
            BlockName::Latest | BlockName::Pending => blocks.get(head),
            BlockName::Earliest => blocks.get(blocks.first()),
            BlockName::Number(number) => blocks.get(number).filter(|_| number <= head),
            BlockName::Hash(hash) => {
                (blocks.first()..=head).rev().find_map(|number| blocks.get(number).filter(|block| block.hash == hash))
            }
        }
    }

    /// A block whose state is asked for.
    pub(crate) fn state_of(&self, params: &Params, index: usize) -> Result<&Block, RpcError> {
        self.find(params.block(index)?).ok_or_else(|| RpcError::failed("header not found"))
    }

    pub(crate) fn block_by_number(&self, params: &Params) -> Answer {
        params.value(0)?;
        let block = self.find(params.block(0)?);
        Ok(block.map_or(Value::Null, |block| out::block(block, params.flag(1))))
    }

    pub(crate) fn block_by_hash(&self, params: &Params) -> Answer {
        let block = self.find(BlockName::Hash(params.hash(0)?));
        Ok(block.map_or(Value::Null, |block| out::block(block, params.flag(1))))
    }

    pub(crate) fn transaction_count_of_block(&self, params: &Params) -> Answer {
        Ok(self.find(params.block(0)?).map_or(Value::Null, |block| out::number(block.transactions.len())))
    }

    pub(crate) fn block_receipts(&self, params: &Params) -> Answer {
        Ok(self.find(params.block(0)?).map_or(Value::Null, |block| {
            let receipts = block.transactions.iter().enumerate();
            receipts.map(|(index, mined)| out::receipt(block, index, mined)).collect()
        }))
    }

    pub(crate) fn balance(&self, params: &Params) -> Answer {
        let block = self.state_of(params, 1)?.number();
        Ok(out::number(self.ledger.state.account(params.address(0)?, block).balance))
    }

    pub(crate) fn transaction_count(&self, params: &Params) -> Answer {
        let address = params.address(0)?;
        let nonce = self.ledger.state.account(address, self.state_of(params, 1)?.number()).nonce;
        let pending = params.block(1)? == BlockName::Pending;
        Ok(out::number(if pending { self.ledger.pool.next_nonce(address, nonce) } else { nonce }))
    }

    pub(crate) fn code(&self, params: &Params) -> Answer {
        let block = self.state_of(params, 1)?.number();
        let code = self.ledger.state.code(params.address(0)?, block);
        Ok(code.map_or_else(|| out::data([]), |code| out::data(code.original_bytes())))
    }

    pub(crate) fn storage(&self, params: &Params) -> Answer {
        let block = self.state_of(params, 2)?.number();
        let slot = super::params::quantity(params.value(1)?)?;
        let value: U256 = self.ledger.state.slot(params.address(0)?, slot, block);
        Ok(out::data(value.to_be_bytes::<32>()))
    }

    pub(crate) fn gas_price(&self) -> Value {
        out::number(self.ledger.next_base_fee().saturating_add(TIP))
    }

    pub(crate) fn fee_history(&self, params: &Params) -> Answer {
        let count = params.number(0)?.clamp(1, FEE_HISTORY_MAX);
        let newest = self.find(params.block(1)?).ok_or_else(|| RpcError::failed("header not found"))?.number();
        let oldest = newest.saturating_sub(count - 1).max(self.ledger.blocks.first());
        let percentiles = match params.get(2) {
            Some(Value::Array(list)) => list.len(),
            _ => 0,
        };
        let blocks: Vec<&Block> = (oldest..=newest).filter_map(|number| self.ledger.blocks.get(number)).collect();
        let after = self.ledger.blocks.get(newest + 1).map_or_else(|| self.ledger.next_base_fee(), Block::base_fee);
        let fees = blocks.iter().map(|block| block.base_fee()).chain([after]).map(out::number);
        // Share of the block that is full; at most 1 and only shown.
        let ratio = |block: &&Block| {
            let per_mille = block.header.gas_used.saturating_mul(1_000_000) / block.header.gas_limit.max(1);
            f64::from(u32::try_from(per_mille).unwrap_or(u32::MAX)) / 1e6
        };
        let mut answer = json!({
            "oldestBlock": out::number(oldest),
            "baseFeePerGas": fees.collect::<Vec<_>>(),
            "gasUsedRatio": blocks.iter().map(ratio).collect::<Vec<_>>(),
        });
        if let (true, Some(object)) = (percentiles > 0, answer.as_object_mut()) {
            let rewards = blocks.iter().map(|block| vec![out::number(median_tip(block)); percentiles]);
            object.insert("reward".to_owned(), json!(rewards.collect::<Vec<_>>()));
        }
        Ok(answer)
    }

    pub(crate) fn transaction(&self, params: &Params) -> Answer {
        let hash = params.hash(0)?;
        if let Some((block, index, mined)) = self.ledger.mined(hash, self.head()) {
            return Ok(out::mined(block, index, mined));
        }
        Ok(self.ledger.pool.get(hash).map_or(Value::Null, |transaction| out::waiting(transaction)))
    }

    pub(crate) fn transaction_by_index(&self, params: &Params) -> Answer {
        let index = usize::try_from(params.number(1)?).unwrap_or(usize::MAX);
        let block = self.find(params.block(0)?);
        let found = block.and_then(|block| Some(out::mined(block, index, block.transactions.get(index)?)));
        Ok(found.unwrap_or(Value::Null))
    }

    pub(crate) fn receipt(&self, params: &Params) -> Answer {
        let hash = params.hash(0)?;
        if self.faults.hide_receipts {
            return Ok(Value::Null);
        }
        let found = self.ledger.mined(hash, self.head());
        Ok(found.map_or(Value::Null, |(block, index, mined)| out::receipt(block, index, mined)))
    }
}

/// What the middle transaction of a block paid above the base fee.
fn median_tip(block: &Block) -> u128 {
    let base_fee = u128::from(block.base_fee());
    let mut tips: Vec<u128> =
        block.transactions.iter().map(|mined| mined.effective_gas_price.saturating_sub(base_fee)).collect();
    tips.sort_unstable();
    tips.get(tips.len() / 2).copied().unwrap_or_default()
}
