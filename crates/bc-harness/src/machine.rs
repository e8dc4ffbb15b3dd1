//! What exists on the machine, to compare before with after.

use std::path::Path;

use bollard::Docker;

use crate::cleanup;
use crate::history::MachineView;
use crate::run::RunId;

/// Looks at the machine: its interfaces, its named network namespaces, and what carries the label of `run`.
pub(crate) async fn view(docker: &Docker, run: &RunId) -> MachineView {
    let mut of_the_run = match cleanup::survey(docker, Some(run)).await {
        Ok(runs) => runs.values().flat_map(cleanup::Objects::names).collect(),
        Err(error) => vec![format!("unknown: {error:#}")],
    };
    if run.directory().exists() {
        of_the_run.push(format!("directory {}", run.directory().display()));
    }
    let interfaces = names_in("/sys/class/net");
    let is_physical = |name: &&String| *name == "lo" || Path::new("/sys/class/net").join(name).join("device").exists();
    let physical = interfaces.iter().filter(is_physical).cloned().collect();
    MachineView { interfaces, physical, namespaces: names_in("/run/netns"), of_the_run }
}

/// The bridge of the run, and the machine's ends of the cables plugged into it.
///
/// Reading sysfs is right here: the harness is in the machine's own network namespace.
pub(crate) fn own_interfaces(bridge: &str) -> Vec<String> {
    let mut names = names_in(&format!("/sys/class/net/{bridge}/brif"));
    names.push(bridge.to_owned());
    names
}

fn names_in(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}
