//! The service bus (spec 20): addresses, typed calls, wire, router, client.
//! (room being built)

/// Handle to the bus of this process.
#[derive(Clone, Debug, Default)]
pub struct Bus {}
