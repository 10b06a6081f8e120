//! The payment service as clients and peers see it: two nodes on two buses, a bridge in place of the net, a fake driver
//! and a fake chain.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

mod allocations;
mod billing;
mod peers;
mod rig;
mod settlement;
mod vectors;
