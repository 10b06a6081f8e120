use std::time::Duration;

use crate::{PayloadError, RawCode, RawError, flexbuf};

/// Why a call got no answer of its service. The texts are those of the official client, which end up in logs of SDKs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Code 400: mostly that nothing is bound there.
    #[error("Bad request: {0}")]
    BadRequest(String),
    /// Code 500: the service or the way to it failed.
    #[error("GSB failure: {0}")]
    Failure(String),
    #[error("Timeout calling `{address}` service after {after:?}")]
    Timeout { address: String, after: Duration },
    /// A client whose router is away.
    #[error("not connected to the service bus")]
    Disconnected,
    #[error("empty response from remote service")]
    Empty,
    #[error("streaming response")]
    Streaming,
    #[error("Encoding problem: {0}")]
    Encode(#[source] flexbuf::Error),
    #[error(transparent)]
    Decode(#[from] PayloadError),
}

impl From<RawError> for BusError {
    fn from(error: RawError) -> Self {
        match error.code {
            RawCode::BadRequest => Self::BadRequest(error.text),
            RawCode::Failure => Self::Failure(error.text),
        }
    }
}

/// How a typed call fails: the service said no, or it was not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError<E> {
    #[error("the service answered {0:?}")]
    Service(E),
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl<E> CallError<E> {
    /// The service's own error, if it was reached.
    pub fn service(self) -> Option<E> {
        match self {
            Self::Service(error) => Some(error),
            Self::Bus(_) => None,
        }
    }

    /// Turns both kinds into one error type of the caller.
    pub fn flatten<F>(self, bus: impl FnOnce(BusError) -> F) -> F
    where
        E: Into<F>,
    {
        match self {
            Self::Service(error) => error.into(),
            Self::Bus(error) => bus(error),
        }
    }
}
