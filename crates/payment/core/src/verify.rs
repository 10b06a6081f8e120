//! What a payee believes of a payment (spec 40 §9, rules 6 to 11; the signature is checked before, the transaction by
//! the driver).

use golem_model::Amount;
use golem_model::payment::Payment;

/// What the chain says of the transfer to this payee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnChain {
    pub recipient: String,
    pub sender: String,
    pub amount: Amount,
}

/// What was agreed with the payer on an agreement that a share names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    pub payer_addr: String,
    pub payee_addr: String,
    pub platform: String,
}

/// What a share of a payment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    Agreement(&'a str),
    Activity(&'a str),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("Transaction amount {on_chain} is smaller than the payment of {payment}")]
    TransferTooSmall { on_chain: Amount, payment: Amount },
    #[error("Transaction amount {on_chain} is smaller than its parts, {shares} together")]
    SharesTooLarge { on_chain: Amount, shares: Amount },
    #[error("Recipient address of the transaction is {on_chain}, the payment says {payment}")]
    Recipient { on_chain: String, payment: String },
    #[error("Sender address of the transaction is {on_chain}, the payment says {payment}")]
    Sender { on_chain: String, payment: String },
    #[error("Payment of nothing for {0}")]
    ZeroShare(String),
    #[error("{0} not found")]
    Unknown(String),
    #[error("{what} of {of} is {agreed}, the payment says {payment}")]
    Terms { what: &'static str, of: String, agreed: String, payment: String },
    #[error("Transaction for {on_chain} used for multiple payments amounting to {sum}")]
    Reused { on_chain: Amount, sum: Amount },
    #[error("The payment is not an amount of whole token units")]
    Amount,
}

impl For<'_> {
    fn name(&self) -> String {
        match self {
            Self::Agreement(id) => format!("Agreement {id}"),
            Self::Activity(id) => format!("Activity {id}"),
        }
    }
}

/// Addresses are numbers; the case of their digits means nothing (spec 40 §9 weak point 7).
pub fn same_address(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Checks `payment` against the chain and the agreements of the payee. `terms` gives those of an agreement or activity
/// in which this node is the provider and the payer the requestor.
pub fn check(
    payment: &Payment,
    on_chain: &OnChain,
    mut terms: impl FnMut(For<'_>) -> Option<Terms>,
) -> Result<(), Refusal> {
    if payment.amount > on_chain.amount {
        return Err(Refusal::TransferTooSmall { on_chain: on_chain.amount, payment: payment.amount });
    }
    let money: Result<Vec<_>, _> = payment.shares().map(|share| share.money()).collect();
    let shares = money.ok().and_then(Amount::sum).ok_or(Refusal::Amount)?;
    payment.amount.money().map_err(|_| Refusal::Amount)?;
    if shares > on_chain.amount {
        return Err(Refusal::SharesTooLarge { on_chain: on_chain.amount, shares });
    }
    if !same_address(&on_chain.recipient, &payment.payee_addr) {
        let (on_chain, payment) = (on_chain.recipient.clone(), payment.payee_addr.clone());
        return Err(Refusal::Recipient { on_chain, payment });
    }
    if !same_address(&on_chain.sender, &payment.payer_addr) {
        let (on_chain, payment) = (on_chain.sender.clone(), payment.payer_addr.clone());
        return Err(Refusal::Sender { on_chain, payment });
    }
    let agreements = payment.agreement_payments.iter().map(|share| (For::Agreement(&share.agreement_id), share.amount));
    let activities = payment.activity_payments.iter().map(|share| (For::Activity(&share.activity_id), share.amount));
    for (object, amount) in agreements.chain(activities) {
        if amount.is_zero() {
            return Err(Refusal::ZeroShare(object.name()));
        }
        let agreed = terms(object).ok_or_else(|| Refusal::Unknown(object.name()))?;
        let differs = |what, agreed: String, payment: &str| {
            Err(Refusal::Terms { what, of: object.name(), agreed, payment: payment.to_owned() })
        };
        if !same_address(&agreed.payee_addr, &payment.payee_addr) {
            return differs("Payee address", agreed.payee_addr, &payment.payee_addr);
        }
        if !same_address(&agreed.payer_addr, &payment.payer_addr) {
            return differs("Payer address", agreed.payer_addr, &payment.payer_addr);
        }
        if agreed.platform != payment.payment_platform {
            return differs("Payment platform", agreed.platform, &payment.payment_platform);
        }
    }
    Ok(())
}

/// One transfer pays once: what was received before under the same confirmation and this payment must fit into it.
pub fn check_not_reused(payment: Amount, before: &[Amount], on_chain: Amount) -> Result<(), Refusal> {
    let sum = Amount::sum(before.iter().copied().chain([payment])).ok_or(Refusal::Amount)?;
    if sum > on_chain { Err(Refusal::Reused { on_chain, sum }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use golem_model::payment::{ActivityPayment, AgreementPayment};

    use super::*;

    fn payment() -> Payment {
        let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/payment/signatures.json"));
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        serde_json::from_value(vectors["cases"][2]["payment"].clone()).unwrap()
    }

    fn on_chain(payment: &Payment) -> OnChain {
        OnChain {
            recipient: payment.payee_addr.to_uppercase().replace("0X", "0x"),
            sender: payment.payer_addr.clone(),
            amount: "0.530000000000000000".parse().unwrap(),
        }
    }

    fn terms(payment: &Payment) -> Terms {
        Terms {
            payer_addr: payment.payer_addr.clone(),
            payee_addr: payment.payee_addr.clone(),
            platform: payment.payment_platform.clone(),
        }
    }

    #[test]
    fn a_payment_must_fit_its_transfer_and_its_agreements() {
        let good = payment();
        let (chain, agreed) = (on_chain(&good), terms(&good));
        let check = |change: &dyn Fn(&mut Payment, &mut OnChain, &mut Option<Terms>), expected: &str| {
            let (mut payment, mut chain, mut agreed) = (good.clone(), chain.clone(), Some(agreed.clone()));
            change(&mut payment, &mut chain, &mut agreed);
            let got = check(&payment, &chain, |_| agreed.clone()).map_or_else(|e| e.to_string(), |()| "ok".to_owned());
            assert!(got.starts_with(expected), "{got} instead of {expected}");
        };
        check(&|_, _, _| {}, "ok");
        check(
            &|_, chain, _| chain.amount = "0.52".parse().unwrap(),
            "Transaction amount 0.52 is smaller than the payment",
        );
        check(&|payment, _, _| payment.agreement_payments[0].amount = Amount::whole(1), "Transaction amount 0.53");
        check(&|payment, _, _| payment.agreement_payments[0].amount = Amount::ZERO, "Payment of nothing for Agreement");
        check(&|payment, _, _| payment.agreement_payments[0].amount = "-1".parse().unwrap(), "The payment is not");
        check(&|_, chain, _| chain.recipient = "0x1".to_owned(), "Recipient address");
        check(&|_, chain, _| chain.sender = "0x1".to_owned(), "Sender address");
        check(&|_, _, agreed| *agreed = None, "Agreement 3942");
        check(&|_, _, agreed| agreed.as_mut().unwrap().platform = "x".to_owned(), "Payment platform of Agreement");
        check(&|_, _, agreed| agreed.as_mut().unwrap().payee_addr = "x".to_owned(), "Payee address of Agreement");
        check(&|_, _, agreed| agreed.as_mut().unwrap().payer_addr = "x".to_owned(), "Payer address of Agreement");
        check(
            &|payment, _, agreed| {
                let AgreementPayment { agreement_id, amount, allocation_id } = payment.agreement_payments.remove(0);
                payment.activity_payments.push(ActivityPayment { activity_id: agreement_id, amount, allocation_id });
                agreed.as_mut().unwrap().platform = "x".to_owned();
            },
            "Payment platform of",
        );
    }

    #[test]
    fn one_transfer_pays_once() {
        let half: Amount = "0.5".parse().unwrap();
        assert_eq!(check_not_reused(half, &[half], Amount::whole(1)), Ok(()));
        assert_eq!(
            check_not_reused(half, &[half, half], Amount::whole(1)).unwrap_err().to_string(),
            "Transaction for 1 used for multiple payments amounting to 1.5"
        );
    }
}
