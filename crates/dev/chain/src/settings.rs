//! How daemons are told to use the chain.

use crate::artifacts::Contracts;

/// Text of a `config-payments.toml` (spec 42 §8.2) for the chain at `url`; official daemons read it too.
/// `donor` is the host and port that gives coin.
pub fn payments_config(
    network: &str,
    chain_id: u64,
    url: &str,
    contracts: &Contracts,
    (donor_host, donor_port): (&str, u16),
) -> String {
    let Contracts { token, multi_transfer, faucet, wrapper, lock } = contracts;
    format!(
        r#"[engine]
process-interval = 1
process-interval-after-send = 1
process-interval-after-error = 3
process-interval-after-no-gas-or-token-start = 5
process-interval-after-no-gas-or-token-max = 10
process-interval-after-no-gas-or-token-increase = 1.5
report-alive-interval = 10
gather-interval = 5
gather-at-start = true
automatic-recover = false
ignore-deadlines = false

[chain.{network}]
chain-name = "{network} on a development chain"
chain-id = {chain_id}
currency-symbol = "tETH"
priority-fee = 0.5
max-fee-per-gas = 20.0
transaction-timeout = 20
token = {{ address = "{token}", symbol = "tGLM" }}
multi-contract = {{ address = "{multi_transfer}", max-at-once = 10 }}
wrapper-contract = {{ address = "{wrapper}" }}
mint-contract = {{ address = "{faucet}", max-glm-allowed = 400 }}
lock-contract = {{ address = "{lock}" }}
faucet-client = {{ max-eth-allowed = 0.009, faucet-srv = "_donate._tcp", faucet-host = "{donor_host}", faucet-lookup-domain = "invalid", faucet-srv-port = {donor_port} }}
confirmation-blocks = 0
block-explorer-url = "http://none"

[[chain.{network}.rpc-endpoints]]
names = "local"
endpoints = "{url}"
max-timeout-ms = 5000
verify-interval-secs = 60
allowed-head-behind-secs = -1
"#
    )
}
