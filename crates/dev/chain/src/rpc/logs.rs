//! `eth_getLogs`.

use alloy_primitives::{Address, B256, Log};
use serde_json::Value;

use super::params::{self, BlockName, Params};
use super::{Answer, Door, RpcError, json as out};

/// Most logs in one answer.
const LOGS_MAX: usize = 10_000;

/// Most alternatives for one topic or the address.
const CHOICES_MAX: usize = 1000;

struct Filter {
    addresses: Vec<Address>,
    /// For each topic the values that match; empty means any.
    topics: Vec<Vec<B256>>,
}

impl Filter {
    fn parse(object: &Value) -> Result<Self, RpcError> {
        let addresses = choices(object.get("address"), params::address)?;
        let topics = match object.get("topics") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(topics)) if topics.len() <= 4 => {
                topics.iter().map(|topic| choices(Some(topic), params::hash)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(RpcError::params("invalid argument 0: topics must be a list of at most 4")),
        };
        Ok(Self { addresses, topics })
    }

    fn matches(&self, log: &Log) -> bool {
        let address = self.addresses.is_empty() || self.addresses.contains(&log.address);
        let topics = log.topics();
        address
            && self.topics.len() <= topics.len()
            && self.topics.iter().zip(topics).all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }
}

fn choices<T>(value: Option<&Value>, parse: impl Fn(&Value) -> Result<T, RpcError>) -> Result<Vec<T>, RpcError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= CHOICES_MAX => list.iter().map(parse).collect(),
        Some(Value::Array(_)) => Err(RpcError::params("invalid argument 0: too many alternatives")),
        Some(one) => Ok(vec![parse(one)?]),
    }
}

impl Door<'_> {
    pub(crate) fn logs(&self, params: &Params) -> Answer {
        let object = params.value(0)?;
        let filter = Filter::parse(object)?;
        let end =
            |key: &str| object.get(key).filter(|value| !value.is_null()).map_or(Ok(BlockName::Latest), params::block);
        let (from, to) = match object.get("blockHash") {
            Some(hash) => {
                let block = self.find(BlockName::Hash(params::hash(hash)?));
                let number = block.ok_or_else(|| RpcError::failed("unknown block"))?.number();
                (number, number)
            }
            None => (self.number_of(end("fromBlock")?), self.number_of(end("toBlock")?).min(self.head())),
        };
        let blocks = (from.max(self.ledger.blocks.first())..=to).filter_map(|number| self.ledger.blocks.get(number));
        let mut found = Vec::new();
        for block in blocks {
            for (index, mined) in block.transactions.iter().enumerate() {
                for (log, log_index) in mined.logs.iter().zip(mined.logs_before..) {
                    if filter.matches(log) {
                        found.push(out::log(block, index, mined, log, log_index));
                    }
                }
            }
            if found.len() > LOGS_MAX {
                return Err(RpcError::failed(format!("query returned more than {LOGS_MAX} results")));
            }
        }
        Ok(Value::Array(found))
    }

    fn number_of(&self, name: BlockName) -> u64 {
        match name {
            BlockName::Number(number) => number,
            name => self.find(name).map_or(u64::MAX, crate::block::Block::number),
        }
    }
}
