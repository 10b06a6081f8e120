//! What this program says it is (spec 22 §4).

use std::sync::LazyLock;

/// The release of the official daemon that this one is compatible with. SDKs compare it; our own number is no
/// substitute, because clients refuse anything below 0.15.2.
pub(crate) const COMPATIBLE: &str = "0.17.6";

/// Commit of the build, 7 to 9 hex digits; release builds set it.
const COMMIT: &str = match option_env!("GOLEM_BUILD_COMMIT") {
    Some(commit) => commit,
    None => "0000000",
};

/// Day of the build, `YYYY-MM-DD`; release builds set it.
const DATE: &str = match option_env!("GOLEM_BUILD_DATE") {
    Some(date) => date,
    None => "2026-11-25",
};

/// `0.17.6 (0000000 2026-11-25)`.
pub(crate) static LONG: LazyLock<String> = LazyLock::new(|| format!("{COMPATIBLE} ({COMMIT} {DATE})"));

/// Name of the running release.
pub(crate) fn name() -> String {
    format!("golem {} ({COMMIT} {DATE})", env!("CARGO_PKG_VERSION"))
}
