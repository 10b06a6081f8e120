//! Test coin and test tokens (spec 42 §7).

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use golem_model::Amount;
use golem_model::payment::local::GenericError;
use tokio::time::Instant;

use crate::account;
use crate::dns;
use crate::driver::{Driver, Net};
use crate::rpc::Question;
use crate::settings::FaucetClient;
use crate::store::{Kind, LaneKey, NewTransfer, Standing};

/// Time for the faucet's coin, and for the tokens.
const ARRIVES_WITHIN: Duration = Duration::from_secs(120);

/// Coin that is needed to have tokens minted: 0.005.
const COIN_TO_MINT: u128 = 5_000_000_000_000_000;

pub(crate) async fn fund(
    driver: &Arc<Driver>,
    net: &Net,
    account: Address,
    mint_only: bool,
) -> Result<String, GenericError> {
    let network = net.chain.network;
    if !network.is_test() {
        return Err(GenericError::new(format!(
            "there is no faucet for {network}; see https://glm.golem.network/#/onboarding/budget?yagnaAddress={account:#x}&network={network}"
        )));
    }
    let Some(mint) = net.chain.mint else {
        return Err(GenericError::new(format!("Network {network} doesn't have a mint contract configured")));
    };
    let (coin_before, tokens_before, _) = account::holdings(net, account).await.map_err(GenericError::new)?;
    if !mint_only {
        let faucet = net.chain.faucet.as_ref();
        let faucet =
            faucet.ok_or_else(|| GenericError::new(format!("Network {network} doesn't have faucet configured")))?;
        if coin_before <= U256::from(faucet.max_coin_wei) {
            get_coin(driver, net, account, faucet, coin_before).await?;
        }
    }
    if tokens_before < U256::from(mint.max_glm) * U256::from(10).pow(U256::from(18)) {
        get_tokens(driver, net, account).await?;
    }
    let (coin, tokens, _) = account::holdings(net, account).await.map_err(GenericError::new)?;
    let got = |now: U256, before: U256| Amount::from_wei(now.saturating_sub(before)).trimmed();
    Ok(format!(
        "Successfully received {} ETH and {} tGLM on {network} network\nYou have {} {} and {} tGLM on {network} network\nYou can check your balances by `yagna payment status --network {network}`",
        got(coin, coin_before),
        got(tokens, tokens_before),
        Amount::from_wei(coin).trimmed(),
        net.chain.coin_symbol,
        Amount::from_wei(tokens).trimmed(),
    ))
}

async fn get_coin(
    driver: &Driver,
    net: &Net,
    account: Address,
    faucet: &FaucetClient,
    before: U256,
) -> Result<(), GenericError> {
    let (host, port) = match dns::service(&format!("{}.{}", faucet.srv, faucet.lookup_domain)).await {
        Ok(Some(found)) => found,
        _ => (faucet.host.clone(), faucet.port),
    };
    let url = format!("http://{host}:{port}/donate/{}", crate::text(account));
    let client = driver.http.client().map_err(GenericError::new)?;
    if let Err(problem) = client.get(&url).timeout(Duration::from_secs(30)).send().await {
        tracing::warn!(%url, %problem, "the faucet did not answer");
    }
    let deadline = Instant::now() + ARRIVES_WITHIN;
    let look_every = if net.chain.is_local() { Duration::from_millis(100) } else { Duration::from_secs(5) };
    loop {
        let coin = net.pool.ask(Question::balance(account), |answers| answers.amount()).await;
        match coin {
            Ok(coin) if coin > before => return Ok(()),
            // The next look may find a node again.
            Ok(_) | Err(_) if Instant::now() < deadline => tokio::time::sleep(look_every).await,
            Ok(_) | Err(_) => {
                return Err(GenericError::new(format!(
                    "Faucet donation not received after {} seconds",
                    ARRIVES_WITHIN.as_secs()
                )));
            }
        }
    }
}

async fn get_tokens(driver: &Arc<Driver>, net: &Net, account: Address) -> Result<(), GenericError> {
    let (coin, _, _) = account::holdings(net, account).await.map_err(GenericError::new)?;
    if coin < U256::from(COIN_TO_MINT) {
        let coin = Amount::from_wei(coin).trimmed();
        return Err(GenericError::new(format!(
            "at least 0.005 {} are needed to mint, there are {coin}",
            net.chain.coin_symbol
        )));
    }
    let now = driver.now();
    let lane = LaneKey { network: net.chain.network, sender: account };
    let payment_id = format!("mint-{}", uuid::Uuid::new_v4().simple());
    let order = NewTransfer {
        lane,
        payment_id: payment_id.clone(),
        kind: Kind::Mint,
        recipient: account,
        amount: U256::ZERO,
        deposit: None,
        due_at: now,
        notify: false,
        now,
    };
    driver.books.enqueue(order).await.map_err(GenericError::new)?;
    driver.wake(lane, true);
    let done = wait_for(driver, &payment_id);
    match tokio::time::timeout(ARRIVES_WITHIN, done).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let waits = "Mint transaction not finished after";
            Err(GenericError::new(format!("{waits} {} seconds", ARRIVES_WITHIN.as_secs())))
        }
    }
}

/// Waits until a transfer is final, looking after each step of a lane.
async fn wait_for(driver: &Driver, payment_id: &str) -> Result<(), GenericError> {
    let mut steps = driver.steps.subscribe();
    loop {
        steps.mark_unchanged();
        match driver.books.standing(payment_id).await.map_err(GenericError::new)? {
            Some(Standing::Paid) => return Ok(()),
            Some(Standing::Abandoned(reason)) => return Err(GenericError::new(reason)),
            Some(Standing::Waiting) | None => {}
        }
        if steps.changed().await.is_err() {
            return Err(GenericError::new("the driver stops"));
        }
    }
}
