//! Calls of the command line to its daemon.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, anyhow};
use chrono::{DateTime, Utc};
use golem_bus::{Bus, BusError, CallError, ConnectError};
use golem_model::identity::{self, Get, IdentityInfo};
use golem_model::{Call, Caller, NodeId};
use golem_service::{Clock, SystemClock};
use serde::Serialize;
use serde_json::json;

use super::Settings;
use crate::output::Output;

/// Usual time for an answer; the daemon itself answers in milliseconds, other nodes and chains may not.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Client {
    bus: Result<Bus, ConnectError>,
    pub(crate) json: bool,
}

impl Client {
    pub(crate) async fn new(settings: &Settings) -> Self {
        Self { bus: Bus::connect(&settings.gsb_url, "yagna-cli").await, json: settings.json }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        SystemClock.now()
    }

    /// The answer, or the text of the error.
    pub(crate) async fn call<C: Call<Error: Display>>(&self, service: &str, call: C) -> Result<C::Item> {
        self.call_within(ANSWER_TIME_MAX, service, call).await
    }

    pub(crate) async fn call_within<C: Call<Error: Display>>(
        &self,
        timeout: Duration,
        service: &str,
        call: C,
    ) -> Result<C::Item> {
        match self.ask(timeout, service, call).await? {
            Ok(item) => Ok(item),
            Err(error) => Err(anyhow!("{error}")),
        }
    }

    /// The answer as `{"Ok": …}` or `{"Err": …}`, which is a success of the command in both cases.
    pub(crate) async fn result<C: Call>(&self, service: &str, call: C) -> Result<Output> {
        Ok(Output::Value(match self.ask(ANSWER_TIME_MAX, service, call).await? {
            Ok(item) => json!({ "Ok": serde_json::to_value(item)? }),
            Err(error) => json!({ "Err": serde_json::to_value(error)? }),
        }))
    }

    async fn ask<C: Call>(&self, timeout: Duration, service: &str, call: C) -> Result<Result<C::Item, C::Error>> {
        let address = format!("{service}/{}", C::ID);
        let unavailable = || format!("Called service `{address}` is unavailable");
        let bus = match &self.bus {
            Ok(bus) => bus,
            Err(error) => {
                let source = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
                return Err(anyhow!("{error}{source}").context(unavailable()));
            }
        };
        match bus.call(service, Caller::local(), call, timeout).await {
            Ok(item) => Ok(Ok(item)),
            Err(CallError::Service(error)) => Ok(Err(error)),
            Err(CallError::Bus(error @ BusError::Disconnected)) => Err(anyhow!(error).context(unavailable())),
            Err(CallError::Bus(error)) => Err(anyhow!(error)),
        }
    }

    pub(crate) async fn identity(&self, by: Get) -> Result<Option<IdentityInfo>> {
        self.call(identity::ADDRESS, by).await
    }

    /// The node id behind a name on the command line; without one that of the default identity.
    pub(crate) async fn node_id(&self, who: Option<&Who>) -> Result<NodeId> {
        let by = match who {
            Some(Who::Id(id)) => return Ok(*id),
            Some(Who::Alias(alias)) => Get::ByAlias(alias.clone()),
            None => Get::ByDefault,
        };
        let found = self.identity(by).await?;
        found.map(|info| info.node_id).ok_or_else(|| match who {
            Some(who) => anyhow!("node with alias {who} not found"),
            None => anyhow!("default identity not found"),
        })
    }
}

/// `0x…` names a node id, any other text an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Id(NodeId),
    Alias(String),
}

impl Who {
    pub(crate) fn parse(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(text.parse().map_or_else(|_| Self::Alias(text.to_owned()), Self::Id))
    }

    /// The same, but text that starts with `0x` must be a node id.
    pub(crate) fn strict(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(error) if text.starts_with("0x") => Err(format!("NodeId `{text}` parsing error: {error}")),
            Err(_) => Ok(Self::Alias(text.to_owned())),
        }
    }

    pub(crate) fn get(self) -> Get {
        match self {
            Self::Id(id) => Get::ByNodeId(id),
            Self::Alias(alias) => Get::ByAlias(alias),
        }
    }
}

impl Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Alias(alias) => f.write_str(alias),
        }
    }
}

/// The name of an enum variant on the wire.
pub(crate) fn name_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}
