//! What the driver knows of each network without being told (spec 42 §2).

use std::time::Duration;

use alloy_primitives::{Address, address};
use golem_model::payment::Network;

use crate::settings::{Chain, FaucetClient, Mint, Multi, Sources};

/// Most receivers of one multi transfer.
pub(crate) const RECEIVERS_MAX: usize = 10;

/// Fees and waits of a network (spec 42 §2.3).
struct Terms {
    tip_wei: u128,
    max_fee_wei: u128,
    timeout_s: u64,
    confirmations: u64,
    head_behind_s: i64,
}

struct Contracts {
    token: Address,
    multi: Option<Address>,
    mint: Option<Address>,
    lock: Option<Address>,
}

const GWEI: u128 = 1_000_000_000;

const fn terms(network: Network) -> Terms {
    let (tip_wei, max_gwei, timeout_s, confirmations, head_behind_s) = match network {
        Network::Mainnet => (1_010_000_000, 40, 100, 1, 60),
        Network::Polygon => (25_011_000_000, 500, 100, 1, 60),
        Network::Amoy => (30_111_000_000, 500, 100, 1, 120),
        Network::Mumbai => (GWEI, 14, 60, 1, 60),
        Network::Goerli | Network::Rinkeby => (1000, 10, 100, 0, 12_000),
        Network::Hoodi | Network::Holesky | Network::Sepolia => (1000, 20, 100, 0, 120),
    };
    Terms { tip_wei, max_fee_wei: max_gwei * GWEI, timeout_s, confirmations, head_behind_s }
}

fn contracts(network: Network) -> Option<Contracts> {
    let (token, multi, mint, lock) = match network {
        Network::Mainnet => (
            address!("0x7DD9c5Cba05E151C895FDe1CF355C9A1D5DA6429"),
            Some(address!("0xCfD497F7D111F14c3eF7eBEeE63771d1506f0AF8")),
            None,
            None,
        ),
        Network::Polygon => (
            address!("0x0B220b82F3eA3B7F6d9A1D8ab58930C064A2b5Bf"),
            Some(address!("0x50100d4faf5f3b09987dea36dc2eddd57a3e561b")),
            None,
            None,
        ),
        Network::Hoodi => (
            address!("0x55555555555556AcFf9C332Ed151758858bd7a26"),
            Some(address!("0x222222222220C9269Cfb43eD434888F604d1dC21")),
            Some(address!("0x500F965199C63865A3E666cA3fF55B64F1c8Bc8b")),
            Some(address!("0x472ef33B51f65FB2aDa50ffeB0e4A72e9ac22f52")),
        ),
        Network::Holesky => (
            address!("0x8888888815bf4DB87e57B609A50f938311EEd068"),
            Some(address!("0xAaAAAaA00E1841A63342db7188abA84BDeE236c7")),
            Some(address!("0xFACe100969FF47EB58d2CF603321B581A84bcEaC")),
            None,
        ),
        Network::Amoy => (
            address!("0x2b60e60d3fb0b36a7ccb388f9e71570da4c4594f"),
            Some(address!("0xa0a51642a594763d78091bf03ee6bf8e8d663bba")),
            Some(address!("0xf29ff8a13211ac33861986e407190ae5c773d53c")),
            None,
        ),
        Network::Sepolia => (
            address!("0x167b15ada84c63427c6c813B915a42eFC72E7175"),
            None,
            Some(address!("0x31A2a20956a40c2F358Fa5cec59D55a9C5d6fF9A")),
            None,
        ),
        Network::Goerli => (
            address!("0x33af15c79d64b85ba14aaffaa4577949104b22e8"),
            Some(address!("0x7777784f803a7bf1d7f115f849d29ce5706da64a")),
            Some(address!("0xCCA41b09C1F50320bFB41BD6822BD0cdBDC7d85C")),
            None,
        ),
        Network::Mumbai => (
            address!("0x2036807B0B3aaf5b1858EE822D0e111fDdac7018"),
            Some(address!("0x800010D7d0d315DCA795110ecCf0127cBd76b89f")),
            None,
            None,
        ),
        Network::Rinkeby => return None,
    };
    Some(Contracts { token, multi, mint, lock })
}

/// Short and long name of the coin that pays for transactions.
pub(crate) const fn coin(network: Network) -> (&'static str, &'static str) {
    match network {
        Network::Mainnet => ("ETH", "Ether"),
        Network::Polygon => ("POL", "Polygon"),
        Network::Hoodi => ("tETH", "Hoodi Ether"),
        Network::Holesky => ("tETH", "Holesky Ether"),
        Network::Sepolia => ("tETH", "Sepolia Ether"),
        Network::Goerli => ("tETH", "Goerli Ether"),
        Network::Rinkeby => ("tETH", "Rinkeby Ether"),
        Network::Amoy | Network::Mumbai => ("POL", "Test POL"),
    }
}

fn sources(network: Network) -> Sources {
    let dns = |name: &str| vec![format!("{name}.rpc-node.dev.golem.network.")];
    let (dns, fixed): (Vec<String>, &[&str]) = match network {
        Network::Mainnet | Network::Polygon | Network::Holesky | Network::Goerli | Network::Mumbai => {
            (dns(network.name()), &[])
        }
        Network::Hoodi => (dns("hoodi"), &["https://hoodi.rpc-node.dev.golem.network/"]),
        Network::Amoy => (Vec::new(), &["https://rpc-amoy.polygon.technology"]),
        Network::Sepolia | Network::Rinkeby => (Vec::new(), &[]),
    };
    Sources { fixed: fixed.iter().map(|&url| url.to_owned()).collect(), dns, json: Vec::new() }
}

fn faucet(network: Network) -> Option<FaucetClient> {
    let port = match network {
        Network::Hoodi => 4004,
        Network::Holesky => 4002,
        Network::Goerli => 4001,
        _ => return None,
    };
    Some(FaucetClient {
        // 0.009 of the coin.
        max_coin_wei: 9_000_000_000_000_000,
        srv: format!("_{network}-faucet._tcp"),
        lookup_domain: "dev.golem.network".to_owned(),
        host: "faucet.testnet.golem.network".to_owned(),
        port,
    })
}

/// The built-in settings; none for a network without any.
pub(crate) fn built_in(network: Network) -> Option<Chain> {
    let Contracts { token, multi, mint, lock } = contracts(network)?;
    let Terms { tip_wei, max_fee_wei, timeout_s, confirmations, head_behind_s } = terms(network);
    Some(Chain {
        network,
        chain_id: network.chain_id(),
        coin_symbol: coin(network).0.to_owned(),
        tip_wei,
        max_fee_wei,
        transaction_timeout: Duration::from_secs(timeout_s),
        replacement_timeout: Duration::from_secs(60),
        confirmations,
        token,
        multi: multi.map(|address| Multi { address, receivers_max: RECEIVERS_MAX }),
        mint: mint.map(|address| Mint { address, max_glm: 400 }),
        lock,
        faucet: faucet(network),
        sources: sources(network),
        request_timeout: Duration::from_secs(10),
        verify_interval: Duration::from_secs(120),
        head_behind: u64::try_from(head_behind_s).ok().map(Duration::from_secs),
        errors_max: 5,
        poll_interval: None,
    })
}
