//! What is said over the control socket: one JSON object per line, a request and then its answers.

use bc_model::vip::VipStatus;
use serde::{Deserialize, Serialize};

use super::event::Event;

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The instances and their addresses.
    Status,
    /// Events, until the client hangs up.
    Events {
        /// Those that happened lately first.
        #[serde(default)]
        recent: bool,
    },
    /// Hold the addresses of a managed instance.
    Acquire {
        /// Its name.
        instance: String,
        /// Even if another host has them.
        #[serde(default)]
        force: bool,
    },
    /// Let go of the addresses of a managed instance.
    Release {
        /// Its name.
        instance: String,
    },
    /// Give the addresses of an elected instance to a peer.
    Handover {
        /// Its name.
        instance: String,
    },
    /// Read the configuration again.
    Reload,
    /// Counters and states, as Prometheus reads them.
    Metrics,
}

impl Request {
    /// Whether it may change something.
    #[must_use]
    pub const fn changes(&self) -> bool {
        match self {
            Self::Acquire { .. } | Self::Release { .. } | Self::Handover { .. } | Self::Reload => true,
            Self::Status | Self::Events { .. } | Self::Metrics => false,
        }
    }
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The status.
    Status {
        /// As `vipd status --json` prints it.
        status: VipStatus,
    },
    /// The metrics.
    Metrics {
        /// In the text format of Prometheus.
        text: String,
    },
    /// An event.
    Event {
        /// The event.
        event: Event,
    },
    /// Events were lost, because the client read too slowly.
    Lost {
        /// How many.
        events: u64,
    },
    /// It is done.
    Done {
        /// What was done.
        message: String,
    },
    /// The configuration is wrong, and nothing was changed.
    Wrong {
        /// Everything that is wrong with it.
        error: String,
    },
    /// It was refused, and nothing was changed.
    Refused {
        /// Why.
        error: String,
        /// What to do about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_object_and_nothing_unknown_is_in_it() {
        let text = r#"{"do":"acquire","instance":"gocd"}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        assert_eq!(request, Request::Acquire { instance: "gocd".into(), force: false });
        assert!(serde_json::from_str::<Request>(r#"{"do":"acquire","instance":"gocd","farce":true}"#).is_err());
    }
}
