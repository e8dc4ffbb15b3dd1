//! The agent `nftables`: a router, a switch or a hypervisor drops every packet from and to the node's addresses.
//!
//! One table of ours, `fence_NODE`, whose chains stand before all others (priority -500), so that established connections fall
//! silent too. It is made and removed in one transaction, and read back rule by rule. It says something only about traffic that
//! passes this host, and nothing on the node itself: there the rules could be removed by whoever is to be kept out.

use std::net::IpAddr;
use std::time::Duration;

use bc_model::fencing::{Grade, NodeState};
use serde::Deserialize;
use serde_json::Value;
use toml::Spanned;

use crate::agent::{Action, Agent, Answer, Call, Preview, ending};
use crate::child::{self, Ended};
use crate::config::{Keys, Problem};
use crate::devices::login::{Host, Login, LoginKeys};
use crate::secret::{Options, clean};

const PREAMBLE: &str = "PATH=\"$PATH:/usr/local/sbin:/usr/sbin:/sbin\"; LC_ALL=C; export PATH LC_ALL";
const PRIORITY: i64 = -500;
const HOOKS: [&str; 3] = ["input", "forward", "output"];

/// Isolation of one node.
#[derive(Clone, Debug)]
struct Nftables {
    host: Host,
    addresses: Vec<IpAddr>,
    /// The families in which packets of the node may pass: routed ones, and those that a bridge carries.
    families: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NftablesKeys {
    destination: Option<Spanned<String>>,
    identity_file: Option<Spanned<String>>,
    known_hosts: Option<Spanned<String>>,
    addresses: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    bridge: bool,
}

/// Reads the keys of a device with `agent = "nftables"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<NftablesKeys>()?;
    let list = place.needed("addresses", keys.addresses, "every address of the node, such as [\"198.18.5.11\"]")?;
    let addresses =
        place.items("addresses", list.into_inner(), |text| text.parse().ok(), "an IP address without a prefix")?;
    if addresses.is_empty() {
        return Err(place.missing("addresses", "at least one address"));
    }
    let host = match keys.destination {
        None => Host::Here,
        Some(destination) => Host::There(Login::read(
            &place,
            LoginKeys { destination, identity_file: keys.identity_file, known_hosts: keys.known_hosts },
        )?),
    };
    let families = if keys.bridge { vec!["inet", "bridge"] } else { vec!["inet"] };
    Ok(Box::new(Nftables { host, addresses, families }))
}

/// The table of a node: nftables knows letters, digits and `_`.
fn table(node: &str) -> String {
    let safe: String = node.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("fence_{safe}")
}

const fn family_word(address: &IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

impl Nftables {
    /// The transaction that makes the tables, or leaves none.
    fn ruleset(&self, action: Action, node: &str) -> String {
        let table = table(node);
        let mut text = String::new();
        for family in &self.families {
            // To delete what may not be there, it is first made to be there.
            text.push_str(&format!("add table {family} {table}\ndelete table {family} {table}\n"));
            if action != Action::Off {
                continue;
            }
            text.push_str(&format!("table {family} {table} {{\n"));
            for hook in HOOKS {
                text.push_str(&format!(
                    " chain {hook} {{\n  type filter hook {hook} priority {PRIORITY}; policy accept;\n"
                ));
                for address in &self.addresses {
                    for side in ["saddr", "daddr"] {
                        text.push_str(&format!("  {} {side} {address} drop\n", family_word(address)));
                    }
                }
                text.push_str(" }\n");
            }
            text.push_str("}\n");
        }
        text
    }

    fn script(&self, action: Action, node: &str) -> String {
        let mut lines = vec![PREAMBLE.to_owned()];
        // On the node itself this would be no isolation: its own administrator could lift it.
        for address in &self.addresses {
            lines.push(format!("held=$(ip -o address show to '{address}') || exit 70"));
            lines.push(format!("[ -z \"$held\" ] || {{ echo 'this host has {address} itself' >&2; exit 71; }}"));
        }
        match action {
            Action::Off | Action::On => lines.push("exec nft -f -".to_owned()),
            Action::Monitor => lines.push("nft -j list tables >/dev/null || exit 70; echo end".to_owned()),
            Action::Status => {
                lines.push("nft -j list tables || exit 70".to_owned());
                for family in &self.families {
                    let table = table(node);
                    lines.push(format!("nft -j list table {family} {table} 2>/dev/null || echo null"));
                }
                lines.push("echo end".to_owned());
            }
        }
        lines.join("\n")
    }

    fn look(&self, node: &str, answer: &str) -> (NodeState, String) {
        let mut lines = answer.lines();
        let mut json = || serde_json::from_str::<Value>(lines.next().unwrap_or_default()).ok();
        let Some(_tables) = json() else { return (NodeState::Unknown, "the answer is incomplete".to_owned()) };
        let found: Vec<Option<Value>> = self.families.iter().map(|_| json()).collect();
        if lines.next() != Some("end") {
            return (NodeState::Unknown, "the answer is incomplete".to_owned());
        }
        let table = table(node);
        let mut missing = Vec::new();
        let mut there = false;
        for (family, found) in self.families.iter().zip(found) {
            match found {
                Some(Value::Null) => missing.push(format!("no table {family} {table}")),
                Some(list) => {
                    there = true;
                    missing.extend(self.missing(family, &table, &list));
                }
                None => return (NodeState::Unknown, "the answer cannot be read".to_owned()),
            }
        }
        let count = self.families.len() * HOOKS.len() * self.addresses.len() * 2;
        match (missing.first(), there) {
            (None, _) => (NodeState::Off, format!("{count} rules of {table} drop everything from and to the node")),
            (Some(first), false) => (NodeState::On, first.clone()),
            // Somebody changed the table, or it is of another configuration.
            (Some(first), true) => (NodeState::Unknown, format!("{table} is there, but {first}")),
        }
    }

    /// What is not as it has to be in the output of `nft -j list table`.
    fn missing(&self, family: &str, table: &str, list: &Value) -> Vec<String> {
        let objects: Vec<&Value> = list["nftables"].as_array().map(|list| list.iter().collect()).unwrap_or_default();
        let mut missing = Vec::new();
        for hook in HOOKS {
            let chain = objects.iter().map(|object| &object["chain"]).any(|chain| {
                chain["family"] == family
                    && chain["table"] == table
                    && chain["name"] == hook
                    && chain["hook"] == hook
                    && chain["type"] == "filter"
                    && chain["prio"] == PRIORITY
            });
            if !chain {
                missing.push(format!("no chain {hook} at priority {PRIORITY}"));
            }
            let rules: Vec<&Value> =
                objects.iter().map(|object| &object["rule"]).filter(|rule| rule["chain"] == hook).collect();
            // A rule of another kind before ours, such as an accept, would let packets through.
            if rules.iter().any(|rule| !drops(rule)) {
                missing.push(format!("chain {hook} has another rule"));
            }
            for address in &self.addresses {
                for side in ["saddr", "daddr"] {
                    if !rules.iter().any(|rule| matches(rule, address, side)) {
                        missing.push(format!("no rule drops {side} {address} in {family} {hook}"));
                    }
                }
            }
        }
        missing
    }
}

/// Whether a rule ends with drop and does nothing else.
fn drops(rule: &Value) -> bool {
    let Some(expressions) = rule["expr"].as_array() else { return false };
    let Some((last, others)) = expressions.split_last() else { return false };
    last.get("drop").is_some() && others.iter().all(|expression| expression.get("match").is_some())
}

/// Whether a rule drops this address and narrows it by nothing but the protocol that the address belongs to.
fn matches(rule: &Value, address: &IpAddr, side: &str) -> bool {
    let Some(expressions) = rule["expr"].as_array() else { return false };
    let ours = |test: &Value| {
        let payload = &test["left"]["payload"];
        test["op"] == "=="
            && payload["protocol"] == family_word(address)
            && payload["field"] == side
            && test["right"].as_str().and_then(|text| text.parse::<IpAddr>().ok()) == Some(*address)
    };
    let protocol = |test: &Value| test["left"]["meta"]["key"] == "protocol" || test["left"]["meta"]["key"] == "nfproto";
    let tests: Vec<&Value> = expressions.iter().filter_map(|expression| expression.get("match")).collect();
    drops(rule) && tests.iter().any(|test| ours(test)) && tests.iter().all(|test| ours(test) || protocol(test))
}

impl Agent for Nftables {
    fn call(&self, call: &Call<'_>) -> Answer {
        let script = self.script(call.action, call.node);
        let input = match call.action {
            Action::Off | Action::On => self.ruleset(call.action, call.node),
            Action::Status | Action::Monitor => String::new(),
        };
        let mut command = self.host.command(&script, call.limit);
        let finished = match child::run(&mut command, input.into_bytes(), call.limit, call.waiting, call.stop) {
            Ok(finished) => finished,
            Err(error) => return Answer::unknown(format!("cannot run the script: {error}")),
        };
        let failure = |what: &str| {
            let words = clean(&finished.stderr, &Options::new());
            let ended = ending(finished.ended, call.limit);
            Answer::unknown(if words.is_empty() { format!("{what}{ended}") } else { format!("{what}{ended}: {words}") })
        };
        let done = |state, detail: &str| Answer { state, obeyed: true, at_most: None, detail: detail.to_owned() };
        match (call.action, finished.ended) {
            (_, Ended::Exited(code)) if self.host.unreachable(code) => failure("the host does not answer over ssh; "),
            (_, Ended::Exited(71)) => failure("isolation on the node itself proves nothing; "),
            (Action::Off, Ended::Exited(0)) => done(NodeState::Off, "the rules were loaded"),
            (Action::On, Ended::Exited(0)) => done(NodeState::On, "the rules were removed"),
            (Action::Monitor, Ended::Exited(0)) => done(NodeState::Unknown, "nft answers"),
            (Action::Status, Ended::Exited(0)) => {
                let (state, detail) = self.look(call.node, &finished.stdout);
                Answer { state, obeyed: state != NodeState::Unknown, at_most: None, detail }
            }
            _ => failure(""),
        }
    }

    fn preview(&self, action: Action, node: &str) -> Preview {
        let stdin = match action {
            Action::Off | Action::On => self.ruleset(action, node).lines().map(str::to_owned).collect(),
            Action::Status | Action::Monitor => vec![],
        };
        Preview { command: self.host.words(&self.script(action, node), Duration::from_secs(10)), stdin }
    }

    fn turns_on(&self) -> bool {
        true
    }

    fn grade(&self) -> Grade {
        Grade::B
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn device() -> Nftables {
        Nftables { host: Host::Here, addresses: vec!["198.18.5.11".parse().unwrap()], families: vec!["inet"] }
    }

    fn rule(chain: &str, side: &str, address: &str) -> Value {
        let left = json!({ "payload": { "protocol": "ip", "field": side } });
        let test = json!({ "match": { "op": "==", "left": left, "right": address } });
        json!({ "rule": { "family": "inet", "table": "fence_pg1", "chain": chain, "expr": [test, { "drop": null }] } })
    }

    fn listed() -> Vec<Value> {
        let mut list = Vec::new();
        for hook in HOOKS {
            let chain = json!({ "family": "inet", "table": "fence_pg1", "name": hook, "type": "filter", "hook": hook, "prio": -500 });
            list.push(json!({ "chain": chain }));
            list.extend(["saddr", "daddr"].map(|side| rule(hook, side, "198.18.5.11")));
        }
        list
    }

    fn looked(list: &[Value]) -> NodeState {
        let answer = format!("{{\"nftables\":[]}}\n{}\nend\n", json!({ "nftables": list }));
        device().look("pg1", &answer).0
    }

    #[test]
    fn every_rule_has_to_be_there_and_none_before_it() {
        assert_eq!(looked(&listed()), NodeState::Off);
        for at in 0..listed().len() {
            let mut list = listed();
            list.remove(at);
            assert_eq!(looked(&list), NodeState::Unknown, "without {}", listed()[at]);
        }
        let mut list = listed();
        list.insert(1, json!({ "rule": { "chain": "input", "expr": [{ "accept": null }] } }));
        assert_eq!(looked(&list), NodeState::Unknown);
        let mut list = listed();
        list[0]["chain"]["prio"] = json!(500);
        assert_eq!(looked(&list), NodeState::Unknown);
        let mut list = listed();
        let narrow = json!({ "match": { "op": "==", "left": { "payload": { "protocol": "tcp", "field": "dport" } }, "right": 5432 } });
        list[1]["rule"]["expr"].as_array_mut().unwrap().insert(0, narrow);
        assert_eq!(looked(&list), NodeState::Unknown, "a rule for one port only");
    }

    #[test]
    fn no_table_is_on_and_half_an_answer_is_unknown() {
        assert_eq!(device().look("pg1", "{\"nftables\":[]}\nnull\nend\n").0, NodeState::On);
        for half in ["", "{\"nftables\":[]}\n", "{\"nftables\":[]}\nnull\n", "{\"nftables\":[]}\nnull\ne"] {
            assert_eq!(device().look("pg1", half).0, NodeState::Unknown, "{half:?}");
        }
    }
}
