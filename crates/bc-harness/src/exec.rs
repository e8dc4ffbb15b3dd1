//! Running a command inside a host, as `docker exec` does.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

/// A command to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exec {
    argv: Vec<String>,
    env: Vec<String>,
    stdin: Option<String>,
}

impl Exec {
    /// Of a program and its arguments.
    pub(crate) fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Of a shell command line.
    pub(crate) fn shell(line: &str) -> Self {
        Self::new(["/bin/sh", "-c", line])
    }

    /// With a variable in its environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// With bytes on its standard input.
    pub(crate) fn stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// As it would be typed; values from the environment are left out, they may be secret.
    pub(crate) fn words(&self) -> String {
        self.argv.join(" ")
    }
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// Exit code.
    pub(crate) code: i64,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// The last line it printed, preferably of its errors.
    pub(crate) fn last_words(&self) -> &str {
        let last = |text: &'_ str| {
            text.trim_end().lines().next_back().map(str::trim).filter(|line| !line.is_empty()).is_some()
        };
        let text = if last(&self.stderr) { &self.stderr } else { &self.stdout };
        text.trim_end().lines().next_back().unwrap_or("(it printed nothing)").trim()
    }
}

/// Runs `exec` in `container` to its end.
///
/// # Errors
/// If Docker cannot start it, or it has not ended after `limit`. A command that ends with an error is no error here.
pub(crate) async fn run(docker: &Docker, container: &str, exec: &Exec, limit: Duration) -> Result<Output> {
    match tokio::time::timeout(limit, run_to_end(docker, container, exec)).await {
        Ok(output) => output.with_context(|| format!("cannot run `{}`", exec.words())),
        Err(_) => bail!("`{}` has not ended after {} s", exec.words(), limit.as_secs_f32()),
    }
}

async fn run_to_end(docker: &Docker, container: &str, exec: &Exec) -> Result<Output> {
    let (id, mut stream) = start(docker, container, exec).await?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        match chunk? {
            LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
            other => stdout.extend_from_slice(&other.into_bytes()),
        }
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let code = exit_code(docker, &id).await?;
    Ok(Output { code, stdout: text(stdout), stderr: text(stderr) })
}

/// The output of a command that is running.
pub(crate) type OutputStream = futures_util::stream::BoxStream<'static, Result<LogOutput, bollard::errors::Error>>;

/// Starts `exec` in `container`; answers its id and its output as it comes.
///
/// # Errors
/// If Docker cannot start it.
pub(crate) async fn start(docker: &Docker, container: &str, exec: &Exec) -> Result<(String, OutputStream)> {
    let options = CreateExecOptions {
        cmd: Some(exec.argv.clone()),
        env: (!exec.env.is_empty()).then(|| exec.env.clone()),
        attach_stdin: Some(exec.stdin.is_some()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let id = docker.create_exec(container, options).await?.id;
    let StartExecResults::Attached { output, mut input } = docker.start_exec(&id, None).await? else {
        bail!("Docker did not attach to it");
    };
    if let Some(text) = &exec.stdin {
        input.write_all(text.as_bytes()).await.context("cannot write to its standard input")?;
        input.shutdown().await.context("cannot close its standard input")?;
    }
    Ok((id, output))
}

/// The exit code of a command whose output has ended. Docker may need a moment to know it.
///
/// # Errors
/// If it is not known after five seconds.
pub(crate) async fn exit_code(docker: &Docker, id: &str) -> Result<i64> {
    let code = crate::wait::until("its exit code", Duration::from_secs(5), Duration::from_millis(5), || async {
        match docker.inspect_exec(id).await {
            Ok(state) if state.running != Some(true) => state.exit_code.ok_or_else(|| "none".to_owned()),
            Ok(_) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    });
    Ok(code.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_those_of_the_errors_if_there_are_any() {
        let output = |stdout: &str, stderr: &str| Output { code: 1, stdout: stdout.into(), stderr: stderr.into() };
        assert_eq!(output("a\nb\n", "").last_words(), "b");
        assert_eq!(output("a\n", "x\n y \n\n").last_words(), "y");
        assert_eq!(output("", "").last_words(), "(it printed nothing)");
    }

    #[test]
    fn words_show_no_environment() {
        let exec = Exec::new(["provision", "pg1"]).env("PASSWORD", "secret").stdin("secret");
        assert_eq!(exec.words(), "provision pg1");
    }
}
