//! Commands of an exe-script (spec 51 §5).
//!
//! Lists and maps with a default may be absent but not null; optional fields may be both.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::NodeId;

use super::ByteSize;

/// One command; an object with one key in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    Deploy(Deploy),
    Start(Start),
    Run(Run),
    Transfer(Transfer),
    Sign(Nothing),
    Terminate(Nothing),
}

impl Command {
    /// Name as `GetRunningCommand` shows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "Deploy",
            Self::Start(_) => "Start",
            Self::Run(_) => "Run",
            Self::Transfer(_) => "Transfer",
            Self::Sign(_) => "Sign",
            Self::Terminate(_) => "Terminate",
        }
    }

    /// What its output does: as the command says for `run`, text as stream for the others (spec 51 §6.3).
    pub fn capture(&self) -> Capture {
        match self {
            Self::Run(run) => run.capture.clone().unwrap_or_default(),
            _ => {
                let all = || Some(CaptureMode::Stream(Stream { limit: None, format: Some(CaptureFormat::Str) }));
                Capture { stdout: all(), stderr: all() }
            }
        }
    }

    pub const fn progress(&self) -> Option<&ProgressArgs> {
        match self {
            Self::Deploy(deploy) => deploy.progress.as_ref(),
            Self::Transfer(transfer) => transfer.progress.as_ref(),
            _ => None,
        }
    }
}

/// `{}`, and nothing else: neither null nor text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nothing {}

#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deploy {
    #[serde(default)]
    pub net: Vec<Network>,
    #[serde(default)]
    pub hosts: BTreeMap<String, String>,
    #[serde(default)]
    pub hostname: Option<String>,
    #[serde(default)]
    pub volumes: Option<Volumes>,
    /// Accepted for the sake of clients that send it; has no effect.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub progress: Option<ProgressArgs>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    pub id: String,
    pub ip: String,
    #[serde(default)]
    pub mask: Option<String>,
    #[serde(default)]
    pub gateway: Option<String>,
    pub node_ip: String,
    #[serde(default)]
    pub nodes: BTreeMap<String, NodeId>,
}

/// Extra volumes: paths on the host's disk, or paths with their kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Volumes {
    Paths(Vec<String>),
    Mounts(BTreeMap<String, VolumeMount>),
}

impl Volumes {
    /// The form that a runtime is given: every path with its kind.
    pub fn mounts(&self) -> BTreeMap<String, VolumeMount> {
        match self {
            Self::Paths(paths) => paths.iter().map(|path| (path.clone(), VolumeMount::Host {})).collect(),
            Self::Mounts(mounts) => mounts.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VolumeMount {
    Host {},
    Ram {
        size: ByteSize,
    },
    Storage {
        size: ByteSize,
        #[serde(default)]
        preallocate: Option<ByteSize>,
        #[serde(default)]
        errors: Option<MountErrors>,
    },
}

/// What the file system of a storage volume does on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountErrors {
    Continue,
    Panic,
    RemountRo,
}

/// How often progress is told.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressArgs {
    #[serde(default, with = "human_duration")]
    pub update_interval: Option<Duration>,
    /// Bytes between two events.
    #[serde(default)]
    pub update_step: Option<ByteSize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Start {
    #[serde(default)]
    pub args: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Run {
    pub entry_point: String,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capture {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<CaptureMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr: Option<CaptureMode>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CaptureMode {
    AtEnd(AtEnd),
    Stream(Stream),
}

impl CaptureMode {
    pub fn format(&self) -> CaptureFormat {
        match self {
            Self::AtEnd(at_end) => at_end.format,
            Self::Stream(stream) => stream.format,
        }
        .unwrap_or_default()
    }
}

/// Which part is kept until the command ends; at most one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "AtEndWire", into = "AtEndWire")]
pub struct AtEnd {
    pub part: Option<CapturePart>,
    pub format: Option<CaptureFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CapturePart {
    Head(u64),
    Tail(u64),
    HeadTail(u64),
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AtEndWire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head_tail: Option<u64>,
    /// Some clients nest the part.
    #[serde(default, skip_serializing)]
    part: Option<CapturePart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<CaptureFormat>,
}

impl From<AtEndWire> for AtEnd {
    fn from(wire: AtEndWire) -> Self {
        let flat = wire.head.map(CapturePart::Head);
        let flat =
            flat.or_else(|| wire.tail.map(CapturePart::Tail)).or_else(|| wire.head_tail.map(CapturePart::HeadTail));
        Self { part: flat.or(wire.part), format: wire.format }
    }
}

impl From<AtEnd> for AtEndWire {
    fn from(at_end: AtEnd) -> Self {
        let wire = Self { format: at_end.format, ..Self::default() };
        match at_end.part {
            None => wire,
            Some(CapturePart::Head(n)) => Self { head: Some(n), ..wire },
            Some(CapturePart::Tail(n)) => Self { tail: Some(n), ..wire },
            Some(CapturePart::HeadTail(n)) => Self { head_tail: Some(n), ..wire },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stream {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<CaptureFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum CaptureFormat {
    #[default]
    #[serde(rename = "str", alias = "string")]
    Str,
    #[serde(rename = "bin", alias = "binary")]
    Bin,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct Transfer {
    pub from: String,
    pub to: String,
    pub format: Option<String>,
    pub depth: Option<u64>,
    pub fileset: Option<FileSets>,
    pub progress: Option<ProgressArgs>,
}

impl<'de> Deserialize<'de> for Transfer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        struct Args {
            #[serde(default)]
            format: Option<String>,
            #[serde(default)]
            depth: Option<u64>,
            #[serde(default)]
            fileset: Option<FileSets>,
            #[serde(default)]
            progress: Option<ProgressArgs>,
        }
        #[derive(Deserialize)]
        struct Wire {
            from: String,
            to: String,
            #[serde(default)]
            format: Option<String>,
            #[serde(default)]
            depth: Option<u64>,
            #[serde(default)]
            fileset: Option<FileSets>,
            #[serde(default)]
            progress: Option<ProgressArgs>,
            /// Some clients nest the optional fields.
            #[serde(default)]
            args: Option<Args>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let nested = wire.args.unwrap_or_default();
        Ok(Self {
            from: wire.from,
            to: wire.to,
            format: wire.format.or(nested.format),
            depth: wire.depth.or(nested.depth),
            fileset: wire.fileset.or(nested.fileset),
            progress: wire.progress.or(nested.progress),
        })
    }
}

/// Which files of a folder an archive takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileSets {
    Pattern(String),
    Patterns(Vec<String>),
    Set(FileSet),
    Sets(Vec<FileSet>),
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileSet {
    #[serde(default)]
    pub desc: Option<String>,
    #[serde(default)]
    pub includes: Option<OneOrMany>,
    #[serde(default)]
    pub excludes: Option<OneOrMany>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Durations are text such as `300ms` in JSON and on the bus alike.
mod human_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|value| humantime::format_duration(value).to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| humantime::parse_duration(&text).map_err(de::Error::custom)).transpose()
    }
}
