//! Refused allocations as `application/problem+json` (spec 41 §3.3).

use axum::http::StatusCode;
use chrono::{DateTime, SecondsFormat, Utc};
use golem_api_rest::ApiError;
use golem_model::driver::ValidateAllocationResult as Outcome;
use serde_json::{Map, Value, json};

use crate::service::allocate::AllocationProblem;

const BASE: &str = "/payment-api/v1/allocations";
const FUNDS: &str = "Insufficient funds to create the allocation. Top up your account or release all existing \
                     allocations to unlock the funds via `yagna payment release-allocations`";

/// The answer for a refused request with the parsed body `request`.
pub(super) fn answer(problem: &AllocationProblem, request: &Value) -> ApiError {
    let (status, kind, detail, members) = match problem {
        AllocationProblem::BadPlatform(error) => (
            StatusCode::BAD_REQUEST,
            "bad-payment-platform",
            problem.to_string(),
            json!({ "parseError": error.to_string(),
                "requestedPaymentPlatform": request.get("paymentPlatform").cloned().unwrap_or_default() }),
        ),
        AllocationProblem::NotRegistered { address, platform } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "account-not-registered",
            problem.to_string(),
            json!({ "address": address, "paymentPlatform": platform }),
        ),
        AllocationProblem::Internal { cause, address, platform } => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            "An unhandled internal error occurred".to_owned(),
            json!({ "internalError": cause, "address": address, "paymentPlatform": platform }),
        ),
        AllocationProblem::Invalid { result, address, platform } => {
            let (instance, detail, members) = invalid(result);
            let mut all = Map::new();
            all.insert("instance".to_owned(), json!(format!("{BASE}/validation-error/{instance}")));
            all.insert("address".to_owned(), json!(address));
            all.insert("paymentPlatform".to_owned(), json!(platform));
            if let Value::Object(members) = members {
                all.extend(members);
            }
            (StatusCode::BAD_REQUEST, "validation-error", detail, Value::Object(all))
        }
    };
    let mut body = Map::new();
    body.insert("type".to_owned(), json!(format!("{BASE}/{kind}")));
    body.insert("detail".to_owned(), json!(detail));
    if let Value::Object(members) = members {
        body.extend(members);
    }
    body.insert("requestBody".to_owned(), request.clone());
    ApiError::problem(status, Value::Object(body))
}

fn time(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}

/// Last part of the instance, words and members.
fn invalid(result: &Outcome) -> (&'static str, String, Value) {
    match result {
        Outcome::Valid => ("valid", String::new(), json!({})),
        Outcome::InsufficientAccountFunds { requested_funds, available_funds, reserved_funds } => (
            "insufficient-account-funds",
            FUNDS.to_owned(),
            json!({ "requestedFunds": requested_funds, "availableFunds": available_funds,
                "reservedFunds": reserved_funds }),
        ),
        Outcome::InsufficientDepositFunds { requested_funds, available_funds } => (
            "insufficient-deposit-funds",
            "Insufficient funds on the deposit for the allocation".to_owned(),
            json!({ "requestedFunds": requested_funds, "availableFunds": available_funds }),
        ),
        Outcome::TimeoutExceedsDeposit { requested_timeout, deposit_timeout } => (
            "timeout-exceeds-deposit",
            "Requested allocation timeout either not set or exceeds deposit timeout".to_owned(),
            json!({ "requestedTimeout": requested_timeout.as_ref().map(time),
                "depositTimeout": time(deposit_timeout) }),
        ),
        Outcome::TimeoutPassed { requested_timeout } => (
            "timeout-passed",
            "Requested allocation timeout is in the past".to_owned(),
            json!({ "requestedTimeout": time(requested_timeout) }),
        ),
        Outcome::MalformedDepositContract => {
            ("malformed-deposit-contract", "Invalid deposit contract address".to_owned(), json!({}))
        }
        Outcome::MalformedDepositId => ("malformed-deposit-id", "Invalid deposit id".to_owned(), json!({})),
        Outcome::NoDeposit { deposit_id } => (
            "no-deposit",
            format!("Deposit doesn't exist under the given id {deposit_id}"),
            json!({ "requestedDepositId": deposit_id }),
        ),
        Outcome::DepositReused { allocation_id } => (
            "deposit-reused",
            format!("Submitted deposit is already used for another allocation: {allocation_id}"),
            json!({ "conflictingAllocationId": allocation_id }),
        ),
        Outcome::DepositSpenderMismatch { deposit_spender } => (
            "deposit-spender-mismatch",
            format!("Deposit spender doesn't match the allocation's address: {deposit_spender}"),
            json!({ "depositSpender": deposit_spender }),
        ),
        Outcome::DepositValidationError(reason) => ("deposit-validation-error", reason.clone(), json!({})),
    }
}
