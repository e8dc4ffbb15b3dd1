//! A set of row ids, written as `1-120,122`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of row ids that is short when printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges(pub(crate) BTreeSet<i64>);

impl Ranges {
    /// Whether `id` is in it.
    pub(crate) fn contains(&self, id: i64) -> bool {
        self.0.contains(&id)
    }

    /// Adds one.
    pub(crate) fn insert(&mut self, id: i64) {
        self.0.insert(id);
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<i64> for Ranges {
    fn from_iter<I: IntoIterator<Item = i64>>(ids: I) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ids = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = ids.next() {
            let mut last = first;
            while let Some(next) = ids.next_if(|next| *next == last + 1) {
                last = next;
            }
            f.write_str(separator)?;
            if first == last {
                write!(f, "{first}")?
            } else {
                write!(f, "{first}-{last}")?
            }
            separator = ",";
        }
        Ok(())
    }
}

/// A piece that is neither a number nor two joined by `-`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no range of row ids")]
pub(crate) struct NotARange(String);

impl FromStr for Ranges {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let mut ids = BTreeSet::new();
        for piece in text.split(',').filter(|piece| !piece.is_empty()) {
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            let number = |digits: &str| digits.parse::<i64>().map_err(|_| NotARange(piece.to_owned()));
            ids.extend(number(first)?..=number(last)?);
        }
        Ok(Self(ids))
    }
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ranges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_a_row_become_a_range() {
        for (ids, text) in [
            (vec![], ""),
            (vec![7], "7"),
            (vec![1, 2, 3], "1-3"),
            (vec![1, 2, 3, 5, 8, 9], "1-3,5,8-9"),
            (vec![9, 1, 1], "1,9"),
        ] {
            let ranges: Ranges = ids.into_iter().collect();
            assert_eq!(ranges.to_string(), text);
            assert_eq!(text.parse::<Ranges>().expect("ranges"), ranges);
        }
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!("1-2,x".parse::<Ranges>().expect_err("nonsense").to_string(), "\"x\" is no range of row ids");
    }
}
