//! The PostgreSQL database that holds the site's history: one connection, made again after it broke.
//!
//! Like GoCD's pool it has no timeout but that for connecting, so a database that vanishes without a word holds every request.

mod builds;
mod pipelines;
mod tokens;

use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::agents::AgentRow;
use crate::db_properties::DbProperties;

pub(super) use builds::ReportError;

/// Access to the database.
pub(super) struct Database {
    config: Config,
    client: Mutex<Client>,
}

/// A statement or a connection failed.
#[derive(Debug, Error)]
#[error("{}", describe(.0))]
pub(super) struct DatabaseError(#[from] tokio_postgres::Error);

fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("SQLSTATE {}: {}", error.code().code(), error.message()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    }
}

impl DatabaseError {
    /// Whether the database refused to write because it is read-only: a standby (SQLSTATE 25006).
    pub(super) fn is_read_only(&self) -> bool {
        self.0.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
    }
}

async fn open(config: &Config) -> Result<Client, DatabaseError> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::warn!("stand-in: lost the database: {}", describe(&error));
        }
    });
    Ok(client)
}

impl Database {
    /// Connects once, to see that it is there.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or does not let us in.
    pub(super) async fn connect(properties: &DbProperties) -> Result<Self, DatabaseError> {
        let mut config = Config::new();
        config
            .host(&properties.host)
            .port(properties.port)
            .dbname(&properties.database)
            .user(&properties.user)
            .password(&properties.password)
            .application_name("gocd-standin")
            .connect_timeout(Duration::from_secs(10))
            // As pgjdbc by default.
            .keepalives(false);
        let client = open(&config).await?;
        Ok(Self { config, client: Mutex::new(client) })
    }

    /// The connection, for one use at a time.
    async fn client(&self) -> Result<MutexGuard<'_, Client>, DatabaseError> {
        let mut client = self.client.lock().await;
        if client.is_closed() {
            *client = open(&self.config).await?;
        }
        Ok(client)
    }

    /// Creates the tables unless they are there; only reads when they are (GoCD: DatabaseMigrator, Liquibase's fast check).
    ///
    /// # Errors
    ///
    /// On a read-only database without tables, and when the database is lost.
    pub(super) async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut client = self.client().await?;
        let there: bool = client.query_one("SELECT to_regclass('databasechangelog') IS NOT NULL", &[]).await?.get(0);
        if !there {
            let transaction = client.transaction().await?;
            transaction.batch_execute(include_str!("schema.sql")).await?;
            transaction.commit().await?;
            tracing::info!("stand-in: created the tables");
        }
        Ok(())
    }

    /// Marks backups that a dead server left running as aborted (GoCD: BackupService.initialize).
    ///
    /// # Errors
    ///
    /// On a read-only database, even if there is no such backup: this is what keeps GoCD from starting on a standby.
    pub(super) async fn abort_backups(&self) -> Result<(), DatabaseError> {
        let sql = "UPDATE serverbackups SET status = 'ABORTED', message = 'Server shutdown while backup in progress.' \
                   WHERE status = 'IN_PROGRESS'";
        self.client().await?.execute(sql, &[]).await?;
        Ok(())
    }

    /// Every agent that is not deleted.
    ///
    /// # Errors
    ///
    /// When the database is lost.
    pub(super) async fn agents(&self) -> Result<Vec<AgentRow>, DatabaseError> {
        let sql = "SELECT uuid, cookie, hostname, ipaddress, disabled FROM agents WHERE NOT deleted";
        let rows = self.client().await?.query(sql, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| AgentRow {
                uuid: row.get(0),
                cookie: row.get(1),
                hostname: row.get(2),
                ip_address: row.get(3),
                disabled: row.get(4),
            })
            .collect())
    }

    /// Registers an agent; one that is there is left as it is.
    ///
    /// # Errors
    ///
    /// When the database is read-only or lost.
    pub(super) async fn register(&self, agent: &AgentRow) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO agents (uuid, hostname, ipaddress) VALUES ($1, $2, $3) ON CONFLICT (uuid) DO NOTHING";
        self.client().await?.execute(sql, &[&agent.uuid, &agent.hostname, &agent.ip_address]).await?;
        Ok(())
    }

    /// Keeps an agent's new cookie.
    ///
    /// # Errors
    ///
    /// When the database is read-only or lost.
    pub(super) async fn set_cookie(&self, uuid: &str, cookie: &str) -> Result<(), DatabaseError> {
        self.client().await?.execute("UPDATE agents SET cookie = $2 WHERE uuid = $1", &[&uuid, &cookie]).await?;
        Ok(())
    }
}
