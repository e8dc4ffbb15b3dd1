//! Running the operator's commands in the operator box, in the open: what they say is shown and taken down.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bollard::container::LogOutput;
use futures_util::StreamExt;

use super::Drill;
use crate::clock::Moment;
use crate::exec::{self, Exec};
use crate::history::Event;
use crate::inbox::assassin;

/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(150);

impl Drill {
    /// Runs a command in the operator box; it must end with 0.
    pub(super) async fn must(&mut self, name: &str, argv: &[&str]) -> Result<String> {
        let began = Moment::now();
        let exit = self.operate(name, argv, Voice::Aloud).await?;
        let words = self.recorder.newest(|entry| match &entry.event {
            Event::Operation { output, .. } => Some(reason(output).to_owned()),
            _ => None,
        });
        ensure!(exit == 0, "`{}` ended with {exit}: {}", argv.join(" "), words.unwrap_or_default());
        Ok(format!("{:.1} s", Moment::now().since(began).as_secs_f32()))
    }

    /// Runs a command in the operator box, takes down what it says, and answers its exit code.
    pub(super) async fn operate(&mut self, name: &str, argv: &[&str], voice: Voice) -> Result<i64> {
        let began = Moment::now();
        let mut output = String::new();
        let ended = tokio::time::timeout(LIMIT, self.run_in_the_open(argv, voice, &mut output)).await;
        let exit = match ended {
            Ok(exit) => Some(exit.with_context(|| format!("cannot run `{}`", argv.join(" ")))?),
            Err(_) => None,
        };
        let killed = exit == Some(i64::from(assassin::KILLED)) && argv.contains(&"kill-at-step");
        self.recorder.since(
            began,
            Event::Operation {
                name: name.to_owned(),
                argv: argv.iter().map(|word| (*word).to_owned()).collect(),
                exit: if killed { None } else { exit },
                killed_at: if killed { self.setup.choice.kill_bcctl_at.clone() } else { None },
                output,
            },
        );
        exit.with_context(|| format!("`{}` has not ended after {} s", argv.join(" "), LIMIT.as_secs()))
    }

    async fn run_in_the_open(&self, argv: &[&str], voice: Voice, output: &mut String) -> Result<i64> {
        let operator = self.site()?.host("operator")?;
        let (id, mut stream) = exec::start(operator.docker(), operator.id(), &Exec::new(argv.iter().copied())).await?;
        let mut shown = 0;
        while let Some(chunk) = stream.next().await {
            let bytes = match chunk? {
                LogOutput::StdErr { message } => message,
                other => other.into_bytes(),
            };
            output.push_str(&String::from_utf8_lossy(&bytes));
            while let Some(end) = output[shown..].find('\n') {
                if voice == Voice::Aloud {
                    self.progress.line(&format!("  │ {}", &output[shown..shown + end]));
                }
                shown += end + 1;
            }
        }
        exec::exit_code(operator.docker(), &id).await
    }
}

/// Whether what a command says is shown while it runs. It is taken down in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// Line by line.
    Aloud,
    /// Not: a plan of a hundred lines is for the report.
    Quiet,
}

/// The line that says why: the last error, or the last line.
fn reason(output: &str) -> &str {
    let lines = || output.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = lines().rfind(|line| line.starts_with("error:") || line.starts_with("refused:"));
    error.or_else(|| lines().next_back()).unwrap_or("it printed nothing")
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_is_the_last_error_and_not_what_follows_it() {
        for (output, expected) in [
            ("1/9 done\nerror: assign-vip: in use\n  hint: fence it\njournal: /var/x\n", "error: assign-vip: in use"),
            ("one\ntwo\n\n", "two"),
            ("", "it printed nothing"),
        ] {
            assert_eq!(reason(output), expected);
        }
    }
}
