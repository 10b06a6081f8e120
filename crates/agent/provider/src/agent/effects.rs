//! What a deal wants to be done, done: each as a task whose outcome comes back as a message.

use std::future::Future;

use golem_api_client::{Class, Client, RestError};
use golem_model::market::{AgreementId, AgreementState};
use golem_model::payment::{DocumentStatus, NewDebitNote, NewInvoice};
use serde_json::json;
use tracing::{debug, info, warn};

use super::poll::chain;
use super::{Agent, Message};
use crate::config::descriptor;
use crate::deal::{Effect, Failure, Input};

impl Agent {
    pub(super) fn perform(&mut self, agreement: AgreementId, effect: Effect) {
        let client = self.client.clone();
        match effect {
            Effect::Approve => {
                let (session, timeout) = (self.session.clone(), self.timing.approve);
                self.start(agreement, async move { approve(&client, agreement, &session, timeout).await });
            }
            Effect::Began => {
                info!(%agreement, "agreement approved");
                metrics::counter!("provider.agreement.approved").increment(1);
            }
            Effect::Spawn { activity, requestor_pub_key } => {
                let descriptor = self.runtime_of(agreement);
                self.executor.spawn(agreement, activity, descriptor, requestor_pub_key);
            }
            Effect::Attach { activity, stop } => self.executor.attach(agreement, activity, stop),
            Effect::Stop { activity } => self.executor.stop(&activity),
            Effect::CloseState(close) => self.executor.close_state(agreement, close),
            Effect::Count { activity } => self.start(agreement, async move {
                let usage = client.activity_usage(&activity).await.map(|usage| usage.current_usage);
                Input::Usage { usage: failed(usage, "cannot read the usage", &activity), activity }
            }),
            Effect::IssueNote { activity, amount, usage, due } => self.start(agreement, async move {
                let note = NewDebitNote {
                    activity_id: activity.clone(),
                    total_amount_due: amount,
                    usage_counter_vector: Some(json!(usage)),
                    payment_due_date: due,
                };
                let note = client.issue_debit_note(&note).await.map(|note| note.debit_note_id);
                Input::NoteIssued { note: failed(note, "cannot issue the debit note", &activity), activity }
            }),
            Effect::SendNote { activity, note } => self.start(agreement, async move {
                let outcome = failed(client.send_debit_note(&note).await, "cannot send the debit note", &note);
                debug!(%activity, %note, sent = outcome.is_ok(), "debit note");
                Input::NoteSent { activity, note, outcome }
            }),
            Effect::IssueInvoice { activities, amount, due, again } => self.start(agreement, async move {
                let invoice = NewInvoice {
                    agreement_id: agreement.to_string(),
                    activity_ids: Some(activities),
                    amount,
                    payment_due_date: due,
                };
                let id = invoice_of(&client, agreement, invoice, again).await;
                info!(%agreement, %amount, issued = id.is_ok(), "invoice");
                Input::InvoiceIssued { outcome: failed(id, "cannot issue the invoice", agreement.as_str()) }
            }),
            Effect::SendInvoice { invoice } => self.start(agreement, async move {
                let outcome = failed(client.send_invoice(&invoice).await, "cannot send the invoice", &invoice);
                info!(%agreement, %invoice, sent = outcome.is_ok(), "invoice");
                Input::InvoiceSent { outcome }
            }),
            Effect::Terminate { reason } => self.start(agreement, async move {
                info!(%agreement, code = reason.code(), reason = %reason.message, "terminating the agreement");
                let outcome = match client.terminate_agreement(agreement, &reason).await {
                    // Somebody was faster.
                    Err(error) if error.class() == Class::Gone => Ok(()),
                    other => other,
                };
                Input::TerminationDone { outcome: failed(outcome, "cannot terminate", agreement.as_str()) }
            }),
            Effect::Released => info!(%agreement, "agreement ended, its place is free"),
        }
    }

    fn start(&self, agreement: AgreementId, work: impl Future<Output = Input> + Send + 'static) {
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let input = work.await;
            let _ = inbox.send(Message::Deal { agreement, input }).await;
        });
    }

    /// The runtime that was offered: of that version if it is still installed.
    fn runtime_of(&self, agreement: AgreementId) -> Option<descriptor::Descriptor> {
        let terms = &self.deals.get(&agreement)?.terms;
        let exact = self
            .descriptors
            .iter()
            .find(|descriptor| descriptor.name == terms.runtime && descriptor.version == terms.runtime_version);
        exact.or_else(|| descriptor::by_name(&self.descriptors, &terms.runtime)).cloned()
    }

    /// After the daemon was away: activities that it ended meanwhile are ended here, too, and agreements that the
    /// requestor terminated are closed.
    pub(super) fn recount(&self) {
        for deal in self.deals.values().filter(|deal| deal.is_open()) {
            let agreement = deal.terms.agreement;
            for activity in deal.live_activities() {
                let (client, activity, inbox) = (self.client.clone(), activity.to_owned(), self.inbox.clone());
                self.tasks.spawn(async move {
                    let ended = client.activity_state(&activity).await.is_ok_and(|state| !state.state.is_alive());
                    if ended {
                        let _ = inbox.send(Message::Deal { agreement, input: Input::Destroy { activity } }).await;
                    }
                });
            }
        }
    }
}

/// The outcome by what can be done about it; an error is logged here, once.
fn failed<T>(outcome: Result<T, RestError>, what: &str, of: &str) -> Result<T, Failure> {
    outcome.map_err(|error| {
        warn!(of, error = %chain(&error), "{what}");
        match (error.class(), error.status()) {
            (Class::Retry, None) | (Class::Key, _) => Failure::Daemon,
            (Class::Retry, Some(_)) => Failure::Peer,
            (Class::Gone | Class::Wrong, _) => Failure::Refused,
        }
    })
}

/// Approves; when the answer is an error, the agreement itself says how it ended.
async fn approve(client: &Client, agreement: AgreementId, session: &str, timeout: std::time::Duration) -> Input {
    /// Questions after the state of an agreement whose approval went wrong.
    const ASKED_MAX: u32 = 20;
    let Err(error) = client.approve_agreement(agreement, session, timeout).await else { return Input::Approved };
    warn!(%agreement, error = %chain(&error), "approval did not go through");
    for _ in 0..ASKED_MAX {
        match client.agreement(agreement).await {
            Ok(known) if known.state == AgreementState::Approved => return Input::Approved,
            Err(error) if error.class() == Class::Retry => {
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
            _ => return Input::ApprovalFailed,
        }
    }
    Input::ApprovalFailed
}

/// Issues the invoice of an agreement, of which there is only one: an earlier try may have made it.
async fn invoice_of(
    client: &Client,
    agreement: AgreementId,
    invoice: NewInvoice,
    again: bool,
) -> Result<String, RestError> {
    if again {
        let known = client.invoices(None).await?;
        let ours = known
            .into_iter()
            .find(|known| known.agreement_id == agreement.as_str() && known.status != DocumentStatus::Cancelled);
        if let Some(known) = ours {
            return Ok(known.invoice_id);
        }
    }
    Ok(client.issue_invoice(&invoice).await?.invoice_id)
}
