//! The activity routes (spec 50 §2), and event streams.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::BoxStream;
use golem_model::exe_unit::{ActivityState, ActivityUsage, Command, CommandResult, RuntimeEvent};
use golem_model::market::AgreementId;
use reqwest::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::http::{Api, segment};
use crate::market::query_time;
use crate::{Client, RestError};

/// Results of a batch so far, in the order of its commands.
pub type BatchResults = Vec<CommandResult>;

/// What the provider's daemon tells its agent (spec 50 §2.11).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderEvent {
    pub activity_id: String,
    pub agreement_id: AgreementId,
    pub event_type: ProviderEventKind,
    pub event_date: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProviderEventKind {
    #[serde(rename_all = "camelCase")]
    CreateActivity {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        requestor_pub_key: Option<String>,
    },
    DestroyActivity {},
}

/// An activity just made.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    pub activity_id: String,
    #[serde(default)]
    pub credentials: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct ExeScript<'a> {
    text: &'a str,
}

impl Client {
    // --- provider ---------------------------------------------------------

    /// Activities to make and to end strictly after a time. The official daemon says 408 when there are none.
    pub async fn activity_events(
        &self,
        after: DateTime<Utc>,
        session: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<ProviderEvent>, RestError> {
        let mut exchange =
            self.get(Api::Activity, "/events").wait(timeout).query(&[("afterTimestamp", query_time(after))]);
        if let Some(session) = session {
            exchange = exchange.query(&[("appSessionId", session)]);
        }
        exchange.list().await
    }

    pub async fn set_activity_state(&self, activity: &str, state: &ActivityState) -> Result<(), RestError> {
        self.put(Api::Activity, &format!("/activity/{}/state", segment(activity))).body(state).done().await
    }

    // --- requestor --------------------------------------------------------

    pub async fn create_activity(&self, agreement: AgreementId, timeout: Duration) -> Result<Created, RestError> {
        let body = serde_json::json!({ "agreementId": agreement });
        self.post(Api::Activity, "/activity").wait(timeout).body(&body).json().await
    }

    pub async fn destroy_activity(&self, activity: &str, timeout: Duration) -> Result<(), RestError> {
        self.delete(Api::Activity, &format!("/activity/{}", segment(activity))).wait(timeout).done().await
    }

    /// Starts a batch of commands; returns its id.
    pub async fn exec(&self, activity: &str, script: &[Command]) -> Result<String, RestError> {
        let url = format!("/activity/{}/exec", segment(activity));
        let text = serde_json::to_string(script).map_err(|source| RestError::Request { url: url.clone(), source })?;
        self.post(Api::Activity, &url).body(&ExeScript { text: &text }).json().await
    }

    /// Results of a batch: those there are when command `index` (default: the last) has finished or `timeout` is over.
    pub async fn exec_results(
        &self,
        activity: &str,
        batch: &str,
        timeout: Duration,
        index: Option<u32>,
    ) -> Result<BatchResults, RestError> {
        let path = format!("/activity/{}/exec/{}", segment(activity), segment(batch));
        let mut exchange = self.get(Api::Activity, &path).wait(timeout);
        if let Some(index) = index {
            exchange = exchange.query(&[("commandIndex", index)]);
        }
        exchange.list().await
    }

    /// Events of a batch as they happen.
    pub async fn exec_events(&self, activity: &str, batch: &str) -> Result<EventStream<RuntimeEvent>, RestError> {
        let path = format!("/activity/{}/exec/{}", segment(activity), segment(batch));
        let response = self.get(Api::Activity, &path).header("accept", "text/event-stream").stream().await?;
        Ok(EventStream::new(response, path))
    }

    // --- both -------------------------------------------------------------

    pub async fn activity_state(&self, activity: &str) -> Result<ActivityState, RestError> {
        self.get(Api::Activity, &format!("/activity/{}/state", segment(activity))).json().await
    }

    pub async fn activity_usage(&self, activity: &str) -> Result<ActivityUsage, RestError> {
        self.get(Api::Activity, &format!("/activity/{}/usage", segment(activity))).json().await
    }

    pub async fn activity_agreement(&self, activity: &str) -> Result<AgreementId, RestError> {
        self.get(Api::Activity, &format!("/activity/{}/agreement", segment(activity))).json().await
    }
}

/// Longest event that is read.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The `data` of server-sent events, decoded. Names, ids and comments are left out.
pub struct EventStream<T> {
    parts: BoxStream<'static, Result<bytes::Bytes, reqwest::Error>>,
    parser: EventParser,
    url: String,
    kind: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for EventStream<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("url", &self.url).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> EventStream<T> {
    pub(crate) fn new(response: Response, url: String) -> Self {
        Self { parts: response.bytes_stream().boxed(), parser: EventParser::default(), url, kind: PhantomData }
    }

    /// The next event; none when the daemon has closed the stream. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<T>, RestError> {
        loop {
            if let Some(data) = self.parser.take() {
                let parsed = serde_json::from_str(&data);
                return parsed.map(Some).map_err(|source| RestError::Answer { url: self.url.clone(), source });
            }
            match self.parts.next().await {
                None => return Ok(None),
                Some(Err(source)) => return Err(RestError::Connect { url: self.url.clone(), source }),
                Some(Ok(part)) => self
                    .parser
                    .push(&part)
                    .map_err(|TooLong| RestError::TooLong { url: self.url.clone(), max: EVENT_BYTES_MAX })?,
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct TooLong;

/// Splits a byte stream into events; lines end with LF or CRLF, an empty line ends an event.
#[derive(Default)]
struct EventParser {
    rest: BytesMut,
    data: String,
    ready: VecDeque<String>,
}

impl EventParser {
    fn push(&mut self, part: &[u8]) -> Result<(), TooLong> {
        // Only the new bytes can hold the end of the line that is being read.
        let mut searched = self.rest.len();
        self.rest.extend_from_slice(part);
        while let Some(end) = self.rest.iter().skip(searched).position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(searched + end);
            self.rest.advance(1);
            searched = 0;
            self.line(line.strip_suffix(b"\r").unwrap_or(&line));
        }
        if self.rest.len() + self.data.len() > EVENT_BYTES_MAX { Err(TooLong) } else { Ok(()) }
    }

    fn line(&mut self, line: &[u8]) {
        if line.is_empty() {
            if !self.data.is_empty() {
                self.ready.push_back(std::mem::take(&mut self.data));
            }
            return;
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(&String::from_utf8_lossy(data.strip_prefix(b" ").unwrap_or(data)));
        }
    }

    fn take(&mut self) -> Option<String> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_any_cut() {
        let text = b"event: runtime\ndata: {\"a\":1}\nid: 0\n\n:ping\n\ndata:{\"b\":\r\ndata: 2}\r\n\r\n";
        for cut in 0..text.len() {
            let mut parser = EventParser::default();
            parser.push(&text[..cut]).unwrap();
            parser.push(&text[cut..]).unwrap();
            let events: Vec<_> = std::iter::from_fn(|| parser.take()).collect();
            assert_eq!(events, ["{\"a\":1}", "{\"b\":\n2}"], "cut at {cut}");
        }
    }

    #[test]
    fn an_event_has_an_end() {
        let mut parser = EventParser::default();
        assert_eq!(parser.push(&vec![b'x'; EVENT_BYTES_MAX + 1]), Err(TooLong));
    }

    #[test]
    fn provider_events_have_an_object_as_type() {
        let text = r#"[{"activityId":"69","agreementId":"1639eeb5aa7e36ad182e45a0b62933c0f1d17b9bf2565959fc3650339bc6f69a",
            "eventType":{"CreateActivity":{}},"eventDate":"2026-11-23T05:59:26.515669Z"}]"#;
        let events: Vec<ProviderEvent> = serde_json::from_str(text).unwrap();
        assert_eq!(events[0].event_type, ProviderEventKind::CreateActivity { requestor_pub_key: None });
    }
}
