//! What each step does.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;

use super::Drill;
use super::operate::Voice;
use crate::clock::Moment;
use crate::exec::Exec;
use crate::history::{Endpoint, Event, FaultKind, Phase, Writability};
use crate::inbox::assassin;
use crate::scenario::{Step, operation};
use crate::site::{self, PRIMARIES};
use crate::wait;
use crate::workload::arp::HARNESS_IN_BOX;
use crate::workload::ledger::{self, Ledger};
use crate::workload::{arp, gocd, health, writable};

/// How often the world is looked at.
pub(super) const POLL: Duration = Duration::from_millis(100);
/// What should happen by itself happens within this time.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// Where `bcctl` writes its journals, on the operator box.
const JOURNALS: &str = "/var/lib/bcctl";

impl Drill {
    /// Does one step; answers what there is to say of it.
    pub(super) async fn execute(&mut self, step: &Step) -> Result<String> {
        match step {
            Step::BringUp => self.bring_up().await,
            Step::SteadyState => self.reach_steady_state().await,
            Step::Ask => self.ask().await,
            Step::Fail { fault } => self.fail(*fault).await,
            Step::Detect => self.detect().await,
            Step::FailOver { kill_at } => self.fail_over(kill_at.as_deref()).await,
            Step::EndFreeze => self.end_freeze().await,
            Step::Settle { phase } => self.settle(*phase).await,
            Step::FailOverAgain => self.fail_over_again().await,
            Step::EditConfig => self.edit_config().await,
            Step::PowerOn => self.power_on().await,
            Step::FailBack => self.must(operation::FAILBACK, &["bcctl", "failback", "--yes"]).await,
        }
    }

    async fn reach_steady_state(&mut self) -> Result<String> {
        let site = self.site.as_ref().context("the site is not up")?;
        let database = site.database()?;
        let operator = site.host("operator")?;
        ledger::prepare(&database).await?;
        self.ledger = Some(Ledger::start(database.clone(), self.recorder.clone()));
        writable::watch(&mut self.tasks, &database, &self.recorder);
        health::watch(&mut self.tasks, site.endpoints()?, &self.recorder);
        gocd::watch(&mut self.tasks, site.gocd_at_vip(), &self.recorder);
        arp::watch(&mut self.tasks, operator.docker(), operator.id(), site.vip(), self.recorder.clone()).await?;
        self.wait_for_service("pg1", "go1").await?;
        self.wait_for_roles().await?;
        let version = gocd::version(self.site()?.gocd_at_vip()).await.map_err(anyhow::Error::msg)?;
        self.take_facts(Phase::Steady, "pg1").await?;
        self.note_files(Phase::Steady, &["go1", "go2"]).await?;
        Ok(format!("replication streams, agents work, the standby is in step; GoCD is {version}"))
    }

    async fn ask(&mut self) -> Result<String> {
        // Were the refusal to fail, a dry run still touches nothing.
        let early = ["bcctl", "failover", "--dry-run"];
        let plan = [&early[..], &["--even-if-healthy"]].concat();
        let failback = self.operate(operation::EARLY_FAILBACK, &["bcctl", "failback", "--yes"], Voice::Aloud).await?;
        let failover = self.operate(operation::EARLY_FAILOVER, &early, Voice::Aloud).await?;
        let dry = self.operate(operation::DRY_FAILOVER, &plan, Voice::Quiet).await?;
        Ok(format!("failback is answered {failback}, failover {failover}, a dry run {dry}"))
    }

    async fn fail(&mut self, fault: FaultKind) -> Result<String> {
        let site = self.site()?;
        let hosts = PRIMARIES.iter().map(|name| site.host(name)).collect::<Result<Vec<_>>>()?;
        site.leave_artifacts_of_a_lost_run("go2").await?;
        let began = Moment::now();
        try_join_all(hosts.iter().map(|host| async move {
            match fault {
                FaultKind::Hang => host.freeze().await,
                FaultKind::PowerCut => host.cut_power().await,
            }
        }))
        .await?;
        // A fault that did not happen is the commonest false success.
        for host in &hosts {
            let found = host.power().await?;
            let expected = (fault == FaultKind::Hang, fault == FaultKind::Hang);
            ensure!(found == expected, "{} did not fail: running and frozen are {found:?}", host.name);
        }
        let names = PRIMARIES.map(str::to_owned).into();
        self.recorder.since(began, Event::Fault { kind: fault, hosts: names });
        Ok(PRIMARIES.join(" and "))
    }

    async fn detect(&mut self) -> Result<String> {
        let fault = self.recorder.newest(|entry| matches!(entry.event, Event::Fault { .. }).then_some(entry.began_us));
        let fault = Moment(self.recorder.origin().0 + fault.context("nothing has failed")?);
        let recorder = &self.recorder;
        wait::until("three failures in a row at the VIP", SOON, POLL, || async {
            let answers = recorder.since_moment(fault, |entry| match &entry.event {
                Event::Health { endpoint: Endpoint::Vip, status, .. } => Some(*status),
                _ => None,
            });
            let failures = answers.iter().rev().take_while(|status| **status != Some(200)).count();
            if failures >= 3 { Ok(()) } else { Err(format!("{failures} failures in a row")) }
        })
        .await?;
        Ok(format!("after {} ms", Moment::now().since(fault).as_millis()))
    }

    async fn fail_over(&mut self, kill_at: Option<&str>) -> Result<String> {
        let command = ["bcctl", "failover", "--yes"];
        let Some(step) = kill_at else { return self.must(operation::FAILOVER, &command).await };
        let killer = [HARNESS_IN_BOX, "kill-at-step", "--journals", JOURNALS, "--step", step, "--"];
        let exit = self.operate(operation::FAILOVER, &[&killer[..], &command[..]].concat(), Voice::Aloud).await?;
        ensure!(exit == i64::from(assassin::KILLED), "bcctl was not killed at {step}; it ended by itself with {exit}");
        self.must(operation::RESUME, &["bcctl", "resume", "--yes"]).await
    }

    /// Thaws what is frozen and was not turned off: a zombie. Then watches what it does.
    async fn end_freeze(&mut self) -> Result<String> {
        let site = self.site()?;
        let mut zombies = Vec::new();
        for name in PRIMARIES {
            let host = site.host(name)?;
            if host.power().await? == (true, true) {
                zombies.push(host);
            }
        }
        if zombies.is_empty() {
            return Ok("nothing was".to_owned());
        }
        let names: Vec<String> = zombies.iter().map(|host| host.name.to_owned()).collect();
        let thawed = Moment::now();
        try_join_all(zombies.iter().map(|host| host.thaw())).await?;
        self.recorder.note(Event::Thawed { hosts: names.clone() });
        // Long enough to see both servers several times; whether that is two writers is for the checkers to say.
        let recorder = &self.recorder;
        let seen = wait::until("pg1 to commit rows again", Duration::from_secs(10), POLL, || async {
            let commits = recorder.since_moment(thawed, |entry| match &entry.event {
                Event::Writable { node, found: Writability::Writable, .. } if node == "pg1" => Some(()),
                _ => None,
            });
            if commits.len() >= 10 { Ok(()) } else { Err(format!("{} commits", commits.len())) }
        });
        let words = seen.await.map_or_else(|error| error.to_string(), |()| "pg1 takes writes again".to_owned());
        bail!("{} had not been turned off, and awoke; {words}", names.join(" and "))
    }

    async fn settle(&mut self, phase: Phase) -> Result<String> {
        let (primary, server) = if phase == Phase::Home { ("pg1", "go1") } else { ("pg2", "go2") };
        self.wait_for_service(primary, server).await?;
        if phase == Phase::Home {
            let in_place = self.wait_for_roles().await;
            self.note_roles(phase).await;
            in_place?;
            self.note_files(phase, &["go1", "go2"]).await?;
            if let Some(ledger) = self.ledger.take() {
                ledger.stop().await?;
            }
        }
        self.take_facts(phase, primary).await?;
        Ok("clients write, agents work, the pipeline runs".to_owned())
    }

    async fn fail_over_again(&mut self) -> Result<String> {
        let exit = self.operate(operation::SECOND_FAILOVER, &["bcctl", "failover", "--yes"], Voice::Aloud).await?;
        Ok(format!("answered {exit}"))
    }

    async fn edit_config(&mut self) -> Result<String> {
        const EDIT: &str = "cd /etc/go && cp -p cruise-config.xml .drill.new && \
            sed -i 's|</cruise>|  <!-- changed by the drill while the site was away -->\\n</cruise>|' .drill.new && \
            ! cmp -s .drill.new cruise-config.xml && mv .drill.new cruise-config.xml";
        self.site()?.host("go2")?.ask(&Exec::shell(EDIT), SOON).await?;
        self.recorder.note(Event::ConfigEdited { host: "go2".to_owned() });
        self.note_files(Phase::FailedOver, &["go2"]).await?;
        Ok(String::new())
    }

    async fn power_on(&mut self) -> Result<String> {
        for name in PRIMARIES {
            let words = format!("fence on {name}");
            self.must(&words, &["fence", "on", name, "--reason", "the drill: power is back"]).await?;
        }
        let site = self.site()?;
        try_join_all(PRIMARIES.map(|name| async move { site::wait_booted(site.host(name)?).await })).await?;
        self.note_own_interfaces();
        Ok(format!("{} have booted", PRIMARIES.join(" and ")))
    }
}
