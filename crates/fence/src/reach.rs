//! `fence nodes`: how well each node could be proven off if every device did what it is there for. No device is asked.

use bc_model::exit::Exit;
use bc_model::fencing::{DeviceReach, FenceReport, Grade, LevelReach, NodeReach, ReachReport};

use crate::config::Config;
use crate::error::Error;
use crate::levels::Node;
use crate::render;
use crate::request::raised;

/// The verb; exit 1 if a node has no level that could prove enough.
///
/// # Errors
/// When the output cannot be written.
pub(crate) fn show(config: &Config, require: Option<Grade>, json: bool) -> Result<Exit, Error> {
    let names = config.nodes.keys().map(String::as_str);
    let nodes = names.map(|name| config.node(name).map(|node| of(&node, require))).collect::<Result<Vec<_>, _>>()?;
    let enough = nodes.iter().all(|node| node.enough);
    let report = ReachReport { schema: FenceReport::SCHEMA, nodes };
    render::print(&if json { render::json(&report)? } else { render::reach(&report) })?;
    Ok(if enough { Exit::Done } else { Exit::Failed })
}

/// The same rule by which a level counts after the fact: its weakest device, and whether its node's own host answers in it.
fn of(node: &Node<'_>, require: Option<Grade>) -> NodeReach {
    let need = raised(node.need, require);
    let level = |(level, devices): (u32, &Vec<crate::levels::Device<'_>>)| LevelReach {
        level,
        grade: devices.iter().map(|device| device.grade).min().unwrap_or(Grade::X),
        required: need.of(devices.iter().any(|device| device.agent.needs_the_host())),
        devices: devices
            .iter()
            .map(|device| DeviceReach { device: device.name.to_owned(), grade: device.grade })
            .collect(),
    };
    let levels: Vec<LevelReach> = (1..).zip(&node.levels).map(level).collect();
    let enough = levels.iter().any(|level| level.grade > Grade::X && level.grade >= level.required);
    NodeReach { node: node.name.to_owned(), enough, levels }
}
