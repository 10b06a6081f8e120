//! Looks a payment up on the chain (spec 42 §5.10, 40 §9).
//!
//! Stricter than the official driver where that is safe: only transfers of the network's own token count, all of them
//! to the payee in one transaction count together, and a transaction must lie as deep as the network asks.

use alloy_primitives::{Address, B256, U256};
use chrono::DateTime;
use golem_model::Amount;
use golem_model::driver::{PaymentDetails, VerifyPayment, VerifyPaymentError};
use golem_model::payment::Payment;

use crate::abi;
use crate::driver::{Driver, Net};
use crate::local;
use crate::rpc::{Log, Question, Receipt, RpcError};

use alloy_sol_types::SolEvent;

fn refused(text: impl Into<String>) -> VerifyPaymentError {
    VerifyPaymentError::Refused(text.into())
}

fn not_yet(text: impl Into<String>) -> VerifyPaymentError {
    VerifyPaymentError::NotYet(text.into())
}

pub(crate) async fn verify(driver: &Driver, call: VerifyPayment) -> Result<PaymentDetails, VerifyPaymentError> {
    let net = local::net_of_platform(driver, &call.platform).map_err(|error| refused(error.inner))?;
    let hash = B256::try_from(call.confirmation.confirmation.as_slice())
        .map_err(|_| refused("Confirmation is not a transaction hash"))?;
    let address = |text: &str| text.parse::<Address>().map_err(|_| refused(format!("`{text}` is not an address")));
    let (payer, payee) = (address(&call.details.payer_addr)?, address(&call.details.payee_addr)?);
    let (receipt, head) = look(net, hash).await?;
    let amount = paid(&receipt, net.chain.token, payer, payee);
    judge(&receipt, amount, head, net.chain.confirmations, &call.details)?;
    let block = net.pool.ask(Question::block(receipt.block, false), |answers| answers.block()).await.map_err(later)?;
    Ok(PaymentDetails {
        recipient: call.details.payee_addr,
        sender: call.details.payer_addr,
        amount: Amount::from_wei(amount),
        date: i64::try_from(block.timestamp).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
    })
}

/// Trouble with the own node says nothing about the payment.
fn later(error: RpcError) -> VerifyPaymentError {
    not_yet(error.to_string())
}

async fn look(net: &Net, hash: B256) -> Result<(Receipt, u64), VerifyPaymentError> {
    let questions = [Question::receipt(hash), Question::transaction(hash), Question::latest_block()];
    let mut answers = net.pool.ask_patiently(&questions).await.map_err(later)?;
    let receipt = answers.receipt().map_err(later)?.ok_or_else(|| not_yet("Receipt not found"))?;
    answers.transaction().map_err(later)?.ok_or_else(|| not_yet("Transaction not found"))?;
    Ok((receipt, answers.block().map_err(later)?.number))
}

fn judge(
    receipt: &Receipt,
    amount: U256,
    head: u64,
    confirmations: u64,
    details: &Payment,
) -> Result<(), VerifyPaymentError> {
    if receipt.block.saturating_add(confirmations) > head {
        return Err(not_yet(format!("Transaction has not {confirmations} confirmations yet")));
    }
    if !receipt.succeeded {
        return Err(refused("Transaction was reverted"));
    }
    if amount.is_zero() {
        return Err(refused("Transaction found but not matching"));
    }
    if amount < details.amount.wei() {
        return Err(refused("Transaction found but amount insufficient"));
    }
    Ok(())
}

/// What the payee got from the payer, or by a transaction of the payer (multi transfers, deposits).
pub(crate) fn paid(receipt: &Receipt, token: Address, payer: Address, payee: Address) -> U256 {
    let transfers = receipt.logs.iter().filter_map(|log| transfer(log, token));
    let ours = transfers.filter(|&(from, to, _)| to == payee && (from == payer || receipt.from == payer));
    ours.fold(U256::ZERO, |sum, (_, _, amount)| sum.saturating_add(amount))
}

fn transfer(log: &Log, token: Address) -> Option<(Address, Address, U256)> {
    let [topic, from, to] = log.topics.as_slice() else { return None };
    let wanted = log.address == token && *topic == abi::Transfer::SIGNATURE_HASH && log.data.len() == 32;
    wanted.then(|| (Address::from_word(*from), Address::from_word(*to), U256::from_be_slice(&log.data)))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;

    use super::*;

    const TOKEN: Address = Address::repeat_byte(0xaa);

    fn who(byte: u8) -> Address {
        Address::repeat_byte(byte)
    }

    fn log(token: Address, from: u8, to: u8, amount: u64) -> Log {
        Log {
            address: token,
            topics: vec![abi::Transfer::SIGNATURE_HASH, who(from).into_word(), who(to).into_word()],
            data: Bytes::from(U256::from(amount).to_be_bytes::<32>()),
        }
    }

    fn check(from: u8, logs: Vec<Log>, expected: u64) {
        let receipt = Receipt { block: 1, from: who(from), succeeded: true, gas_used: 1, logs };
        assert_eq!(paid(&receipt, TOKEN, who(1), who(2)), U256::from(expected));
    }

    #[test]
    fn only_tokens_from_the_payer_to_the_payee_count() {
        check(1, vec![log(TOKEN, 1, 2, 50)], 50);
        // Several transfers of one transaction.
        check(1, vec![log(TOKEN, 1, 2, 50), log(TOKEN, 1, 3, 9), log(TOKEN, 1, 2, 7)], 57);
        // Out of a contract, by a transaction of the payer.
        check(1, vec![log(TOKEN, 9, 2, 50)], 50);
        check(8, vec![log(TOKEN, 9, 2, 50)], 0);
        check(8, vec![log(TOKEN, 1, 2, 50)], 50);
        // A token that anybody may have made, another receiver, no log at all.
        check(1, vec![log(who(0xbb), 1, 2, 50)], 0);
        check(1, vec![log(TOKEN, 1, 3, 50)], 0);
        check(1, vec![], 0);
        let mut odd = log(TOKEN, 1, 2, 50);
        odd.topics.pop();
        check(1, vec![odd], 0);
    }
}
