//! Sources and destinations on web servers (spec 53 §2.1).

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::{ACCEPT_RANGES, RANGE};
use reqwest::{Client, StatusCode, Url};

use crate::TransferError;
use crate::copy::Opened;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which a server is given up.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const REDIRECTS_MAX: usize = 10;

/// The TLS provider must have been installed by the program.
pub(crate) fn client() -> Result<Client, TransferError> {
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .build()
        .map_err(failure)
}

pub(crate) async fn open(client: &Client, url: &Url, offset: u64) -> Result<Opened, TransferError> {
    let mut request = client.get(url.clone());
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let response = checked(request.send().await.map_err(failure)?)?;
    // A server that ignores the range sends all of it.
    let offset = if response.status() == StatusCode::PARTIAL_CONTENT { offset } else { 0 };
    let size = response.content_length().map(|rest| rest + offset);
    let resumable = response.headers().get(ACCEPT_RANGES).is_some_and(|value| value == "bytes");
    let stream = response.bytes_stream().map(|chunk| chunk.map_err(failure)).boxed();
    Ok(Opened { offset, size, resumable, stream })
}

pub(crate) async fn put(
    client: &Client,
    url: &Url,
    body: impl Stream<Item = Result<Bytes, TransferError>> + Send + 'static,
) -> Result<(), TransferError> {
    let request = client.put(url.clone()).body(reqwest::Body::wrap_stream(body));
    checked(request.send().await.map_err(failure)?).map(drop)
}

fn checked(response: reqwest::Response) -> Result<reqwest::Response, TransferError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let retriable = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    Err(TransferError::Http { text: format!("{status} for `{}`", shown(response.url())), retriable })
}

fn failure(error: reqwest::Error) -> TransferError {
    let mut text = error.to_string();
    let mut refused = false;
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        refused |= io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused);
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let transient =
        error.is_timeout() || error.is_connect() || error.is_body() || error.is_decode() || error.is_request();
    TransferError::Http { text, retriable: transient && !refused && !error.is_builder() && !error.is_redirect() }
}

/// Without what may be secret.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for URLs without a host, which have no password either.
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}
