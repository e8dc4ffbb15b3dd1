//! The agent `exec`: any ClusterLabs fence agent, spoken to as FenceAgentAPI says.
//!
//! The request goes to standard input as `name=value` lines; there are never arguments, because an agent that is given
//! any reads its options from them and ignores the request. The action is always named: agents default to `reboot`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use bc_model::fencing::{Grade, NodeState};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, ending};
use crate::child::{self, Ended, Finished};
use crate::clock::instant;
use crate::config::{Keys, Problem, absolute};
use crate::secret::{OptionValue, Options, clean, is_secret};

/// One device behind an external agent.
#[derive(Clone, Debug)]
pub(crate) struct ExecAgent {
    /// The agent's executable, an absolute path.
    pub(crate) command: PathBuf,
    /// Options of the configuration.
    pub(crate) options: Options,
    /// Options whose value is the content of a file, read anew at every call.
    pub(crate) options_from_file: Vec<(String, PathBuf)>,
    /// Whether its options leave the choice of a target to the agent: asked of it once.
    chooses: OnceLock<Option<String>>,
}

impl ExecAgent {
    fn is_given(&self, name: &str) -> bool {
        let same = |given: &String| given.to_ascii_lowercase().replace('-', "_") == name;
        self.options.keys().any(same) || self.options_from_file.iter().any(|(given, _)| same(given))
    }

    /// What is missing without which the agent would choose a target itself, by its own metadata.
    ///
    /// `fence_redfish` without `systems_uri` was seen to switch off the last system of the list, and to exit 0.
    fn missing_target(&self, call: &Call<'_>) -> Option<&str> {
        // Only what is named as FenceAgentAPI says is sure to know the action.
        let name = self.command.file_name()?.to_str()?;
        if !name.starts_with("fence_") || self.is_given("plug") || self.is_given("port") || self.is_given("systems_uri")
        {
            return None;
        }
        let ask = || {
            let mut command = Command::new(&self.command);
            command.current_dir("/");
            let asked = child::run(&mut command, b"action=metadata\n".to_vec(), call.limit, call.waiting, call.stop);
            target_option(&asked.ok()?.stdout)
        };
        self.chooses.get_or_init(ask).as_deref()
    }

    /// All options, with the files read.
    fn resolve(&self) -> Result<Options, String> {
        let mut options = self.options.clone();
        for (name, path) in &self.options_from_file {
            let value =
                std::fs::read_to_string(path).map_err(|error| format!("option {name}: {}: {error}", path.display()))?;
            let value = value.trim_end_matches(['\n', '\r']).to_owned();
            if value.contains(['\n', '\r', '\0']) {
                return Err(format!("option {name}: {}: expected one line", path.display()));
            }
            options.insert(name.clone(), OptionValue { value, secret: true });
        }
        Ok(options)
    }
}

/// The lines of a request; `show` chooses between an option's value and what may be shown of it.
fn request<'a>(action: Action, node: &str, options: &'a Options, show: fn(&'a OptionValue) -> &'a str) -> Vec<String> {
    let mut lines = vec![format!("action={}", action.as_str()), format!("nodename={node}")];
    lines.extend(options.iter().map(|(name, option)| format!("{name}={}", show(option))));
    lines
}

/// Reads an agent's end by FenceAgentAPI: `status` 0 is on and 2 is off; every other call succeeds with 0.
fn interpret(action: Action, ended: Ended) -> (NodeState, bool) {
    match (action, ended) {
        (Action::Status, Ended::Exited(0)) => (NodeState::On, true),
        (Action::Status, Ended::Exited(2)) => (NodeState::Off, true),
        (Action::Off, Ended::Exited(0)) => (NodeState::Off, true),
        (Action::On, Ended::Exited(0)) => (NodeState::On, true),
        // The API document lets an agent of a single plug answer `monitor` like `status`.
        (Action::Monitor, Ended::Exited(0 | 2)) => (NodeState::Unknown, true),
        _ => (NodeState::Unknown, false),
    }
}

/// An agent's words for the evidence: how it ended, then what it said.
fn detail(finished: &Finished, call: &Call<'_>, options: &Options) -> String {
    let said = clean(&format!("{}\n{}", finished.stdout, finished.stderr), options);
    let ended = ending(finished.ended, call.limit);
    if said.is_empty() { ended } else { format!("{ended}: {said}") }
}

impl Agent for ExecAgent {
    fn call(&self, call: &Call<'_>) -> Answer {
        let begun = instant();
        if let Some(option) = self.missing_target(call) {
            return Answer::unknown(format!(
                "refused: without the option {option} the agent would choose a target itself"
            ));
        }
        let limit = call.limit.saturating_sub(instant().saturating_duration_since(begun));
        let call = &Call { limit, ..*call };
        let options = match self.resolve() {
            Ok(options) => options,
            Err(problem) => return Answer::unknown(problem),
        };
        let mut input = request(call.action, call.node, &options, |option| &option.value).join("\n");
        input.push('\n');
        let mut command = Command::new(&self.command);
        command.current_dir("/");
        match child::run(&mut command, input.into_bytes(), call.limit, call.waiting, call.stop) {
            Err(error) => Answer::unknown(format!("cannot run {}: {error}", self.command.display())),
            Ok(finished) => {
                let (state, obeyed) = interpret(call.action, finished.ended);
                Answer { state, obeyed, at_most: None, detail: detail(&finished, call, &options) }
            }
        }
    }

    fn preview(&self, action: Action, node: &str) -> Preview {
        let mut stdin = request(action, node, &self.options, OptionValue::shown);
        stdin.extend(self.options_from_file.iter().map(|(name, path)| format!("{name}=<{}>", path.display())));
        Preview { command: vec![self.command.display().to_string()], stdin }
    }

    fn turns_on(&self) -> bool {
        true
    }

    fn grade(&self) -> Grade {
        grade_of(&self.command).unwrap_or(Grade::A)
    }

    fn presumed(&self) -> Grade {
        // A script may switch anything: whoever wrote it has to say what its off is worth.
        grade_of(&self.command).unwrap_or(Grade::X)
    }

    fn holds_a_secret(&self) -> bool {
        self.options.values().any(|option| option.secret)
    }
}

/// The agents of fence-agents 4.12 that switch a machine's power, its own or that of a virtual one.
const POWER: [&str; 73] = [
    "fence_aliyun",
    "fence_alom",
    "fence_amt",
    "fence_apc",
    "fence_apc_snmp",
    "fence_aws",
    "fence_azure_arm",
    "fence_bladecenter",
    "fence_cdu",
    "fence_cisco_ucs",
    "fence_crosslink",
    "fence_cyberpower_ssh",
    "fence_docker",
    "fence_drac",
    "fence_drac5",
    "fence_eaton_snmp",
    "fence_ecloud",
    "fence_emerson",
    "fence_eps",
    "fence_gce",
    "fence_hds_cb",
    "fence_hpblade",
    "fence_ibm_powervs",
    "fence_ibm_vpc",
    "fence_ibmblade",
    "fence_ibmz",
    "fence_idrac",
    "fence_ilo",
    "fence_ilo2",
    "fence_ilo3",
    "fence_ilo3_ssh",
    "fence_ilo4",
    "fence_ilo4_ssh",
    "fence_ilo5",
    "fence_ilo5_ssh",
    "fence_ilo_moonshot",
    "fence_ilo_mp",
    "fence_ilo_ssh",
    "fence_imm",
    "fence_intelmodular",
    "fence_ipdu",
    "fence_ipmilan",
    "fence_ipmilanplus",
    "fence_ironic",
    "fence_kubevirt",
    "fence_ldom",
    "fence_lindypdu",
    "fence_lpar",
    "fence_netio",
    "fence_openstack",
    "fence_ovh",
    "fence_powerman",
    "fence_pve",
    "fence_raritan",
    "fence_raritan_px3",
    "fence_rcd_serial",
    "fence_redfish",
    "fence_rhevm",
    "fence_rsa",
    "fence_rsb",
    "fence_skalar",
    "fence_tripplite_snmp",
    "fence_vbox",
    "fence_virsh",
    "fence_virt",
    "fence_vmware",
    "fence_vmware_rest",
    "fence_vmware_soap",
    "fence_vmware_vcloud",
    "fence_wti",
    "fence_xenapi",
    "fence_xvm",
    "fence_zvmip",
];

/// What an off of this agent proves, by its name; the configuration may only lower it. Nothing for an agent that is not known.
fn grade_of(command: &Path) -> Option<Grade> {
    Some(match command.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        // Storage and network fabric: the machine keeps running, cut off from its disks or its peers.
        "fence_scsi" | "fence_mpath" | "fence_brocade" | "fence_sanbox2" | "fence_cisco_mds" | "fence_ifmib"
        | "fence_aws_vpc_net" => Grade::B,
        // The machine is told to end itself, and is believed to have done so after a while.
        "fence_sbd" | "fence_watchdog" | "fence_kdump" => Grade::C,
        "fence_ack_manual" | "fence_manual" => Grade::E,
        // Answers about something else than the node.
        "fence_dummy" | "fence_heuristics_ping" | "fence_heuristics_resource" | "fence_evacuate" | "fence_compute" => {
            Grade::X
        }
        name if POWER.contains(&name) => Grade::A,
        _ => return None,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ExecKeys {
    command: Option<Spanned<String>>,
    #[serde(default)]
    options: BTreeMap<String, Spanned<Scalar>>,
    #[serde(default)]
    options_from_file: BTreeMap<String, Spanned<String>>,
}

/// A string, an integer or a boolean, as text: agents know nothing else.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an integer or a boolean")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// Reads the keys of a device with `agent = "exec"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<ExecKeys>()?;
    let command = place.path("command", keys.command.as_ref())?;
    let command = place.needed("command", command, "the path of a fence agent")?;
    let mut options = Options::new();
    for (name, value) in keys.options {
        let at = value.span().start;
        let value = value.into_inner().0;
        check_option(&place.key("options"), &name, &value, at)?;
        options.insert(name.clone(), option(&name, value));
    }
    let mut options_from_file = Vec::new();
    for (name, path) in keys.options_from_file {
        let table = place.key("options-from-file");
        // The value is not known yet; what is forbidden whatever its value is refused here.
        check_option(&table, &name, "", path.span().start)?;
        if options.contains_key(&name) {
            return Err(Problem::new(path.span().start, format!("{table}.{name}"), "is also given under options"));
        }
        options_from_file.push((name.clone(), absolute(&format!("{table}.{name}"), &path)?));
    }
    Ok(Box::new(ExecAgent { command, options, options_from_file, chooses: OnceLock::new() }))
}

fn check_option(table: &str, name: &str, value: &str, at: usize) -> Result<(), Problem> {
    let key = format!("{table}.{name}");
    if let Some(reason) = forbidden(name, value) {
        return Err(Problem::new(at, key, format!("may not be set: {reason}")));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || !name.chars().all(legal) {
        return Err(Problem::new(at, key, "expected an option name of letters, digits, \"_\" and \"-\""));
    }
    if value.contains(|c: char| c.is_control()) {
        return Err(Problem::new(at, key, "expected one line without control characters"));
    }
    Ok(())
}

/// The option that names the target, by an agent's metadata: one that it requires, or one that it would fill in by itself.
fn target_option(metadata: &str) -> Option<String> {
    let has = |name: &str, required: &str| {
        metadata.lines().any(|line| {
            line.contains("<parameter ") && line.contains(&format!("name=\"{name}\"")) && line.contains(required)
        })
    };
    if has("systems_uri", "") {
        Some("systems_uri".to_owned())
    } else if has("plug", "required=\"1\"") || has("port", "required=\"1\"") {
        Some("plug".to_owned())
    } else {
        None
    }
}

/// Names that may not be configured, with the reason: each would let an agent do what was not asked for.
fn forbidden(name: &str, value: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    match name.as_str() {
        "action" | "option" => Some("fence names the action of every call itself"),
        "nodename" => Some("fence names the node of every call itself"),
        "method" if !value.eq_ignore_ascii_case("onoff") => {
            Some("only \"onoff\" can be proven off: a cycle never passes through an off that can be read back")
        }
        "missing_as_off" if !["0", "no", "off", "false"].contains(&value.to_ascii_lowercase().as_str()) => {
            Some("a machine that cannot be found is not off")
        }
        _ => None,
    }
}

/// An option as the configuration gives it.
fn option(name: &str, value: String) -> OptionValue {
    OptionValue { secret: is_secret(name), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exit_2_of_status_is_off() {
        let table = [
            (Ended::Exited(0), NodeState::On),
            (Ended::Exited(2), NodeState::Off),
            (Ended::Exited(1), NodeState::Unknown),
            (Ended::Exited(3), NodeState::Unknown),
            (Ended::Exited(127), NodeState::Unknown),
            (Ended::Exited(255), NodeState::Unknown),
            (Ended::Signaled(9), NodeState::Unknown),
            (Ended::DeadlineReached, NodeState::Unknown),
            (Ended::Interrupted, NodeState::Unknown),
        ];
        for (ended, state) in table {
            assert_eq!(interpret(Action::Status, ended).0, state, "{ended:?}");
        }
    }

    #[test]
    fn an_action_is_done_with_exit_0_only() {
        for action in [Action::Off, Action::On] {
            assert!(interpret(action, Ended::Exited(0)).1);
            for ended in [Ended::Exited(1), Ended::Exited(2), Ended::Signaled(15), Ended::DeadlineReached] {
                assert_eq!(interpret(action, ended), (NodeState::Unknown, false), "{action:?} {ended:?}");
            }
        }
    }

    #[test]
    fn the_action_is_always_named_and_comes_first() {
        let options = Options::from([("plug".into(), option("plug", "pg1".into()))]);
        let lines = request(Action::Off, "pg1", &options, |option| &option.value);
        assert_eq!(lines, ["action=off", "nodename=pg1", "plug=pg1"]);
    }

    #[test]
    fn an_agent_that_switches_no_power_proves_less() {
        let table =
            [("fence_ipmilan", Grade::A), ("fence_scsi", Grade::B), ("fence_sbd", Grade::C), ("fence_dummy", Grade::X)];
        for (name, grade) in table {
            assert_eq!(grade_of(&Path::new("/usr/sbin").join(name)), Some(grade), "{name}");
        }
        for unknown in ["fence_ours", "close-the-port", "fence_legacy"] {
            assert_eq!(grade_of(&Path::new("/usr/local/sbin").join(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn an_agent_that_would_choose_a_target_is_known_by_its_metadata() {
        let parameter =
            |name: &str, required: u8| format!("\t<parameter name=\"{name}\" unique=\"0\" required=\"{required}\">\n");
        assert_eq!(target_option(&parameter("plug", 1)).as_deref(), Some("plug"));
        assert_eq!(
            target_option(&(parameter("plug", 0) + &parameter("systems_uri", 0))).as_deref(),
            Some("systems_uri")
        );
        assert_eq!(target_option(&parameter("plug", 0)), None);
        assert_eq!(target_option("no metadata at all"), None);
    }

    #[test]
    fn options_that_would_change_the_question_are_forbidden() {
        for (name, value) in
            [("action", "off"), ("Option", "off"), ("method", "cycle"), ("missing-as-off", "1"), ("nodename", "x")]
        {
            assert!(forbidden(name, value).is_some(), "{name}={value}");
        }
        for (name, value) in [("method", "onoff"), ("missing_as_off", "false"), ("plug", "1")] {
            assert!(forbidden(name, value).is_none(), "{name}={value}");
        }
    }
}
