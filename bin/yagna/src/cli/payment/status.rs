//! `yagna payment status`.

use std::time::Duration;

use anyhow::Result;
use golem_model::Amount;
use golem_model::payment::ADDRESS;
use golem_model::payment::local::{GetStatus, StatusNotes};
use serde_json::{Value, json};

use super::{Account, troubles, words};
use crate::cli::client::Client;
use crate::output::Output;

pub(super) async fn status(
    account: &Account,
    last: Option<Duration>,
    precise: bool,
    client: &Client,
) -> Result<Output> {
    let address = account.address(client).await?;
    let request = GetStatus {
        address: address.to_string(),
        driver: account.driver.clone(),
        network: account.network(),
        token: None,
        after_timestamp: last.map_or(0, |last| (client.now() - last).timestamp()),
    };
    let status = client.call(ADDRESS, request).await?;
    if client.json {
        return Output::value(status);
    }
    let troubles = troubles(account, client).await?;
    let driver = if troubles.is_empty() {
        "Payment Driver status: OK\n".to_owned()
    } else {
        troubles
            .iter()
            .map(|trouble| format!("Network:{} - {}\n", trouble.network().unwrap_or_default(), words(trouble)))
            .collect()
    };
    let cut = |amount: Amount| if precise { amount.to_string() } else { four_digits(&amount.to_string()) };
    let of = |amount: Amount| json!(format!("{} {}", cut(amount), status.token));
    let lines = |notes: StatusNotes| {
        let amounts = [notes.accepted, notes.confirmed, notes.requested];
        amounts.map(|value| format!("{} {}", cut(value.total_amount), status.token)).join("\n")
    };
    let gas = status
        .gas
        .as_ref()
        .map_or(Value::Null, |gas| json!(format!("{} {}", cut(gas.balance), gas.currency_short_name)));
    let row = [
        json!(format!("driver: {}\nnetwork: {}\ntoken: {}", status.driver, status.network, status.token)),
        of(status.amount),
        of(status.reserved),
        json!("accepted\nconfirmed\nrequested"),
        json!(lines(status.incoming)),
        json!(lines(status.outgoing)),
        gas,
    ];
    let columns = ["platform", "total amount", "reserved", "amount", "incoming", "outgoing", "gas"];
    Ok(Output::table(columns, vec![row]).titled(format!("\nStatus for account: {address}\n{driver}")))
}

/// Cut, not rounded; a whole number stays as it is.
fn four_digits(amount: &str) -> String {
    match amount.split_once('.') {
        None => amount.to_owned(),
        Some((whole, digits)) => format!("{whole}.{:0<4.4}", digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_cut_to_four_digits() {
        for (amount, cut) in [("0", "0"), ("123.456789", "123.4567"), ("0.01", "0.0100"), ("7", "7")] {
            assert_eq!(four_digits(amount), cut);
        }
    }
}
