//! Who the parties of an agreement are, and which agreement an activity belongs to: asked of the market and activity
//! services once, kept in our rows afterwards.

use golem_bus::CallError;
use golem_model::activity::{AgreementRole, GetAgreementId, LOCAL_ADDRESS};
use golem_model::exe_unit::ActivityError;
use golem_model::market::{self, AgreementId, GetAgreement, Role, RpcMessageError};
use golem_model::payment::{CHOSEN_PLATFORM, address_property};
use golem_model::{Caller, NodeId};
use golem_payment_core::books::Totals;
use golem_store::StoreError;

use super::{LOCAL_TIME_MAX, Service};
use crate::error::OpError;
use crate::store::Side;
use crate::store::agreement::{self, Agreement};

/// Why there is no agreement to bill or to pay.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartyError {
    #[error("Agreement {0} not found")]
    Unknown(String),
    #[error("Missing {CHOSEN_PLATFORM}")]
    NoPlatform,
    #[error("External service error: {0}")]
    Service(String),
    #[error("Database error: {0}")]
    Store(#[from] StoreError),
}

impl From<PartyError> for OpError {
    fn from(error: PartyError) -> Self {
        match error {
            PartyError::Store(error) => Self::Store(error),
            PartyError::Service(_) => Self::Internal(error.to_string()),
            PartyError::Unknown(_) | PartyError::NoPlatform => Self::BadRequest(error.to_string()),
        }
    }
}

impl Side {
    const fn role(self) -> Role {
        match self {
            Self::Requestor => Role::Requestor,
            Self::Provider => Role::Provider,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Requestor => Self::Provider,
            Self::Provider => Self::Requestor,
        }
    }
}

impl Service {
    /// The agreement in which `owner` stands on `side`.
    pub(crate) async fn agreement(&self, owner: NodeId, id: &str, side: Side) -> Result<Agreement, PartyError> {
        let key = id.to_owned();
        let stored = self.store.read(move |db| Ok::<_, StoreError>(agreement::get(db, owner, &key)?)).await?;
        match stored {
            Some(stored) if stored.role == side => Ok(stored),
            Some(_) => Err(PartyError::Unknown(id.to_owned())),
            None => self.agreement_of_market(owner, id, side).await,
        }
    }

    async fn agreement_of_market(&self, owner: NodeId, id: &str, side: Side) -> Result<Agreement, PartyError> {
        let unknown = || PartyError::Unknown(id.to_owned());
        let agreement_id: AgreementId = id.parse().map_err(|_| unknown())?;
        let ask = GetAgreement { agreement_id, role: side.role() };
        let found = match self.bus.call(market::PUBLIC_ADDRESS, Caller::from(owner), ask, LOCAL_TIME_MAX).await {
            Ok(found) => found,
            Err(CallError::Service(RpcMessageError::NotFound(_) | RpcMessageError::Forbidden(_))) => {
                return Err(unknown());
            }
            Err(CallError::Service(error)) => {
                return Err(PartyError::Service(format!("Market service error: {error}")));
            }
            Err(CallError::Bus(error)) => return Err(PartyError::Service(format!("Market service error: {error}"))),
        };
        let (provider, requestor) = (found.provider_id(), found.requestor_id());
        let peer = match side {
            Side::Provider if provider == owner => requestor,
            Side::Requestor if requestor == owner => provider,
            _ => return Err(unknown()),
        };
        let text = |properties: &serde_json::Value, key: &str| {
            properties.get(key).and_then(|value| value.as_str()).map(str::to_owned)
        };
        let platform = text(&found.demand.properties, CHOSEN_PLATFORM).ok_or(PartyError::NoPlatform)?;
        let address = address_property(&platform);
        let now = self.now();
        Ok(Agreement {
            owner,
            id: id.to_owned(),
            role: side,
            peer,
            payee_addr: text(&found.offer.properties, &address).unwrap_or_else(|| provider.to_string()),
            payer_addr: text(&found.demand.properties, &address).unwrap_or_else(|| requestor.to_string()),
            platform,
            session: found.app_session_id,
            totals: Totals::default(),
            created: now,
            updated: now,
        })
    }

    /// The agreement that `owner` provides under; [`OpError::WrongSide`] when it is the requestor.
    pub(crate) async fn provided(&self, owner: NodeId, id: &str) -> Result<Agreement, OpError> {
        match self.agreement(owner, id, Side::Provider).await {
            Err(PartyError::Unknown(_)) => match self.agreement(owner, id, Side::Requestor).await {
                Ok(_) => Err(OpError::WrongSide),
                Err(PartyError::Unknown(id)) => Err(OpError::BadRequest(format!("Agreement not found: {id}"))),
                Err(error) => Err(error.into()),
            },
            found => Ok(found?),
        }
    }

    /// The agreement of an activity of `owner`, or why it is not known.
    pub(crate) async fn agreement_of_activity(
        &self,
        owner: NodeId,
        activity: &str,
        side: Side,
    ) -> Result<String, ActivityLookup> {
        let key = activity.to_owned();
        let stored = self
            .store
            .read(move |db| Ok::<_, StoreError>(agreement::activity(db, owner, &key)?))
            .await
            .map_err(|error| ActivityLookup::Failed(error.to_string()))?;
        if let Some(stored) = stored {
            return Ok(stored.agreement);
        }
        let ask = GetAgreementId { activity_id: activity.to_owned(), timeout: None, role: side.role_name() };
        match self.bus.call(LOCAL_ADDRESS, Caller::from(owner), ask, LOCAL_TIME_MAX).await {
            Ok(agreement) => Ok(agreement),
            Err(CallError::Service(error)) if is_unknown(&error) => Err(ActivityLookup::Unknown(error.to_string())),
            Err(CallError::Service(error)) => Err(ActivityLookup::Failed(error.to_string())),
            Err(CallError::Bus(error)) => Err(ActivityLookup::Failed(error.to_string())),
        }
    }

    /// The agreement of an activity that `owner` provides; [`OpError::WrongSide`] when it rents it.
    pub(crate) async fn agreement_provided_by(&self, owner: NodeId, activity: &str) -> Result<String, OpError> {
        match self.agreement_of_activity(owner, activity, Side::Provider).await {
            Ok(agreement) => Ok(agreement),
            Err(ActivityLookup::Unknown(text)) => {
                match self.agreement_of_activity(owner, activity, Side::Provider.other()).await {
                    Ok(_) => Err(OpError::WrongSide),
                    Err(_) => Err(activity_error(&text)),
                }
            }
            Err(ActivityLookup::Failed(text)) => Err(activity_error(&text)),
        }
    }
}

fn activity_error(text: &str) -> OpError {
    OpError::Internal(format!("External service error: Activity service error: {text}"))
}

#[derive(Debug)]
pub(crate) enum ActivityLookup {
    Unknown(String),
    Failed(String),
}

impl Side {
    const fn role_name(self) -> AgreementRole {
        match self {
            Self::Requestor => AgreementRole::Requestor,
            Self::Provider => AgreementRole::Provider,
        }
    }
}

/// Whether the activity service says that it does not know the activity, rather than that it failed.
fn is_unknown(error: &ActivityError) -> bool {
    match error {
        ActivityError::NotFound(_) => true,
        ActivityError::Service(text) => text.contains("Not found"),
        _ => false,
    }
}
