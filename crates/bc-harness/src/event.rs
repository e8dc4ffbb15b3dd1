//! What can stand in a history. Plain data, written by workloads and steps, read by checkers and figures.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::ranges::Ranges;

/// What serves as GoCD in these images; every report says so.
pub(crate) const STAND_IN: &str = "a stand-in, not GoCD itself";

/// The facts of a run that do not change while it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Sheet {
    /// Names the run, and everything it makes.
    pub(crate) run: String,
    /// The calendar's time at the start.
    pub(crate) started: jiff::Timestamp,
    /// The steps of the scenario, by name.
    pub(crate) steps: Vec<String>,
    /// The fault to come.
    pub(crate) fault: FaultKind,
    /// What was tampered with, if anything.
    pub(crate) sabotage: Option<Sabotage>,
    /// The step at whose begin `bcctl` is killed, if it is.
    pub(crate) kill_bcctl_at: Option<String>,
    /// What serves as GoCD, in words.
    pub(crate) gocd: String,
    /// The virtual IP.
    pub(crate) vip: Ipv4Addr,
    /// The host of each MAC address.
    pub(crate) macs: BTreeMap<String, String>,
    /// The hosts that the fault hits.
    pub(crate) primaries: Vec<String>,
    /// The agents.
    pub(crate) agents: Vec<String>,
    /// Whether the world is left standing on request.
    pub(crate) keep: bool,
}

/// How the primary site fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FaultKind {
    /// The hosts freeze: they do not answer, but they are not off, and their kernels answer ARP. They wake later.
    Hang,
    /// The hosts lose power.
    PowerCut,
}

impl FaultKind {
    /// The words of the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Hang => "hang",
            Self::PowerCut => "power-cut",
        }
    }
}

/// What is tampered with, to show that the drill can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sabotage {
    /// The power switch says off and does nothing.
    NoFence,
}

impl Sabotage {
    /// The words of the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::NoFence => "no-fence",
        }
    }
}

/// A point of the drill at which the site is at rest and facts are read off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// Before the fault.
    Steady,
    /// After the failover.
    FailedOver,
    /// After the failback.
    Home,
}

impl Phase {
    /// In words, to follow "when" or "after".
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady state",
            Self::FailedOver => "failover",
            Self::Home => "failback",
        }
    }
}

/// What a power switch is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asked {
    /// Turn it on.
    On,
    /// Turn it off.
    Off,
    /// Say which it is.
    Status,
}

/// Where a step of the scenario stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum StepState {
    /// It ran to its end.
    Done,
    /// It could not be done.
    Failed,
    /// It was left out, because one before it failed.
    Skipped,
}

/// What a client knows of its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The server acknowledged it.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened.
    Unknown,
}

/// What a probe found a PostgreSQL server to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Writability {
    /// It committed a row.
    Writable,
    /// It answered, and refused to write.
    ReadOnly,
    /// It did not answer.
    Unreachable,
}

/// A web server that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Endpoint {
    /// Whoever has the virtual IP: what agents and users see.
    Vip,
    /// The GoCD server of the primary site, by its own address.
    Go1,
    /// The GoCD server of the standby site, by its own address.
    Go2,
}

/// One agent, as the server at the virtual IP lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct AgentView {
    /// Its host name.
    pub(crate) host: String,
    /// `Idle`, `Building`, `LostContact`, …
    pub(crate) state: String,
}

/// One run of the pipeline, as the server or the database lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunView {
    /// Identity of the row: rises in the order of insertion.
    pub(crate) id: i64,
    /// The pipeline's counter.
    pub(crate) counter: i64,
    /// The agent that ran it, if one did.
    pub(crate) agent: Option<String>,
    /// Whether it has ended.
    pub(crate) completed: bool,
}

/// What exists on the machine, outside and inside the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct MachineView {
    /// Names of the network interfaces.
    pub(crate) interfaces: Vec<String>,
    /// Those of them that belong to the machine itself: its hardware, and `lo`.
    pub(crate) physical: Vec<String>,
    /// Names under `/run/netns`.
    pub(crate) namespaces: Vec<String>,
    /// What carries the label of the run: `container pg1`, `network …`, `volume …`, `directory …`.
    pub(crate) of_the_run: Vec<String>,
}

/// One thing that was done or seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Event {
    /// The run began.
    Began(Sheet),
    /// A step of the scenario ended.
    Step { name: String, state: StepState, detail: String },
    /// The fault was injected between the begin of this entry and its end, and verified: the hosts are frozen, or off.
    Fault { kind: FaultKind, hosts: Vec<String> },
    /// The freeze of these hosts was ended, because they were still alive.
    Thawed { hosts: Vec<String> },
    /// The power switch was asked. `running` is the truth, read after the answer was made.
    Power { node: String, asked: Asked, said: String, running: Option<bool> },
    /// A client wrote a row.
    Write { id: i64, server: Option<String>, outcome: Outcome, detail: String },
    /// A PostgreSQL server was asked, past the virtual IP, to commit a row.
    Writable { node: String, found: Writability, detail: String },
    /// The observer broadcast "who has the virtual IP?".
    ArpProbe { number: u64 },
    /// Somebody answered.
    ArpAnswer { mac: String },
    /// Somebody announced the virtual IP without having been asked by the observer.
    ArpAnnouncement { mac: String },
    /// A new connection asked for `GET /go/api/v1/health`. No status: no answer.
    Health { endpoint: Endpoint, status: Option<u16>, detail: String },
    /// The agents, as listed at the virtual IP.
    Agents { agents: Vec<AgentView> },
    /// A program was run in the operator box, to its end.
    Operation {
        name: String,
        argv: Vec<String>,
        /// Exit code; absent if it was killed.
        exit: Option<i64>,
        /// The step of the runbook at whose begin it was killed.
        killed_at: Option<String>,
        /// What it printed, both streams.
        output: String,
    },
    /// An agent's service, as its systemd describes it.
    Unit { phase: Phase, host: String, unit: String, facts: BTreeMap<String, String> },
    /// What a file's bytes hash to.
    File { phase: Phase, host: String, path: String, sha256: String },
    /// The configuration of the GoCD server that serves was changed by its operator.
    ConfigEdited { host: String },
    /// The rows of the ledger, read from one server.
    Rows { phase: Phase, node: String, ids: Ranges },
    /// The runs of the pipeline, read from one server in the order of insertion.
    Runs { phase: Phase, node: String, runs: Vec<RunView> },
    /// One fact of who does what, read from the host itself and not through our tools.
    Role { phase: Phase, host: String, fact: String, value: String },
    /// Words for a person who reads the history; judged by nobody.
    Remark { words: String },
    /// What exists on the machine, before and after.
    Machine { after: bool, view: MachineView },
    /// The network interfaces that the run made on the machine.
    OwnInterfaces { names: Vec<String> },
}
