//! The agent `ipmi`: a machine's BMC, spoken to through ipmitool over RMCP+ (IPMI 2.0, `lanplus`).
//!
//! One BMC has one chassis, so the address names the machine; `guid` makes sure that it is the right one. The password goes
//! to ipmitool on its standard input (`-f /dev/stdin`): it is in no argument, no environment and no file of ours.
//! `power off` is immediate (IPMI 2.0 §28.3, chassis control 0); `power soft` asks the operating system and is not used.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use bc_model::fencing::{Grade, NodeState};
use serde::Deserialize;
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, ending};
use crate::child::{self, Ended, Finished};
use crate::clock::instant;
use crate::config::{Keys, Problem};
use crate::devices::credential::{Credential, CredentialKeys, Password};
use crate::secret::clean;

/// The longest password of RMCP+ (IPMI 2.0 §22.30).
const LONGEST_PASSWORD: usize = 20;
const TOOL: &str = "/usr/bin/ipmitool";

/// One BMC.
#[derive(Clone, Debug)]
struct Ipmi {
    tool: PathBuf,
    address: IpAddr,
    port: u16,
    credential: Credential,
    cipher: u8,
    privilege: String,
    /// What `mc guid` must answer before anything is done.
    guid: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IpmiKeys {
    address: Option<Spanned<String>>,
    port: Option<u16>,
    username: Option<Spanned<String>>,
    password_file: Option<Spanned<String>>,
    password_command: Option<Spanned<Vec<String>>>,
    cipher: Option<Spanned<u8>>,
    privilege: Option<Spanned<String>>,
    guid: Option<Spanned<String>>,
    ipmitool: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "ipmi"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<IpmiKeys>()?;
    let IpmiKeys { username, password_file, password_command, .. } = keys;
    let address = place.address(keys.address, "the IP address of the BMC")?;
    let cipher = keys.cipher.map_or(Ok(17), |cipher| {
        // Suites without authentication, integrity or encryption would send the command to anybody.
        let known = [3, 8, 12, 17].contains(cipher.get_ref());
        let problem = || {
            Problem::new(
                cipher.span().start,
                place.key("cipher"),
                format!("{}: expected a suite that authenticates and encrypts: 17 or 3 (or 8, 12)", cipher.get_ref()),
            )
        };
        if known { Ok(*cipher.get_ref()) } else { Err(problem()) }
    })?;
    let privilege = keys.privilege.map_or(Ok("ADMINISTRATOR".to_owned()), |privilege| {
        let known = ["OPERATOR", "ADMINISTRATOR"].contains(&privilege.get_ref().as_str());
        if known {
            Ok(privilege.into_inner())
        } else {
            Err(place.wrong("privilege", &privilege, "\"OPERATOR\" or \"ADMINISTRATOR\""))
        }
    })?;
    let guid = keys.guid.map(|guid| {
        let plain = plain_guid(guid.get_ref());
        if plain.len() == 32 { Ok(plain) } else { Err(place.wrong("guid", &guid, "32 hexadecimal digits")) }
    });
    Ok(Box::new(Ipmi {
        tool: place.path("ipmitool", keys.ipmitool.as_ref())?.unwrap_or_else(|| TOOL.into()),
        address,
        port: keys.port.unwrap_or(623),
        credential: Credential::read(&place, CredentialKeys { username, password_file, password_command })?,
        cipher,
        privilege,
        guid: guid.transpose()?,
    }))
}

/// The hexadecimal digits of a GUID, in lower case.
fn plain_guid(text: &str) -> String {
    text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase()
}

/// The words that make ipmitool do `action`.
const fn verb(action: Action) -> &'static [&'static str] {
    match action {
        Action::Off => &["chassis", "power", "off"],
        Action::On => &["chassis", "power", "on"],
        Action::Status | Action::Monitor => &["chassis", "power", "status"],
    }
}

impl Ipmi {
    fn arguments(&self, verb: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = ["-I", "lanplus", "-H"].map(str::to_owned).into();
        arguments.push(self.address.to_string());
        for (option, value) in [
            ("-p", self.port.to_string()),
            ("-U", self.credential.username.clone()),
            ("-C", self.cipher.to_string()),
            ("-L", self.privilege.clone()),
            ("-f", "/dev/stdin".to_owned()),
        ] {
            arguments.extend([option.to_owned(), value]);
        }
        arguments.extend(verb.iter().map(|word| (*word).to_owned()));
        arguments
    }

    /// Runs ipmitool once, within `limit`.
    fn run(&self, verb: &[&str], password: &Password, limit: Duration, call: &Call<'_>) -> Result<Finished, String> {
        let mut command = Command::new(&self.tool);
        command.args(self.arguments(verb)).current_dir("/");
        let input = format!("{}\n", password.reveal()).into_bytes();
        let finished = child::run(&mut command, input, limit, call.waiting, call.stop)
            .map_err(|error| format!("cannot run {}: {error}", self.tool.display()))?;
        if finished.ended == Ended::Exited(0) {
            return Ok(finished);
        }
        let said = clean(&format!("{}\n{}", finished.stdout, finished.stderr), &password.secrets(&[]));
        Err(if said.is_empty() {
            ending(finished.ended, call.limit)
        } else {
            format!("{}: {said}", ending(finished.ended, call.limit))
        })
    }

    fn ask(&self, call: &Call<'_>) -> Result<Answer, String> {
        let until = instant() + call.limit;
        let left = || until.saturating_duration_since(instant());
        let password = self.credential.password(call.limit, call.stop)?;
        if password.reveal().len() > LONGEST_PASSWORD {
            return Err(format!("the password is longer than the {LONGEST_PASSWORD} bytes that IPMI allows"));
        }
        if let Some(expected) = &self.guid {
            let said = self.run(&["mc", "guid"], &password, left(), call)?.stdout;
            let found = guid_of(&said).ok_or("the BMC does not say its GUID")?;
            if !expected.eq_ignore_ascii_case(&found) {
                return Err(format!("this is another machine: its GUID is {found}, expected {expected}"));
            }
        }
        let finished = self.run(verb(call.action), &password, left(), call)?;
        let said = clean(&finished.stdout, &password.secrets(&[]));
        let (state, obeyed) = interpret(call.action, &said);
        Ok(Answer { state, obeyed, at_most: None, detail: said })
    }
}

/// Reads what ipmitool printed before it exited with 0. Any other words mean nothing.
fn interpret(action: Action, said: &str) -> (NodeState, bool) {
    match (action, said) {
        (Action::Status | Action::Monitor, "Chassis Power is off") => (NodeState::Off, true),
        (Action::Status | Action::Monitor, "Chassis Power is on") => (NodeState::On, true),
        (Action::Off, "Chassis Power Control: Down/Off") => (NodeState::Off, true),
        (Action::On, "Chassis Power Control: Up/On") => (NodeState::On, true),
        _ => (NodeState::Unknown, false),
    }
}

/// The line `System GUID  : efcdab89-…` of `ipmitool mc guid`, in the byte order that ipmitool chose.
fn guid_of(said: &str) -> Option<String> {
    said.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == "System GUID")
        .map(|(_, value)| plain_guid(value.split('(').next().unwrap_or_default()))
        .filter(|guid| guid.len() == 32)
}

impl Agent for Ipmi {
    fn call(&self, call: &Call<'_>) -> Answer {
        self.ask(call).unwrap_or_else(Answer::unknown)
    }

    fn preview(&self, action: Action, _node: &str) -> Preview {
        let mut command = vec![self.tool.display().to_string()];
        command.extend(self.arguments(verb(action)));
        Preview { command, stdin: vec![self.credential.shown()] }
    }

    fn turns_on(&self) -> bool {
        true
    }

    fn grade(&self) -> Grade {
        Grade::A
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_words_are_a_state() {
        let table = [
            (Action::Status, "Chassis Power is off", NodeState::Off),
            (Action::Status, "Chassis Power is on", NodeState::On),
            (Action::Status, "Chassis Power is unknown", NodeState::Unknown),
            (Action::Status, "Chassis Power is of", NodeState::Unknown),
            (Action::Status, "", NodeState::Unknown),
            (Action::Off, "Chassis Power is off", NodeState::Unknown),
            (Action::Off, "Chassis Power Control: Soft", NodeState::Unknown),
        ];
        for (action, said, state) in table {
            assert_eq!(interpret(action, said).0, state, "{action:?} {said:?}");
        }
    }

    #[test]
    fn the_guid_is_the_one_of_the_line_that_says_so() {
        let said = "System GUID  : efcdab89-6745-23a1-efcd-ab89674523a1\nGUID Encoding : IPMI\n";
        assert_eq!(guid_of(said).as_deref(), Some("efcdab89674523a1efcdab89674523a1"));
        assert_eq!(guid_of("System GUID  : \n"), None);
    }
}
