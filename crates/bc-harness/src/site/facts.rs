//! Facts read off the hosts themselves, by their own means and not through our tools.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Site;
pub(crate) use super::provision::wait_booted;
use crate::checkers::UNIT_FACTS;
use crate::exec::Exec;
use crate::history::RunView;
use crate::ranges::Ranges;

const LIMIT: Duration = Duration::from_secs(20);
const SHARED_FILES: &str = "/etc/go/cruise-config.xml /etc/go/cipher.aes /var/lib/go-server/plugins/external/*.jar";

/// GoCD's account of its mode, asked for with the token of the host.
const MAINTENANCE: &str = "printf 'header = \"Authorization: bearer %s\"\\n' \"$(cat /etc/bcctl/gocd-token)\" | \
    curl -qfsS -K - -H 'Accept: application/vnd.go.cd.v1+json' http://127.0.0.1:8153/go/api/admin/maintenance_mode/info";
/// The artifacts of a run that no database knows: its counter is out of reach.
const LOST_RUN: &str = "/var/lib/go-server/artifacts/pipelines/heartbeat/1000000";

impl Site {
    /// Leaves artifacts on `host` of a run that its database has lost, as a shared or copied store may hold them.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(crate) async fn leave_artifacts_of_a_lost_run(&self, host: &str) -> Result<()> {
        let output = format!("{LOST_RUN}/beat/1/tick/cruise-output");
        let leave = format!("runuser -u go -- sh -c 'mkdir -p {output} && echo lost >{output}/console.log'");
        self.host(host)?.ask(&Exec::shell(&leave), LIMIT).await?;
        Ok(())
    }

    /// Runs SQL on the PostgreSQL server of `host` as its administrator; rows by lines, columns by `|`.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) async fn sql(&self, host: &str, database: &str, sql: &str) -> Result<String> {
        let psql =
            ["runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql];
        self.host(host)?.ask(&Exec::new(psql), LIMIT).await
    }

    /// The rows of the ledger on `host`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) async fn ledger_rows(&self, host: &str) -> Result<Ranges> {
        let rows = self.sql(host, "gocd", "SELECT id FROM drill_ledger ORDER BY id").await?;
        rows.lines().map(|id| id.parse().with_context(|| format!("{id:?} is no row id"))).collect()
    }

    /// The runs of the pipeline on `host`, in the order of insertion.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(crate) async fn pipeline_runs(&self, host: &str) -> Result<Vec<RunView>> {
        const RUNS: &str = "\
            SELECT p.id, p.counter, coalesce(max(a.hostname), ''), bool_and(b.state = 'Completed') \
            FROM pipelines p JOIN stages s ON s.pipelineid = p.id JOIN builds b ON b.stageid = s.id AND NOT b.ignored \
            LEFT JOIN agents a ON a.uuid = b.agentuuid WHERE p.name = 'heartbeat' GROUP BY p.id, p.counter ORDER BY p.id";
        let rows = self.sql(host, "gocd", RUNS).await?;
        rows.lines().map(|row| parse_run(row).with_context(|| format!("{row:?} is no run of a pipeline"))).collect()
    }

    /// Properties of a systemd unit that change when it is restarted.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub(crate) async fn unit(&self, host: &str, unit: &str) -> Result<BTreeMap<String, String>> {
        let properties = UNIT_FACTS.join(",");
        let show =
            self.host(host)?.ask(&Exec::new(["systemctl", "show", unit, "--property", &properties]), LIMIT).await?;
        Ok(show.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    /// SHA-256 of the files that both GoCD hosts must have, by path.
    ///
    /// # Errors
    /// If one is missing.
    pub(crate) async fn shared_files(&self, host: &str) -> Result<BTreeMap<String, String>> {
        let sums = self.host(host)?.ask(&Exec::shell(&format!("sha256sum {SHARED_FILES}")), LIMIT).await?;
        let pairs = sums.lines().filter_map(|line| line.split_once("  "));
        Ok(pairs.map(|(hash, path)| (path.to_owned(), hash.to_owned())).collect())
    }

    /// One fact of [`crate::checkers::AT_HOME`], as `host` itself has it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) async fn role(&self, host: &str, fact: &str) -> Result<String> {
        let state = |unit: &str| Exec::shell(&format!("systemctl is-active {unit} || true"));
        let machine = self.host(host)?;
        match fact {
            "in recovery" => self.sql(host, "postgres", "SELECT pg_is_in_recovery()").await,
            "standbys" => {
                self.sql(
                    host,
                    "postgres",
                    "SELECT application_name || ' ' || state FROM pg_stat_replication ORDER BY 1",
                )
                .await
            }
            "follows" => self.sql(host, "postgres", "SELECT status FROM pg_stat_wal_receiver").await,
            "go-server" => machine.ask(&state("go-server.service"), LIMIT).await,
            "standbyd-pull.timer" => machine.ask(&state("standbyd-pull.timer"), LIMIT).await,
            "holds the VIP" => {
                let addresses = machine.ask(&Exec::new(["ip", "-o", "-4", "address", "show"]), LIMIT).await?;
                let wanted = format!(" {}/", self.vip());
                Ok(if addresses.contains(&wanted) { "yes" } else { "no" }.to_owned())
            }
            "maintenance mode" => {
                let info = machine.ask(&Exec::shell(MAINTENANCE), LIMIT).await?;
                let info: serde_json::Value = serde_json::from_str(&info).context("GoCD's maintenance mode")?;
                let on = info["is_maintenance_mode"].as_bool().context("GoCD does not say its mode")?;
                Ok(if on { "on" } else { "off" }.to_owned())
            }
            "artifacts of lost runs" => {
                machine.ask(&Exec::shell(&format!("ls -d {LOST_RUN} 2>/dev/null | wc -l")), LIMIT).await
            }
            _ => anyhow::bail!("nobody knows how to read {fact:?}"),
        }
    }
}

fn parse_run(row: &str) -> Option<RunView> {
    let mut columns = row.split('|');
    let mut next = || columns.next();
    let (id, counter) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let agent = next().filter(|agent| !agent.is_empty()).map(str::to_owned);
    Some(RunView { id, counter, agent, completed: next()? == "t" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_from_a_row() {
        let run =
            |agent: Option<&str>, completed| RunView { id: 33, counter: 7, agent: agent.map(str::to_owned), completed };
        assert_eq!(parse_run("33|7|agent1|t"), Some(run(Some("agent1"), true)));
        assert_eq!(parse_run("33|7||f"), Some(run(None, false)));
        for nonsense in ["", "33", "33|x|a|t", "33|7|agent1"] {
            assert_eq!(parse_run(nonsense), None, "{nonsense}");
        }
    }
}
