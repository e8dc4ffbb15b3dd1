//! GoCD's own service on this host: files are never placed under a server that runs.

use std::process::{Command, Stdio};

/// Why files may not be placed here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error("{unit} is {state} on this host: its own files are the truth")]
    Runs { unit: String, state: String },
    #[error("cannot tell whether {unit} runs on this host: {problem}")]
    Unclear { unit: String, problem: String },
}

/// Makes sure that `unit` does not run.
///
/// # Errors
/// When it runs, or when that cannot be told: a unit that systemd does not know is also "inactive".
pub(crate) fn stands_still(unit: &str) -> Result<(), ServiceError> {
    let unclear = |problem: String| ServiceError::Unclear { unit: unit.to_owned(), problem };
    let output = Command::new("systemctl")
        .args(["show", "-p", "LoadState", "-p", "ActiveState", "--", unit])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| unclear(format!("systemctl: {error}")))?;
    if !output.status.success() {
        return Err(unclear(format!("systemctl: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let property =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default();
    match (property("LoadState"), property("ActiveState")) {
        ("loaded" | "masked", "inactive" | "failed") => Ok(()),
        ("not-found", _) => {
            Err(unclear("systemd knows no such unit; see gocd-service in the configuration".to_owned()))
        }
        (_, "") => Err(unclear("systemctl did not say".to_owned())),
        (_, state) => Err(ServiceError::Runs { unit: unit.to_owned(), state: state.to_owned() }),
    }
}
