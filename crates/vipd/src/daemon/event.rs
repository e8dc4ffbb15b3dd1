//! What the daemon tells: one ordered stream, read by `vipd events`, the hook and the log.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One event. `seq` counts from 1 without a gap as long as the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// Its place in the stream.
    pub seq: u64,
    /// When it happened.
    pub at: jiff::Timestamp,
    /// The instance that it is about; none if it is about the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum What {
    /// The daemon is ready.
    Started {
        /// Number of instances.
        instances: usize,
    },
    /// The daemon has let go of everything and ends.
    Stopped,
    /// The configuration was read again.
    Reloaded {
        /// Number of differences.
        changes: usize,
    },
    /// The configuration is wrong, so nothing was changed.
    ReloadRefused {
        /// All that is wrong.
        error: String,
    },
    /// The instance waits for something before it can begin.
    Waiting {
        /// For what.
        reason: String,
    },
    /// The state changed. Managed instances are `Active` when they hold, else `Backup`.
    Transition {
        /// `Initialize`, `Backup` or `Active`.
        from: String,
        /// The same.
        to: String,
        /// Why.
        reason: String,
    },
    /// We are Active, and another router advertised the same virtual router.
    Contested {
        /// The other router.
        by: IpAddr,
        /// What it advertised.
        priority: u8,
    },
    /// Our timer was late, so we listen once more before we take over.
    ListenAgain {
        /// How late.
        late_ms: u64,
    },
    /// Another host claims an address that we hold.
    Conflict {
        /// The address.
        address: IpAddr,
        /// The other host.
        mac: String,
        /// How it showed itself.
        how: String,
    },
    /// Somebody else removed addresses; they are put back.
    Restored {
        /// The addresses.
        addresses: Vec<IpNet>,
    },
    /// Addresses do not stay, or cannot be added; the instance lets go.
    AddressLost {
        /// The addresses.
        addresses: Vec<IpNet>,
        /// What happened to them.
        reason: String,
    },
    /// What the advertisements carry has changed with checks and interfaces.
    Priority {
        /// Before.
        from: u8,
        /// Now.
        to: u8,
    },
    /// A check changed.
    Check {
        /// Its name.
        name: String,
        /// Whether it is up now.
        up: bool,
        /// How its last run failed, if it is down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Something that the instance needs could not be done.
    Failed {
        /// What.
        what: String,
        /// Why.
        error: String,
    },
    /// The hook did not do its work.
    HookFailed {
        /// The place of the event that it was run for.
        about: u64,
        /// What happened.
        error: String,
    },
}

impl What {
    /// Whether somebody should look at it.
    #[must_use]
    pub const fn is_warning(&self) -> bool {
        match self {
            Self::ReloadRefused { .. }
            | Self::Waiting { .. }
            | Self::Contested { .. }
            | Self::ListenAgain { .. }
            | Self::Conflict { .. }
            | Self::Restored { .. }
            | Self::AddressLost { .. }
            | Self::Failed { .. }
            | Self::HookFailed { .. } => true,
            Self::Started { .. }
            | Self::Stopped
            | Self::Reloaded { .. }
            | Self::Transition { .. }
            | Self::Priority { .. }
            | Self::Check { .. } => false,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { instances } => write!(f, "ready, with {instances} instance{}", plural(*instances)),
            Self::Stopped => f.write_str("stopped"),
            Self::Reloaded { changes } => write!(f, "configuration read again: {changes} change{}", plural(*changes)),
            Self::ReloadRefused { error } => write!(f, "configuration not taken: {error}"),
            Self::Waiting { reason } => write!(f, "waiting: {reason}"),
            Self::Transition { from, to, reason } => write!(f, "{from} to {to}: {reason}"),
            Self::Contested { by, priority } => write!(f, "contested by {by} with priority {priority}"),
            Self::ListenAgain { late_ms } => write!(f, "woke up {late_ms} ms late; listening once more"),
            Self::Conflict { address, mac, how } => write!(f, "{address} is claimed by {mac} ({how})"),
            Self::Restored { addresses } => write!(f, "{} had been removed; put back", list(addresses)),
            Self::AddressLost { addresses, reason } => write!(f, "{} lost: {reason}", list(addresses)),
            Self::Priority { from, to } => write!(f, "priority {from} to {to}"),
            Self::Check { name, up: true, .. } => write!(f, "check {name} is up"),
            Self::Check { name, up: false, why: None } => write!(f, "check {name} is down"),
            Self::Check { name, up: false, why: Some(why) } => write!(f, "check {name} is down: {why}"),
            Self::Failed { what, error } => write!(f, "{what}: {error}"),
            Self::HookFailed { about, error } => write!(f, "hook for event {about}: {error}"),
        }
    }
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The first few of what may be thousands.
fn list(addresses: &[IpNet]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<_> = addresses.iter().take(SHOWN).map(ToString::to_string).collect();
    match addresses.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let words = |what: What| what.to_string();
        assert_eq!(words(What::Started { instances: 1 }), "ready, with 1 instance");
        assert_eq!(words(What::Reloaded { changes: 1 }), "configuration read again: 1 change");
        assert_eq!(words(What::Reloaded { changes: 2 }), "configuration read again: 2 changes");
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let what = What::ListenAgain { late_ms: 12 };
        let event = Event { seq: 7, at: jiff::Timestamp::UNIX_EPOCH, instance: Some("gocd".into()), what };
        let text = r#"{"seq":7,"at":"1970-01-01T00:00:00Z","instance":"gocd","event":"listen-again","late-ms":12}"#;
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
        assert_eq!(serde_json::from_str::<Event>(text).unwrap(), event);
    }

    /// The fields of what happened stand beside those of the event itself.
    #[test]
    fn every_event_can_be_read_again() {
        let all = [
            What::Started { instances: 1 },
            What::Stopped,
            What::Reloaded { changes: 1 },
            What::ReloadRefused { error: "e".into() },
            What::Waiting { reason: "r".into() },
            What::Transition { from: "Backup".into(), to: "Active".into(), reason: "r".into() },
            What::Contested { by: [198, 18, 5, 1].into(), priority: 1 },
            What::ListenAgain { late_ms: 1 },
            What::Conflict { address: [198, 18, 5, 1].into(), mac: "m".into(), how: "h".into() },
            What::Restored { addresses: vec!["198.18.5.200/24".parse().unwrap()] },
            What::AddressLost { addresses: Vec::new(), reason: "r".into() },
            What::Priority { from: 1, to: 2 },
            What::Check { name: "c".into(), up: false, why: Some("exit status 2".into()) },
            What::Failed { what: "w".into(), error: "e".into() },
            What::HookFailed { about: 1, error: "e".into() },
        ];
        for what in all {
            let event = Event { seq: 7, at: jiff::Timestamp::UNIX_EPOCH, instance: Some("web".into()), what };
            let line = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<Event>(&line).ok(), Some(event), "{line}");
        }
    }
}
