use proptest::prelude::*;

use super::*;
use crate::properties::flatten;

const NOW_MS: i64 = 1_795_413_566_000;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(NOW_MS).unwrap()
}

fn platforms() -> Vec<PaymentPlatform> {
    vec![crate::platform::parse("hoodi").unwrap()]
}

fn offer() -> Bargain {
    Bargain {
        accept_timeout: Some(240),
        debit_note_interval: Some(120),
        payment_timeout: Some(120),
        coeffs: vec![0.0001, 0.0001, 0.0],
    }
}

/// A demand of one hour that agrees to everything we offer, changed by `change`.
fn demand(change: Value) -> Properties {
    let mut demand = flatten(&json!({
        EXPIRATION: NOW_MS + 3_600_000,
        CHOSEN_PLATFORM: "erc20-hoodi-tglm",
        ACCEPT_TIMEOUT: 240,
        DEBIT_NOTE_INTERVAL: 120,
        PAYMENT_TIMEOUT: 120,
    }));
    for (key, value) in change.as_object().unwrap() {
        match value {
            Value::Null => drop(demand.shift_remove(key)),
            value => drop(demand.insert(key.clone(), value.clone())),
        }
    }
    demand
}

fn judge(change: Value, mut bargain: Bargain, open: usize) -> (Result<Agreed, (String, bool)>, Bargain) {
    let platforms = platforms();
    let facts = Facts { now: now(), agreements_open: open, platforms: &platforms };
    let verdict = negotiate(&Policy::default(), facts, &demand(change), &mut bargain);
    (verdict.map_err(|rejection| (rejection.message, rejection.is_final)), bargain)
}

/// The verdict in short: `ready`, `negotiating`, `final` or `later`.
fn check(change: Value, bargain: Bargain, expected: &str) -> Bargain {
    let (verdict, after) = judge(change.clone(), bargain, 0);
    let short = match &verdict {
        Ok(Agreed::Ready) => "ready",
        Ok(Agreed::Negotiating) => "negotiating",
        Err((_, true)) => "final",
        Err((_, false)) => "later",
    };
    assert_eq!(short, expected, "{change}: {verdict:?}");
    after
}

#[test]
fn expiration_table() {
    let minutes = |minutes: i64| NOW_MS + minutes * 60_000;
    check(json!({EXPIRATION: null}), offer(), "final");
    check(json!({EXPIRATION: "soon"}), offer(), "final");
    check(json!({EXPIRATION: minutes(-1)}), offer(), "final");
    check(json!({EXPIRATION: minutes(5) - 1}), offer(), "final");
    check(json!({EXPIRATION: minutes(5)}), offer(), "ready");
    check(json!({EXPIRATION: minutes(30), ACCEPT_TIMEOUT: null}), offer(), "negotiating");
    check(json!({EXPIRATION: minutes(30) + 1, ACCEPT_TIMEOUT: null}), offer(), "later");
    check(json!({EXPIRATION: minutes(60 * 24 * 365)}), offer(), "ready");
    check(json!({EXPIRATION: minutes(60 * 24 * 365 * 101)}), offer(), "later");
    check(json!({EXPIRATION: i64::MAX}), offer(), "final");
    let (verdict, _) = judge(json!({EXPIRATION: minutes(1)}), offer(), 0);
    assert!(verdict.unwrap_err().0.starts_with("Proposal expires at: "));
}

#[test]
fn accept_timeout_table() {
    check(json!({ACCEPT_TIMEOUT: 241}), offer(), "final");
    check(json!({ACCEPT_TIMEOUT: 240}), offer(), "ready");
    check(json!({ACCEPT_TIMEOUT: 4}), offer(), "final");
    assert_eq!(check(json!({ACCEPT_TIMEOUT: 5}), offer(), "negotiating").accept_timeout, Some(5));
    assert_eq!(
        check(json!({ACCEPT_TIMEOUT: null, EXPIRATION: NOW_MS + 600_000}), offer(), "negotiating").accept_timeout,
        None
    );
    let removed = Bargain { accept_timeout: None, ..offer() };
    check(json!({ACCEPT_TIMEOUT: null, EXPIRATION: NOW_MS + 600_000}), removed.clone(), "ready");
    check(json!({ACCEPT_TIMEOUT: 30}), removed, "final");
}

#[test]
fn interval_and_payment_timeout_tables() {
    for key in [DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT] {
        let value = |bargain: Bargain| match key {
            PAYMENT_TIMEOUT => bargain.payment_timeout,
            _ => bargain.debit_note_interval,
        };
        check(json!({key: 0}), offer(), "final");
        check(json!({key: 86_401}), offer(), "final");
        check(json!({key: 120}), offer(), "ready");
        check(json!({key: 120.0}), offer(), "ready");
        check(json!({key: "120"}), offer(), "ready");
        check(json!({key: 120.5}), offer(), "final");
        check(json!({key: true}), offer(), "final");
        check(json!({key: -1}), offer(), "final");
        assert_eq!(value(check(json!({key: 43_200}), offer(), "negotiating")), Some(43_200));
        assert_eq!(value(check(json!({key: null}), offer(), "negotiating")), None);
        let removed = Bargain { debit_note_interval: None, payment_timeout: None, ..offer() };
        check(json!({DEBIT_NOTE_INTERVAL: null, PAYMENT_TIMEOUT: null}), removed.clone(), "ready");
        check(json!({DEBIT_NOTE_INTERVAL: null, PAYMENT_TIMEOUT: null, key: 120}), removed, "final");
    }
    let ten_hours = NOW_MS + 36_000_000;
    check(json!({PAYMENT_TIMEOUT: null, EXPIRATION: ten_hours}), offer(), "final");
    check(json!({PAYMENT_TIMEOUT: null, EXPIRATION: ten_hours - 1}), offer(), "negotiating");
}

#[test]
fn price_table() {
    check(json!({COEFFS: [0.0001, 0.0001, 0.0]}), offer(), "ready");
    check(json!({COEFFS: [0.0001, 0.0]}), offer(), "later");
    check(json!({COEFFS: [0.0001, 0.00001, 0.0]}), offer(), "final");
    check(json!({COEFFS: "cheap"}), offer(), "final");
    assert_eq!(check(json!({COEFFS: [0.0001, 0.0002, 0]}), offer(), "negotiating").coeffs, [0.0001, 0.0002, 0.0]);
}

#[test]
fn fields_platforms_and_places() {
    let (verdict, _) = judge(json!({CHOSEN_PLATFORM: null}), offer(), 0);
    assert_eq!(verdict, Err(("Missing fields: /golem/com/payment/chosen-platform".to_owned(), false)));
    check(json!({CHOSEN_PLATFORM: "erc20-polygon-glm"}), offer(), "final");
    let (verdict, _) = judge(json!({}), offer(), 1);
    assert_eq!(verdict, Err(("No capacity available. Reached Agreements limit: 1".to_owned(), false)));
}

#[test]
fn an_agreement_must_be_settled_in_all_points() {
    let platforms = platforms();
    let facts = Facts { now: now(), agreements_open: 0, platforms: &platforms };
    let offered = offer().write(&Properties::new());
    assert_eq!(examine(&Policy::default(), facts, &demand(json!({})), &offered), Ok(()));
    let open = examine(&Policy::default(), facts, &demand(json!({DEBIT_NOTE_INTERVAL: 60})), &offered);
    assert_eq!(open, Err(Rejection::for_now("Negotiations aren't finished.")));
    let without = Bargain { debit_note_interval: None, ..offer() }.write(&offered);
    assert!(!without.contains_key(DEBIT_NOTE_INTERVAL));
    assert_eq!(examine(&Policy::default(), facts, &demand(json!({DEBIT_NOTE_INTERVAL: null})), &without), Ok(()));
}

#[test]
fn rejections_have_the_shape_that_clients_read() {
    let reason = serde_json::to_value(Rejection::for_now("no").reason()).unwrap();
    assert_eq!(reason, json!({"message": "no", "golem.proposal.rejection.is-final": false}));
}

/// The recorded negotiation of the official agent, proposal by proposal.
#[test]
fn recorded_negotiation_comes_out_the_same() {
    let lines = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/sdk/provider-agent.jsonl"));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let by_number = |n: u64| lines.iter().find(|line| line["n"] == n).unwrap();
    let mut offer = flatten(&by_number(23)["response"]["properties"]);
    // A by-product of the official agent's first offer; our offers never have it (spec 60 §5).
    offer.shift_remove("golem.com.scheme.payu");
    let event = &by_number(22)["response"][0];
    let demand = flatten(&event["proposal"]["properties"]);
    let platforms = platforms();
    let facts =
        Facts { now: event["eventDate"].as_str().unwrap().parse().unwrap(), agreements_open: 0, platforms: &platforms };
    let policy =
        Policy { debit_note_interval: Range { own: 20, ..Policy::default().debit_note_interval }, ..Policy::default() };
    let mut bargain = Bargain::read(&offer).unwrap();
    assert_eq!(negotiate(&policy, facts, &demand, &mut bargain), Ok(Agreed::Negotiating));
    assert_eq!(Value::Object(bargain.write(&offer)), by_number(24)["body"]["properties"]);
    let agreement = &by_number(25)["response"][0]["agreement"];
    let [demand, offer] = ["demand", "offer"].map(|side| flatten(&agreement[side]["properties"]));
    assert_eq!(examine(&policy, facts, &demand, &offer), Ok(()));
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9a-z.]{0,12}".prop_map(Value::from),
        proptest::collection::vec(any::<f64>().prop_map(Value::from), 0..5).prop_map(Value::from),
    ]
}

proptest! {
    /// Whatever a demand says, there is an answer; and what we agreed to once, we agree to again.
    #[test]
    fn any_demand_gets_an_answer(values in proptest::collection::vec(any_value(), 6)) {
        let keys = [EXPIRATION, CHOSEN_PLATFORM, ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT, COEFFS];
        let change = keys.into_iter().map(str::to_owned).zip(values).collect::<Properties>();
        let (verdict, after) = judge(Value::Object(change.clone()), offer(), 0);
        if verdict.is_ok() {
            let (again, unchanged) = judge(Value::Object(change), after.clone(), 0);
            prop_assert_eq!(again, Ok(Agreed::Ready));
            prop_assert_eq!(unchanged, after);
        }
    }
}
