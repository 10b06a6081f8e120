//! Places between two steps of settlement. With the feature `failpoints` a test may kill the process there, by
//! `GOLEM_PAYMENT_KILL_AT=<arrow>` or by the crate `fail`; otherwise they are nothing.

/// All arrows, in the order in which money passes them.
#[cfg(feature = "failpoints")]
pub(crate) const ALL: [&str; 9] = [
    "accept-stored",
    "accept-told",
    "order-stored",
    "transfer-scheduled",
    "transfer-marked",
    "notice-stored",
    "payment-signed",
    "payment-told",
    "payment-received",
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
    if let Ok(name) = std::env::var("GOLEM_PAYMENT_KILL_AT") {
        // A name that is no arrow is a mistake of the test and kills nothing.
        let _ = fail::cfg_callback(name, || std::process::abort());
    }
}

#[cfg(not(feature = "failpoints"))]
pub(crate) const fn set_up() {}
