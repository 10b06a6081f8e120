//! Readers of bodies and queries with the error answers that clients know (spec 22 §3, 32 §1).

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ApiError;

/// Largest JSON body. Above what the official daemon takes, because scripts with large arguments hit its 2 MiB.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A client that sends its body slower than this holds a connection for nothing.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// A JSON body or answer. Its errors are `text/plain`, as outside the market.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json<T>(pub T);

/// A JSON body whose errors are `{"message": …}`, as in the market.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonIn<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        read(request).await.map(Self)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonIn<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        read(request).await.map(Self).map_err(ApiError::into_json)
    }
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    if !is_json(request.headers()) {
        return Err(ApiError::text(StatusCode::BAD_REQUEST, "Content type error"));
    }
    let body = collect(request).await?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::text(StatusCode::BAD_REQUEST, format!("Json deserialize error: {error}")))
}

async fn collect(request: Request) -> Result<Bytes, ApiError> {
    let too_large = |bytes: u64| {
        ApiError::text(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("JSON payload ({bytes} bytes) is larger than allowed (limit: {BODY_BYTES_MAX} bytes)."),
        )
    };
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(bytes) = announced
        && bytes > BODY_BYTES_MAX as u64
    {
        return Err(too_large(bytes));
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIME_MAX, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(BODY_BYTES_MAX as u64 + 1)),
        Ok(Err(error)) => {
            Err(ApiError::text(StatusCode::BAD_REQUEST, format!("Error that occur during reading payload: {error}")))
        }
        Err(_) => Err(ApiError::text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}

/// `application/json` or `application/…+json`, parameters ignored.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.strip_prefix("application/").is_some_and(|sub| sub == "json" || sub.ends_with("+json"))
}

/// A query string. Unknown parameters are ignored, errors are `text/plain`.
///
/// Numbers do not survive `#[serde(flatten)]`; repeat `timeout: Option<f64>` in each struct.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri).map_err(|rejection| {
            let mut cause: &dyn std::error::Error = &rejection;
            while let Some(next) = cause.source() {
                cause = next;
            }
            let cause = cause.to_string();
            ApiError::text(StatusCode::BAD_REQUEST, format!("Query deserialize error: {}", without_name(&cause)))
        })?;
        Ok(Self(query.0))
    }
}

/// The reader of queries puts the name of the parameter before the cause; clients know the cause alone.
fn without_name(cause: &str) -> &str {
    match cause.split_once(": ") {
        Some((name, rest)) if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') => rest,
        _ => cause,
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};
    use proptest::prelude::*;
    use serde::Deserialize;
    use tower::ServiceExt;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    #[expect(dead_code, reason = "only whether it is read matters")]
    struct Params {
        after_timestamp: String,
        max_events: Option<u32>,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only whether it is read matters")]
    struct Thing {
        name: String,
    }

    fn router() -> Router {
        Router::new()
            .route("/query", get(|_: Query<Params>| async {}))
            .route("/json", post(|_: Json<Thing>| async {}))
            .route("/market", post(|_: JsonIn<Thing>| async {}))
    }

    async fn send(request: Request) -> (u16, String, String) {
        let response = router().oneshot(request).await.unwrap();
        let kind = response.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    fn request(uri: &str, kind: Option<&str>, body: &str) -> Request {
        let builder = Request::builder().method(if uri.starts_with("/query") { "GET" } else { "POST" }).uri(uri);
        let builder = match kind {
            Some(kind) => builder.header("content-type", kind),
            None => builder,
        };
        builder.body(Body::from(body.to_owned())).unwrap()
    }

    #[tokio::test]
    async fn bad_input_is_answered_as_clients_know_it() {
        let text = "text/plain; charset=utf-8";
        let check = async |request, expected: (u16, &str, &str)| {
            let (status, kind, body) = send(request).await;
            assert_eq!((status, kind.as_str(), body.as_str()), expected);
        };
        check(request("/query", None, ""), (400, text, "Query deserialize error: missing field `afterTimestamp`"))
            .await;
        check(
            request("/query?afterTimestamp=a&maxEvents=x", None, ""),
            (400, text, "Query deserialize error: invalid digit found in string"),
        )
        .await;
        check(request("/query?afterTimestamp=a&unknown=1", Some("application/json"), ""), (200, "", "")).await;
        check(request("/json", None, "{}"), (400, text, "Content type error")).await;
        check(request("/json", Some("text/json"), "{}"), (400, text, "Content type error")).await;
        check(
            request("/json", Some("application/json; charset=utf-8"), "{}"),
            (400, text, "Json deserialize error: missing field `name` at line 1 column 2"),
        )
        .await;
        check(request("/json", Some("application/merge+json"), r#"{"name":"x","more":1}"#), (200, "", "")).await;
        check(
            request("/market", Some("application/json"), "nope"),
            (400, "application/json", r#"{"message":"Json deserialize error: expected ident at line 1 column 2"}"#),
        )
        .await;
        check(request("/market", None, ""), (400, "application/json", r#"{"message":"Content type error"}"#)).await;
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused_before_it_is_read() {
        let mut large = request("/json", Some("application/json"), "");
        large.headers_mut().insert("content-length", (BODY_BYTES_MAX + 1).into());
        assert_eq!(send(large).await.0, 413);
        let chunked = request("/json", Some("application/json"), &" ".repeat(BODY_BYTES_MAX + 1));
        assert_eq!(send(chunked).await.0, 413);
    }

    proptest! {
        #[test]
        fn any_body_and_query_get_an_answer(body: Vec<u8>, query in "[ -~]{0,40}") {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let request = Request::post("/json").header("content-type", "application/json").body(Body::from(body));
                assert!([200, 400].contains(&send(request.unwrap()).await.0));
                if let Ok(request) = Request::get(format!("/query?{query}")).body(Body::empty()) {
                    assert!([200, 400].contains(&send(request).await.0));
                }
            });
        }
    }
}
