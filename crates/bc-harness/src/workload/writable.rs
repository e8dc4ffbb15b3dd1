//! The writable watcher: asks each PostgreSQL server directly, five times a second, to commit a row.
//!
//! A ledger alone cannot see two writable servers: its client talks to one of them. So each server is asked by itself.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::{Database, PATIENCE, Tasks, ledger::words};
use crate::clock::{self, Moment};
use crate::history::{Event, Recorder, Writability};

const INTERVAL: Duration = Duration::from_millis(200);
const COMMIT: &str = "INSERT INTO drill_probe VALUES ($1, 1) ON CONFLICT (node) DO UPDATE SET n = drill_probe.n + 1";

/// Watches every server of `database`.
pub(crate) fn watch(tasks: &mut Tasks, database: &Database, recorder: &Recorder) {
    for (node, address) in database.servers.clone() {
        tasks.spawn(watch_one(database.clone(), node, address, recorder.clone()));
    }
}

async fn watch_one(database: Database, node: String, address: Ipv4Addr, recorder: Recorder) {
    let config = database.one(address);
    let mut session: Option<Client> = None;
    loop {
        let began = Moment::now();
        let (found, detail) = match timeout(PATIENCE, commit(&mut session, &config, &node)).await {
            Ok(found) => found,
            Err(_) => (Writability::Unreachable, format!("no answer within {} ms", PATIENCE.as_millis())),
        };
        // A session that failed tells nothing about the next second.
        if found == Writability::Unreachable {
            session = None;
        }
        recorder.since(began, Event::Writable { node: node.clone(), found, detail });
        clock::pause(INTERVAL).await;
    }
}

async fn commit(session: &mut Option<Client>, config: &Config, node: &str) -> (Writability, String) {
    let client = match session {
        Some(client) => client,
        None => match config.connect(NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                session.insert(client)
            }
            Err(error) => return (Writability::Unreachable, words(&error)),
        },
    };
    match client.execute(COMMIT, &[&node]).await {
        Ok(_) => (Writability::Writable, String::new()),
        Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {
            (Writability::ReadOnly, String::new())
        }
        Err(error) => (Writability::Unreachable, words(&error)),
    }
}
