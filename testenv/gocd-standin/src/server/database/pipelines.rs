//! Runs of pipelines and their counters (GoCD: PipelineSqlMapDao).

use serde::Serialize;

use super::{Database, DatabaseError};

/// One run of a pipeline, for people and checkers.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::server) struct Run {
    /// Pipeline.
    pub(in crate::server) pipeline: String,
    /// Its counter: unique and increasing, if only one server was active.
    pub(in crate::server) counter: i64,
    /// Of its stage: Building, Passed, Failed, Cancelled.
    pub(in crate::server) state: String,
    /// How often its job was started; more than 1 when an agent was lost.
    pub(in crate::server) builds: i64,
    /// When it was triggered, UTC.
    pub(in crate::server) triggered: String,
}

impl Database {
    /// Triggers a run, unless the pipeline's first stage is still active; its counter if it was triggered.
    ///
    /// The counter is read, incremented and written back; nothing keeps a second server from doing the same meanwhile.
    ///
    /// # Errors
    ///
    /// When the database is read-only or lost; then nothing was triggered, or (lost at the commit) it is not known.
    pub(in crate::server) async fn trigger(
        &self,
        pipeline: &str,
        stage: &str,
        job: &str,
    ) -> Result<Option<i64>, DatabaseError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        let active = "SELECT EXISTS (SELECT FROM stages s JOIN pipelines p ON p.id = s.pipelineid \
                      WHERE p.name = $1 AND s.name = $2 AND s.state = 'Building')";
        if transaction.query_one(active, &[&pipeline, &stage]).await?.get(0) {
            return Ok(None);
        }
        let count = "SELECT labelcount FROM pipelinelabelcounts WHERE pipelinename = $1";
        let count: Option<i64> = transaction.query_opt(count, &[&pipeline]).await?.map(|row| row.get(0));
        let counter = count.unwrap_or(0) + 1;
        let save = match count {
            Some(_) => "UPDATE pipelinelabelcounts SET labelcount = $2 WHERE pipelinename = $1",
            None => "INSERT INTO pipelinelabelcounts (pipelinename, labelcount) VALUES ($1, $2)",
        };
        transaction.execute(save, &[&pipeline, &counter]).await?;
        let insert = "WITH p AS (INSERT INTO pipelines (name, counter, label) VALUES ($1, $2, $3) RETURNING id), \
                      s AS (INSERT INTO stages (pipelineid, name, counter, state) \
                            SELECT id, $4, 1, 'Building' FROM p RETURNING id) \
                      INSERT INTO builds (stageid, name, state, result, ignored) \
                      SELECT id, $5, 'Scheduled', 'Unknown', false FROM s";
        transaction.execute(insert, &[&pipeline, &counter, &counter.to_string(), &stage, &job]).await?;
        transaction.commit().await?;
        Ok(Some(counter))
    }

    /// The latest runs, newest first.
    ///
    /// # Errors
    ///
    /// When the database is lost.
    pub(in crate::server) async fn runs(&self, limit: i64) -> Result<Vec<Run>, DatabaseError> {
        let sql = "SELECT p.name, p.counter, s.state, (SELECT count(*) FROM builds b WHERE b.stageid = s.id), \
                   to_char(p.createdtime AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') \
                   FROM pipelines p JOIN stages s ON s.pipelineid = p.id ORDER BY p.id DESC LIMIT $1";
        let rows = self.client().await?.query(sql, &[&limit]).await?;
        Ok(rows
            .iter()
            .map(|row| Run {
                pipeline: row.get(0),
                counter: row.get(1),
                state: row.get(2),
                builds: row.get(3),
                triggered: row.get(4),
            })
            .collect())
    }
}
