//! Bus messages of the activity service for this node's programs (spec 50 §3.4).
//!
//! State and usage reports of exe-units are in [`crate::exe_unit`], whose error they share.

use serde::{Deserialize, Serialize};

use crate::call::calls;
use crate::exe_unit::ActivityError;

/// The activity service for programs of this node.
pub const LOCAL_ADDRESS: &str = "/local/activity";

/// On which side of the agreement the asking identity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgreementRole {
    Provider,
    Requestor,
}

/// Asks to which agreement an activity belongs; `timeout` in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetAgreementId {
    pub activity_id: String,
    pub timeout: Option<f32>,
    pub role: AgreementRole,
}

calls! {
    GetAgreementId -> String, ActivityError;
}
