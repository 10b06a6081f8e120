//! Calls of the contracts (spec 42 §4).

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, sol};

sol! {
    function balanceOf(address account) returns (uint256);
    function transfer(address to, uint256 amount) returns (bool);
    function approve(address spender, uint256 amount) returns (bool);
    function allowance(address owner, address spender) returns (uint256);
    function create();
    function golemTransferDirectPacked(bytes32[] payments);
    function depositSingleTransfer(uint256 id, address to, uint128 amount);
    function depositTransfer(uint256 id, bytes32[] payments);
    function closeDeposit(uint256 id);
    function getDeposit(uint256 id);
    function getValidateDepositSignature() returns (string);
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// Largest amount of a packed transfer: it has 12 bytes.
pub(crate) const PACKED_MAX: U256 = U256::from_limbs([u64::MAX, 0xffff_ffff, 0, 0]);

/// Receiver and amount in one word; the amount must not be above [`PACKED_MAX`].
fn packed((to, amount): &(Address, U256)) -> B256 {
    let mut word = B256::from(*amount);
    if let Some(start) = word.0.get_mut(..20) {
        start.copy_from_slice(to.as_slice());
    }
    word
}

pub(crate) fn balance_of(account: Address) -> Bytes {
    balanceOfCall { account }.abi_encode().into()
}

pub(crate) fn allowance(owner: Address, spender: Address) -> Bytes {
    allowanceCall { owner, spender }.abi_encode().into()
}

pub(crate) fn approve_all(spender: Address) -> Bytes {
    approveCall { spender, amount: U256::MAX }.abi_encode().into()
}

pub(crate) fn transfer(to: Address, amount: U256) -> Bytes {
    transferCall { to, amount }.abi_encode().into()
}

pub(crate) fn multi_transfer(payments: &[(Address, U256)]) -> Bytes {
    golemTransferDirectPackedCall { payments: payments.iter().map(packed).collect() }.abi_encode().into()
}

pub(crate) fn mint() -> Bytes {
    createCall {}.abi_encode().into()
}

/// Payments out of a deposit. The amounts must not be above [`PACKED_MAX`].
pub(crate) fn deposit_transfer(id: U256, payments: &[(Address, U256)]) -> Bytes {
    match payments {
        [(to, amount)] => depositSingleTransferCall { id, to: *to, amount: amount.saturating_to() }.abi_encode().into(),
        many => depositTransferCall { id, payments: many.iter().map(packed).collect() }.abi_encode().into(),
    }
}

pub(crate) fn close_deposit(id: U256) -> Bytes {
    closeDepositCall { id }.abi_encode().into()
}

pub(crate) fn get_deposit(id: U256) -> Bytes {
    getDepositCall { id }.abi_encode().into()
}

pub(crate) fn validate_signature() -> Bytes {
    getValidateDepositSignatureCall {}.abi_encode().into()
}

/// A call of `validateDeposit` with the given parameter types.
pub(crate) fn validate_deposit(types: &[String], words: &[U256]) -> Bytes {
    let selector = alloy_primitives::keccak256(format!("validateDeposit({})", types.join(",")));
    let mut data = selector.get(..4).unwrap_or_default().to_vec();
    words.iter().for_each(|word| data.extend_from_slice(&word.to_be_bytes::<32>()));
    data.into()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn calls_have_the_bytes_that_the_official_daemon_sent() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/payment/contract-calls.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        let data = |method: &str| {
            let case = cases.iter().find(|case| case["method"] == method).unwrap();
            hex::decode(case["data"].as_str().unwrap()).unwrap()
        };
        let milli = |amount: u64| U256::from(amount) * U256::from(10_u64.pow(15));
        let who = Address::repeat_byte;
        let many = [(who(0x11), milli(400)), (who(0x22), milli(200)), (who(0x33), U256::ONE), (who(0x66), milli(1000))];
        assert_eq!(multi_transfer(&many), data("MULTI.golemTransferDirectPacked"));
        let payee: Address = "0xb22c3b36e9f5dea0dec41152fbe8b4558855ce7e".parse().unwrap();
        assert_eq!(transfer(payee, milli(1250)), data("ERC20.transfer"));
        let multi: Address = "0xe7f1725e7734ce288f8367e1bb143e90bb3f0512".parse().unwrap();
        assert_eq!(approve_all(multi), data("ERC20.approve"));
        let id: U256 = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc000000000000000000000666".parse().unwrap();
        assert_eq!(deposit_transfer(id, &[(payee, milli(750))]), data("LOCK.depositSingleTransfer"));
        assert_eq!(close_deposit(id), data("LOCK.closeDeposit"));
        assert_eq!(mint(), data("FAUCET.create"));
        let selectors: [(&[u8], &str); 3] = [
            (&validate_signature(), "getValidateDepositSignature()"),
            (&get_deposit(id), "getDeposit(uint256)"),
            (&validate_deposit(&["uint256".into(), "uint128".into()], &[]), "validateDeposit(uint256,uint128)"),
        ];
        for (call, signature) in selectors {
            let case = cases.iter().find(|case| case["signature"] == signature).unwrap();
            assert_eq!(format!("0x{}", hex::encode(&call[..4])), case["value"], "{signature}");
        }
        assert_eq!(PACKED_MAX, (U256::ONE << 96) - U256::ONE);
    }
}
