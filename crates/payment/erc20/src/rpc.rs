//! Questions to the nodes of one chain, with fail-over (spec 42 §5.5).
//!
//! [`Pool`] knows the endpoints of a chain, asks the best of them and goes on to the next when one fails. Nothing runs
//! in the background: an endpoint is looked at before its use when its last look is old.

mod endpoint;
mod parse;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};
use golem_service::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::dns;
use crate::http::Http;
use crate::settings::Chain;
use endpoint::Endpoint;
pub(crate) use parse::{Block, Log, Receipt, Transaction};

/// Waits between rounds over all endpoints for questions that somebody waits for.
const ROUNDS: [Duration; 2] = [Duration::from_millis(400), Duration::from_millis(1200)];

/// Endpoints found by DNS and lists are looked up again after this.
const SOURCES_FRESH: Duration = Duration::from_secs(300);

/// The same when none was found.
const SOURCES_AGAIN: Duration = Duration::from_secs(10);

/// Most endpoints of a chain.
const ENDPOINTS_MAX: usize = 32;

/// What a node answers to a call that it understood and refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct NodeError {
    pub(crate) code: i64,
    pub(crate) message: String,
}

impl NodeError {
    /// The text has `words`, in any case. Nodes differ in everything but a few words.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.message.to_ascii_lowercase().contains(words)
    }

    /// The contract refused, as opposed to the node or the account. Code 3 is what most nodes use.
    pub(crate) fn is_revert(&self) -> bool {
        self.code == 3 || self.says("revert") || self.says("invalid opcode") || self.says("out of gas")
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RpcError {
    #[error("no endpoint of `{network}` works: {last}\n  hint: see `payment driver rpc`, or name another endpoint by `{}_GETH_ADDR`", .network.to_ascii_uppercase())]
    Unreachable { network: &'static str, last: String },
    #[error("the node refused: {0}")]
    Node(#[from] NodeError),
    #[error("the node answered nonsense to {0}")]
    Nonsense(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Question {
    method: &'static str,
    params: Value,
}

impl Question {
    pub(crate) fn chain_id() -> Self {
        Self { method: "eth_chainId", params: json!([]) }
    }

    pub(crate) fn latest_block() -> Self {
        Self { method: "eth_getBlockByNumber", params: json!(["latest", false]) }
    }

    pub(crate) fn block(number: u64, full: bool) -> Self {
        Self { method: "eth_getBlockByNumber", params: json!([format!("{number:#x}"), full]) }
    }

    pub(crate) fn balance(account: Address) -> Self {
        Self { method: "eth_getBalance", params: json!([lower(account), "latest"]) }
    }

    pub(crate) fn nonce(account: Address, block: Option<u64>) -> Self {
        let block = block.map_or_else(|| "latest".to_owned(), |number| format!("{number:#x}"));
        Self { method: "eth_getTransactionCount", params: json!([lower(account), block]) }
    }

    pub(crate) fn pending_nonce(account: Address) -> Self {
        Self { method: "eth_getTransactionCount", params: json!([lower(account), "pending"]) }
    }

    pub(crate) fn call(from: Address, to: Address, data: &Bytes) -> Self {
        let call = json!({ "from": lower(from), "to": lower(to), "data": data.to_string() });
        Self { method: "eth_call", params: json!([call, "latest"]) }
    }

    pub(crate) fn estimate(from: Address, to: Address, data: &Bytes) -> Self {
        let call = json!({ "from": lower(from), "to": lower(to), "data": data.to_string(), "value": "0x0" });
        Self { method: "eth_estimateGas", params: json!([call]) }
    }

    pub(crate) fn receipt(hash: B256) -> Self {
        Self { method: "eth_getTransactionReceipt", params: json!([hash.to_string()]) }
    }

    pub(crate) fn transaction(hash: B256) -> Self {
        Self { method: "eth_getTransactionByHash", params: json!([hash.to_string()]) }
    }

    pub(crate) fn send(raw: &[u8]) -> Self {
        Self { method: "eth_sendRawTransaction", params: json!([format!("0x{}", hex::encode(raw))]) }
    }
}

fn lower(address: Address) -> String {
    format!("0x{}", hex::encode(address))
}

/// Answers in the order of the questions.
#[derive(Debug)]
pub(crate) struct Answers(Vec<(&'static str, Result<Value, NodeError>)>);

impl Answers {
    /// The next answer, read by `parse`.
    pub(crate) fn take<T>(&mut self, parse: impl Fn(&Value) -> Option<T>) -> Result<T, RpcError> {
        if self.0.is_empty() {
            return Err(RpcError::Nonsense("a batch"));
        }
        let (method, answer) = self.0.remove(0);
        parse(&answer?).ok_or(RpcError::Nonsense(method))
    }

    /// The next answer, which may be `null`.
    pub(crate) fn take_if_any<T>(&mut self, parse: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, RpcError> {
        self.take(|value| if value.is_null() { Some(None) } else { parse(value).map(Some) })
    }

    pub(crate) fn number(&mut self) -> Result<u64, RpcError> {
        self.take(parse::number)
    }

    pub(crate) fn amount(&mut self) -> Result<U256, RpcError> {
        self.take(parse::quantity)
    }

    /// The word that a contract answered. No word at all means that there is no contract.
    pub(crate) fn word(&mut self) -> Result<U256, RpcError> {
        self.take(parse::word)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, RpcError> {
        self.take(parse::bytes)
    }

    pub(crate) fn block(&mut self) -> Result<Block, RpcError> {
        self.take(Block::parse)
    }

    pub(crate) fn receipt(&mut self) -> Result<Option<Receipt>, RpcError> {
        self.take_if_any(Receipt::parse)
    }

    pub(crate) fn transaction(&mut self) -> Result<Option<Transaction>, RpcError> {
        self.take_if_any(Transaction::parse)
    }
}

#[derive(Debug)]
pub(crate) struct Pool {
    network: &'static str,
    chain_id: u64,
    request_timeout: Duration,
    verify_interval: Duration,
    head_behind: Option<Duration>,
    errors_max: u32,
    http: Arc<Http>,
    clock: Arc<dyn Clock>,
    sources: crate::settings::Sources,
    found: Mutex<Found>,
    /// When endpoints were looked up last.
    looked_up: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Found {
    endpoints: Vec<Endpoint>,
}

impl Pool {
    pub(crate) fn new(chain: &Chain, http: Arc<Http>, clock: Arc<dyn Clock>) -> Self {
        let endpoints = chain.sources.fixed.iter().take(ENDPOINTS_MAX).map(|url| Endpoint::new(url.clone()));
        Self {
            network: chain.network.name(),
            chain_id: chain.chain_id,
            request_timeout: chain.request_timeout,
            verify_interval: chain.verify_interval,
            head_behind: chain.head_behind,
            errors_max: chain.errors_max,
            http,
            clock,
            sources: chain.sources.clone(),
            found: Mutex::new(Found { endpoints: endpoints.collect() }),
            looked_up: tokio::sync::Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Found) -> T) -> T {
        work(&mut self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks one question and reads its answer.
    pub(crate) async fn ask<T>(
        &self,
        question: Question,
        read: impl FnOnce(&mut Answers) -> Result<T, RpcError>,
    ) -> Result<T, RpcError> {
        read(&mut self.ask_all(&[question]).await?)
    }

    /// Asks all at once. One round over the endpoints: those who ask again by themselves use this.
    pub(crate) async fn ask_all(&self, questions: &[Question]) -> Result<Answers, RpcError> {
        self.look_up_sources().await;
        let mut last = "it has none".to_owned();
        for url in self.order() {
            match self.ask_one(&url, questions).await {
                Ok(answers) => return Ok(answers),
                Err(problem) => {
                    tracing::debug!(network = self.network, %url, %problem, "endpoint failed");
                    last = format!("{url}: {problem}");
                }
            }
        }
        Err(RpcError::Unreachable { network: self.network, last })
    }

    /// As [`Self::ask_all`], and again a few times when no endpoint works.
    pub(crate) async fn ask_patiently(&self, questions: &[Question]) -> Result<Answers, RpcError> {
        for wait in ROUNDS {
            match self.ask_all(questions).await {
                Err(RpcError::Unreachable { .. }) => tokio::time::sleep(wait).await,
                done => return done,
            }
        }
        self.ask_all(questions).await
    }

    /// Endpoints in the order in which they are tried.
    fn order(&self) -> Vec<String> {
        let now = Instant::now();
        self.with(|found| {
            let mut order: Vec<_> =
                found.endpoints.iter().map(|endpoint| (endpoint.rank(now, self.errors_max), &endpoint.url)).collect();
            order.sort();
            order.into_iter().map(|(_, url)| url.clone()).collect()
        })
    }

    async fn ask_one(&self, url: &str, questions: &[Question]) -> Result<Answers, String> {
        let due = self.with(|found| {
            let endpoint = found.endpoints.iter().find(|endpoint| endpoint.url == url);
            endpoint.is_none_or(|endpoint| endpoint.needs_look(self.verify_interval))
        });
        if due {
            self.look(url).await?;
        }
        let asked = Instant::now();
        let answers = self.post(url, questions).await;
        self.count(questions, answers.is_ok());
        self.note(url, |endpoint| match &answers {
            Ok(_) => endpoint.worked(asked.elapsed()),
            Err(problem) => endpoint.failed(problem),
        });
        answers
    }

    fn count(&self, questions: &[Question], worked: bool) {
        // Names that dashboards of the official daemon read.
        let name = if worked { "web3_rpc_success" } else { "web3_rpc_error" };
        for question in questions {
            let labels = [("chain_id", self.chain_id.to_string()), ("method", question.method.to_owned())];
            metrics::counter!(name, &labels).increment(1);
        }
    }

    fn note(&self, url: &str, change: impl FnOnce(&mut Endpoint)) {
        self.with(|found| {
            if let Some(endpoint) = found.endpoints.iter_mut().find(|endpoint| endpoint.url == url) {
                change(endpoint);
            }
        });
    }

    /// Is it the right chain and does it keep up?
    async fn look(&self, url: &str) -> Result<(), String> {
        let asked = Instant::now();
        let outcome = self.check(url).await;
        self.note(url, |endpoint| match &outcome {
            Ok(head) => endpoint.verified(*head, asked.elapsed()),
            Err(problem) => endpoint.failed(problem),
        });
        outcome.map(drop)
    }

    async fn check(&self, url: &str) -> Result<u64, String> {
        let mut answers = self.post(url, &[Question::chain_id(), Question::latest_block()]).await?;
        let told = |error: RpcError| error.to_string();
        let chain_id = answers.number().map_err(told)?;
        if chain_id != self.chain_id {
            return Err(format!("it serves chain {chain_id}, not {}", self.chain_id));
        }
        let block = answers.block().map_err(told)?;
        let now = u64::try_from(self.clock.now().timestamp()).unwrap_or_default();
        let behind = Duration::from_secs(now.saturating_sub(block.timestamp));
        match self.head_behind {
            Some(allowed) if behind > allowed => Err(format!("its newest block is {} s old", behind.as_secs())),
            _ => Ok(block.number),
        }
    }

    async fn post(&self, url: &str, questions: &[Question]) -> Result<Answers, String> {
        let body = |(id, question): (usize, &Question)| json!({ "jsonrpc": "2.0", "id": id, "method": question.method, "params": question.params });
        let request: Value = match questions {
            [one] => body((0, one)),
            many => many.iter().enumerate().map(body).collect(),
        };
        let client = self.http.client().map_err(|error| innermost(&error))?;
        let reply = client.post(url).timeout(self.request_timeout).json(&request).send();
        let reply = reply.await.map_err(|error| innermost(&error))?;
        let status = reply.status();
        let text = endpoint::read_limited(reply).await?;
        let Ok(value) = serde_json::from_slice::<Value>(&text) else {
            return Err(format!("HTTP status {}", status.as_u16()));
        };
        let answers = match value {
            Value::Array(answers) => answers,
            one if questions.len() == 1 => vec![one],
            one => return Err(format!("no batches: {}", one.to_string().chars().take(200).collect::<String>())),
        };
        let mut by_id: BTreeMap<u64, Value> =
            answers.into_iter().filter_map(|answer| Some((answer.get("id")?.as_u64()?, answer))).collect();
        let mut ordered = Vec::with_capacity(questions.len());
        for (id, question) in (0..).zip(questions) {
            let answer = by_id.remove(&id).ok_or("an answer is missing")?;
            ordered.push((question.method, endpoint::outcome(answer)?));
        }
        Ok(Answers(ordered))
    }

    async fn look_up_sources(&self) {
        if self.sources.dns.is_empty() && self.sources.json.is_empty() {
            return;
        }
        // Held over the look-up, so that those who come meanwhile wait for its endpoints instead of finding none.
        let mut looked_up = self.looked_up.lock().await;
        let enough = if self.with(|found| found.endpoints.is_empty()) { SOURCES_AGAIN } else { SOURCES_FRESH };
        if looked_up.is_some_and(|at| at.elapsed() < enough) {
            return;
        }
        let mut urls = Vec::new();
        for name in &self.sources.dns {
            match dns::texts(name).await {
                Ok(found) => urls.extend(found),
                Err(error) => tracing::debug!(%name, %error, "no endpoints by DNS"),
            }
        }
        for list in &self.sources.json {
            urls.extend(self.fetch_list(list).await);
        }
        self.with(|found| {
            for url in urls {
                let known = found.endpoints.iter().any(|endpoint| endpoint.url == url);
                if !known && found.endpoints.len() < ENDPOINTS_MAX && url.starts_with("http") {
                    found.endpoints.push(Endpoint::new(url));
                }
            }
        });
        *looked_up = Some(Instant::now());
    }

    async fn fetch_list(&self, url: &str) -> Vec<String> {
        let Ok(client) = self.http.client() else { return Vec::new() };
        let Ok(reply) = client.get(url).timeout(self.request_timeout).send().await else { return Vec::new() };
        let Ok(text) = endpoint::read_limited(reply).await else { return Vec::new() };
        let list: Value = serde_json::from_slice(&text).unwrap_or_default();
        if list.get("chainId").and_then(Value::as_u64) != Some(self.chain_id) {
            return Vec::new();
        }
        let urls = list.get("urls").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        urls.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What is known of each endpoint; with `look`, after a look at each.
    pub(crate) async fn report(&self, look: bool) -> Value {
        if look {
            self.look_up_sources().await;
            for url in self.order() {
                // What came of it is noted with the endpoint and reported below.
                let _ = self.look(&url).await;
            }
        }
        self.with(|found| found.endpoints.iter().map(Endpoint::report).collect())
    }

    /// Where endpoints come from.
    pub(crate) fn sources(&self) -> Value {
        json!({ "fixed": self.sources.fixed, "dns": self.sources.dns, "json": self.sources.json })
    }
}

/// The cause that names what happened; what lies above it only repeats the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
