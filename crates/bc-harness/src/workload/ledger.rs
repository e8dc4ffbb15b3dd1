//! The ledger: a client that writes rows with its own ids to whichever server takes writes, and remembers what it was told.
//!
//! An acknowledged row that is missing later is lost. A row whose answer never came may exist or not: that is no loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use super::{Database, PATIENCE};
use crate::clock::{self, Moment};
use crate::history::{Event, Outcome, Recorder};

const PACE: Duration = Duration::from_millis(40);

/// The tables of the drill. `drill_probe` belongs to [`super::writable`].
pub(crate) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS drill_ledger (id bigint PRIMARY KEY, written_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE IF NOT EXISTS drill_probe (node text PRIMARY KEY, n bigint NOT NULL);";

/// A ledger that is being written.
pub(crate) struct Ledger {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Ledger {
    /// Begins to write, about 25 rows a second.
    pub(crate) fn start(database: Database, recorder: Recorder) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(write(database, recorder, stop.clone()));
        Self { stop, task }
    }

    /// Ends after the row that is being written.
    ///
    /// # Errors
    /// If the task panicked.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the ledger's task failed")
    }
}

/// Makes the tables.
///
/// # Errors
/// If no server takes writes.
pub(crate) async fn prepare(database: &Database) -> Result<()> {
    let (client, _) =
        connect(database).await.map_err(anyhow::Error::msg).context("cannot connect to a writable server")?;
    client.batch_execute(TABLES).await.context("cannot make the ledger's tables")
}

async fn write(database: Database, recorder: Recorder, stop: Arc<AtomicBool>) {
    let mut session = None;
    let mut id = 0;
    while !stop.load(Ordering::Relaxed) {
        id += 1;
        let began = Moment::now();
        let (outcome, detail, server) = match reuse_or_connect(&mut session, &database).await {
            Err(detail) => (Outcome::Fail, detail, None),
            Ok((client, server)) => {
                let server = Some(server.clone());
                let insert = async { client.execute("INSERT INTO drill_ledger (id) VALUES ($1)", &[&id]).await };
                let (outcome, detail) = match timeout(PATIENCE, insert).await {
                    Ok(Ok(_)) => (Outcome::Ok, String::new()),
                    Ok(Err(error)) => (outcome_of(error.code()), words(&error)),
                    Err(_) => (Outcome::Unknown, format!("no answer within {} ms", PATIENCE.as_millis())),
                };
                if outcome != Outcome::Ok {
                    session = None;
                }
                (outcome, detail, server)
            }
        };
        recorder.since(began, Event::Write { id, server, outcome, detail });
        clock::pause(PACE).await;
    }
}

async fn reuse_or_connect<'s>(
    session: &'s mut Option<(Client, String)>,
    database: &Database,
) -> Result<&'s (Client, String), String> {
    match session {
        Some(session) => Ok(session),
        None => Ok(session.insert(connect(database).await?)),
    }
}

/// A session with a server that takes writes, and the server's name.
async fn connect(database: &Database) -> Result<(Client, String), String> {
    let attempt = async {
        let (client, connection) = database.writable().connect(NoTls).await.map_err(|error| words(&error))?;
        tokio::spawn(connection);
        let row = client.query_one("SELECT host(inet_server_addr())", &[]).await.map_err(|error| words(&error))?;
        let address: String = row.try_get(0).map_err(|error| words(&error))?;
        Ok((client, database.name(&address)))
    };
    // Twice the patience: there are two servers to ask.
    timeout(2 * PATIENCE, attempt).await.map_err(|_| "no server answered in time".to_owned())?
}

/// What is known of a row whose INSERT was answered with this code, or with none.
///
/// Only an answer of the server proves that nothing was committed, and class 57 (it is shutting down) may have come
/// between the commit and its acknowledgement.
fn outcome_of(code: Option<&SqlState>) -> Outcome {
    match code {
        Some(code) if !code.code().starts_with("57") => Outcome::Fail,
        _ => Outcome::Unknown,
    }
}

/// The error with its causes, in one line.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| crate::words::chain(error), |error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_that_precludes_a_commit_is_a_failure() {
        assert_eq!(outcome_of(Some(&SqlState::READ_ONLY_SQL_TRANSACTION)), Outcome::Fail);
        assert_eq!(outcome_of(Some(&SqlState::UNIQUE_VIOLATION)), Outcome::Fail);
        assert_eq!(outcome_of(Some(&SqlState::ADMIN_SHUTDOWN)), Outcome::Unknown);
        assert_eq!(outcome_of(None), Outcome::Unknown, "the connection broke");
    }
}
