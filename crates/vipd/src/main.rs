//! `vipd`: parse, run the verb, print, exit.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::AutoStream;
use bc_model::exit::Exit;
use bc_model::vip::VipReport;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use vipd::cli::{AssignArgs, CheckArgs, Cli, EventsArgs, ImportArgs, RunArgs, StatusArgs, UnassignArgs, Verb};
use vipd::client::{Client, ClientError};
use vipd::daemon::host::ThisHost;
use vipd::daemon::protocol::{Answer, Request};
use vipd::error::Error;
use vipd::kernel::netlink::Netlink;
use vipd::lease::{DeadMan, TableName};
use vipd::patient::Patient;
use vipd::render;
use vipd::verbs::assign::{self, assign};
use vipd::verbs::beside::{self, Daemon};
use vipd::verbs::check::check;
use vipd::verbs::import::{default_config_id, import};
use vipd::verbs::run;
use vipd::verbs::status::status;
use vipd::verbs::unassign::{self, Which, unassign};
use vipd::verbs::watch::{Form, WatchError, watch};

type Stdout = AutoStream<io::Stdout>;
type Stderr = AutoStream<io::Stderr>;

fn main() -> ExitCode {
    let cli = Cli::of_process();
    log(&cli.verb);
    match cli.verb {
        Verb::Assign(args) => run_assign(args),
        Verb::Unassign(args) => run_unassign(args),
        Verb::Status(args) => run_status(args),
        Verb::Check(args) => run_check(&args),
        Verb::Import(args) => run_import(args),
        Verb::Run(args) => run_daemon(args),
        Verb::Acquire(args) => tell(&args.daemon.socket, &Request::Acquire { instance: args.name, force: args.force }),
        Verb::Release(args) => tell(&args.daemon.socket, &Request::Release { instance: args.name }),
        Verb::Handover(args) => tell(&args.daemon.socket, &Request::Handover { instance: args.name }),
        Verb::Reload(args) => tell(&args.socket, &Request::Reload),
        Verb::Events(args) => run_events(args),
    }
    .into()
}

/// Logs to stderr. What the daemon does is its log; of the other verbs it would be noise, and what `assign` has to say is in
/// its report, so that nobody waits for its log unless he asks for it.
fn log(verb: &Verb) {
    if matches!(verb, Verb::Assign(_)) && std::env::var_os("VIPD_LOG").is_none() {
        return;
    }
    let usual = if matches!(verb, Verb::Run(_)) { LevelFilter::INFO } else { LevelFilter::WARN };
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // It would say on stderr that stderr cannot be written, and panic over that.
    let log = log.log_internal_errors(false);
    match EnvFilter::try_from_env("VIPD_LOG") {
        Ok(filter) => log.with_env_filter(filter).init(),
        // Nothing to be parsed: an announcement does not wait for its log.
        Err(_) => log.with_max_level(usual).init(),
    }
}

fn run_assign(args: AssignArgs) -> Exit {
    if let Some(node) = &args.after_fence {
        tracing::info!(address = %args.address.0, dev = args.dev, node, "the caller has fenced the old owner");
    }
    let request = assign::Request {
        net: args.address.0,
        dev: args.dev,
        probe: (!args.no_probe).then_some(args.probe_time),
        force: args.force,
        dry_run: args.dry_run,
    };
    let mut report = VipReport::new(args.dry_run, args.after_fence);
    let daemon = match Daemon::find(&args.daemon.socket) {
        Ok(daemon) => daemon,
        Err(error) => return finish(report, Err(error), args.json),
    };
    if let Some((daemon, owner)) = daemon.as_ref().and_then(|one| Some((one, one.owner(request.net.addr())?))) {
        let result = daemon.acquire(owner, &request, &mut report);
        return finish(report, result, args.json);
    }
    // Half a second more than the probe: worth a line where somebody watches, or waits.
    let watched = io::stderr().is_terminal() || request.probe.is_some_and(|time| time > Duration::from_secs(1));
    let progress = |step: &str| {
        if watched {
            // Nobody to tell is no reason to stop.
            let _ = writeln!(anstream::stderr(), "{step}");
        }
    };
    let result = assign(&request, &mut report, &progress);
    finish(report, result, args.json)
}

fn run_unassign(args: UnassignArgs) -> Exit {
    let which = match (args.address, args.dev) {
        (Some(address), Some(dev)) => Which::One { address, dev },
        // clap has seen to it that --all was given.
        (_, dev) => Which::All { dev },
    };
    let request = unassign::Request { which, force: args.force, dry_run: args.dry_run };
    let mut report = VipReport::new(args.dry_run, None);
    let result = Daemon::find(&args.daemon.socket).and_then(|daemon| unassign(&request, daemon.as_ref(), &mut report));
    finish(report, result, args.json)
}

fn run_watch(args: StatusArgs) -> Exit {
    let form = match (args.json, io::stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Screen,
        (false, false) => Form::Lines,
    };
    match watch(&args.daemon.socket, form, &mut anstream::stdout()) {
        Ok(()) => Exit::Done,
        Err(WatchError::Print(error)) => exit(Exit::Done, Err(error)),
        Err(WatchError::Client(error)) => {
            complain(&error, error.hint());
            error.exit()
        }
    }
}

fn run_status(args: StatusArgs) -> Exit {
    if args.watch {
        return run_watch(args);
    }
    match status(&args.addresses) {
        Ok(mut status) => {
            match beside::instances(&args.daemon.socket) {
                Ok(instances) => status.instances = instances,
                Err(error) => {
                    complain(&error, error.hint());
                    status.daemon_error = Some(error.to_string());
                }
            }
            let printed = render::status(&status, args.json, &mut anstream::stdout(), &mut anstream::stderr());
            exit(Exit::Done, printed)
        }
        Err(error) => {
            let mut report = VipReport::new(false, None);
            render::fail(&mut report, &error);
            exit(error.exit(), render::report(&report, false, &mut anstream::stdout(), &mut anstream::stderr()))
        }
    }
}

fn run_check(args: &CheckArgs) -> Exit {
    let look = || Netlink::connect()?.observe();
    let switch = || DeadMan::probe(&TableName::default());
    let host = ThisHost { listens_elsewhere: false };
    printed(|out, err| check(&args.file, args.json, look, switch, &host, out, err))
}

fn run_import(args: ImportArgs) -> Exit {
    let config_id = args.config_id.unwrap_or_else(default_config_id);
    printed(|out, err| import(&args.file, &config_id, out, err))
}

/// The exit code of a verb, whether what it printed was read or not.
fn printed(verb: impl FnOnce(&mut Patient<Stdout>, &mut Patient<Stderr>) -> io::Result<Exit>) -> Exit {
    let (mut out, mut err) = (Patient::new(anstream::stdout()), Patient::new(anstream::stderr()));
    match verb(&mut out, &mut err) {
        Ok(code) => exit(code, out.result()),
        Err(error) => exit(Exit::Done, Err(error)),
    }
}

/// By itself, so that no other verb pays for its pages of stack.
#[inline(never)]
fn run_daemon(args: RunArgs) -> Exit {
    match run::run(run::Request { config: args.config, socket: args.socket }) {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&error, error.hint());
            error.exit()
        }
    }
}

/// Asks the daemon for something, and prints what it says.
fn tell(socket: &Path, request: &Request) -> Exit {
    match Client::ask(socket, request).and_then(Client::only) {
        Ok(Answer::Done { message }) => exit(Exit::Done, writeln!(anstream::stdout(), "{message}")),
        Ok(_) => Exit::Failed,
        Err(error) => {
            complain(&error, error.hint());
            error.exit()
        }
    }
}

fn run_events(args: EventsArgs) -> Exit {
    let follow = || {
        let mut client = Client::ask(&args.daemon.socket, &Request::Events { recent: args.recent })?;
        while let Some(answer) = client.receive()? {
            if let Err(error) = render::event(&answer, args.json, &mut anstream::stdout(), &mut anstream::stderr()) {
                return Ok(exit(Exit::Done, Err(error)));
            }
        }
        Err::<_, ClientError>(client.cut_off())
    };
    follow().unwrap_or_else(|error| {
        complain(&error, error.hint());
        error.exit()
    })
}

/// An error in words. Nobody to tell is no reason for another.
fn complain(error: &dyn std::error::Error, hint: Option<String>) {
    let mut err = anstream::stderr();
    let _ = writeln!(err, "error: {error}");
    if let Some(hint) = hint {
        let _ = writeln!(err, "  hint: {hint}");
    }
}

fn finish(mut report: VipReport, result: Result<(), Error>, json: bool) -> Exit {
    let code = result.as_ref().err().map_or(Exit::Done, Error::exit);
    if let Err(error) = &result {
        render::fail(&mut report, error);
    }
    let changed = !report.dry_run && !report.changes.is_empty();
    match exit(code, render::report(&report, json, &mut anstream::stdout(), &mut anstream::stderr())) {
        // What was done stays done.
        Exit::Failed if code == Exit::Done && changed => Exit::HalfWay,
        told => told,
    }
}

/// The exit code, unless it could not be told: a reader that has gone away (`vipd status | head -0`) is no error.
fn exit(code: Exit, printed: io::Result<()>) -> Exit {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe && code == Exit::Done => {
            complain(&Error::Print(error), Some("vipd status shows what is there".to_owned()));
            Exit::Failed
        }
        _ => code,
    }
}
