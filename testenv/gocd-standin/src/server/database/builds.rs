//! Runs of jobs: given to agents, reported by them, and run again when an agent was lost (GoCD: BuildAssignmentService,
//! BuildRepositoryService, ScheduleService).
//!
//! ```text
//! Scheduled ─► Assigned ─► Preparing ─► Building ─► Completing ─► Completed
//!     ▲            └───────────┴────────────┴────────────┴─► Rescheduled (ignored)
//!     └─────────────────── a new row ────────────────────────────┘
//! ```

use serde_json::{Value, json};
use thiserror::Error;

use super::{Database, DatabaseError};
use crate::wire::{JobIdentifier, JobResult, JobState};

/// Why a report is not accepted.
#[derive(Debug, Error)]
pub(in crate::server) enum ReportError {
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// No such run of a job, or another agent has it: its row was lost, or never was.
    #[error("build {0} is not known, or is not that agent's")]
    Unknown(i64),
}

impl From<tokio_postgres::Error> for ReportError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

const ACTIVE: &str = "state IN ('Assigned', 'Preparing', 'Building', 'Completing')";

impl Database {
    /// Gives the agent the job that has waited longest, if any.
    ///
    /// # Errors
    ///
    /// When the database is read-only or lost; an assignment whose answer never came is rescheduled when the agent asks again.
    pub(in crate::server) async fn assign(&self, agent: &str) -> Result<Option<JobIdentifier>, DatabaseError> {
        let sql = "UPDATE builds b SET state = 'Assigned', agentuuid = $1 FROM stages s, pipelines p \
                   WHERE b.id = (SELECT id FROM builds WHERE state = 'Scheduled' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) \
                   AND s.id = b.stageid AND p.id = s.pipelineid \
                   RETURNING p.name, p.counter, p.label, s.name, b.name, b.id, s.counter::text";
        let row = self.client().await?.query_opt(sql, &[&agent]).await?;
        Ok(row.map(|row| JobIdentifier {
            pipeline_name: row.get(0),
            pipeline_counter: row.get(1),
            pipeline_label: row.get(2),
            stage_name: row.get(3),
            build_name: row.get(4),
            build_id: row.get(5),
            stage_counter: row.get(6),
        }))
    }

    /// Lets every job that the agent had started run again, elsewhere or there; how many.
    ///
    /// # Errors
    ///
    /// When the database is read-only or lost; then nothing was changed.
    pub(in crate::server) async fn reschedule_jobs_of(&self, agent: &str) -> Result<u64, DatabaseError> {
        let sql = format!(
            "WITH lost AS (UPDATE builds SET state = 'Rescheduled', ignored = true \
                           WHERE agentuuid = $1 AND {ACTIVE} RETURNING stageid, name) \
             INSERT INTO builds (stageid, name, state, result, ignored) \
             SELECT stageid, name, 'Scheduled', 'Unknown', false FROM lost"
        );
        Ok(self.client().await?.execute(&sql, &[&agent]).await?)
    }

    /// Takes note of how far a job is.
    ///
    /// # Errors
    ///
    /// [`ReportError`]. A report on a job that was rescheduled meanwhile is accepted and changes nothing.
    pub(in crate::server) async fn report(&self, build: i64, agent: &str, state: JobState) -> Result<(), ReportError> {
        let sql = format!("UPDATE builds SET state = $3 WHERE id = $1 AND agentuuid = $2 AND {ACTIVE}");
        let changed = self.client().await?.execute(&sql, &[&build, &agent, &format!("{state:?}")]).await?;
        if changed == 0 { self.known(build, agent).await } else { Ok(()) }
    }

    /// Takes note of a job's end, and with it of its stage's.
    ///
    /// # Errors
    ///
    /// [`ReportError`]. A report on a job that was rescheduled meanwhile is accepted and changes nothing.
    pub(in crate::server) async fn complete(
        &self,
        build: i64,
        agent: &str,
        result: JobResult,
    ) -> Result<(), ReportError> {
        let sql = format!(
            "WITH done AS (UPDATE builds SET state = 'Completed', result = $3 \
                           WHERE id = $1 AND agentuuid = $2 AND {ACTIVE} RETURNING stageid) \
             UPDATE stages SET state = $3 FROM done WHERE id = done.stageid"
        );
        let changed = self.client().await?.execute(&sql, &[&build, &agent, &format!("{result:?}")]).await?;
        if changed == 0 { self.known(build, agent).await } else { Ok(()) }
    }

    /// Whether nobody waits for this run of the job any more.
    ///
    /// # Errors
    ///
    /// [`ReportError`].
    pub(in crate::server) async fn is_ignored(&self, build: i64) -> Result<bool, ReportError> {
        let row = self.client().await?.query_opt("SELECT ignored FROM builds WHERE id = $1", &[&build]).await?;
        row.map(|row| row.get(0)).ok_or(ReportError::Unknown(build))
    }

    /// Every job that has not ended, as maintenance mode lists them.
    ///
    /// # Errors
    ///
    /// When the database is lost.
    pub(in crate::server) async fn unfinished_jobs(&self) -> Result<Vec<Value>, DatabaseError> {
        let sql = format!(
            "SELECT p.name, p.counter, s.name, s.counter::text, b.name, b.state, b.agentuuid, \
             to_char(b.scheduleddate AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
             FROM builds b JOIN stages s ON s.id = b.stageid JOIN pipelines p ON p.id = s.pipelineid \
             WHERE NOT b.ignored AND (b.{ACTIVE} OR b.state = 'Scheduled') ORDER BY b.id"
        );
        let rows = self.client().await?.query(&sql, &[]).await?;
        Ok(rows
            .iter()
            .map(|row| {
                json!({
                    "pipeline_name": row.get::<_, String>(0), "pipeline_counter": row.get::<_, i64>(1),
                    "stage_name": row.get::<_, String>(2), "stage_counter": row.get::<_, String>(3),
                    "name": row.get::<_, String>(4), "state": row.get::<_, String>(5),
                    "agent_uuid": row.get::<_, Option<String>>(6), "scheduled_date": row.get::<_, String>(7),
                })
            })
            .collect())
    }

    async fn known(&self, build: i64, agent: &str) -> Result<(), ReportError> {
        let sql = "SELECT FROM builds WHERE id = $1 AND agentuuid = $2";
        let row = self.client().await?.query_opt(sql, &[&build, &agent]).await?;
        row.map(|_| ()).ok_or(ReportError::Unknown(build))
    }
}
