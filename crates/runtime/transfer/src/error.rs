use std::io;

use golem_bus::{BusError, CallError};
use golem_model::gftp::GftpError;

/// Why a transfer failed. The texts begin with a class that programs of requestors look for (spec 53 §7).
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("HTTP error: {text}")]
    Http { text: String, retriable: bool },
    #[error("IO error: {0}")]
    Io(#[from] io::Error),
    #[error("GSB error: {0}")]
    Bus(BusError),
    #[error("gftp error: {0}")]
    Gftp(GftpError),
    #[error("Unsupported scheme: {0}")]
    Scheme(String),
    #[error("Unsupported digest: {0}")]
    Digest(String),
    #[error("Invalid url: {0}")]
    Url(String),
    #[error("URL parse error: {0}")]
    UrlParse(String),
    #[error("Hex error: {0}")]
    Hex(#[from] hex::FromHexError),
    #[error("Glob error: {0}")]
    Glob(String),
    #[error("Invalid output format: {0}")]
    Format(String),
    #[error("content has hash {calculated}, expected {expected}")]
    Mismatch { calculated: String, expected: String },
    #[error("IO error: operation interrupted")]
    Interrupted,
}

impl TransferError {
    pub(crate) fn io(text: impl Into<String>) -> Self {
        Self::Io(io::Error::other(text.into()))
    }

    /// Whether the same transfer may work a moment later. A refused connection will not.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Http { retriable, .. } => *retriable,
            Self::Io(error) => matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::NotConnected
                    | io::ErrorKind::AddrNotAvailable
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::TimedOut
                    | io::ErrorKind::Interrupted
            ),
            Self::Bus(error) => !matches!(error, BusError::Encode(_) | BusError::Decode(_) | BusError::Streaming),
            _ => false,
        }
    }
}

impl From<CallError<GftpError>> for TransferError {
    fn from(error: CallError<GftpError>) -> Self {
        match error {
            CallError::Service(error) => Self::Gftp(error),
            CallError::Bus(error) => Self::Bus(error),
        }
    }
}
