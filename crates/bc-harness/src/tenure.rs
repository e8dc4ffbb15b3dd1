//! Who answered ARP for the virtual IP, from when to when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::history::{Event, History};

/// A silence longer than this ends a tenure, µs: ten questions in a row were not answered.
const SILENCE: u64 = 1_000_000;

/// A time during which one MAC address answered for the virtual IP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Tenure {
    /// The address.
    pub(crate) mac: String,
    /// The host that has it; absent for a stranger.
    pub(crate) host: Option<String>,
    /// First answer, microseconds since the run began.
    pub(crate) from_us: u64,
    /// Last answer.
    pub(crate) to_us: u64,
    /// How many answers.
    pub(crate) answers: usize,
}

impl Tenure {
    /// The host, or the address of a stranger.
    pub(crate) fn who(&self) -> String {
        self.host.as_ref().map_or_else(|| self.mac.clone(), |host| format!("{host} ({})", self.mac))
    }
}

/// Every tenure, in order of the first answer.
pub(crate) fn tenures(history: &History) -> Vec<Tenure> {
    let mut open: BTreeMap<&str, Tenure> = BTreeMap::new();
    let mut all = Vec::new();
    for (at_us, mac) in answers(history) {
        if let Some(tenure) = open.get_mut(mac)
            && at_us - tenure.to_us <= SILENCE
        {
            tenure.to_us = at_us;
            tenure.answers += 1;
            continue;
        }
        let host = history.sheet().and_then(|sheet| sheet.macs.get(mac).cloned());
        let tenure = Tenure { mac: mac.to_owned(), host, from_us: at_us, to_us: at_us, answers: 1 };
        all.extend(open.insert(mac, tenure));
    }
    all.extend(open.into_values());
    all.sort_by_key(|tenure| tenure.from_us);
    all
}

/// Every answer: when, and the MAC address.
pub(crate) fn answers(history: &History) -> impl Iterator<Item = (u64, &str)> {
    history.iter().filter_map(|entry| match &entry.event {
        Event::ArpAnswer { mac } => Some((entry.at_us, mac.as_str())),
        _ => None,
    })
}
