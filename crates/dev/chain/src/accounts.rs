//! Well-known development accounts: their keys are public, so nothing of worth may ever be sent to them.

use alloy_primitives::{Address, Signature, U256};
use golem_keys::SecretKey;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};

/// Keys that every Ethereum development tool funds (mnemonic `test test … junk`).
const KEYS: [&str; 10] = [
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
];

/// An account that has coin from the start.
#[derive(Debug)]
pub struct DevAccount {
    pub address: Address,
    pub key: SecretKey,
}

/// All of them; the first deploys the contracts, the last gives coin away.
pub fn dev_accounts() -> Vec<DevAccount> {
    KEYS.iter()
        .filter_map(|text| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).ok()?;
            let key = SecretKey::from_bytes(&bytes).ok()?;
            Some(DevAccount { address: Address::from(*key.node_id().as_bytes()), key })
        })
        .collect()
}

impl DevAccount {
    pub fn sign(&self, transaction: TxEip1559) -> TxEnvelope {
        let signature = self.key.sign(&transaction.signature_hash().0);
        let (parity, r, s) = parts(signature.as_bytes());
        transaction.into_signed(Signature::new(r, s, parity)).into()
    }
}

/// `v ‖ r ‖ s`, v is 0 or 1.
fn parts(bytes: &[u8; 65]) -> (bool, U256, U256) {
    let [v, numbers @ ..] = bytes;
    let (r, s) = numbers.split_at(32);
    (*v == 1, U256::from_be_slice(r), U256::from_be_slice(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_those_of_other_development_tools() {
        let accounts = dev_accounts();
        assert_eq!(accounts.len(), 10);
        let check =
            |index: usize, address: &str| assert_eq!(accounts[index].address, address.parse::<Address>().unwrap());
        check(0, "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266");
        check(1, "0x70997970c51812dc3a010c7d01b50e0d17dc79c8");
        check(2, "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");
        check(9, "0xa0ee7a142d267c1f36714e4a8f75612f20a79720");
    }
}
