//! What an exe-unit inherits: what it needs, and no key of the operator (51 §2).

use std::ffi::{OsStr, OsString};

const NAMES: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "TZ",
    "TMPDIR",
    "TERM",
    "LD_LIBRARY_PATH",
    "GSB_URL",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "PROCESS_KILL_TIMEOUT_SECONDS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NO_COLOR",
];
const PREFIXES: [&str; 7] = ["EXE_UNIT_", "YA_RUNTIME_", "LC_", "XDG_", "CUDA_", "NVIDIA_", "RUNTIME_"];

/// The variables that are passed on.
pub(super) fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| passes(name))
}

fn passes(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_here() {
        for name in ["YAGNA_APPKEY", "YAGNA_AUTOCONF_ID_SECRET", "AWS_SECRET_ACCESS_KEY"] {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
        for name in ["GSB_URL", "EXE_UNIT_LOG_DIR", "YA_RUNTIME_VM_PUB_KEY", "PATH"] {
            assert!(passes(OsStr::new(name)), "{name}");
        }
    }
}
