//! What clients do, and what watchers see, all through a run. Each is a task that takes down events until it is stopped.

pub(crate) mod arp;
pub(crate) mod gocd;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod writable;

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::Config;
use tokio_postgres::config::{LoadBalanceHosts, TargetSessionAttrs};

/// Tasks that run until they are dropped.
#[derive(Default)]
pub(crate) struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    /// Starts one more.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// How long one attempt to connect or one statement may take.
const PATIENCE: Duration = Duration::from_millis(800);

/// How to reach the site's database.
#[derive(Clone)]
pub(crate) struct Database {
    /// Password of the role `gocd`.
    pub(crate) password: String,
    /// The servers: name and address.
    pub(crate) servers: Vec<(String, Ipv4Addr)>,
}

impl Database {
    /// Settings for one server.
    fn one(&self, address: Ipv4Addr) -> Config {
        let mut config = self.common();
        config.host(address.to_string());
        config
    }

    /// Settings for whichever server takes writes. In random order, so that a server which accepts connections and
    /// then says nothing (its host hangs) holds up every second attempt and not every one.
    fn writable(&self) -> Config {
        let mut config = self.common();
        for (_, address) in &self.servers {
            config.host(address.to_string());
        }
        config.target_session_attrs(TargetSessionAttrs::ReadWrite).load_balance_hosts(LoadBalanceHosts::Random);
        config
    }

    fn common(&self) -> Config {
        let mut config = Config::new();
        config
            .user("gocd")
            .dbname("gocd")
            .password(&self.password)
            .application_name("bc-harness")
            .connect_timeout(PATIENCE)
            .tcp_user_timeout(PATIENCE);
        config
    }

    /// The name of the server with this address.
    fn name(&self, address: &str) -> String {
        let found = self.servers.iter().find(|(_, own)| own.to_string() == address);
        found.map_or_else(|| address.to_owned(), |(name, _)| name.clone())
    }
}
