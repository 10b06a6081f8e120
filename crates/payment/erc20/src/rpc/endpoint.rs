//! What is known of one endpoint.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::NodeError;

/// Largest answer that is read: a block with all its transactions.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Time for which an endpoint is asked last after too many errors.
const REST_AFTER_ERRORS: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: String,
    verified: Option<(Instant, u64)>,
    errors_in_a_row: u32,
    failed_at: Option<Instant>,
    latency: Duration,
    problem: Option<String>,
}

impl Endpoint {
    pub(super) const fn new(url: String) -> Self {
        Self { url, verified: None, errors_in_a_row: 0, failed_at: None, latency: Duration::ZERO, problem: None }
    }

    /// The lower, the earlier it is asked: those at rest last, then by errors, then by speed in steps too coarse for
    /// noise to change the order.
    pub(super) fn rank(&self, now: Instant, errors_max: u32) -> (bool, u32, u32) {
        let resting = self.errors_in_a_row >= errors_max
            && self.failed_at.is_some_and(|at| now.duration_since(at) < REST_AFTER_ERRORS);
        let speed = u128::BITS - (self.latency.as_millis() / 16).leading_zeros();
        (resting, self.errors_in_a_row, speed)
    }

    pub(super) fn needs_look(&self, every: Duration) -> bool {
        self.verified.is_none_or(|(at, _)| at.elapsed() > every)
    }

    pub(super) fn verified(&mut self, head: u64, latency: Duration) {
        self.verified = Some((Instant::now(), head));
        self.worked(latency);
    }

    pub(super) fn worked(&mut self, latency: Duration) {
        self.errors_in_a_row = 0;
        self.problem = None;
        self.latency = if self.latency.is_zero() { latency } else { (self.latency * 7 + latency) / 8 };
    }

    pub(super) fn failed(&mut self, problem: &str) {
        self.verified = None;
        self.errors_in_a_row = self.errors_in_a_row.saturating_add(1);
        self.failed_at = Some(Instant::now());
        self.problem = Some(problem.chars().take(300).collect());
    }

    pub(super) fn report(&self) -> Value {
        json!({
            "url": self.url,
            "ok": self.problem.is_none() && self.verified.is_some(),
            "head": self.verified.map(|(_, head)| head),
            "latencyMs": u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX),
            "errorsInARow": self.errors_in_a_row,
            "problem": self.problem,
        })
    }
}

pub(super) async fn read_limited(mut reply: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    while let Some(chunk) = reply.chunk().await.map_err(|error| super::innermost(&error))? {
        if text.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too large".to_owned());
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// The outcome in an answer. Errors that say something of the endpoint instead of the question fail the endpoint.
pub(super) fn outcome(mut answer: Value) -> Result<Result<Value, NodeError>, String> {
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
        let message = error.get("message").and_then(Value::as_str).unwrap_or("no text").chars().take(500).collect();
        let error = NodeError { code, message };
        // Limits and unknown methods (EIP-1474), and what gateways say when the node behind them is away.
        let endpoint = matches!(code, -32005 | -32601 | 429) || error.says("rate limit") || error.says("unavailable");
        return if endpoint { Err(error.to_string()) } else { Ok(Err(error)) };
    }
    match answer.get_mut("result") {
        Some(result) => Ok(Ok(result.take())),
        None => Err("an answer without result".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_fails_is_asked_last_for_a_while() {
        let (mut good, mut bad) = (Endpoint::new("a".into()), Endpoint::new("b".into()));
        good.worked(Duration::from_millis(400));
        bad.worked(Duration::from_millis(3));
        let now = Instant::now();
        assert!(bad.rank(now, 5) < good.rank(now, 5));
        bad.failed("gone");
        assert!(bad.rank(now, 5) > good.rank(now, 5));
        good.failed("gone too");
        (0..5).for_each(|_| bad.failed("gone"));
        assert!(bad.rank(now, 5) > good.rank(now, 5));
    }

    #[test]
    fn errors_of_the_question_and_of_the_endpoint_are_told_apart() {
        let of = |code: i64, message: &str| outcome(json!({ "id": 1, "error": { "code": code, "message": message } }));
        assert!(of(3, "execution reverted: ERC20: transfer amount exceeds balance").unwrap().is_err());
        assert!(of(-32000, "nonce too low").unwrap().is_err());
        assert!(of(-32005, "daily limit").is_err());
        assert!(of(-32000, "backend temporarily unavailable").is_err());
        assert_eq!(outcome(json!({ "result": null })), Ok(Ok(Value::Null)));
        assert!(outcome(json!({})).is_err());
        assert!(outcome(json!(7)).is_err());
    }
}
