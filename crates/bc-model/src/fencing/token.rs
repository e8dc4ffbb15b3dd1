//! The right to fence, as a request carries it: a request that is older than what the target has already seen is stale.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a requester knew when it decided to fence.
///
/// Tokens of one cluster are ordered by timeline, then epoch; tokens of two clusters cannot be compared. The text form is
/// `SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES`; in JSON it is an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Token {
    /// Of the PostgreSQL cluster (`pg_controldata`); a string in JSON, because it needs all 64 bits.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub system_identifier: u64,
    /// The timeline that the requester last saw, from 1.
    pub timeline: u32,
    /// Grows with every decision on one timeline: a lease revision, or the seconds since 1970 when an operation began.
    pub epoch: u64,
    /// Names the request: 1 to 64 letters, digits, `.`, `_`, `:`, `-`.
    pub id: Id,
    /// From this moment on the token is worth nothing.
    pub expires: Timestamp,
}

/// The name of a request: 1 to 64 letters, digits, `.`, `_`, `:`, `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
        if text.is_empty() || text.len() > 64 || !text.chars().all(legal) {
            return Err(TokenError::Id);
        }
        Ok(Self(text))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not five parts.
    #[error("expected SYSTEM-IDENTIFIER/TIMELINE/EPOCH/ID/EXPIRES")]
    Shape,
    /// The first part.
    #[error("system identifier: expected a number from 1 to 18446744073709551615, as pg_controldata prints it")]
    SystemIdentifier,
    /// The second part.
    #[error("timeline: expected a number from 1 to 4294967295")]
    Timeline,
    /// The third part.
    #[error("epoch: expected a number from 0 to 18446744073709551615")]
    Epoch,
    /// The fourth part.
    #[error("id: expected 1 to 64 letters, digits, \".\", \"_\", \":\" and \"-\"")]
    Id,
    /// The last part.
    #[error("expires: expected a time such as 2026-11-22T03:00:00Z")]
    Expires,
}

/// Why a token may not be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// A later one has been seen.
    #[error("a later one has been seen")]
    Lower,
    /// What was seen belongs to another cluster.
    #[error("it is of another cluster than the one that was seen before")]
    OtherCluster,
}

impl Token {
    /// Timeline and epoch: what tokens of one cluster are ordered by.
    #[must_use]
    pub const fn rank(&self) -> (u32, u64) {
        (self.timeline, self.epoch)
    }

    /// Whether this token may be acted upon at `now`, when `highest` is the highest that was seen before.
    ///
    /// An equal rank may: it is the same decision, asked again.
    ///
    /// # Errors
    /// Why it is stale.
    pub fn check(&self, highest: Option<&Self>, now: Timestamp) -> Result<(), Stale> {
        if now >= self.expires {
            return Err(Stale::Expired);
        }
        match highest {
            Some(highest) if highest.system_identifier != self.system_identifier => Err(Stale::OtherCluster),
            Some(highest) if self.rank() < highest.rank() => Err(Stale::Lower),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { system_identifier, timeline, epoch, id, expires } = self;
        write!(f, "{system_identifier}/{timeline}/{epoch}/{id}/{expires}")
    }
}

impl std::str::FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [system_identifier, timeline, epoch, id, expires] = parts[..] else { return Err(TokenError::Shape) };
        Ok(Self {
            system_identifier: number(system_identifier)
                .filter(|number| *number > 0)
                .ok_or(TokenError::SystemIdentifier)?,
            timeline: number(timeline).filter(|number| *number > 0).ok_or(TokenError::Timeline)?,
            epoch: number(epoch).ok_or(TokenError::Epoch)?,
            id: Id::try_from(id.to_owned())?,
            expires: expires.parse().map_err(|_| TokenError::Expires)?,
        })
    }
}

/// Digits only: `parse` would take a sign.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn as_text<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    number(&text).filter(|number| *number > 0).ok_or_else(|| serde::de::Error::custom(TokenError::SystemIdentifier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    const TEXT: &str = "18446744073709551615/4/17/20261121T203000Z-failover/2026-11-21T20:35:00Z";

    #[test]
    fn text_and_json_say_the_same() {
        let read = token(TEXT);
        assert_eq!(read.to_string(), TEXT);
        let json = serde_json::to_string(&read).unwrap();
        assert!(json.contains(r#""system-identifier":"18446744073709551615","timeline":4,"epoch":17"#), "{json}");
        assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), read);
    }

    #[test]
    fn a_token_is_stale_when_it_is_lower_expired_or_of_another_cluster() {
        let now: Timestamp = "2026-11-21T20:30:00Z".parse().unwrap();
        let of = |system: u64, timeline: u32, epoch: u64, id: &str| {
            token(&format!("{system}/{timeline}/{epoch}/{id}/2026-11-21T20:35:00Z"))
        };
        let seen = of(7, 4, 17, "a");
        assert_eq!(seen.check(None, now), Ok(()));
        for fresh in [of(7, 4, 17, "a"), of(7, 4, 17, "b"), of(7, 4, 18, "b"), of(7, 5, 0, "b")] {
            assert_eq!(fresh.check(Some(&seen), now), Ok(()), "{fresh}");
        }
        for stale in [of(7, 4, 16, "b"), of(7, 3, 99, "b")] {
            assert_eq!(stale.check(Some(&seen), now), Err(Stale::Lower), "{stale}");
        }
        assert_eq!(of(8, 9, 0, "b").check(Some(&seen), now), Err(Stale::OtherCluster));
        assert_eq!(seen.check(None, seen.expires), Err(Stale::Expired));
    }

    #[test]
    fn what_is_no_token_is_named_part_by_part() {
        let table = [
            ("7/4/17/a", TokenError::Shape),
            ("+7/4/17/a/2026-11-21T20:35:00Z", TokenError::SystemIdentifier),
            ("0/4/17/a/2026-11-21T20:35:00Z", TokenError::SystemIdentifier),
            ("7/0/17/a/2026-11-21T20:35:00Z", TokenError::Timeline),
            ("7/4//a/2026-11-21T20:35:00Z", TokenError::Epoch),
            ("7/4/17/a b/2026-11-21T20:35:00Z", TokenError::Id),
            ("7/4/17/a/soon", TokenError::Expires),
        ];
        for (text, problem) in table {
            assert_eq!(text.parse::<Token>(), Err(problem), "{text}");
        }
    }
}
