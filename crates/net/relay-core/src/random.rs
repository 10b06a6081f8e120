use std::fmt;

use rand_core::RngCore;

/// Random numbers of the caller. They must not be predictable: session ids and challenges are made of them.
pub struct Random(Box<dyn RngCore + Send>);

impl Random {
    pub fn new(rng: impl RngCore + Send + 'static) -> Self {
        Self(Box::new(rng))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A factor between a half and one and a half.
    pub(crate) fn jitter(&mut self) -> f64 {
        0.5 + f64::from(self.0.next_u32()) / f64::from(u32::MAX)
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
