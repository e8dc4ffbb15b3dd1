//! What a setup would do: every file as a diff, then the steps.

use std::io::{self, Write as _};

use bc_model::inventory::Inventory;

use super::plan::steps_text;
use super::{GREEN, RED};
use crate::setup::Setup;
use crate::setup::diff::diff;
use crate::steps::Step;

/// Shows it; `commands` also prints each command that would be run.
pub(crate) fn setup(
    inventory: &Inventory,
    setup: &Setup,
    notes: &[String],
    steps: &[Step],
    commands: bool,
) -> io::Result<()> {
    let host = setup.host(inventory);
    let mut out = anstream::stdout();
    for edit in &setup.edits {
        let changes = diff(edit.old_text(), &edit.new_text());
        let state = match (&edit.old, changes.is_empty()) {
            (_, true) => "is as it should be",
            (None, false) => "new",
            (Some(_), false) => "changes; the old one is kept beside it",
        };
        writeln!(out, "# {host}:{}: {state}", edit.path)?;
        for line in changes.lines() {
            match line.as_bytes().first() {
                Some(b'+') => writeln!(out, "{GREEN}{line}{GREEN:#}")?,
                Some(b'-') => writeln!(out, "{RED}{line}{RED:#}")?,
                _ => writeln!(out, "{line}")?,
            }
        }
    }
    for note in notes {
        writeln!(out, "# note: {note}")?;
    }
    if commands {
        writeln!(out, "# {} on {host}: {} steps; nothing is run", setup.role, steps.len())?;
        return out.write_all(steps_text(inventory, steps).as_bytes());
    }
    for (index, step) in steps.iter().enumerate() {
        writeln!(out, "{:>4}. {:18} {}", index + 1, step.id, step.words)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bc_model::version::Version;

    use super::*;
    use crate::observe::tests::{healthy, inventory};
    use crate::place::Place;
    use crate::setup::{Copy, Role};
    use crate::steps::setup_steps;

    /// The steps of a setup for a version, with the number of the version as `V`.
    fn text(role: Role, version: Version) -> String {
        let toml = include_str!("../../../../packaging/bc.toml").replacen(
            "version = \"15\"",
            &format!("version = \"{version}\""),
            1,
        ) + "\n[postgresql.archive]\ndirectory = \"/srv/wal-archive\"\ncleanup = true\n";
        let inventory = Inventory::parse("bc.toml", &toml).expect("a site");
        let mut setup = Setup {
            role,
            serving: Place::Home,
            operation: "OP".to_owned(),
            edits: Vec::new(),
            copy: Some(Copy { needed: 1 << 30, operation: "OP".to_owned() }),
            timer: true,
        };
        let seen = healthy();
        setup.edits =
            crate::setup::edits(&inventory, setup.role, setup.host(&inventory), seen.sql(&inventory, Place::Home));
        steps_text(&inventory, &setup_steps(&inventory, &setup))
            .replace(&format!("postgresql/{version}/"), "postgresql/V/")
            .replace(&format!("postgresql@{version}-"), "postgresql@V-")
    }

    #[test]
    fn the_plan_of_a_setup_for_every_version() {
        for role in [Role::Primary, Role::Standby] {
            let mut groups: Vec<(Vec<Version>, String)> = Vec::new();
            for version in Version::ALL {
                let text = text(role, version);
                match groups.last_mut() {
                    Some((versions, same)) if *same == text => versions.push(version),
                    _ => groups.push((vec![version], text)),
                }
            }
            for (versions, text) in groups {
                let span = [versions.first(), versions.last()].map(|version| version.expect("not empty").to_string());
                insta::assert_snapshot!(format!("{role}_{}_to_{}", span[0], span[1]).replace(' ', "_"), text);
            }
        }
    }

    #[test]
    fn the_plan_of_a_gocd_standby() {
        insta::assert_snapshot!(text(Role::GocdStandby, Version::ALL[6]));
    }

    #[test]
    fn every_command_is_one_that_a_posix_shell_reads() {
        for role in [Role::Primary, Role::Standby, Role::GocdStandby] {
            for version in Version::ALL {
                let text = text(role, version);
                let output = std::process::Command::new("sh").args(["-n", "-c", &text]).output().expect("sh starts");
                assert!(output.status.success(), "{role} {version}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    #[test]
    fn the_inventory_of_the_example_has_no_archive_and_gets_no_archive_command() {
        let inventory = inventory();
        let edits = crate::setup::edits(&inventory, Role::Primary, "pg1", None);
        assert!(edits.iter().all(|edit| !edit.new_text().contains("archive")));
    }
}
