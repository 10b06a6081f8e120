//! What may go wrong with a chain and with one of its endpoints, for tests of those who use it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Faults of one endpoint. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Faults {
    /// Everything is answered with HTTP status 503.
    pub unavailable: bool,
    /// Answers are those of that many blocks ago.
    pub head_behind: u64,
    /// Receipts are `null`, as if nothing were mined.
    pub hide_receipts: bool,
    /// Another chain's id.
    pub chain_id: Option<u64>,
    /// So many transactions are answered with their hash and forgotten.
    pub drop_next: u32,
    /// So many transactions are taken and answered with an error.
    pub lose_reply_next: u32,
    /// Method → text of the error that it answers.
    pub errors: BTreeMap<String, String>,
}

/// Faults of the chain itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ChainFaults {
    /// Transactions wait and no block takes them.
    pub stuck: bool,
    /// Base fee of all blocks to come, in wei.
    pub base_fee: Option<u64>,
}

/// What becomes of the transactions of undone blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undone {
    /// They wait again and come into one of the next blocks.
    Wait,
    /// Nobody knows of them any more.
    Forgotten,
}
