//! The agent `ssh`: a host that still answers is asked to stop its services and drop its virtual IPs, then looked at again.
//!
//! This is the polite way, and it proves nothing about a host that does not answer: unreachable is unknown, never off.

use std::time::Duration;

use bc_model::fencing::{Grade, NodeState};
use serde::Deserialize;
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, Rehearsal, ending};
use crate::child::{self, Ended, Finished};
use crate::config::{Keys, Place, Problem};
use crate::devices::login::{Host, Login, LoginKeys};
use crate::devices::services::{GATE_DIRECTORY, Services, Vip, is_plain_path, is_unit_name};
use crate::secret::{Options, clean};

/// The services of one host, there or here.
#[derive(Clone, Debug)]
pub(super) struct Stopper {
    pub(super) host: Host,
    pub(super) services: Services,
}

impl Stopper {
    fn script(&self, action: Action, node: &str, limit: Duration) -> String {
        match action {
            // Half the time for the polite way.
            Action::Off => self.services.off_script(node, limit / 2),
            Action::Status | Action::Monitor | Action::On => self.services.status_script(node),
        }
    }

    fn read(&self, action: Action, finished: &Finished, limit: Duration) -> Answer {
        // ssh may print a banner first; the cause is its last line.
        let last = finished.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let words = clean(last, &Options::new());
        let ended = ending(finished.ended, limit);
        let failure = |what: &str| {
            Answer::unknown(if words.is_empty() { format!("{what}{ended}") } else { format!("{what}{ended}: {words}") })
        };
        match (action, finished.ended) {
            (_, Ended::Exited(code)) if self.host.unreachable(code) => failure("the host does not answer over ssh; "),
            (Action::Off, Ended::Exited(0)) => Answer {
                state: NodeState::Off,
                obeyed: true,
                at_most: None,
                detail: "the host says it stopped the services and dropped the addresses".into(),
            },
            (Action::Status | Action::Monitor, Ended::Exited(0)) => self.services.look(&finished.stdout),
            _ => failure(""),
        }
    }
}

impl Agent for Stopper {
    fn call(&self, call: &Call<'_>) -> Answer {
        if call.action == Action::On {
            return Answer::unknown("services are not started by this device");
        }
        let mut command = self.host.command(&self.script(call.action, call.node, call.limit), call.limit);
        match child::run(&mut command, Vec::new(), call.limit, call.waiting, call.stop) {
            Err(error) => Answer::unknown(format!("cannot run the script: {error}")),
            Ok(finished) => self.read(call.action, &finished, call.limit),
        }
    }

    fn preview(&self, action: Action, node: &str) -> Preview {
        let limit = Duration::from_secs(10);
        Preview { command: self.host.words(&self.script(action, node, limit), limit), stdin: vec![] }
    }

    fn turns_on(&self) -> bool {
        false
    }

    fn grade(&self) -> Grade {
        Grade::D
    }

    fn needs_the_host(&self) -> bool {
        true
    }

    fn rehearse(&self, call: &Call<'_>) -> Rehearsal {
        let answer = self.call(&Call { action: Action::Status, ..*call });
        let mut command = self.host.command(&self.services.guards_script(), call.limit);
        let guards = child::run(&mut command, Vec::new(), call.limit, call.waiting, call.stop);
        let guards = guards.map(|finished| finished.stdout).unwrap_or_default();
        // The gate is set all the same, and is what grade D asks for; whether anybody heeds it is said here.
        let missing = self.services.unguarded(&guards);
        Rehearsal { answer, at_most: Grade::A, missing }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SshKeys {
    destination: Option<Spanned<String>>,
    identity_file: Option<Spanned<String>>,
    known_hosts: Option<Spanned<String>>,
    #[serde(default)]
    stop_services: Vec<Spanned<String>>,
    #[serde(default)]
    drop_vips: Vec<Spanned<String>>,
    #[serde(default)]
    data_directories: Vec<Spanned<String>>,
    #[serde(default)]
    ports: Vec<u16>,
    gate_directory: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "ssh"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<SshKeys>()?;
    let units = place.items("stop-services", keys.stop_services, unit, UNIT)?;
    let vips =
        place.items("drop-vips", keys.drop_vips, Vip::parse, "an address such as \"198.18.5.200/24 dev eth0\"")?;
    let data_directories = place.items("data-directories", keys.data_directories, plain_path, PLAIN_PATH)?;
    if units.is_empty() && vips.is_empty() && data_directories.is_empty() {
        return Err(place.missing(
            "stop-services",
            "a service or, under drop-vips, an address: else nothing could prove the host off",
        ));
    }
    let destination = place.needed("destination", keys.destination, "user@host")?;
    let login = LoginKeys { destination, identity_file: keys.identity_file, known_hosts: keys.known_hosts };
    let gate_directory = gate_directory(&place, keys.gate_directory)?;
    Ok(Box::new(Stopper {
        host: Host::There(Login::read(&place, login)?),
        services: Services { units, data_directories, ports: keys.ports, vips, gate_directory },
    }))
}

/// What is expected of a unit's name.
pub(super) const UNIT: &str = "the name of a systemd unit, such as \"go-server.service\"";
/// What is expected of a path.
pub(super) const PLAIN_PATH: &str = "an absolute path of letters, digits and \"/._-@+\"";

/// The name of a unit, if it is one.
pub(super) fn unit(text: &str) -> Option<String> {
    is_unit_name(text).then(|| text.to_owned())
}

/// A path that can stand in a script, if it is one.
pub(super) fn plain_path(text: &str) -> Option<String> {
    is_plain_path(text).then(|| text.to_owned())
}

/// The directory of the boot gate.
///
/// # Errors
/// When it cannot stand in a script.
pub(super) fn gate_directory(place: &Place, text: Option<Spanned<String>>) -> Result<String, Problem> {
    let Some(text) = text else { return Ok(GATE_DIRECTORY.to_owned()) };
    plain_path(text.get_ref()).ok_or_else(|| place.wrong("gate-directory", &text, PLAIN_PATH))
}
