use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that is not a success. Its usual body is `{"message": <text>}` (spec 22 §3).
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    body: Body,
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    Message(Option<String>),
    Text(String),
    Json(Value),
    Problem(Value),
    Empty,
}

impl ApiError {
    /// JSON `{"message": <text>}`.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, body: Body::Message(Some(message.into())) }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// JSON `{"message": null}`.
    pub const fn null(status: StatusCode) -> Self {
        Self { status, body: Body::Message(None) }
    }

    /// `text/plain`, as the extractors of bodies and queries answer.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, body: Body::Text(text.into()) }
    }

    /// Any JSON value.
    pub const fn json(status: StatusCode, body: Value) -> Self {
        Self { status, body: Body::Json(body) }
    }

    /// `application/problem+json` (RFC 7807).
    pub const fn problem(status: StatusCode, body: Value) -> Self {
        Self { status, body: Body::Problem(body) }
    }

    pub const fn empty(status: StatusCode) -> Self {
        Self { status, body: Body::Empty }
    }

    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The words of the answer, for logs.
    pub fn message(&self) -> String {
        match &self.body {
            Body::Message(message) => message.clone().unwrap_or_default(),
            Body::Text(text) => text.clone(),
            Body::Json(value) | Body::Problem(value) => value.to_string(),
            Body::Empty => String::new(),
        }
    }

    /// The same error with a JSON body, for routes that answer everything in JSON.
    #[must_use]
    pub fn into_json(self) -> Self {
        match self.body {
            Body::Text(text) => Self { status: self.status, body: Body::Message(Some(text)) },
            _ => self,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (kind, text) = match self.body {
            Body::Message(message) => ("application/json", json!({ "message": message }).to_string()),
            Body::Json(value) => ("application/json", value.to_string()),
            Body::Problem(value) => ("application/problem+json", value.to_string()),
            Body::Text(text) => ("text/plain; charset=utf-8", text),
            Body::Empty => return self.status.into_response(),
        };
        (self.status, [(header::CONTENT_TYPE, kind)], text).into_response()
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.message())
    }
}

impl std::error::Error for ApiError {}
