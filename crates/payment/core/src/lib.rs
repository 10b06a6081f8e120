//! Notes, invoices, allocations and settlement as pure functions.
//!
//! [`document`] is the status machine of debit notes and invoices, [`books`] the totals of an agreement and of an
//! allocation, [`clearing`] turns what is accepted and open into batch orders and confirmed transfers into payments,
//! [`cycle`] tells when, [`signature`] what is signed, [`verify`] what a payee believes, [`sync`] when a silent peer is
//! told again.
//! Nothing here does I/O, reads a clock or makes ids: they come in as arguments. Deliberately absent: how rows are
//! stored (crate `golem-payment-service`) and how tokens move (crate `golem-payment-erc20`).

pub mod books;
pub mod clearing;
pub mod cron;
pub mod cycle;
pub mod decoration;
pub mod document;
pub mod platform;
pub mod signature;
pub mod sync;
pub mod verify;
