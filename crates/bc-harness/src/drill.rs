//! Does the steps of a scenario to a world, one after the other, and takes down how each ended.

mod diagnostics;
mod observe;
mod operate;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bollard::Docker;
use tokio::task::JoinHandle;

use crate::clock::{self, Moment};
use crate::history::{Event, Recorder, Sheet, StepState};
use crate::machine;
use crate::network::{self, Network};
use crate::power::{self, DockerMains, Switch};
use crate::progress::Progress;
use crate::run::{Owner, RunId};
use crate::scenario::{Choice, Step};
use crate::site::{AGENTS, FENCED, PRIMARIES, Site};
use crate::workload::Tasks;
use crate::workload::ledger::Ledger;
use crate::{cleanup, history};

/// What a drill is made of, and where it puts things.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Names the run.
    pub(crate) run: RunId,
    /// What is drilled.
    pub(crate) choice: Choice,
    /// Its steps.
    pub(crate) steps: Vec<Step>,
    /// Whether the world is left standing.
    pub(crate) keep: bool,
    /// This program: mounted into the operator box.
    pub(crate) executable: PathBuf,
    /// Where diagnostics go.
    pub(crate) report_directory: PathBuf,
    /// How long all steps together may take.
    pub(crate) limit: Duration,
}

/// A drill in progress.
pub(crate) struct Drill {
    docker: Docker,
    setup: Setup,
    recorder: Recorder,
    progress: Progress,
    site: Option<Site>,
    switch: Option<JoinHandle<()>>,
    tasks: Tasks,
    ledger: Option<Ledger>,
}

impl Drill {
    /// Prepares; nothing is made yet.
    pub(crate) fn new(docker: Docker, setup: Setup, recorder: Recorder, progress: Progress) -> Self {
        let tasks = Tasks::default();
        Self { docker, setup, recorder, progress, site: None, switch: None, tasks, ledger: None }
    }

    /// Does every step. After one that failed, the rest is left out, but for what is done anyway.
    pub(crate) async fn run(&mut self) {
        let deadline = Moment::now().after(self.setup.limit);
        let mut failed: Option<String> = None;
        for step in self.setup.steps.clone() {
            let name = step.name();
            let began = Moment::now();
            let (state, detail) = match &failed {
                Some(earlier) if !step.is_done_anyway() || self.site.is_none() => {
                    (StepState::Skipped, format!("because this failed: {earlier}"))
                }
                _ => {
                    self.progress.now(name.clone());
                    let left = deadline.since(Moment::now());
                    match tokio::time::timeout(left, self.execute(&step)).await {
                        Ok(Ok(detail)) => (StepState::Done, detail),
                        Ok(Err(error)) => (StepState::Failed, format!("{error:#}")),
                        Err(_) => (StepState::Failed, format!("the drill's {} s are over", self.setup.limit.as_secs())),
                    }
                }
            };
            match state {
                StepState::Done if detail.is_empty() => self.progress.line(&name),
                StepState::Done => self.progress.line(&format!("{name}: {detail}")),
                StepState::Failed => {
                    self.progress.line(&format!("{name} FAILED: {detail}"));
                    failed.get_or_insert_with(|| name.clone());
                }
                StepState::Skipped => {}
            }
            self.recorder.since(began, Event::Step { name, state, detail });
        }
        if failed.is_some() {
            self.progress.now("collecting what may explain it");
            self.collect_diagnostics().await;
        }
    }

    /// The site.
    fn site(&self) -> Result<&Site> {
        self.site.as_ref().context("the site is not up")
    }

    async fn bring_up(&mut self) -> Result<String> {
        let Setup { run, keep, executable, choice, .. } = &self.setup;
        let view = machine::view(&self.docker, run).await;
        if let Some(found) = view.of_the_run.first() {
            bail!("a run with the id {run} exists: {found}; `bc-harness gc {run}` removes it");
        }
        self.recorder.note(Event::Machine { after: false, view });

        let power = run.directory().join("power");
        std::fs::create_dir_all(&power).with_context(|| format!("cannot make {}", power.display()))?;
        std::fs::write(run.directory().join("owner"), Owner::this_process().to_string())?;

        self.progress.now("the network is made");
        let network = network::create(&self.docker, run, *keep).await?;
        self.recorder.note(Event::Began(sheet(&self.setup, &network)));
        self.progress.line(&format!("  run {run} on {}", network.subnet));

        self.progress.now("the hosts are made");
        let site = Site::create(&self.docker, run, *keep, network, &power, executable).await?;
        self.progress.line("  7 hosts made");
        let nodes = site.hosts().map(|host| (host.name.to_owned(), (host.id().to_owned(), host.address))).collect();
        let site = self.site.insert(site);
        let mains = DockerMains { docker: self.docker.clone(), network: site.network.clone(), nodes };
        let nodes = FENCED.map(str::to_owned).into();
        let switch = Switch::new(Box::new(mains), nodes, self.recorder.clone(), choice.sabotage.is_some());
        self.switch = Some(power::serve(switch, &power.join("switch.sock"))?);

        site.provision(&self.progress).await?;
        self.note_own_interfaces();
        Ok(String::new())
    }

    /// Cables are new whenever a host was off.
    fn note_own_interfaces(&self) {
        let names = machine::own_interfaces(&self.setup.run.network());
        self.recorder.note(Event::OwnInterfaces { names });
    }

    /// Stops every task, removes everything of the run unless it is kept, and looks at the machine again.
    pub(crate) async fn tear_down(&mut self) {
        let run = &self.setup.run;
        self.tasks = Tasks::default();
        self.ledger = None;
        if let Some(switch) = self.switch.take() {
            switch.abort();
        }
        if let Some(site) = self.site.take() {
            site.abandon();
        }
        if self.setup.keep {
            self.progress.line(&format!(
                "kept: enter with `docker exec -it {} bash`, remove with `bc-harness gc {run}`; the power switch is gone",
                run.object("operator")
            ));
        } else {
            self.progress.now("tearing down");
            for error in cleanup::remove(&self.docker, run).await {
                self.progress.line(&format!("could not be removed: {error}"));
            }
            self.progress.line("torn down");
        }
        let view = machine::view(&self.docker, run).await;
        self.recorder.note(Event::Machine { after: true, view });
    }
}

fn sheet(setup: &Setup, network: &Network) -> Sheet {
    let macs = [("go1", 13), ("go2", 14)].map(|(host, octet)| (Network::mac(network.address(octet)), host.to_owned()));
    Sheet {
        run: setup.run.to_string(),
        started: clock::calendar(),
        steps: setup.steps.iter().map(Step::name).collect(),
        fault: setup.choice.fault,
        sabotage: setup.choice.sabotage,
        kill_bcctl_at: setup.choice.kill_bcctl_at.clone(),
        gocd: history::STAND_IN.to_owned(),
        vip: network.address(200),
        macs: macs.into(),
        primaries: PRIMARIES.map(str::to_owned).into(),
        agents: AGENTS.map(str::to_owned).into(),
        keep: setup.keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::FaultKind;

    /// Takes no step that needs an engine.
    #[tokio::test]
    async fn after_a_step_that_failed_the_rest_is_left_out() {
        let directory = tempfile::tempdir().expect("directory");
        let origin = Moment::now();
        let recorder = Recorder::create(&directory.path().join("history.jsonl"), origin).expect("recorder");
        let setup = Setup {
            run: RunId::random(),
            choice: Choice { fault: FaultKind::Hang, sabotage: None, kill_bcctl_at: None },
            steps: vec![Step::Detect, Step::EndFreeze, Step::FailBack],
            keep: false,
            executable: PathBuf::new(),
            report_directory: directory.path().to_owned(),
            limit: Duration::from_secs(10),
        };
        let docker =
            Docker::connect_with_http("http://127.0.0.1:1", 1, bollard::API_DEFAULT_VERSION).expect("a client");
        let mut drill = Drill::new(docker, setup, recorder.clone(), Progress::new(origin));
        drill.run().await;
        let history = recorder.close().expect("history");
        let states: Vec<_> = history
            .iter()
            .filter_map(|entry| match &entry.event {
                Event::Step { state, detail, .. } => Some((*state, detail.as_str())),
                _ => None,
            })
            .collect();
        let because = "because this failed: notice that the site is down";
        // Nobody is frozen where there is no site, so there is nobody to thaw either.
        let expected =
            [(StepState::Failed, "nothing has failed"), (StepState::Skipped, because), (StepState::Skipped, because)];
        assert_eq!(states, expected);
    }
}
