//! The server: listens first, answers 503 while it boots, then serves; a failed boot ends the process (GoCD: GoLauncher).
//!
//! ```text
//! listen ─► 503 ─► cipher ─► cruise-config.xml ─► db.properties ─► database ─► migrate ─► agents ─► UPDATE serverbackups ─► serve
//!                     └───────────────┴──────────────────┴─────────────┴──────────┴──────────┴─► "Failed to start", exit 1
//! ```

mod access;
mod agents;
mod api;
mod artifacts;
mod database;
mod maintenance;
mod page;
mod registration;
mod remoting;
mod schedule;
mod starting;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::cipher::{Cipher, CipherError};
use crate::cruise_config::{self, ConfigError, CruiseConfig};
use crate::db_properties::{self, DbPropertiesError};
use crate::{GrantArgs, ServerArgs, VERSION, clock, jvm};
use access::HashedToken;
use agents::Agents;
use artifacts::Artifacts;
use database::{Database, DatabaseError};
use maintenance::Maintenance;

/// What a booted server knows.
pub(crate) struct Site {
    config: CruiseConfig,
    database: Database,
    agents: Mutex<Agents>,
    /// New at every start: GoCD's plugins archive holds time stamps, so its checksum never repeats.
    plugins_md5: String,
    maintenance: Maintenance,
    artifacts: Artifacts,
    /// Whether the dashboard has been read from the database once.
    dashboard_loaded: AtomicBool,
}

impl Site {
    fn agents(&self) -> MutexGuard<'_, Agents> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Empty until the server has booted.
type Phase = Arc<OnceLock<Arc<Site>>>;

/// Why a boot failed.
#[derive(Debug, Error)]
enum BootError {
    #[error(transparent)]
    Cipher(#[from] CipherError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    DbProperties(#[from] DbPropertiesError),
    #[error("database: {0}")]
    Database(#[from] DatabaseError),
}

/// Runs the server until it is killed, or ends with exit code 1 when it cannot start.
pub(crate) async fn run(args: &ServerArgs) -> ExitCode {
    tracing::info!(version = VERSION, listen = %args.listen, "stand-in for a GoCD server starting");
    let listener = match TcpListener::bind(args.listen).await {
        Ok(listener) => listener,
        Err(error) => return failed(&format!("cannot listen on {}: {error}", args.listen)),
    };
    let phase = Phase::default();
    let serving = tokio::spawn(axum::serve(listener, routes(Arc::clone(&phase))).into_future());

    let shortest = tokio::spawn(clock::pause(args.boot_time));
    let site = match boot(args).await {
        Ok(site) => Arc::new(site),
        Err(error) => {
            if let BootError::Database(error) = &error
                && error.is_read_only()
            {
                tracing::error!(
                    "the database is a standby, or read-only for another reason: GoCD does not start on one"
                );
            }
            return failed(&error.to_string());
        }
    };
    // Nothing to do when the pause was cancelled: then the whole server is going down.
    shortest.await.ok();
    let _ = phase.set(Arc::clone(&site));
    tracing::info!(server_id = site.config.server.server_id, "stand-in for a GoCD server is up");

    schedule::start(&site);
    tokio::spawn(load_dashboard(Arc::clone(&site), args.dashboard_time));
    match serving.await {
        Ok(Err(error)) => failed(&format!("cannot serve: {error}")),
        Ok(Ok(())) | Err(_) => ExitCode::FAILURE,
    }
}

fn failed(reason: &str) -> ExitCode {
    tracing::error!("{reason}");
    tracing::error!("Failed to start GoCD server (stand-in)");
    ExitCode::FAILURE
}

async fn boot(args: &ServerArgs) -> Result<Site, BootError> {
    let directory = &args.config_directory;
    let cipher = Cipher::load_or_create(&directory.join("cipher.aes"))?;
    let config = cruise_config::load_or_create(directory, &cipher)?;
    let properties = db_properties::load(&directory.join("db.properties"), &cipher)?;
    let database = Database::connect(&properties).await?;
    database.migrate().await?;
    let options = jvm::Options::new(&args.jvm_options, &args.jvm_tool_options);
    let agents = Agents::new(database.agents().await?, connection_timeout(&options), clock::now());
    // GoCD's last step, and the one that a read-only database stops: it runs even if there is no backup to abort.
    database.abort_backups().await?;
    Ok(Site {
        artifacts: Artifacts::new(&config.server.artifacts.directory),
        config,
        database,
        agents: Mutex::new(agents),
        plugins_md5: Uuid::new_v4().simple().to_string(),
        maintenance: Maintenance::at_boot(&options),
        dashboard_loaded: AtomicBool::new(false),
    })
}

/// Reads the dashboard for the first time, which GoCD does beside serving; until then it answers 202.
async fn load_dashboard(site: Arc<Site>, shortest: Duration) {
    clock::pause(shortest).await;
    while let Err(error) = site.database.runs(1).await {
        tracing::error!("stand-in: the dashboard cannot be read: {error}");
        clock::pause(Duration::from_secs(1)).await;
    }
    site.dashboard_loaded.store(true, Ordering::Relaxed);
}

/// Grants the access token on standard input, by the database of `db.properties`.
pub(crate) async fn grant(args: &GrantArgs) -> ExitCode {
    let token = match std::io::read_to_string(std::io::stdin()) {
        Ok(text) if !text.trim().is_empty() => text,
        Ok(_) => return refused("no token on standard input"),
        Err(error) => return refused(&format!("standard input: {error}")),
    };
    let token = HashedToken::new(token.trim(), &Uuid::new_v4().to_string(), &args.user);
    let granted = async {
        let cipher = Cipher::load_or_create(&args.config_directory.join("cipher.aes"))?;
        let properties = db_properties::load(&args.config_directory.join("db.properties"), &cipher)?;
        let database = Database::connect(&properties).await?;
        database.migrate().await?;
        Ok::<_, BootError>(database.grant(&token).await?)
    };
    match granted.await {
        Ok(()) => {
            tracing::info!(user = args.user, "stand-in: granted an access token");
            ExitCode::SUCCESS
        }
        Err(error) => refused(&error.to_string()),
    }
}

fn refused(reason: &str) -> ExitCode {
    tracing::error!("{reason}");
    ExitCode::FAILURE
}

fn routes(phase: Phase) -> Router {
    Router::new()
        .merge(api::routes())
        .merge(maintenance::routes())
        .merge(page::routes())
        .merge(registration::routes())
        .merge(remoting::routes())
        .fallback(api::not_found)
        .layer(axum::middleware::from_fn(maintenance::block))
        .layer(axum::middleware::from_fn_with_state(phase, starting::gate))
}

/// Time without a ping after which an agent has lost contact: `-Dagent.connection.timeout=SECONDS`, 300 by default.
fn connection_timeout(options: &jvm::Options) -> Duration {
    let seconds = options.get("agent.connection.timeout").and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(300))
}

/// Ticks every so often; ticks that were missed, for a paused machine or a hanging database, are not made up for.
fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests {
    use super::connection_timeout;
    use crate::jvm::Options;
    use std::time::Duration;

    #[test]
    fn the_connection_timeout_comes_from_the_jvm_options() {
        let of = |options: &str| connection_timeout(&Options::new(options, ""));
        assert_eq!(of(""), Duration::from_secs(300));
        assert_eq!(of("-Xmx1g -Dagent.connection.timeout=15"), Duration::from_secs(15));
        assert_eq!(of("-Dagent.connection.timeout=soon"), Duration::from_secs(300));
    }
}
