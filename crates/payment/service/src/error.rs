//! Why an operation is refused or fails, in the terms of those who asked.

use golem_model::AmountError;
use golem_model::payment::peer::{AcceptRejectError, CancelError, SendError};
use golem_payment_core::books::BooksError;
use golem_payment_core::cycle::CycleError;
use golem_payment_core::document::Refusal;
use golem_store::{StoreError, rusqlite};

use crate::service::allocate::AllocationProblem;

#[derive(Debug, thiserror::Error)]
pub(crate) enum OpError {
    #[error("not found")]
    NotFound,
    #[error("{0}")]
    Gone(String),
    /// The caller is not the side that may do this.
    #[error("not permitted to this side of the agreement")]
    WrongSide,
    #[error("Forbidden")]
    Forbidden,
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Internal(String),
    /// The peer did not answer in the time the client gives.
    #[error("{0}")]
    Timeout(&'static str),
    #[error(transparent)]
    Allocation(#[from] Box<AllocationProblem>),
    #[error("Database error: {0}")]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for OpError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<Refusal> for OpError {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::Illegal(_) => Self::Internal(text),
            Refusal::Done(..) => Self::BadRequest(text),
            Refusal::AcceptedByRequestor => Self::Conflict(text),
        }
    }
}

impl From<BooksError> for OpError {
    fn from(error: BooksError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl From<AmountError> for OpError {
    fn from(error: AmountError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl From<CycleError> for OpError {
    fn from(error: CycleError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

impl From<OpError> for SendError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::BadRequest(text) => Self::BadRequest(text),
            error => Self::ServiceError(error.to_string()),
        }
    }
}

impl From<AcceptRejectError> for OpError {
    fn from(error: AcceptRejectError) -> Self {
        match error {
            AcceptRejectError::BadRequest(text) => Self::BadRequest(text),
            AcceptRejectError::ServiceError(text) => Self::Internal(text),
            AcceptRejectError::ObjectNotFound => Self::NotFound,
            AcceptRejectError::Forbidden => Self::Forbidden,
        }
    }
}

impl From<OpError> for AcceptRejectError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::BadRequest(text) => Self::BadRequest(text),
            OpError::NotFound => Self::ObjectNotFound,
            OpError::Forbidden => Self::Forbidden,
            error => Self::ServiceError(error.to_string()),
        }
    }
}

impl From<CancelError> for OpError {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::ServiceError(text) => Self::Internal(text),
            CancelError::ObjectNotFound => Self::NotFound,
            CancelError::Forbidden => Self::Forbidden,
            CancelError::Conflict => Self::Conflict("Conflict".to_owned()),
        }
    }
}

impl From<OpError> for CancelError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::NotFound => Self::ObjectNotFound,
            OpError::Forbidden => Self::Forbidden,
            OpError::Conflict(_) => Self::Conflict,
            error => Self::ServiceError(error.to_string()),
        }
    }
}
