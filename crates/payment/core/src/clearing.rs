//! From accepted amounts to batch orders, from confirmed transfers to payments (spec 40 §6).
//!
//! What is to be paid derives from expenditure rows alone, without any window of time, so nothing that was accepted
//! is forgotten. The payment id is made before the driver hears of it.

use std::collections::BTreeMap;

use golem_model::payment::{ActivityPayment, AgreementPayment};
use golem_model::{Amount, NodeId};

/// An expenditure row of which a part is in no order yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    pub allocation_id: String,
    /// The allocation pays from a deposit, so its transfers stay apart.
    pub deposit: bool,
    pub payer_addr: String,
    pub payee_addr: String,
    pub peer: NodeId,
    pub agreement_id: String,
    /// None for the rest of an invoice.
    pub activity_id: Option<String>,
    /// Accepted and not scheduled.
    pub amount: Amount,
}

/// One batch order: all that an address pays at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub payer_addr: String,
    pub total: Amount,
    pub items: Vec<Item>,
}

/// Part of an order: one payee, one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub payee_addr: String,
    pub allocation_id: String,
    pub payment_id: String,
    pub amount: Amount,
    pub documents: Vec<Open>,
}

/// Groups what is open into orders. Items to one payee share a payment id unless one of them pays from a deposit.
/// Payees whose sum is not above `smallest` wait. None when a sum overflows.
pub fn orders(open: Vec<Open>, smallest: Amount, mut new_id: impl FnMut() -> String) -> Option<Vec<Order>> {
    let mut payers: BTreeMap<String, BTreeMap<String, Vec<Open>>> = BTreeMap::new();
    for row in open.into_iter().filter(|row| !row.amount.is_zero()) {
        payers.entry(row.payer_addr.clone()).or_default().entry(row.payee_addr.clone()).or_default().push(row);
    }
    let mut orders = Vec::new();
    for (payer_addr, payees) in payers {
        let mut items = Vec::new();
        for (payee_addr, rows) in payees {
            if Amount::sum(rows.iter().map(|row| row.amount))? <= smallest {
                continue;
            }
            items.extend(items_of(&payee_addr, rows, &mut new_id)?);
        }
        if !items.is_empty() {
            let total = Amount::sum(items.iter().map(|item: &Item| item.amount))?;
            orders.push(Order { payer_addr, total, items });
        }
    }
    Some(orders)
}

fn items_of(payee_addr: &str, rows: Vec<Open>, new_id: &mut impl FnMut() -> String) -> Option<Vec<Item>> {
    let mut allocations: BTreeMap<String, Vec<Open>> = BTreeMap::new();
    for row in rows {
        allocations.entry(row.allocation_id.clone()).or_default().push(row);
    }
    let mut plain: Option<String> = None;
    let mut items = Vec::new();
    for (allocation_id, documents) in allocations {
        let payment_id = if documents.iter().any(|row| row.deposit) {
            new_id()
        } else {
            plain.get_or_insert_with(&mut *new_id).clone()
        };
        let amount = Amount::sum(documents.iter().map(|row| row.amount))?;
        items.push(Item { payee_addr: payee_addr.to_owned(), allocation_id, payment_id, amount, documents });
    }
    Some(items)
}

/// A part of a confirmed transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidPart {
    pub peer: NodeId,
    pub agreement_id: String,
    pub activity_id: Option<String>,
    pub amount: Amount,
}

/// What one peer receives of a transfer, in the order in which it is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares {
    pub peer: NodeId,
    pub amount: Amount,
    pub agreements: Vec<AgreementPayment>,
    pub activities: Vec<ActivityPayment>,
}

/// Sums the parts of a transfer by peer, agreement and activity. Two peers may share a payee address; each is told of
/// its own shares only.
pub fn shares(parts: &[PaidPart]) -> Option<Vec<Shares>> {
    type Sums = BTreeMap<String, Amount>;
    let mut peers: BTreeMap<NodeId, (Sums, Sums)> = BTreeMap::new();
    for part in parts {
        let (agreements, activities) = peers.entry(part.peer).or_default();
        let sum = match &part.activity_id {
            Some(activity) => activities.entry(activity.clone()),
            None => agreements.entry(part.agreement_id.clone()),
        };
        let sum = sum.or_default();
        *sum = sum.checked_add(part.amount)?;
    }
    let of_peer = |(peer, (agreements, activities)): (NodeId, (Sums, Sums))| {
        Some(Shares {
            peer,
            amount: Amount::sum(agreements.values().chain(activities.values()).copied())?,
            agreements: agreements
                .into_iter()
                .map(|(agreement_id, amount)| AgreementPayment { agreement_id, amount, allocation_id: None })
                .collect(),
            activities: activities
                .into_iter()
                .map(|(activity_id, amount)| ActivityPayment { activity_id, amount, allocation_id: None })
                .collect(),
        })
    };
    peers.into_iter().map(of_peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(allocation: &str, payee: &str, activity: Option<&str>, amount: &str) -> Open {
        Open {
            allocation_id: allocation.to_owned(),
            deposit: allocation.starts_with("deposit"),
            payer_addr: "0xa".to_owned(),
            payee_addr: payee.to_owned(),
            peer: NodeId::default(),
            agreement_id: "agreement".to_owned(),
            activity_id: activity.map(str::to_owned),
            amount: amount.parse().unwrap(),
        }
    }

    fn ids() -> impl FnMut() -> String {
        let mut next = 0;
        move || {
            next += 1;
            format!("payment-{next}")
        }
    }

    #[test]
    fn one_payee_gets_one_transfer_and_deposits_stay_apart() {
        let rows = vec![
            open("one", "0xp", Some("act"), "0.125"),
            open("one", "0xp", None, "0.375"),
            open("two", "0xp", None, "1"),
            open("deposit-1", "0xp", None, "2"),
            open("deposit-2", "0xp", None, "3"),
            open("one", "0xq", None, "4"),
        ];
        let orders = orders(rows, Amount::ZERO, ids()).unwrap();
        assert_eq!(orders.len(), 1);
        assert_eq!(orders[0].total.to_string(), "10.500");
        let items: Vec<_> = orders[0]
            .items
            .iter()
            .map(|item| (item.payee_addr.as_str(), item.allocation_id.as_str(), item.payment_id.as_str()))
            .collect();
        assert_eq!(
            items,
            [
                ("0xp", "deposit-1", "payment-1"),
                ("0xp", "deposit-2", "payment-2"),
                ("0xp", "one", "payment-3"),
                ("0xp", "two", "payment-3"),
                ("0xq", "one", "payment-4"),
            ]
        );
    }

    #[test]
    fn what_is_not_above_the_smallest_payment_waits() {
        let rows = vec![open("one", "0xp", None, "0.5"), open("one", "0xq", None, "0.6")];
        let orders = orders(rows, "0.5".parse().unwrap(), ids()).unwrap();
        assert_eq!(orders[0].items.len(), 1);
        assert_eq!(orders[0].items[0].payee_addr, "0xq");
    }

    #[test]
    fn peers_that_share_an_address_get_their_own_shares() {
        let part = |peer: u8, agreement: &str, activity: Option<&str>, amount: &str| PaidPart {
            peer: NodeId::from([peer; 20]),
            agreement_id: agreement.to_owned(),
            activity_id: activity.map(str::to_owned),
            amount: amount.parse().unwrap(),
        };
        let shares = shares(&[
            part(1, "b", None, "0.03"),
            part(1, "a", None, "0.5"),
            part(2, "c", Some("act"), "1"),
            part(1, "a", None, "0.5"),
        ])
        .unwrap();
        assert_eq!(shares.len(), 2);
        assert_eq!(shares[0].amount.to_string(), "1.03");
        assert_eq!(shares[0].agreements.iter().map(|share| &*share.agreement_id).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(shares[1].activities[0].activity_id, "act");
    }
}
