//! One call of the program from beginning to end: the verbs, the signals, and the promise that what was made is removed.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::cleanup::{self, Choice as GarbageChoice};
use crate::cli::{BinArgs, Command, DoctorArgs, DrillArgs, GcArgs, JudgeArgs};
use crate::clock::Moment;
use crate::doctor::{self, Check, Diagnosis};
use crate::drill::{Drill, Setup};
use crate::ending::Ending;
use crate::history::{Event, FaultKind, History, Recorder, Sabotage};
use crate::images;
use crate::progress::Progress;
use crate::report::Report;
use crate::run::RunId;
use crate::scenario::{self, Choice};

/// Does what was asked.
///
/// # Errors
/// What kept it from being done.
pub(crate) async fn run(command: Command) -> Result<Ending> {
    match command {
        Command::Drill(arguments) => drill(arguments).await,
        Command::Doctor(arguments) => doctor(arguments).await,
        Command::Images(arguments) => build_images(arguments).await,
        Command::Judge(arguments) => judge(&arguments),
        Command::Gc(arguments) => collect_garbage(arguments).await,
        // Handled by `main`, without a runtime.
        Command::ObserveArp { .. } | Command::KillAtStep { .. } => Ok(Ending::Refused),
    }
}

async fn drill(arguments: DrillArgs) -> Result<Ending> {
    if arguments.sabotage == Some(Sabotage::NoFence) && arguments.fault == FaultKind::PowerCut {
        anstream::eprintln!("error: --sabotage no-fence shows nothing with --fault power-cut");
        anstream::eprintln!("  hint: a host without power is off, whatever the switch says; leave --fault away");
        return Ok(Ending::Refused);
    }
    let executable = std::env::current_exe().context("cannot find this program's file")?;
    let diagnosis = examine(&arguments.bin, &executable).await?;
    let Some((docker, sources)) = diagnosis.ready else { return Ok(refuse(&diagnosis.checks)) };

    let progress = Progress::new(Moment::now());
    let directory = &arguments.report_dir;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let directory = std::fs::canonicalize(directory)?;
    tokio::select! {
        built = images::provide(&docker, &sources, &progress) => { built?; }
        ending = interrupted() => { progress.finish(); return Ok(ending); }
    }

    // The clock of the run starts when everything is there that does not belong to it.
    let origin = Moment::now();
    let progress = progress.restarted(origin);
    let recorder = Recorder::create(&directory.join("history.jsonl"), origin)?;
    let choice =
        Choice { fault: arguments.fault, sabotage: arguments.sabotage, kill_bcctl_at: arguments.kill_bcctl_at };
    let steps = scenario::drill(&choice);
    let setup = Setup {
        run: arguments.run_id.unwrap_or_else(RunId::random),
        choice,
        steps,
        keep: arguments.keep,
        executable,
        report_directory: directory.clone(),
        limit: Duration::from_secs(arguments.timeout),
    };
    let mut drill = Drill::new(docker, setup, recorder.clone(), progress.clone());
    let interrupted = tokio::select! {
        // A panic is caught here so that what was made is removed; then it is reported as what it is.
        outcome = AssertUnwindSafe(drill.run()).catch_unwind() => {
            if outcome.is_err() {
                recorder.note(Event::Remark { words: "the harness panicked; this is a bug".to_owned() });
                progress.line("the harness panicked; this is a bug");
            }
            None
        }
        ending = interrupted() => {
            progress.line("interrupted");
            Some(ending)
        }
    };
    drill.tear_down().await;
    progress.finish();
    let history = recorder.close()?;
    if let Some(ending) = interrupted {
        return Ok(ending);
    }
    let report = Report::of(&history);
    report.write(&directory)?;
    show(&report, arguments.json)?;
    anstream::eprintln!("report: {}", directory.display());
    Ok(report.ending())
}

/// Waits for Ctrl-C, SIGTERM or SIGHUP.
async fn interrupted() -> Ending {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let waits = kinds.into_iter().filter_map(|kind| {
        let mut stream = signal(kind).ok()?;
        Some(Box::pin(async move { stream.recv().await }))
    });
    futures_util::future::select_all(waits).await;
    Ending::Interrupted
}

async fn examine(bin: &BinArgs, executable: &Path) -> Result<Diagnosis> {
    let programs = bin.bin_dir.clone().unwrap_or_else(|| doctor::directory_of(executable));
    let working = std::env::current_dir().context("there is no working directory")?;
    Ok(doctor::examine(executable, &programs, &working).await)
}

/// Says what is missing: one line for each, and what to do about it once.
fn refuse(checks: &[Check]) -> Ending {
    let bad: Vec<&Check> = checks.iter().filter(|check| !check.good).collect();
    // Without an engine nothing else matters.
    let bad = if bad.first().is_some_and(|first| first.name == doctor::ENGINE) { &bad[..1] } else { &bad[..] };
    for (index, check) in bad.iter().enumerate() {
        anstream::eprintln!("error: {}: {}", check.name, check.found);
        let is_last_with_hint = bad.get(index + 1).is_none_or(|next| next.hint != check.hint);
        if let Some(hint) = check.hint.as_ref().filter(|_| is_last_with_hint) {
            anstream::eprintln!("  hint: {hint}");
        }
    }
    Ending::Refused
}

async fn doctor(arguments: DoctorArgs) -> Result<Ending> {
    let executable = std::env::current_exe().context("cannot find this program's file")?;
    let diagnosis = examine(&arguments.bin, &executable).await?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&diagnosis.checks)? + "\n"
    } else {
        let line = |check: &Check| {
            let word = if check.good { "good" } else { "BAD" };
            let hint = check.hint.as_ref().map_or_else(String::new, |hint| format!("\n       hint: {hint}"));
            format!("{word:<6} {}: {}{hint}\n", check.name, check.found)
        };
        diagnosis.checks.iter().map(line).collect()
    };
    print(&text)?;
    Ok(if diagnosis.ready.is_some() { Ending::Held } else { Ending::Refused })
}

async fn build_images(arguments: BinArgs) -> Result<Ending> {
    let executable = std::env::current_exe().context("cannot find this program's file")?;
    let diagnosis = examine(&arguments, &executable).await?;
    let Some((docker, sources)) = diagnosis.ready else { return Ok(refuse(&diagnosis.checks)) };
    let progress = Progress::new(Moment::now());
    tokio::select! {
        built = images::provide(&docker, &sources, &progress) => {
            let built = built?;
            progress.line(&if built.is_empty() { "nothing has changed".to_owned() } else { format!("built {}", built.join(", ")) });
            progress.finish();
            Ok(Ending::Held)
        }
        ending = interrupted() => { progress.finish(); Ok(ending) }
    }
}

fn judge(arguments: &JudgeArgs) -> Result<Ending> {
    let path = arguments.directory.join("history.jsonl");
    match History::load(&path) {
        Ok(history) => {
            let report = Report::of(&history);
            show(&report, arguments.json)?;
            Ok(report.ending())
        }
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            Ok(Ending::Refused)
        }
    }
}

async fn collect_garbage(arguments: GcArgs) -> Result<Ending> {
    let docker = match doctor::connect().await {
        Ok((docker, _)) => docker,
        Err(error) => {
            anstream::eprintln!("error: {}: {error}", doctor::ENGINE);
            return Ok(Ending::Refused);
        }
    };
    let choice = GarbageChoice { runs: arguments.runs, kept: arguments.kept, dry_run: arguments.dry_run };
    let mut text = String::new();
    let mut failed = false;
    for found in cleanup::collect_garbage(&docker, &choice).await? {
        failed |= !found.errors.is_empty();
        let what = match found.spared {
            Some(why) => format!("left alone: {why}"),
            None if choice.dry_run => "would be removed".to_owned(),
            None => "removed".to_owned(),
        };
        text += &format!("{}: {what}: {}\n", found.run, found.names.join(", "));
        for error in found.errors {
            text += &format!("  could not be removed: {error}\n");
        }
    }
    print(&text)?;
    Ok(if failed { Ending::Unjudged } else { Ending::Held })
}

fn show(report: &Report, json: bool) -> Result<()> {
    if json { print(&(serde_json::to_string_pretty(report)? + "\n")) } else { print(&report.table()) }
}

/// Prints data. A reader that has gone away has had enough.
fn print(text: &str) -> Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}
