//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A log sequence number, written as PostgreSQL writes `pg_lsn`: `16/B374D848`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Lsn(pub(crate) u64);

impl Lsn {
    /// Bytes from `earlier` to here; 0 if `earlier` is not earlier.
    pub(crate) const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FromStr for Lsn {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (high, low) = text.split_once('/').ok_or(())?;
        let part = |text: &str| u32::from_str_radix(text, 16).map_err(|_| ());
        Ok(Self((u64::from(part(high)?) << 32) | u64::from(part(low)?)))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::Lsn;

    #[test]
    fn an_lsn_reads_and_prints_as_postgresql_writes_it() {
        for text in ["0/0", "0/4000028", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().map(|lsn| lsn.to_string()), Ok(text.to_owned()));
        }
        for wrong in ["", "0", "0/", "/0", "0/123456789", "x/1"] {
            assert_eq!(wrong.parse::<Lsn>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_distance_is_in_bytes() {
        let at = |text: &str| text.parse::<Lsn>().expect("an LSN");
        assert_eq!(at("1/0").since(at("0/FFFFFF00")), 256);
        assert_eq!(at("0/1").since(at("0/2")), 0);
    }
}
