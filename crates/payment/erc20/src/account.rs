//! Balances, and whether they are enough for an allocation (spec 42 §5.7, §6.4).

use alloy_primitives::{Address, B256, U256};
use chrono::{DateTime, Utc};
use golem_model::Amount;
use golem_model::driver::{AccountBalance, GasDetails, ValidateAllocation, ValidateAllocationResult};
use golem_model::payment::Deposit;
use golem_model::payment::local::GenericError;
use serde::Deserialize;

use crate::abi;
use crate::driver::{Driver, Net};
use crate::local;
use crate::network;
use crate::rpc::{Answers, Block, NodeError, Question, RpcError};
use crate::store::DepositKey;

type Refusal = ValidateAllocationResult;

/// Coin, tokens and the block in which they were seen.
pub(crate) async fn holdings(net: &Net, account: Address) -> Result<(U256, U256, Block), RpcError> {
    let questions = [
        Question::balance(account),
        Question::call(account, net.chain.token, &abi::balance_of(account)),
        Question::latest_block(),
    ];
    let mut answers = net.pool.ask_patiently(&questions).await?;
    Ok((answers.amount()?, answers.word()?, answers.block()?))
}

pub(crate) async fn balance(net: &Net, account: Address) -> Result<AccountBalance, RpcError> {
    let (coin, tokens, block) = holdings(net, account).await?;
    let seconds = i64::try_from(block.timestamp).unwrap_or_default();
    Ok(AccountBalance {
        gas_details: Some(GasDetails {
            currency_long_name: network::coin(net.chain.network).1.to_owned(),
            currency_short_name: net.chain.coin_symbol.clone(),
            balance: Amount::from_wei(coin).trimmed(),
        }),
        token_balance: Amount::from_wei(tokens).trimmed(),
        block_number: block.number,
        block_datetime: DateTime::from_timestamp(seconds, 0).unwrap_or_default(),
    })
}

pub(crate) async fn validate(driver: &Driver, call: ValidateAllocation) -> Result<Refusal, GenericError> {
    let net = local::net_of_platform(driver, &call.platform)?;
    let account = local::address(&call.address)?;
    match &call.deposit {
        Some(deposit) => validate_deposit(net, account, deposit, &call).await,
        None if driver.settings.skip_allocation_validation => Ok(Refusal::Valid),
        None => {
            let (_, tokens, _) = holdings(net, account).await.map_err(GenericError::new)?;
            Ok(validate_plain(Amount::from_wei(tokens).trimmed(), &call))
        }
    }
}

fn validate_plain(balance: Amount, call: &ValidateAllocation) -> Refusal {
    let reserved = call
        .active_allocations
        .iter()
        .filter(|allocation| allocation.deposit.is_none())
        .try_fold(call.unpaid, |sum, allocation| sum.checked_add(allocation.remaining_amount));
    let reserved_funds = reserved.unwrap_or(balance);
    let available_funds = balance.minus_or_zero(reserved_funds);
    if call.amount <= available_funds {
        Refusal::Valid
    } else {
        Refusal::InsufficientAccountFunds { requested_funds: call.amount, available_funds, reserved_funds }
    }
}

// ---- deposits ---------------------------------------------------------------

/// Contract and number of a deposit; the id is hex with or without `0x` (spec 42 §6.3).
pub(crate) fn deposit_key(deposit: &Deposit) -> Result<DepositKey, Refusal> {
    let contract = deposit.contract.parse().map_err(|_| Refusal::MalformedDepositContract)?;
    let digits = deposit.id.strip_prefix("0x").unwrap_or(&deposit.id);
    let plain = (1..=64).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let id = plain.then(|| U256::from_str_radix(digits, 16).ok()).flatten().ok_or(Refusal::MalformedDepositId)?;
    Ok(DepositKey { contract, id })
}

struct OnChain {
    spender: Address,
    amount: U256,
    valid_to: DateTime<Utc>,
}

impl OnChain {
    /// Exactly six words: id, nonce, funder, spender, amount, end in seconds.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let words: Vec<B256> = bytes.chunks_exact(32).map(B256::from_slice).collect();
        let [_, _, _, spender, amount, valid_to] = words.as_slice() else { return None };
        let seconds = i64::try_from(U256::from_be_bytes(valid_to.0)).ok();
        // Some write milliseconds, which lie beyond all calendars.
        let valid_to =
            seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).unwrap_or(DateTime::<Utc>::MAX_UTC);
        (bytes.len() == 192).then(|| Self {
            spender: Address::from_word(*spender),
            amount: U256::from_be_bytes(amount.0),
            valid_to,
        })
    }
}

async fn validate_deposit(
    net: &Net,
    account: Address,
    deposit: &Deposit,
    call: &ValidateAllocation,
) -> Result<Refusal, GenericError> {
    let key = match deposit_key(deposit) {
        Ok(key) => key,
        Err(refusal) => return Ok(refusal),
    };
    if net.chain.lock != Some(key.contract) {
        return Ok(Refusal::DepositValidationError(format!(
            "the deposit contract {} is not the one of network {}; a node that trusts it sets {}_LOCK_PAYMENT_CONTRACT_ADDRESS",
            key.contract,
            net.chain.network,
            net.chain.network.name().to_ascii_uppercase()
        )));
    }
    if let Some(refusal) = reused(key, call) {
        return Ok(refusal);
    }
    let question = Question::call(account, key.contract, &abi::get_deposit(key.id));
    let bytes = net.pool.ask(question, Answers::bytes).await.map_err(GenericError::new)?;
    let Some(on_chain) = OnChain::parse(&bytes) else {
        return Err(GenericError::new("the deposit contract does not answer what a deposit contract answers"));
    };
    if let Some(refusal) = judge_deposit(key, &on_chain, account, call) {
        return Ok(refusal);
    }
    match &deposit.validate {
        Some(values) => ask_contract(net, account, key, values).await,
        None => Ok(Refusal::Valid),
    }
}

fn reused(key: DepositKey, call: &ValidateAllocation) -> Option<Refusal> {
    let all = call.active_allocations.iter().chain(&call.past_allocations);
    let same = |deposit: &Option<Deposit>| deposit.as_ref().is_some_and(|deposit| deposit_key(deposit) == Ok(key));
    let other = all.filter(|_| call.new_allocation).find(|allocation| same(&allocation.deposit))?;
    Some(Refusal::DepositReused { allocation_id: other.allocation_id.clone() })
}

fn judge_deposit(key: DepositKey, on_chain: &OnChain, account: Address, call: &ValidateAllocation) -> Option<Refusal> {
    let available = Amount::from_wei(on_chain.amount).trimmed();
    if on_chain.spender.is_zero() {
        Some(Refusal::NoDeposit { deposit_id: key.id.to_string() })
    } else if on_chain.spender != account {
        Some(Refusal::DepositSpenderMismatch { deposit_spender: crate::text(on_chain.spender) })
    } else if available < call.amount {
        Some(Refusal::InsufficientDepositFunds { requested_funds: call.amount, available_funds: available })
    } else if call.timeout.is_none_or(|timeout| on_chain.valid_to < timeout) {
        Some(Refusal::TimeoutExceedsDeposit { requested_timeout: call.timeout, deposit_timeout: on_chain.valid_to })
    } else {
        None
    }
}

#[derive(Deserialize)]
struct Parameter {
    #[serde(rename = "type")]
    kind: String,
    name: String,
}

/// The contract's own check: which values it wants stands in the contract.
async fn ask_contract(
    net: &Net,
    account: Address,
    key: DepositKey,
    values: &std::collections::BTreeMap<String, String>,
) -> Result<Refusal, GenericError> {
    let read = async |data: alloy_primitives::Bytes| {
        let question = Question::call(account, key.contract, &data);
        net.pool.ask(question, |answers| answers.take(abi_text)).await
    };
    let signature = read(abi::validate_signature()).await.map_err(GenericError::new)?;
    let parameters: Vec<Parameter> = serde_json::from_str(&signature)
        .map_err(|_| GenericError::new("the deposit contract's signature of validateDeposit is not readable"))?;
    let mut words = Vec::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let word = match (index, parameter.kind.as_str()) {
            (0, "uint256") => key.id,
            (1.., "uint128") => uint128(values, &parameter.name)?,
            _ => return Err(GenericError::new(format!("parameter type `{}` is not supported", parameter.kind))),
        };
        words.push(word);
    }
    let types: Vec<String> = parameters.into_iter().map(|parameter| parameter.kind).collect();
    match read(abi::validate_deposit(&types, &words)).await {
        Ok(text) if text == "valid" => Ok(Refusal::Valid),
        Ok(text) => Ok(Refusal::DepositValidationError(text.chars().take(300).collect())),
        Err(RpcError::Node(NodeError { message, .. })) => Ok(Refusal::DepositValidationError(message)),
        Err(other) => Err(GenericError::new(other)),
    }
}

fn uint128(values: &std::collections::BTreeMap<String, String>, name: &str) -> Result<U256, GenericError> {
    let text = values.get(name).ok_or_else(|| GenericError::new(format!("`{name}` is missing in `validate`")))?;
    let number = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse::<u128>().ok(),
    };
    number
        .map(U256::from)
        .ok_or_else(|| GenericError::new(format!("`{name}` in `validate` is not a number of 128 bits")))
}

/// The only value of an answer, a text.
fn abi_text(value: &serde_json::Value) -> Option<String> {
    let bytes = hex::decode(value.as_str()?.strip_prefix("0x")?).ok()?;
    let length = usize::try_from(U256::try_from_be_slice(bytes.get(32..64)?)?).ok()?;
    String::from_utf8(bytes.get(64..64_usize.checked_add(length)?)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(amount: &str, unpaid: &str) -> ValidateAllocation {
        ValidateAllocation {
            address: String::new(),
            platform: String::new(),
            amount: amount.parse().unwrap(),
            timeout: None,
            deposit: None,
            past_allocations: vec![],
            active_allocations: vec![],
            new_allocation: true,
            unpaid: unpaid.parse().unwrap(),
        }
    }

    #[test]
    fn an_account_that_holds_enough_is_valid() {
        let balance: Amount = "10".parse().unwrap();
        assert_eq!(validate_plain(balance, &ask("7.5", "2.5")), Refusal::Valid);
        let Refusal::InsufficientAccountFunds { available_funds, reserved_funds, .. } =
            validate_plain(balance, &ask("7.6", "2.5"))
        else {
            panic!("must be refused")
        };
        assert_eq!((available_funds.to_string(), reserved_funds.to_string()), ("7.5".into(), "2.5".into()));
    }

    #[test]
    fn deposit_ids_are_hex_with_or_without_a_prefix() {
        let check = |id: &str, expected: Option<u64>| {
            let deposit = Deposit { id: id.to_owned(), contract: Address::repeat_byte(1).to_string(), validate: None };
            assert_eq!(deposit_key(&deposit).ok().map(|key| key.id), expected.map(U256::from), "{id}");
        };
        check("0x1700", Some(0x1700));
        check("1700", Some(0x1700));
        check("", None);
        check("0x", None);
        check("0x+1", None);
        check(&"1".repeat(65), None);
        check("17 00", None);
    }

    #[test]
    fn a_deposit_is_judged_in_the_order_of_the_checks() {
        let key = DepositKey { contract: Address::repeat_byte(1), id: U256::from(1700) };
        let me = Address::repeat_byte(7);
        let mut bytes = vec![0; 192];
        let judge =
            |bytes: &[u8], call: &ValidateAllocation| judge_deposit(key, &OnChain::parse(bytes).unwrap(), me, call);
        let mut call = ask("0.000000000000000005", "0");
        assert_eq!(judge(&bytes, &call), Some(Refusal::NoDeposit { deposit_id: "1700".to_owned() }));
        bytes[127] = 9;
        assert!(matches!(judge(&bytes, &call), Some(Refusal::DepositSpenderMismatch { .. })));
        bytes[96..128].copy_from_slice(me.into_word().as_slice());
        assert!(matches!(judge(&bytes, &call), Some(Refusal::InsufficientDepositFunds { .. })));
        bytes[159] = 5;
        assert!(matches!(judge(&bytes, &call), Some(Refusal::TimeoutExceedsDeposit { .. })));
        // Milliseconds instead of seconds.
        bytes[184..192].copy_from_slice(&1_900_000_000_000_u64.to_be_bytes());
        call.timeout = DateTime::from_timestamp(1_900_000_000, 0);
        assert_eq!(judge(&bytes, &call), None);
        bytes[160..192].fill(0xff);
        assert_eq!(judge(&bytes, &call), None);
        assert!(OnChain::parse(&[0; 224]).is_none() && OnChain::parse(&[]).is_none());
    }
}
