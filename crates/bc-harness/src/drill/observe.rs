//! Waiting until the site is as it should be, and taking down what it is.

use anyhow::Result;
use futures_util::future::join_all;

use super::Drill;
use super::steps::{POLL, SOON};
use crate::checkers::{AT_HOME, absent_agents};
use crate::clock::Moment;
use crate::history::{Entry, Event, Outcome, Phase};
use crate::site::{AGENTS, Site};
use crate::wait;

/// The agents' service.
const AGENT_UNIT: &str = "go-agent.service";
/// So many rows in a row are no accident.
const ENOUGH_ROWS: usize = 10;

impl Drill {
    /// Waits until clients can write to `primary`, `server` answers ARP for the VIP, every agent is listed as alive there, and
    /// the pipeline has run to its end once more.
    pub(super) async fn wait_for_service(&self, primary: &str, server: &str) -> Result<()> {
        let site = self.site()?;
        let began = Moment::now();
        self.progress.now("clients write, agents are back");
        wait::until("clients and agents to work", SOON, POLL, || async {
            self.clients_write(began, primary)?;
            self.vip_is_at(began, site, server)?;
            self.agents_are_back(began)
        })
        .await?;
        self.progress.now("the pipeline runs");
        let completed = || async {
            let runs = site.pipeline_runs(primary).await.map_err(|error| format!("{error:#}"))?;
            Ok::<_, String>(runs.iter().filter(|run| run.completed).count())
        };
        let before = completed().await.map_err(anyhow::Error::msg)?;
        wait::until("the pipeline to run to its end", SOON, POLL, || async {
            let now = completed().await?;
            if now > before { Ok(()) } else { Err(format!("{now} runs completed, as before")) }
        })
        .await?;
        Ok(())
    }

    fn seen_since<T>(&self, began: Moment, pick: impl FnMut(&Entry) -> Option<T>) -> Vec<T> {
        self.recorder.since_moment(began, pick)
    }

    fn clients_write(&self, began: Moment, primary: &str) -> Result<(), String> {
        let rows = self.seen_since(began, |entry| match &entry.event {
            Event::Write { server: Some(at), outcome: Outcome::Ok, .. } if at == primary => Some(()),
            _ => None,
        });
        if rows.len() < ENOUGH_ROWS { Err(format!("{} rows acknowledged by {primary}", rows.len())) } else { Ok(()) }
    }

    fn vip_is_at(&self, began: Moment, site: &Site, server: &str) -> Result<(), String> {
        let wanted = &site.host(server).map_err(|error| error.to_string())?.mac;
        let answers = self.seen_since(began, |entry| match &entry.event {
            Event::ArpAnswer { mac } => Some(mac.clone()),
            _ => None,
        });
        match answers.last() {
            Some(mac) if mac == wanted => Ok(()),
            found => Err(format!("the VIP is answered for by {found:?} and not by {server} ({wanted})")),
        }
    }

    fn agents_are_back(&self, began: Moment) -> Result<(), String> {
        let lists = self.seen_since(began, |entry| match &entry.event {
            Event::Agents { agents } => Some(agents.clone()),
            _ => None,
        });
        let agents = lists.last().ok_or_else(|| "no list of agents at the VIP".to_owned())?;
        let wanted = AGENTS.map(str::to_owned);
        let absent = absent_agents(&wanted, agents);
        if absent.is_empty() { Ok(()) } else { Err(format!("{} not alive in {agents:?}", absent.join(", "))) }
    }

    /// Waits until every role is as at home, and go2's files are in step with go1's.
    pub(super) async fn wait_for_roles(&self) -> Result<()> {
        let site = self.site()?;
        self.progress.now("replication streams, files are in step");
        wait::until("the roles of home", SOON, POLL, || async {
            let found = join_all(AT_HOME.map(|(host, fact, expected)| async move {
                match site.role(host, fact).await {
                    Ok(value) if value == expected => None,
                    Ok(value) => Some(format!("{host}: {fact} is {value:?} and not {expected:?}")),
                    Err(error) => Some(format!("{host}: {fact}: {error:#}")),
                }
            }));
            found.await.into_iter().flatten().next().map_or(Ok(()), Err)
        })
        .await?;
        wait::until("go2 to be in step with go1", SOON, POLL, || async {
            let files = |host| async move { site.shared_files(host).await.map_err(|error| format!("{error:#}")) };
            let (one, other) = (files("go1").await?, files("go2").await?);
            if one == other { Ok(()) } else { Err(format!("go1 has {one:?}, go2 has {other:?}")) }
        })
        .await?;
        Ok(())
    }

    /// Takes down rows, runs and the agents' services.
    pub(super) async fn take_facts(&self, phase: Phase, primary: &str) -> Result<()> {
        let site = self.site()?;
        let node = primary.to_owned();
        let began = Moment::now();
        let ids = site.ledger_rows(primary).await?;
        self.recorder.since(began, Event::Rows { phase, node: node.clone(), ids });
        let began = Moment::now();
        let runs = site.pipeline_runs(primary).await?;
        self.recorder.since(began, Event::Runs { phase, node, runs });
        for agent in AGENTS {
            let facts = site.unit(agent, AGENT_UNIT).await?;
            let (host, unit) = (agent.to_owned(), AGENT_UNIT.to_owned());
            self.recorder.note(Event::Unit { phase, host, unit, facts });
        }
        Ok(())
    }

    /// Takes down the hashes of the files that both GoCD hosts must have.
    pub(super) async fn note_files(&self, phase: Phase, hosts: &[&str]) -> Result<()> {
        for host in hosts {
            for (path, sha256) in self.site()?.shared_files(host).await? {
                self.recorder.note(Event::File { phase, host: (*host).to_owned(), path, sha256 });
            }
        }
        Ok(())
    }

    /// Takes down every role that can be read; one that cannot is missing, and the checker says so.
    pub(super) async fn note_roles(&self, phase: Phase) {
        let Ok(site) = self.site() else { return };
        for (host, fact, _) in AT_HOME {
            if let Ok(value) = site.role(host, fact).await {
                self.recorder.note(Event::Role { phase, host: host.to_owned(), fact: fact.to_owned(), value });
            }
        }
    }
}
