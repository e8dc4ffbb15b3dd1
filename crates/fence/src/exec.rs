//! The agent `exec`: any ClusterLabs fence agent, spoken to as FenceAgentAPI says.
//!
//! The request goes to standard input as `name=value` lines; there are never arguments, because an agent that is given
//! any reads its options from them and ignores the request. The action is always named: agents default to `reboot`.

use std::path::PathBuf;
use std::process::Command;

use bc_model::fencing::NodeState;

use crate::agent::{Action, Agent, Answer, Call, Preview, ending};
use crate::child::{self, Ended, Finished};
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
}

impl ExecAgent {
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
                Answer { state, obeyed, detail: detail(&finished, call, &options) }
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
}

/// Names that may not be configured, with the reason: each would let an agent do what was not asked for.
pub(crate) fn forbidden(name: &str, value: &str) -> Option<&'static str> {
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
pub(crate) fn option(name: &str, value: String) -> OptionValue {
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
