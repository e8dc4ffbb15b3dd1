//! Reads one device: what all have in common here, the rest by the agent that it names.

use std::net::IpAddr;

use bc_model::fencing::Grade;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::raw::{RawDevice, absolute, duration, plain, problem};
use super::{Device, Problem};
use crate::devices;

pub(super) fn check(key: &str, raw: RawDevice<'_>) -> Result<Device, Problem> {
    let RawDevice { at, agent, timeout, grade, keys } = raw;
    let kind = devices::kind(agent.get_ref()).ok_or_else(|| {
        let names: Vec<String> = devices::KINDS.iter().map(|kind| format!("`{}`", kind.name)).collect();
        let expected = names.join(", ");
        Problem::new(
            agent.span().start,
            format!("{key}.agent"),
            format!("no agent {:?}; expected one of {expected}", agent.get_ref()),
        )
    })?;
    let agent = (kind.read)(Keys { key, at, agent: kind.name, keys })?;
    let timeout_key = join(key, "timeout");
    let missing = || Problem::new(at, &timeout_key, "missing; expected a duration such as \"30s\"");
    let timeout = duration(&timeout_key, timeout.as_ref().ok_or_else(missing)?)?;
    let grade = match &grade {
        Some(declared) => lowered(&join(key, "grade"), declared, agent.grade())?,
        None => agent.presumed(),
    };
    Ok(Device { timeout, grade, kind: kind.name, agent })
}

/// The grade that the configuration declares, which may only be lower than the most that the agent proves.
fn lowered(key: &str, declared: &Spanned<String>, known: Grade) -> Result<Grade, Problem> {
    let problem =
        |words: String| Problem::new(declared.span().start, key, format!("{:?}: {words}", declared.get_ref()));
    match declared.get_ref().parse::<Grade>() {
        Err(error) => Err(problem(error.to_string())),
        Ok(grade) if grade > known => Err(problem(format!("this agent proves {known} at most: {}", known.meaning()))),
        Ok(grade) => Ok(grade),
    }
}

/// The keys of one device that belong to its agent, with their places in the file.
pub(crate) struct Keys<'a> {
    key: &'a str,
    at: usize,
    agent: &'static str,
    keys: Spanned<DeTable<'a>>,
}

/// Where the values that were read stand, for complaints about them.
pub(crate) struct Place {
    key: String,
    at: usize,
}

impl Keys<'_> {
    /// Reads the keys as the agent declares them.
    ///
    /// # Errors
    /// With the place of a key that is unknown, or of a value that is not of the type declared.
    pub(crate) fn read<T: DeserializeOwned>(self) -> Result<(T, Place), Problem> {
        let Self { key, at, agent, keys } = self;
        let place = Place { key: key.to_owned(), at };
        let span = keys.span();
        let table = ValueDeserializer::from(Spanned::new(span, DeValue::Table(keys.into_inner())));
        let read = serde_path_to_error::deserialize(table).map_err(|error| {
            let path = plain(&error.path().to_string());
            let complaint = problem(&join(key, &path), error.inner());
            let foreign = complaint.problem.starts_with("unknown field") && !path.contains('.');
            if foreign {
                complaint.saying(&format!(", beside `agent`, `timeout` and `grade`, when agent = {agent:?}"))
            } else {
                complaint
            }
        })?;
        Ok((read, place))
    }
}

impl Place {
    /// The full name of a key.
    pub(crate) fn key(&self, name: &str) -> String {
        join(&self.key, name)
    }

    /// A key that must be there is not.
    pub(crate) fn missing(&self, name: &str, such: &str) -> Problem {
        Problem::new(self.at, self.key(name), format!("missing; expected {such}"))
    }

    /// A value that is there cannot be meant.
    pub(crate) fn wrong(&self, name: &str, value: &Spanned<String>, expected: &str) -> Problem {
        Problem::new(value.span().start, self.key(name), format!("{:?}: expected {expected}", value.get_ref()))
    }

    /// A value that must be there.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn needed<T>(&self, name: &str, value: Option<T>, such: &str) -> Result<T, Problem> {
        value.ok_or_else(|| self.missing(name, such))
    }

    /// The `address` that must be there.
    ///
    /// # Errors
    /// When it is missing or a name: a fence must not wait for a name server.
    pub(crate) fn address(&self, value: Option<Spanned<String>>, such: &str) -> Result<IpAddr, Problem> {
        let value = self.needed("address", value, such)?;
        let expected = "an IP address: a fence must not wait for a name server";
        value.get_ref().parse().map_err(|_| self.wrong("address", &value, expected))
    }

    /// An absolute path, if there is one.
    ///
    /// # Errors
    /// When it is not absolute.
    pub(crate) fn path(
        &self,
        name: &str,
        value: Option<&Spanned<String>>,
    ) -> Result<Option<std::path::PathBuf>, Problem> {
        value.map(|value| absolute(&self.key(name), value)).transpose()
    }

    /// Each item of a list by `read`, or a complaint about the first that it refuses.
    ///
    /// # Errors
    /// With the place of that item.
    pub(crate) fn items<T>(
        &self,
        name: &str,
        list: Vec<Spanned<String>>,
        read: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Vec<T>, Problem> {
        list.into_iter().map(|item| read(item.get_ref()).ok_or_else(|| self.wrong(name, &item, expected))).collect()
    }
}

fn join(key: &str, name: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{key}.{name}") }
}
