//! Typed calls over the service bus (spec 20 §5).

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::NodeId;

/// A bus message with one answer. It is sent to `<service address>/<ID>`.
pub trait Call: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Last segment of the address; mostly, not always, the name of the type.
    const ID: &'static str;
    type Item: Serialize + DeserializeOwned + Send + Sync + 'static;
    type Error: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static;
}

/// A bus message that is answered by a stream of items.
pub trait StreamCall: Serialize + DeserializeOwned + Send + Sync + 'static {
    const ID: &'static str;
    type Item: Serialize + DeserializeOwned + Send + Sync + 'static;
    type Error: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static;
}

/// Who called: `local`, `/local/0x…` or the node id of a proved remote sender (spec 20 §7.3).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Caller(Arc<str>);

impl Caller {
    /// A typed call of a program on this node that names no identity.
    pub fn local() -> Self {
        Self(Arc::from("local"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity behind the call, if the caller names one.
    pub fn node_id(&self) -> Option<NodeId> {
        self.0.strip_prefix("/local/").unwrap_or(&self.0).parse().ok()
    }
}

impl From<NodeId> for Caller {
    fn from(id: NodeId) -> Self {
        Self(Arc::from(id.to_string()))
    }
}

impl From<&str> for Caller {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Caller({})", &self.0)
    }
}

/// Names the id, item and error of bus messages: `Message -> Item, Error;`, with `as "Id"` where the id is another.
macro_rules! calls {
    (@id $message:ident) => { stringify!($message) };
    (@id $message:ident $id:literal) => { $id };
    ($($message:ident $(as $id:literal)? -> $item:ty, $error:ty;)*) => {$(
        impl $crate::Call for $message {
            const ID: &'static str = $crate::call::calls!(@id $message $($id)?);
            type Item = $item;
            type Error = $error;
        }
    )*};
}
pub(crate) use calls;
