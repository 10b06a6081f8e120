//! Images that runtimes are given: what a requestor publishes as a task package.
//!
//! - [`wasi`]: packages of the WASM runtime, built from a manifest and modules
//! - [`task_package`]: the demand property that names an image with its hash
//!
//! Deliberately absent: images of virtual machines, and every look at what a module does.

pub mod wasi;

use sha3::{Digest, Sha3_224};

/// Value of the property `golem.srv.comp.task_package` for an image that is found at `url` (spec 53 §1).
pub fn task_package(image: &[u8], url: &str) -> String {
    format!("hash:sha3:{}:{url}", hex::encode(Sha3_224::digest(image)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_official_example_has_its_known_hash() {
        let tiny = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/vectors/exe/tiny-wasi.zip"));
        let expected = "hash:sha3:a70652e73894a175628ff8c7a22e9b86c28ac8aeaabde988f15177ad:http://x/y";
        assert_eq!(task_package(tiny, "http://x/y"), expected);
    }
}
