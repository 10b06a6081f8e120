//! The market's routes (spec 32).

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use golem_model::market::{
    Agreement, AgreementEvent, AgreementId, AgreementProposal, AgreementState, AgreementSummary, Demand,
    DemandOfferBase, NegotiationEvent, NewScan, Offer, Proposal, ProposalId, SubscriptionId,
};
use golem_model::reason::Reason;

use crate::http::{Api, segment};
use crate::{Client, RestError};

/// Which agreements to list.
#[derive(Clone, Debug, Default)]
pub struct AgreementFilter {
    pub state: Option<AgreementState>,
    pub after: Option<DateTime<Utc>>,
    pub app_session_id: Option<String>,
}

/// Offers of a scan as they become known.
pub type OfferStream = crate::EventStream<Offer>;

/// A time as a query parameter: `Z`, because a `+` would need quoting (spec 32 §1.1).
pub(crate) fn query_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl Client {
    // --- provider ---------------------------------------------------------

    pub async fn subscribe_offer(&self, offer: &DemandOfferBase) -> Result<SubscriptionId, RestError> {
        self.post(Api::Market, "/offers").body(offer).json().await
    }

    pub async fn unsubscribe_offer(&self, offer: SubscriptionId) -> Result<(), RestError> {
        self.delete(Api::Market, &format!("/offers/{offer}")).done().await
    }

    pub async fn own_offers(&self) -> Result<Vec<Offer>, RestError> {
        self.get(Api::Market, "/offers").json().await
    }

    /// Takes events of an offer; they are removed from its queue.
    pub async fn offer_events(
        &self,
        offer: SubscriptionId,
        timeout: Duration,
        max: u32,
    ) -> Result<Vec<NegotiationEvent>, RestError> {
        self.get(Api::Market, &format!("/offers/{offer}/events"))
            .wait(timeout)
            .query(&[("maxEvents", max)])
            .list()
            .await
    }

    pub async fn offer_proposal(&self, offer: SubscriptionId, proposal: ProposalId) -> Result<Proposal, RestError> {
        self.get(Api::Market, &format!("/offers/{offer}/proposals/{proposal}")).json().await
    }

    pub async fn counter_demand(
        &self,
        offer: SubscriptionId,
        proposal: ProposalId,
        counter: &DemandOfferBase,
    ) -> Result<ProposalId, RestError> {
        self.post(Api::Market, &format!("/offers/{offer}/proposals/{proposal}")).body(counter).json().await
    }

    pub async fn reject_demand(
        &self,
        offer: SubscriptionId,
        proposal: ProposalId,
        reason: &Reason,
    ) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/offers/{offer}/proposals/{proposal}/reject")).body(reason).done().await
    }

    pub async fn approve_agreement(
        &self,
        agreement: AgreementId,
        session: &str,
        timeout: Duration,
    ) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/agreements/{agreement}/approve"))
            .query(&[("appSessionId", session)])
            .wait(timeout)
            .done()
            .await
    }

    pub async fn reject_agreement(&self, agreement: AgreementId, reason: &Reason) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/agreements/{agreement}/reject")).body(reason).done().await
    }

    // --- requestor --------------------------------------------------------

    pub async fn subscribe_demand(&self, demand: &DemandOfferBase) -> Result<SubscriptionId, RestError> {
        self.post(Api::Market, "/demands").body(demand).json().await
    }

    pub async fn unsubscribe_demand(&self, demand: SubscriptionId) -> Result<(), RestError> {
        self.delete(Api::Market, &format!("/demands/{demand}")).done().await
    }

    pub async fn own_demands(&self) -> Result<Vec<Demand>, RestError> {
        self.get(Api::Market, "/demands").json().await
    }

    /// Takes events of a demand; they are removed from its queue.
    pub async fn demand_events(
        &self,
        demand: SubscriptionId,
        timeout: Duration,
        max: u32,
    ) -> Result<Vec<NegotiationEvent>, RestError> {
        self.get(Api::Market, &format!("/demands/{demand}/events"))
            .wait(timeout)
            .query(&[("maxEvents", max)])
            .list()
            .await
    }

    pub async fn counter_offer(
        &self,
        demand: SubscriptionId,
        proposal: ProposalId,
        counter: &DemandOfferBase,
    ) -> Result<ProposalId, RestError> {
        self.post(Api::Market, &format!("/demands/{demand}/proposals/{proposal}")).body(counter).json().await
    }

    pub async fn reject_offer(
        &self,
        demand: SubscriptionId,
        proposal: ProposalId,
        reason: &Reason,
    ) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/demands/{demand}/proposals/{proposal}/reject")).body(reason).done().await
    }

    pub async fn create_agreement(
        &self,
        proposal: ProposalId,
        valid_to: DateTime<Utc>,
    ) -> Result<AgreementId, RestError> {
        let body = AgreementProposal { proposal_id: proposal.to_string(), valid_to };
        self.post(Api::Market, "/agreements").body(&body).json().await
    }

    pub async fn confirm_agreement(&self, agreement: AgreementId, session: &str) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/agreements/{agreement}/confirm"))
            .query(&[("appSessionId", session)])
            .done()
            .await
    }

    /// Waits for the provider's approval; 408 when it did not come in time, 410 when it was refused.
    pub async fn wait_for_approval(&self, agreement: AgreementId, timeout: Duration) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/agreements/{agreement}/wait")).wait(timeout).done().await
    }

    pub async fn cancel_agreement(&self, agreement: AgreementId, reason: &Reason) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/agreements/{agreement}/cancel")).body(reason).done().await
    }

    /// Begins a scan; its id is a text of digits.
    pub async fn begin_scan(&self, scan: &NewScan) -> Result<String, RestError> {
        self.post(Api::Market, "/scan").body(scan).json().await
    }

    pub async fn scan_offers(&self, scan: &str, timeout: Duration, max: u32) -> Result<Vec<Offer>, RestError> {
        self.get(Api::Market, &format!("/scan/{}/events", segment(scan)))
            .wait(timeout)
            .query(&[("maxEvents", max)])
            .list()
            .await
    }

    /// Offers of a scan as an event stream; it never ends by itself.
    pub async fn scan_stream(&self, scan: &str) -> Result<OfferStream, RestError> {
        let path = format!("/scan/{}/events", segment(scan));
        let response = self.get(Api::Market, &path).header("accept", "text/event-stream").stream().await?;
        Ok(OfferStream::new(response, path))
    }

    pub async fn end_scan(&self, scan: &str) -> Result<(), RestError> {
        self.delete(Api::Market, &format!("/scan/{}", segment(scan))).done().await
    }

    // --- both -------------------------------------------------------------

    pub async fn agreement(&self, agreement: AgreementId) -> Result<Agreement, RestError> {
        self.get(Api::Market, &format!("/agreements/{agreement}")).json().await
    }

    pub async fn agreements(&self, filter: &AgreementFilter) -> Result<Vec<AgreementSummary>, RestError> {
        let mut exchange = self.get(Api::Market, "/agreements");
        if let Some(state) = filter.state {
            exchange = exchange.query(&[("state", state)]);
        }
        if let Some(after) = filter.after {
            exchange = exchange.query(&[("afterDate", query_time(after))]);
        }
        if let Some(session) = &filter.app_session_id {
            exchange = exchange.query(&[("appSessionId", session)]);
        }
        exchange.json().await
    }

    pub async fn terminate_agreement(&self, agreement: AgreementId, reason: &Reason) -> Result<(), RestError> {
        self.post(Api::Market, &format!("/agreements/{agreement}/terminate")).body(reason).done().await
    }

    /// What happened to agreements strictly after a time; with a session only to those that belong to it.
    pub async fn agreement_events(
        &self,
        after: DateTime<Utc>,
        session: Option<&str>,
        timeout: Duration,
        max: u32,
    ) -> Result<Vec<AgreementEvent>, RestError> {
        let mut exchange = self
            .get(Api::Market, "/agreementEvents")
            .wait(timeout)
            .query(&[("afterTimestamp", query_time(after))])
            .query(&[("maxEvents", max)]);
        if let Some(session) = session {
            exchange = exchange.query(&[("appSessionId", session)]);
        }
        exchange.list().await
    }
}
