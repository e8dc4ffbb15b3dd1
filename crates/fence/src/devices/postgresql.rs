//! The agent `postgresql`: the PostgreSQL of this very host is stopped, with everything in its control group, and proven gone.
//!
//! For `fence self`, and for a host that is well. It is asked of the node itself, so it says nothing once the node is gone. Setting
//! `default_transaction_read_only`, changing `pg_hba.conf` or an empty `synchronous_standby_names` is no fence: each was seen to
//! be passed by an open session.

use serde::Deserialize;
use toml::Spanned;

use crate::agent::Agent;
use crate::config::{Keys, Problem};
use crate::devices::login::Host;
use crate::devices::services::Services;
use crate::devices::ssh::{PLAIN_PATH, Stopper, UNIT, gate_directory, plain_path, unit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PostgresqlKeys {
    data_directory: Option<Spanned<String>>,
    port: Option<u16>,
    unit: Option<Spanned<String>>,
    gate_directory: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "postgresql"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<PostgresqlKeys>()?;
    let path = place.needed("data-directory", keys.data_directory, "the data directory of PostgreSQL")?;
    let data_directory = plain_path(path.get_ref()).ok_or_else(|| place.wrong("data-directory", &path, PLAIN_PATH))?;
    let units = place.items("unit", keys.unit.into_iter().collect(), unit, UNIT)?;
    Ok(Box::new(Stopper {
        host: Host::Here,
        services: Services {
            units,
            data_directories: vec![data_directory],
            ports: vec![keys.port.unwrap_or(5432)],
            vips: vec![],
            gate_directory: gate_directory(&place, keys.gate_directory)?,
        },
    }))
}
