//! What is signed in a payment, in both forms (spec 40 §8).

use std::fmt::Write;

use golem_model::payment::Payment;
use serde_json::Value;
use sha3::{Digest, Sha3_256};

/// Signed bytes longer than this are not even parsed: a payment with thousands of shares is far below.
const SIGNED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The text of the canonical form: JSON with sorted keys and without blanks (RFC 8785).
pub fn canonical(payment: &Payment) -> String {
    let value = serde_json::to_value(payment.clone().without_allocations()).unwrap_or_default();
    let mut text = String::new();
    write_sorted(&mut text, &value);
    text
}

fn write_sorted(text: &mut String, value: &Value) {
    let separated = |text: &mut String, index: usize| {
        if index > 0 {
            text.push(',');
        }
    };
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in keys.into_iter().enumerate() {
                separated(text, index);
                write_sorted(text, &Value::String(key.clone()));
                text.push(':');
                write_sorted(text, value);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                separated(text, index);
                write_sorted(text, item);
            }
            text.push(']');
        }
        leaf => {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "{leaf}");
        }
    }
}

/// The text of the old form.
pub fn legacy(payment: &Payment) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_legacy(&mut text, payment);
    text
}

fn write_legacy(text: &mut String, payment: &Payment) -> std::fmt::Result {
    let Payment { payment_id, payer_id, payee_id, payer_addr, payee_addr, payment_platform, amount, .. } = payment;
    write!(
        text,
        "Payment {{ payment_id: {payment_id:?}, payer_id: {payer_id}, payee_id: {payee_id}, \
         payer_addr: {payer_addr:?}, payee_addr: {payee_addr:?}, payment_platform: {payment_platform:?}, \
         amount: BigDecimal(\"{amount}\"), timestamp: {:?}, agreement_payments: [",
        payment.timestamp
    )?;
    for (index, share) in payment.agreement_payments.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(
            text,
            "{comma}AgreementPayment {{ agreement_id: {:?}, amount: BigDecimal(\"{}\"), allocation_id: {:?} }}",
            share.agreement_id, share.amount, share.allocation_id
        )?;
    }
    text.write_str("], activity_payments: [")?;
    for (index, share) in payment.activity_payments.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(
            text,
            "{comma}ActivityPayment {{ activity_id: {:?}, amount: BigDecimal(\"{}\"), allocation_id: {:?} }}",
            share.activity_id, share.amount, share.allocation_id
        )?;
    }
    write!(text, "], details: {:?} }}", payment.details)
}

/// What the key signs: SHA3-256 (not Keccak) of the text.
pub fn digest(text: &[u8]) -> [u8; 32] {
    Sha3_256::digest(text).into()
}

/// Whether `signed_bytes` say the same as `payment`: amounts numerically, times as instants, shares in order.
pub fn says_the_same(payment: &Payment, signed_bytes: &[u8]) -> bool {
    signed_bytes.len() <= SIGNED_BYTES_MAX
        && serde_json::from_slice::<Payment>(signed_bytes)
            .is_ok_and(|signed| signed.without_allocations() == payment.clone().without_allocations())
}

#[cfg(test)]
mod tests {
    use golem_keys::{SecretKey, recover};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_digests_and_signatures_are_those_of_the_vectors() {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/payment/signatures.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let key: SecretKey = vectors["private_key_hex"].as_str().unwrap().parse().unwrap();
        for case in vectors["cases"].as_array().unwrap() {
            let payment: Payment = serde_json::from_value(case["payment"].clone()).unwrap();
            let forms = [("canonical", canonical(&payment)), ("legacy", legacy(&payment))];
            for (form, text) in forms {
                assert_eq!(text, case[format!("{form}_text")]);
                let digest = digest(text.as_bytes());
                assert_eq!(hex::encode(digest), case[format!("{form}_sha3_256")]);
                let signature = key.sign(&digest);
                assert_eq!(hex::encode(signature), case[format!("{form}_signature_hex")]);
                assert_eq!(recover(&digest, signature.as_ref()).unwrap(), payment.payer_id);
            }
            assert!(says_the_same(&payment, canonical(&payment).as_bytes()));
        }
    }

    fn payment() -> Payment {
        let vectors =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/payment/signatures.json"));
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        serde_json::from_value(vectors["cases"][2]["payment"].clone()).unwrap()
    }

    #[test]
    fn scale_and_key_order_do_not_matter_but_order_of_shares_does() {
        let signed = payment();
        let mut same = signed.clone();
        same.amount = "0.5300".parse().unwrap();
        same.agreement_payments[0].allocation_id = Some("mine".to_owned());
        assert!(says_the_same(&same, serde_json::to_vec_pretty(&signed).unwrap().as_slice()));
        let mut other = signed.clone();
        other.agreement_payments.reverse();
        assert!(!says_the_same(&other, canonical(&signed).as_bytes()));
    }

    proptest! {
        #[test]
        fn any_signed_bytes_are_parsed_or_refused(bytes: Vec<u8>) {
            prop_assert!(!says_the_same(&payment(), &bytes));
        }
    }
}
