//! Durations and sizes as people write them: `"30s"`, `"5m"`, `"16MB"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// An amount of data, written as PostgreSQL writes it: `B`, `kB`, `MB`, `GB`, `TB`, in powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const UNITS: [(&str, u64); 5] = [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a size; expected a number and a unit such as \"16MB\" (B, kB, MB, GB, TB)");
        let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
        let number: u64 = text.trim_end_matches(unit).trim().parse().map_err(|_| wrong())?;
        number.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS.iter().find(|(_, factor)| self.0 >= 10 * factor).unwrap_or(&("B", 1));
        write!(out, "{} {unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(serde::de::Error::custom)
    }
}

/// `#[serde(with = "…")]` for a [`std::time::Duration`] written as a string with a unit.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    /// Reads `"300ms"`, `"30s"`, `"5m"`, `"6h"`; zero and negative values are refused.
    pub(in crate::inventory) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(input)?;
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|signed| Duration::try_from(signed).ok())
            .filter(|duration| !duration.is_zero())
            .ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "`{text}` is not a duration; expected a number and a unit such as \"300ms\", \"30s\" or \"5m\""
                ))
            })
    }
}

/// `#[serde(with = "…")]` for the same, where it may be left out.
pub(super) mod optional_duration {
    use std::time::Duration;

    use serde::Deserializer;

    /// Reads what [`super::duration`] reads.
    pub(in crate::inventory) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(input).map(Some)
    }
}
