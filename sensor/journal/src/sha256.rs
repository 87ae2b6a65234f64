//! SHA-256 as hexadecimal text.

use ring::digest::{Context, SHA256};

/// A hash that grows.
#[derive(Clone)]
pub(crate) struct Sha256(Context);

impl Sha256 {
    pub(crate) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes so far.
    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }

    /// The same, as 64 digits.
    pub(crate) fn hex(self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The hash of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> String {
        let mut hash = Self::new();
        hash.update(bytes);
        hash.hex()
    }
}
