//! Everything that ends the program with words.

use std::io;

use bc_model::exit::Exit;

use crate::config::ConfigError;
use crate::export::Refusal;
use crate::gocd::ServiceError;
use crate::host::HostError;
use crate::peer::PeerError;
use crate::place::PlaceError;
use crate::xml::Torn;

/// Why a pull did not end in sync.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("another pull is running on this host")]
    Busy,
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error("{id} of {peer} is not what its manifest says: got {got}, expected {wanted}; nothing was placed")]
    Mismatch { peer: String, id: String, got: String, wanted: String },
    #[error("cruise-config.xml of {peer} is not whole: {torn}; nothing was placed")]
    Torn { peer: String, torn: Torn },
    #[error("{peer} changed each of the {rounds} times it was read; nothing was placed")]
    Unsteady { peer: String, rounds: u32 },
    #[error("{0} was placed, and changed on this host by somebody else")]
    ChangedHere(String),
}

impl PullError {
    /// Whether a peer that is just being changed can look like this.
    pub(crate) fn may_be_a_change(&self) -> bool {
        matches!(
            self,
            Self::Mismatch { .. } | Self::Peer(PeerError::TooLong { .. } | PeerError::Refused { code: 3, .. })
        )
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the configuration has no [peer]")]
    NoPeer,
    #[error(transparent)]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("not in sync: {0}")]
    Pull(#[from] PullError),
    #[error("output: {0}")]
    Output(#[source] io::Error),
}

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::NoPeer => Exit::Usage,
            Self::Refusal(refusal) => refusal.exit(),
            Self::Pull(PullError::Service(_) | PullError::Busy) => Exit::Refused,
            // A reader that went away early has what it wanted.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Host(_) | Self::Pull(_) | Self::Output(_) => Exit::Failed,
        }
    }

    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Config(ConfigError::Read { .. }) => Some("name the file with --config FILE or STANDBYD_CONFIG"),
            Self::Config(ConfigError::Invalid { .. }) => Some("correct the file, then run `standbyd manifest`"),
            Self::NoPeer => Some("add [peer] with ssh = \"go@HOST\", the host to pull from"),
            Self::Host(HostError::Torn { .. }) => {
                Some("a server that boots from this file falls back to an older one: repair it first")
            }
            Self::Pull(error) => pull_hint(error),
            Self::Refusal(_) | Self::Host(_) | Self::Output(_) => None,
        }
    }
}

fn pull_hint(error: &PullError) -> Option<&'static str> {
    match error {
        PullError::Service(ServiceError::Runs { .. }) => {
            Some("pull on the standby; if this host is to become it, stop its server first")
        }
        PullError::Busy => Some("wait for it to end"),
        PullError::Peer(PeerError::Unreachable { words, .. }) if words.contains("Host key verification") => Some(
            "put the peer's host key into the known-hosts file of the configuration, after comparing it on the peer's console",
        ),
        PullError::Peer(PeerError::Unreachable { words, .. }) if words.contains("Permission denied") => Some(
            "the peer's authorized_keys needs this host's public key: restrict,command=\"/usr/bin/standbyd export\" ssh-ed25519 …",
        ),
        PullError::Mismatch { .. } => Some("look at that file on the peer: it does not read the same twice"),
        PullError::Unsteady { .. } => Some("run it again when nobody changes the peer's configuration"),
        PullError::ChangedHere(_) => Some("find out who else writes GoCD's files on this host, then run it again"),
        PullError::Service(_)
        | PullError::Peer(_)
        | PullError::Host(_)
        | PullError::Place(_)
        | PullError::Torn { .. } => None,
    }
}
