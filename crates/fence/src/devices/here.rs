//! The agent `services`: the services and addresses of this very host, as `ssh` stops those of another. For `fence self`.

use serde::Deserialize;
use toml::Spanned;

use crate::agent::Agent;
use crate::config::{Keys, Problem};
use crate::devices::login::Host;
use crate::devices::services::{Services, Vip};
use crate::devices::ssh::{PLAIN_PATH, Stopper, UNIT, gate_directory, plain_path, unit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HereKeys {
    #[serde(default)]
    stop_services: Vec<Spanned<String>>,
    #[serde(default)]
    drop_vips: Vec<Spanned<String>>,
    #[serde(default)]
    data_directories: Vec<Spanned<String>>,
    #[serde(default)]
    ports: Vec<u16>,
    gate_directory: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "services"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<HereKeys>()?;
    let units = place.items("stop-services", keys.stop_services, unit, UNIT)?;
    let vips =
        place.items("drop-vips", keys.drop_vips, Vip::parse, "an address such as \"198.18.5.200/24 dev eth0\"")?;
    let data_directories = place.items("data-directories", keys.data_directories, plain_path, PLAIN_PATH)?;
    if units.is_empty() && data_directories.is_empty() {
        return Err(place.missing("stop-services", "a service, or a directory under data-directories"));
    }
    let gate_directory = gate_directory(&place, keys.gate_directory)?;
    let services = Services { units, data_directories, ports: keys.ports, vips, gate_directory };
    Ok(Box::new(Stopper { host: Host::Here, services }))
}
