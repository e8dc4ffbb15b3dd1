//! The right to fence: the highest token seen for each node, and what else may say no.
//!
//! The token is on the disk before anything is done to the node, so that a request with an older one is refused even if
//! this one is killed. Tokens of one cluster count for all of its nodes: who was overtaken may fence none of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use bc_model::fencing::{Stale, Token};
use jiff::Timestamp;

use crate::agent::ending;
use crate::child::{self, Ended};
use crate::config::RightCommand;
use crate::disk::{self, Disk};
use crate::order::Order;
use crate::secret::{Options, clean};
use crate::stop::Stop;

/// Why a request may not be carried out; nothing was touched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RightError {
    /// The policy wants a token and the request has none.
    #[error("policy.require-token is set, and the request for {0} has no token")]
    NoToken(String),
    /// The token is of no worth any more.
    #[error("the token {token} may not be used for {node}: {why}{}", .highest.as_ref().map(|t| format!(" ({t})")).unwrap_or_default())]
    Stale {
        node: String,
        token: String,
        highest: Option<String>,
        #[source]
        why: Stale,
    },
    /// What was seen before cannot be read, so it cannot be known what is older.
    #[error("token {}: {problem}", file.display())]
    Seen { file: PathBuf, problem: String },
    /// The policy's command said no.
    #[error("policy.right-command: {0}")]
    Command(String),
    /// The target is the host that asks.
    #[error("{0} is this host; it would be cut off before it could see itself off")]
    Itself(String),
}

/// The tokens beside a history.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    directory: PathBuf,
}

impl Tokens {
    pub(crate) fn beside(history: &Path) -> Self {
        Self { directory: history.with_extension("tokens") }
    }

    /// The highest token seen for `node`.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub(crate) fn highest(&self, node: &str) -> Result<Option<Token>, RightError> {
        let file = self.file(node);
        let problem = |problem: String| RightError::Seen { file: file.clone(), problem };
        match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(problem(error.to_string())),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| problem(error.to_string())),
        }
    }

    /// The nodes that a token was seen for.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn nodes(&self) -> Result<Vec<String>, RightError> {
        let problem = |error: io::Error| RightError::Seen { file: self.directory.clone(), problem: error.to_string() };
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(problem)?,
        };
        let mut nodes = Vec::new();
        for entry in entries {
            let name = entry.map_err(problem)?.file_name();
            nodes.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(str::to_owned));
        }
        nodes.sort();
        Ok(nodes)
    }

    /// Whether `token` may be used for `node` at `now`.
    ///
    /// # Errors
    /// When it has expired, when a later one was seen for any node of its cluster, or when the node is of another one.
    pub(crate) fn check(&self, node: &str, token: &Token, now: Timestamp) -> Result<(), RightError> {
        let own = self.highest(node)?;
        let judge = |highest: Option<&Token>| {
            token.check(highest, now).map_err(|why| RightError::Stale {
                node: node.to_owned(),
                token: token.to_string(),
                highest: highest.map(ToString::to_string),
                why,
            })
        };
        judge(own.as_ref())?;
        for other in self.nodes()? {
            match self.highest(&other)? {
                Some(seen) if seen.system_identifier == token.system_identifier => judge(Some(&seen))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks `token`, and makes it the highest that was seen for `node`; on the disk when this returns.
    ///
    /// # Errors
    /// As [`Tokens::check`], and when it cannot be written.
    pub(crate) fn admit(&self, disk: &dyn Disk, node: &str, token: &Token, now: Timestamp) -> Result<(), RightError> {
        self.check(node, token, now)?;
        if self.highest(node)?.is_some_and(|seen| seen.rank() == token.rank()) {
            return Ok(());
        }
        let file = self.file(node);
        serde_json::to_vec(token)
            .map_err(io::Error::from)
            .and_then(|json| disk::replace(disk, &file, &json, 0o640))
            .map_err(|error| RightError::Seen { file, problem: error.to_string() })
    }

    fn file(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.json"))
    }
}

/// Runs the policy's command; the order is in its environment.
///
/// # Errors
/// Unless it exits with 0 in time.
pub(crate) fn ask(command: &RightCommand, order: &Order, stop: &Stop) -> Result<(), RightError> {
    let [program, arguments @ ..] = &command.argv[..] else { return Ok(()) };
    let token = order.token.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut child = Command::new(program);
    child.args(arguments).current_dir("/");
    child.env("FENCE_NODE", &order.node).env("FENCE_ACTION", order.action.as_str()).env("FENCE_TOKEN", token);
    let finished = child::run(&mut child, Vec::new(), command.timeout, &|_| {}, stop)
        .map_err(|error| RightError::Command(format!("cannot run {program}: {error}")))?;
    if finished.ended == Ended::Exited(0) {
        return Ok(());
    }
    let said = clean(&format!("{}\n{}", finished.stdout, finished.stderr), &Options::new());
    Err(RightError::Command(format!("{program}: {}: {said}", ending(finished.ended, command.timeout))))
}

/// Whether `node` is the host with this name: as a whole, or its first part.
pub(crate) fn is_this_host(node: &str, host: &str) -> bool {
    !node.is_empty() && (node == host || host.split('.').next() == Some(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn token(text: &str) -> Token {
        format!("{text}/2026-11-21T20:35:00Z").parse().unwrap()
    }

    fn now() -> Timestamp {
        "2026-11-21T20:30:00Z".parse().unwrap()
    }

    #[test]
    fn an_older_token_is_refused_for_every_node_of_its_cluster() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::beside(&directory.path().join("history.jsonl"));
        let admit = |node: &str, text: &str| tokens.admit(&RealDisk, node, &token(text), now());
        admit("pg1", "7/4/17/a").unwrap();
        admit("pg1", "7/4/17/again").unwrap();
        admit("pg2", "7/5/1/b").unwrap();
        assert!(
            matches!(admit("pg1", "7/4/17/a"), Err(RightError::Stale { why: Stale::Lower, .. })),
            "pg2 has seen more"
        );
        admit("pg1", "7/5/1/b").unwrap();
        assert!(matches!(admit("pg1", "8/9/9/c"), Err(RightError::Stale { why: Stale::OtherCluster, .. })));
        admit("go1", "8/1/1/c").unwrap();
        assert_eq!(tokens.nodes().unwrap(), ["go1", "pg1", "pg2"]);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::beside(&directory.path().join("history.jsonl"));
        tokens.admit(&RealDisk, "pg1", &token("7/4/17/a"), now()).unwrap();
        fs::write(tokens.file("pg1"), "{").unwrap();
        assert!(matches!(tokens.check("pg2", &token("7/4/18/a"), now()), Err(RightError::Seen { .. })));
    }

    #[test]
    fn a_host_knows_its_own_name() {
        assert!(is_this_host("pg1", "pg1") && is_this_host("pg1", "pg1.example.net"));
        assert!(!is_this_host("pg1", "pg10") && !is_this_host("pg1.example.net", "pg1"));
    }
}
