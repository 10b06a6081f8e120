//! The files that an operator edits, by hand or through the command line, and what the machine has.

pub(crate) mod descriptor;
mod files;
pub(crate) mod globals;
pub(crate) mod hardware;
pub(crate) mod machine;
pub(crate) mod preset;

pub(crate) use files::save;
