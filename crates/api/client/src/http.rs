//! One HTTP exchange with the daemon: bearer key, deadline, bounded answer, classified error.

use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Client, RestError};

/// What the daemon adds to the time that a long poll asks for (spec 70 T8 allows half a second; networks and busy machines more).
const POLL_MARGIN: Duration = Duration::from_secs(10);
/// Time for a call that does not wait on anything but the daemon.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read. The largest real ones are batch results and scans.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest part of a foreign error text that is kept.
const ERROR_TEXT_MAX: usize = 2048;

/// Which of the daemon's interfaces a path belongs to; each may have a URL of its own (spec 60 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Market,
    Activity,
    Payment,
    Net,
    Identity,
    Version,
}

impl Client {
    pub(crate) fn get(&self, api: Api, path: &str) -> Exchange {
        self.exchange(Method::GET, api, path)
    }

    pub(crate) fn post(&self, api: Api, path: &str) -> Exchange {
        self.exchange(Method::POST, api, path)
    }

    pub(crate) fn put(&self, api: Api, path: &str) -> Exchange {
        self.exchange(Method::PUT, api, path)
    }

    pub(crate) fn delete(&self, api: Api, path: &str) -> Exchange {
        self.exchange(Method::DELETE, api, path)
    }

    fn exchange(&self, method: Method, api: Api, path: &str) -> Exchange {
        let url = format!("{}{path}", self.endpoints.base(api));
        let request = self.http.request(method, &url).bearer_auth(&self.key);
        Exchange { request, url, timeout: CALL_TIMEOUT, encoding: None }
    }
}

/// A request that is being put together.
pub(crate) struct Exchange {
    request: RequestBuilder,
    url: String,
    timeout: Duration,
    encoding: Option<serde_json::Error>,
}

impl Exchange {
    pub(crate) fn query<T: Serialize + ?Sized>(mut self, query: &T) -> Self {
        self.request = self.request.query(query);
        self
    }

    /// Asks the daemon to wait up to `timeout` and waits a little longer for its answer.
    pub(crate) fn wait(mut self, timeout: Duration) -> Self {
        self.timeout = timeout + POLL_MARGIN;
        self.query(&[("timeout", timeout.as_secs_f32())])
    }

    pub(crate) fn body<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => {
                self.request = self.request.header(reqwest::header::CONTENT_TYPE, "application/json").body(bytes);
            }
            Err(error) => self.encoding = Some(error),
        }
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// The JSON answer of a 2xx.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, RestError> {
        let url = self.url.clone();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|source| RestError::Answer { url, source })
    }

    /// The elements of a JSON list. One that cannot be read is left out, so that a kind of event that is new to us does not
    /// take its neighbours along; a 408 is an empty list (spec 60 §13).
    pub(crate) async fn list<T: DeserializeOwned>(self) -> Result<Vec<T>, RestError> {
        let url = self.url.clone();
        let elements: Vec<serde_json::Value> = match self.json().await {
            Err(RestError::Refused { status: 408, .. }) => Vec::new(),
            other => other?,
        };
        let parse = |element| match serde_json::from_value(element) {
            Ok(element) => Some(element),
            Err(error) => {
                tracing::warn!(%url, %error, "left out an element that cannot be read");
                None
            }
        };
        Ok(elements.into_iter().filter_map(parse).collect())
    }

    /// A 2xx whose body says nothing: 204, empty or `null`, all three occur (spec 60 §13).
    pub(crate) async fn done(self) -> Result<(), RestError> {
        self.bytes().await.map(drop)
    }

    async fn bytes(self) -> Result<BytesMut, RestError> {
        let Self { request, url, timeout, encoding } = self;
        if let Some(source) = encoding {
            return Err(RestError::Request { url, source });
        }
        let work = async {
            let response = request.send().await.map_err(|source| RestError::Connect { url: url.clone(), source })?;
            let status = response.status();
            let bytes = read(response, &url).await?;
            if status.is_success() { Ok(bytes) } else { Err(refusal(&url, status, &bytes)) }
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RestError::Silent { url: url.clone(), timeout }),
        }
    }

    /// Starts an answer that has no end of its own; only its head is waited for.
    pub(crate) async fn stream(self) -> Result<Response, RestError> {
        let Self { request, url, timeout, .. } = self;
        let response = tokio::time::timeout(timeout, request.send())
            .await
            .map_err(|_| RestError::Silent { url: url.clone(), timeout })?
            .map_err(|source| RestError::Connect { url: url.clone(), source })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = read(response, &url).await?;
        Err(refusal(&url, status, &bytes))
    }
}

async fn read(response: Response, url: &str) -> Result<BytesMut, RestError> {
    let mut body = BytesMut::new();
    let mut parts = response.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|source| RestError::Connect { url: url.to_owned(), source })?;
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(RestError::TooLong { url: url.to_owned(), max: ANSWER_BYTES_MAX });
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn refusal(url: &str, status: StatusCode, body: &[u8]) -> RestError {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let field = |name: &str| parsed.as_ref().and_then(|body| body.get(name)).and_then(|text| text.as_str());
    let text = match field("message").or_else(|| field("detail")) {
        Some(text) => text.to_owned(),
        None if parsed.is_some() => String::new(),
        None => String::from_utf8_lossy(body).into_owned(),
    };
    let message = text.chars().take(ERROR_TEXT_MAX).collect();
    RestError::Refused { url: url.to_owned(), status: status.as_u16(), message }
}

/// A text as one segment of a path: an id from elsewhere cannot reach another route.
pub(crate) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
