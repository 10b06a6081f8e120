//! Places between two steps of a transfer. With the feature `failpoints` a test may kill the process there, by
//! `GOLEM_PAYMENT_KILL_AT=<arrow>` or by the crate `fail`; otherwise they are nothing.

/// All arrows, in the order in which money passes them.
#[cfg(feature = "failpoints")]
pub(crate) const ALL: [&str; 8] = [
    "erc20-queued",
    "erc20-signed",
    "erc20-stored",
    "erc20-broadcast",
    "erc20-mined",
    "erc20-confirmed",
    "erc20-notified",
    "erc20-abandoned",
];

macro_rules! arrow {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        {
            debug_assert!($crate::arrow::ALL.contains(&$name));
            fail::fail_point!($name);
        }
    };
}

pub(crate) use arrow;

/// Arms the arrow that the environment names.
#[cfg(feature = "failpoints")]
pub(crate) fn set_up() {
    if let Ok(name) = std::env::var("GOLEM_PAYMENT_KILL_AT")
        && ALL.contains(&name.as_str())
    {
        // A name that the registry refuses is a mistake of the test and kills nothing.
        let _ = fail::cfg_callback(name, || std::process::abort());
    }
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn set_up() {}
