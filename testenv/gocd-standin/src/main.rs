//! `gocd-standin`: a stand-in for GoCD's server and agent, for drills. It is not GoCD, and says so in its version, its log
//! and on its pages.
//!
//! Faithful, because a failover depends on it (GoCD 26.1, sources in each module):
//! - the server boots only on a writable database: `UPDATE serverbackups …`, SQLSTATE 25006, "Failed to start GoCD server",
//!   exit 1;
//! - it takes its database from `db.properties`, its identity from `cruise-config.xml` (`serverId`, `tokenGenerationKey`,
//!   `agentAutoRegisterKey`), and its secrets need the `cipher.aes` they were made with; a missing cipher or configuration is
//!   made anew, with other keys, in silence;
//! - 503 on every path until it is up; health stays 200 with a dead database; 404 without the versioned Accept header;
//! - counters are read, incremented and written back, without uniqueness or a lock between servers: two active servers on one
//!   database show as duplicate counters;
//! - maintenance mode is in memory, or on from the start by its property (`GOCD_SERVER_JVM_OPTS`, `JAVA_TOOL_OPTIONS`): no timer
//!   triggers, no job is assigned, 503 for every write but those of agents; 204 and 409; access tokens are hashed in the database;
//! - the dashboard answers 202 until it was loaded; artifacts of a counter that is used again are added to;
//! - agents are read at boot only; Missing, Idle, Building, `LostContact`; tokens by HMAC, cookies, 403 and 500 as there;
//! - a job whose agent comes back for other work, or is lost, runs again;
//! - the agent retries for ever, has no read timeout but `SO_KEEPALIVE`, abandons a job when a report fails, and relaunches
//!   (here: forgets its cookie) when the server's plugins archive has another checksum, that is, after every server start.
//!
//! Not faithful:
//! - no materials, plugins, users, config.git or web pages; of artifacts the console log only; tables have a few of GoCD's columns;
//! - every access token is an administrator's; the list of agents asks for none;
//! - an encrypted value that does not decrypt ends the boot, without the fall-back to config.git; `STANDIN_CHECK` must decrypt to
//!   the `serverId`, so that another key is noticed for certain and not 255 times in 256;
//! - `db.properties` is required (GoCD would start on an empty H2 database);
//! - work is assigned when it is asked for (GoCD answers the first request with `NoWork`); intervals can be shortened;
//! - the agent writes its token when it is approved (GoCD's writes it before, and never registers if it dies in between);
//! - timers are `0/N * * * * ?` only.

mod agent;
mod cipher;
mod clock;
mod cruise_config;
mod db_properties;
mod jvm;
mod server;
mod token;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// The version it reports: GoCD's whose habits it has, and what it is.
pub(crate) const VERSION: &str = "26.1.0-stand-in";

#[derive(Parser)]
#[command(name = "gocd-standin", version = VERSION, about = "A stand-in for GoCD's server and agent, for drills")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Server(ServerArgs),
    /// Run an agent
    Agent(AgentArgs),
    /// Write cruise-config.xml and cipher.aes with fresh keys, unless they are there
    Init(InitArgs),
    /// Grant the access token on standard input: an administrator's, at every server of the database
    Grant(GrantArgs),
}

/// What the server is told on its command line or by its unit's environment.
#[derive(Args)]
pub(crate) struct ServerArgs {
    /// Directory with cruise-config.xml, cipher.aes and db.properties
    #[arg(long, default_value = "/etc/go")]
    config_directory: PathBuf,
    /// Address to serve on
    #[arg(long, default_value = "0.0.0.0:8153")]
    listen: std::net::SocketAddr,
    /// Shortest time to answer 503 after start; GoCD needs half a minute or more
    #[arg(long, env = "STANDIN_BOOT_TIME", default_value = "2s", value_parser = parse_duration)]
    boot_time: Duration,
    /// Shortest time that the dashboard is answered 202 after that
    #[arg(long, env = "STANDIN_DASHBOARD_TIME", default_value = "200ms", value_parser = parse_duration)]
    dashboard_time: Duration,
    /// JVM options; agent.connection.timeout and gocd.server.start.in.maintenance.mode are honoured, the rest ignored
    #[arg(long, env = "GOCD_SERVER_JVM_OPTS", default_value = "", allow_hyphen_values = true)]
    jvm_options: String,
    /// The same, as every JVM reads them
    #[arg(long, env = "JAVA_TOOL_OPTIONS", default_value = "", allow_hyphen_values = true)]
    jvm_tool_options: String,
}

/// What an agent is told on its command line or by its unit's environment.
#[derive(Args)]
pub(crate) struct AgentArgs {
    /// The server, as http://HOST:PORT/go; the only address the agent ever uses
    #[arg(long, env = "GO_SERVER_URL")]
    server_url: String,
    /// Directory for config/guid.txt and config/token
    #[arg(long, default_value = ".")]
    work_directory: PathBuf,
    /// The server's agentAutoRegisterKey
    #[arg(long, env = "AGENT_AUTO_REGISTER_KEY", default_value = "", hide_env_values = true)]
    auto_register_key: String,
    /// Time between pings
    #[arg(long, env = "STANDIN_PING_INTERVAL", default_value = "5s", value_parser = parse_duration)]
    ping_interval: Duration,
    /// Longest time between two requests for work; the first comes after 1 s or this, whatever is less
    #[arg(long, env = "STANDIN_WORK_INTERVAL", default_value = "10s", value_parser = parse_duration)]
    work_interval: Duration,
}

#[derive(Args)]
struct InitArgs {
    /// Directory to write to
    #[arg(long, default_value = "/etc/go")]
    config_directory: PathBuf,
    /// Key by which agents are approved without a person
    #[arg(long, env = "AGENT_AUTO_REGISTER_KEY", hide_env_values = true)]
    auto_register_key: String,
    /// Seconds between two runs of the pipeline "heartbeat"
    #[arg(long, env = "PIPELINE_EVERY", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..60))]
    every: u8,
}

/// What `grant` is told.
#[derive(Args)]
pub(crate) struct GrantArgs {
    /// Directory with cipher.aes and db.properties
    #[arg(long, default_value = "/etc/go")]
    config_directory: PathBuf,
    /// Whose token it is
    #[arg(long, default_value = "bcctl")]
    user: String,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected a duration such as 500ms or 2s".to_owned())
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "gocd_standin=info".into()),
        )
        .with_target(false)
        .init();
    match cli.command {
        Command::Server(args) => server::run(&args).await,
        Command::Agent(args) => agent::run(args).await,
        Command::Init(args) => init(&args),
        Command::Grant(args) => server::grant(&args).await,
    }
}

fn init(args: &InitArgs) -> ExitCode {
    match cruise_config::write_unless_there(&args.config_directory, &args.auto_register_key, Some(args.every)) {
        Ok(true) => {
            tracing::info!(directory = %args.config_directory.display(), "stand-in: wrote cruise-config.xml and cipher.aes")
        }
        Ok(false) => tracing::info!("stand-in: cruise-config.xml is there; left alone"),
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
