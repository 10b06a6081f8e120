//! JSON-RPC 2.0, as far as the clients of this program speak it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const FAILED: i32 = -32000;

#[derive(Debug, Serialize)]
pub(super) struct RpcError {
    code: i32,
    message: String,
}

impl RpcError {
    fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The method was understood and did not work.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(FAILED, message)
    }

    pub(super) fn invalid() -> Self {
        Self::new(INVALID_REQUEST, "InvalidRequest")
    }
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) id: Value,
    pub(super) method: Method,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "lowercase")]
pub(super) enum Method {
    Version,
    Publish { files: Vec<PathBuf> },
    Close { urls: Vec<String> },
    Download { url: String, output_file: PathBuf },
    Receive { output_file: PathBuf },
    Upload { url: String, file: PathBuf },
    Shutdown,
}

impl Request {
    /// Errors name the request's id where it can be told.
    pub(super) fn parse(line: &[u8]) -> Result<Self, (Value, RpcError)> {
        let error = |e: serde_json::Error| (Value::Null, RpcError::new(PARSE_ERROR, e.to_string()));
        let request: Value = serde_json::from_slice(line).map_err(error)?;
        let id = request.get("id").cloned().unwrap_or_default();
        let id = if id.is_string() || id.is_number() { id } else { Value::Null };
        match request.get("jsonrpc").map(Value::as_str) {
            Some(Some("2.0")) => {}
            Some(_) => return Err((id, RpcError::invalid())),
            None => return Err((id, RpcError::new(INVALID_REQUEST, "missing field `jsonrpc`"))),
        }
        let Some(name) = request.get("method").and_then(Value::as_str) else {
            return Err((id, RpcError::new(INVALID_REQUEST, "missing field `method`")));
        };
        let params = request.get("params").filter(|params| !params.is_null());
        let empty = params.is_none_or(|params| params.as_object().is_some_and(serde_json::Map::is_empty));
        let body = match name {
            "version" | "shutdown" if empty => json!({"method": name}),
            "version" | "shutdown" | "publish" | "close" | "download" | "receive" | "upload" => {
                json!({"method": name, "params": params})
            }
            _ => {
                let name: String = name.chars().take(64).collect();
                return Err((id, RpcError::new(METHOD_NOT_FOUND, format!("no method `{name}`"))));
            }
        };
        let method: Method = match serde_json::from_value(body) {
            Ok(method) => method,
            Err(error) => return Err((id, RpcError::new(INVALID_PARAMS, error.to_string()))),
        };
        let nothing = matches!(&method, Method::Publish { files } if files.is_empty())
            || matches!(&method, Method::Close { urls } if urls.is_empty());
        if nothing { Err((id, RpcError::invalid())) } else { Ok(Self { id, method }) }
    }
}

pub(super) fn answer(id: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

pub(super) fn failure(id: &Value, error: &RpcError) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_are_read_or_refused_with_their_id() {
        for (line, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"version"}"#, Ok(json!(1))),
            (r#"{"jsonrpc":"2.0","id":"u","method":"version","params":{}}"#, Ok(json!("u"))),
            (r#"{"jsonrpc":"2.0","method":"shutdown","params":null}"#, Ok(json!(null))),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"publish","params":{"files":["a"]}}"#, Ok(json!(1.5))),
            (r#"{"jsonrpc":"2.0","id":1,"method":"publish","params":{"files":[]}}"#, Err((json!(1), INVALID_REQUEST))),
            (r#"{"jsonrpc":"2.0","id":1,"method":"publish","params":{}}"#, Err((json!(1), INVALID_PARAMS))),
            (r#"{"jsonrpc":"2.0","id":1,"method":"publish"}"#, Err((json!(1), INVALID_PARAMS))),
            (r#"{"jsonrpc":"2.0","id":1,"method":"nope","params":{}}"#, Err((json!(1), METHOD_NOT_FOUND))),
            (r#"{"jsonrpc":"1.0","id":1,"method":"version"}"#, Err((json!(1), INVALID_REQUEST))),
            (r#"{"jsonrpc":2,"id":1,"method":"version"}"#, Err((json!(1), INVALID_REQUEST))),
            (r#"{"id":[1],"method":"version"}"#, Err((json!(null), INVALID_REQUEST))),
            (r#"{"jsonrpc":"2.0","id":2}"#, Err((json!(2), INVALID_REQUEST))),
            ("[]", Err((json!(null), INVALID_REQUEST))),
            ("{bad", Err((json!(null), PARSE_ERROR))),
        ] {
            let got = Request::parse(line.as_bytes()).map(|r| r.id).map_err(|(id, error)| (id, error.code));
            assert_eq!(got, expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read_or_refused(line: Vec<u8>) {
            drop(Request::parse(&line));
        }
    }
}
