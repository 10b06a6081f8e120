//! Messages of an exe-unit: batches of commands, their results and events, reports to the daemon (spec 50 §3, 51 §5).

mod script;
mod size;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::StreamCall;
use crate::call::calls;

pub use script::{
    AtEnd, Capture, CaptureFormat, CaptureMode, CapturePart, Command, Deploy, FileSet, FileSets, MountErrors, Network,
    Nothing, OneOrMany, ProgressArgs, Run, Start, Stream, Transfer, VolumeMount, Volumes,
};
pub use size::{ByteSize, ParseByteSizeError};

/// Address prefix of the exe-units on their node.
pub const ADDRESS_PREFIX: &str = "/public/exeunit";

/// Address of the exe-unit that runs `activity_id`.
pub fn address(activity_id: &str) -> String {
    format!("{ADDRESS_PREFIX}/{activity_id}")
}

/// Where an activity stands (spec 50 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    New,
    Initialized,
    Deployed,
    Ready,
    Terminated,
    Unresponsive,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Initialized => "Initialized",
            Self::Deployed => "Deployed",
            Self::Ready => "Ready",
            Self::Terminated => "Terminated",
            Self::Unresponsive => "Unresponsive",
        }
    }
}

/// The state reached and the one being worked on; `["Ready",null]` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StatePair(pub State, pub Option<State>);

impl StatePair {
    pub const TERMINATED: Self = Self(State::Terminated, None);

    pub fn is_alive(&self) -> bool {
        self.0 != State::Terminated && self.1 != Some(State::Terminated)
    }
}

impl From<State> for StatePair {
    fn from(state: State) -> Self {
        Self(state, None)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityState {
    pub state: StatePair,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

impl From<StatePair> for ActivityState {
    fn from(state: StatePair) -> Self {
        Self { state, reason: None, error_message: None }
    }
}

/// Usage counters in the order of the agreement's `golem.com.usage.vector`; `timestamp` in Unix seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityUsage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_usage: Option<Vec<f64>>,
    pub timestamp: i64,
}

/// Error of every activity and exe-unit call. Its texts are those that REST clients of the official daemon read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
pub enum ActivityError {
    #[error("Service error: {0}")]
    Service(String),
    #[error("Activity API error: {0}")]
    Activity(String),
    #[error("Bad request: {0}")]
    BadRequest(String),
    #[error("Usage limit exceeded: {0}")]
    UsageLimitExceeded(String),
    #[error("Not found: {0}")]
    NotFound(String),
    #[error("Forbidden: {0}")]
    Forbidden(String),
    #[error("Timeout")]
    Timeout,
}

/// Starts a batch; answered by its id before the first command runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    pub activity_id: String,
    pub batch_id: String,
    pub exe_script: Vec<Command>,
    pub timeout: Option<f32>,
}

/// Waits until command `command_index` (the last one when absent) has finished, at most `timeout` seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetExecBatchResults {
    pub activity_id: String,
    pub batch_id: String,
    pub timeout: Option<f32>,
    #[serde(default)]
    pub command_index: Option<u64>,
}

/// Events of one batch. Its field names are in snake_case, unlike the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamExecBatchResults {
    pub activity_id: String,
    pub batch_id: String,
}

impl StreamCall for StreamExecBatchResults {
    const ID: &'static str = "StreamExecBatchResults";
    type Item = RuntimeEvent;
    type Error = ActivityError;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetRunningCommand {
    pub activity_id: String,
    pub timeout: Option<f32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningCommand {
    pub command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Vec<String>>,
}

/// Asked of the exe-unit and, under `/public/activity`, of the provider's daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetActivityState {
    pub activity_id: String,
    pub timeout: Option<f32>,
}

/// Asked of the exe-unit and, under `/public/activity`, of the provider's daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetActivityUsage {
    pub activity_id: String,
    pub timeout: Option<f32>,
}

/// Report of an exe-unit to `/local/activity`: the state pair changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetActivityState {
    pub activity_id: String,
    pub state: ActivityState,
    pub timeout: Option<f32>,
    #[serde(default)]
    pub credentials: Option<serde_json::Value>,
}

/// Report of an exe-unit to `/local/activity`: usage so far; also its sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetActivityUsage {
    pub activity_id: String,
    pub usage: ActivityUsage,
    pub timeout: Option<f32>,
}

/// Outcome of one command (spec 50 §2.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandResult {
    pub index: u32,
    pub result: Outcome,
    #[serde(default)]
    pub stdout: Option<Output>,
    #[serde(default)]
    pub stderr: Option<Output>,
    #[serde(default)]
    pub message: Option<String>,
    pub is_batch_finished: bool,
    pub event_date: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Ok,
    Error,
}

/// Captured output: text, or bytes as an array of integers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Output {
    Text(String),
    Bytes(Vec<u8>),
}

impl Output {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({:?})", text.chars().take(64).collect::<String>()),
            Self::Bytes(bytes) => write!(f, "Bytes({} B)", bytes.len()),
        }
    }
}

/// One thing that happened in a batch (spec 50 §2.6); keys in snake_case, the time stamp in UTC without a zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeEvent {
    pub batch_id: String,
    pub index: u64,
    pub timestamp: NaiveDateTime,
    pub kind: RuntimeEventKind,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum RuntimeEventKind {
    #[serde(rename = "started")]
    Started { command: Command },
    #[serde(rename = "finished")]
    Finished { return_code: i32, message: Option<String> },
    #[serde(rename = "stdout")]
    Stdout(Output),
    #[serde(rename = "stderr")]
    Stderr(Output),
    #[serde(rename = "progress")]
    Progress(CommandProgress),
}

/// `step` and `progress` are `[done, all]` (spec 51 §9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandProgress {
    pub step: (u64, u64),
    pub message: Option<String>,
    pub progress: (u64, Option<u64>),
    pub unit: Option<String>,
}

calls! {
    Exec -> String, ActivityError;
    GetExecBatchResults -> Vec<CommandResult>, ActivityError;
    GetRunningCommand -> Vec<RunningCommand>, ActivityError;
    GetActivityState -> ActivityState, ActivityError;
    GetActivityUsage -> ActivityUsage, ActivityError;
    SetActivityState -> (), ActivityError;
    SetActivityUsage -> (), ActivityError;
}

#[cfg(test)]
mod tests;
