//! Which places of a text are worth a closer look.

mod scalar;

use super::finder::Tables;

/// One way to do it. All find the same patterns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernel {
    Scalar,
}

impl Kernel {
    /// The fastest on this machine for so many patterns.
    pub fn best(_patterns: usize) -> Self {
        Self::Scalar
    }

    /// Those that work on this machine.
    #[cfg(test)]
    pub fn all() -> Vec<Self> {
        vec![Self::Scalar]
    }

    /// The distance of the windows that are looked up.
    pub fn stride(self) -> usize {
        match self {
            Self::Scalar => super::fingerprint::STRIDE,
        }
    }

    /// Tells the places in `text`, from `from` on in steps of the stride, whose window may be one that is looked for.
    /// A window is loaded together with the two bytes after it: what is near the end is not looked at. Gives where to go on.
    pub fn scan(self, tables: &Tables, text: &[u8], from: usize, candidate: impl FnMut(usize)) -> usize {
        match self {
            Self::Scalar => scalar::scan(tables, text, from, candidate),
        }
    }
}
