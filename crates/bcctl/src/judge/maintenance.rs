//! What GoCD says about its maintenance mode (`/go/api/admin/maintenance_mode/info`).

use serde::Deserialize;

use super::{Evidence, Verdict};

/// What is expected of the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is on; what still runs is evidence.
    On,
    /// It is on, and no job runs.
    Quiet,
    /// It is off.
    Off,
}

#[derive(Deserialize)]
struct Info {
    is_maintenance_mode: bool,
    attributes: Option<Attributes>,
}

#[derive(Deserialize)]
struct Attributes {
    running_systems: Option<RunningSystems>,
}

#[derive(Deserialize)]
struct RunningSystems {
    building_jobs: Option<Vec<Job>>,
}

#[derive(Deserialize)]
struct Job {
    pipeline_name: String,
    pipeline_counter: u64,
    stage_name: String,
    stage_counter: String,
    name: String,
}

/// Whether the server is in maintenance mode, from its own account.
pub(crate) fn is_on(text: &str) -> Option<bool> {
    serde_json::from_str::<Info>(text).ok().map(|info| info.is_maintenance_mode)
}

pub(super) fn judge(mode: Mode, text: &str) -> Verdict {
    let info: Info = match serde_json::from_str(text) {
        Ok(info) => info,
        Err(error) => return Verdict::False(format!("the answer was not understood: {error}")),
    };
    let on = info.is_maintenance_mode;
    let systems = info.attributes.and_then(|attributes| attributes.running_systems);
    let jobs = systems.and_then(|systems| systems.building_jobs);
    let words = match (on, &jobs) {
        (false, _) => "maintenance mode is off".to_owned(),
        (true, None) => "maintenance mode is on, and GoCD does not say which jobs run".to_owned(),
        (true, Some(jobs)) if jobs.is_empty() => "maintenance mode is on, no job runs".to_owned(),
        (true, Some(jobs)) => format!(
            "maintenance mode is on, {} {} on: {}",
            jobs.len(),
            if jobs.len() == 1 { "job goes" } else { "jobs go" },
            names(jobs)
        ),
    };
    let holds = match mode {
        Mode::On => on,
        // Silence is no evidence.
        Mode::Quiet => on && jobs.is_some_and(|jobs| jobs.is_empty()),
        Mode::Off => !on,
    };
    if holds { Verdict::True(Evidence { words, ..Evidence::default() }) } else { Verdict::False(words) }
}

fn names(jobs: &[Job]) -> String {
    let name = |job: &Job| {
        let Job { pipeline_name, pipeline_counter, stage_name, stage_counter, name } = job;
        format!("{pipeline_name}/{pipeline_counter}/{stage_name}/{stage_counter}/{name}")
    };
    jobs.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: &str = r#"{"is_maintenance_mode": false, "metadata": {"updated_by": null, "updated_on": null}}"#;
    const QUIET: &str = r#"{"is_maintenance_mode": true, "attributes": {"has_running_systems": true, "running_systems":
        {"material_update_in_progress": [{"type": "git"}], "building_jobs": [], "scheduled_jobs": []}}}"#;
    const BUSY: &str = r#"{"is_maintenance_mode": true, "attributes": {"has_running_systems": true, "running_systems":
        {"building_jobs": [{"pipeline_name": "up42", "pipeline_counter": 8, "stage_name": "build", "stage_counter": "1",
        "name": "unit", "state": "Building", "agent_uuid": "U"}]}}}"#;

    #[test]
    fn the_mode_and_the_jobs_decide_and_a_material_that_is_fetched_does_not() {
        let holds = |mode, text| matches!(judge(mode, text), Verdict::True(_));
        for (text, on, quiet, off) in
            [(OFF, false, false, true), (QUIET, true, true, false), (BUSY, true, false, false)]
        {
            assert_eq!(
                (holds(Mode::On, text), holds(Mode::Quiet, text), holds(Mode::Off, text)),
                (on, quiet, off),
                "{text}"
            );
        }
    }

    #[test]
    fn a_server_that_does_not_say_which_jobs_run_is_not_taken_to_be_quiet() {
        for text in [
            r#"{"is_maintenance_mode": true}"#,
            r#"{"is_maintenance_mode": true, "attributes": null}"#,
            r#"{"is_maintenance_mode": true, "attributes": {"has_running_systems": false, "running_systems": {}}}"#,
            r#"{"is_maintenance_mode": true, "attributes": {"running_systems": {"building_jobs": null}}}"#,
        ] {
            let Verdict::False(words) = judge(Mode::Quiet, text) else { panic!("no evidence: {text}") };
            assert!(words.contains("GoCD does not say which jobs run"), "{words}");
            assert!(matches!(judge(Mode::On, text), Verdict::True(_)), "{text}");
        }
    }

    #[test]
    fn jobs_that_go_on_are_named() {
        let Verdict::True(evidence) = judge(Mode::On, BUSY) else { panic!("it is on") };
        assert_eq!(evidence.words, "maintenance mode is on, 1 job goes on: up42/8/build/1/unit");
        assert!(matches!(judge(Mode::Off, "<html>"), Verdict::False(_)));
    }
}
