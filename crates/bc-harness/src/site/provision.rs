//! From booted hosts to a site that serves, in the order of `testenv/images/README.md`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio::try_join;

use super::{AGENTS, Site, files};
use crate::exec::Exec;
use crate::history::Endpoint;
use crate::host::Host;
use crate::http;
use crate::progress::Progress;
use crate::wait;

const LIMIT: Duration = Duration::from_secs(60);
/// More than the script waits, which says what it has seen last.
const BOOTED: Duration = Duration::from_secs(120);
/// Every how many seconds the pipeline runs.
const PIPELINE_EVERY: &str = "3";

fn script(name: &str) -> String {
    format!("/usr/lib/bc-testenv/{name}")
}

impl Site {
    /// Makes the hosts into a site: keys, PostgreSQL with its standby, GoCD with its standby, agents, the operator's files.
    ///
    /// # Errors
    /// The first script that fails, with its last words.
    pub(crate) async fn provision(&self, progress: &Progress) -> Result<()> {
        progress.now("hosts boot");
        try_join_all(self.hosts().map(wait_booted)).await?;
        progress.line("  booted");
        progress.now("hosts learn each other's keys");
        self.exchange_keys().await?;
        progress.line("  keys exchanged");
        progress.now("PostgreSQL and GoCD are set up");
        try_join!(self.provision_databases(), self.provision_gocd(), self.write_operator_files())?;
        progress.line("  PostgreSQL streams");
        progress.now("GoCD starts");
        try_join!(self.start_gocd(), self.provision_agents())?;
        progress.line("  GoCD serves");
        Ok(())
    }

    async fn exchange_keys(&self) -> Result<()> {
        let (operator, go1, go2) = (self.host("operator")?, self.host("go1")?, self.host("go2")?);
        let ask = |host, exec| async move { Host::ask(host, &exec, LIMIT).await };
        let host_keys = try_join_all(self.hosts().map(|host| async move {
            let key = host.ask(&Exec::new([script("host-key")]), LIMIT).await?;
            Ok::<_, anyhow::Error>(format!("{},{} {key}\n", host.name, host.address))
        }));
        let (known, own, key1, key2) = try_join!(
            host_keys,
            ask(operator, Exec::new([script("ssh-key")])),
            ask(go1, Exec::new([script("ssh-key"), "go".to_owned()])),
            ask(go2, Exec::new([script("ssh-key"), "go".to_owned()])),
        )?;
        let known = known.concat();
        let others = self.hosts().filter(|host| host.name != "operator");
        let authorize =
            try_join_all(others.map(|host| ask(host, Exec::new([script("authorize-operator")]).stdin(own.clone()))));
        let know = try_join_all(
            [operator, go1, go2].map(|host| ask(host, Exec::new([script("known-hosts")]).stdin(known.clone()))),
        );
        try_join!(
            authorize,
            know,
            ask(go1, Exec::new([script("authorize-peer")]).stdin(key2)),
            ask(go2, Exec::new([script("authorize-peer")]).stdin(key1)),
        )?;
        Ok(())
    }

    async fn provision_databases(&self) -> Result<()> {
        let primary = Exec::new([script("provision-primary")])
            .env("REPLICATION_PASSWORD", &self.secrets.replication)
            .env("GOCD_DB_PASSWORD", &self.secrets.database);
        self.host("pg1")?.ask(&primary, LIMIT).await?;
        let standby = Exec::new([script("provision-standby"), "pg1".to_owned()])
            .env("REPLICATION_PASSWORD", &self.secrets.replication);
        self.host("pg2")?.ask(&standby, LIMIT).await?;
        Ok(())
    }

    async fn provision_gocd(&self) -> Result<()> {
        let exec = |arguments: [&str; 3]| {
            let argv = [script("provision-gocd")].into_iter().chain(arguments.map(str::to_owned));
            Exec::new(argv)
                .env("GOCD_DB_PASSWORD", &self.secrets.database)
                .env("AGENT_AUTO_REGISTER_KEY", &self.secrets.auto_register)
                .env("PIPELINE_EVERY", PIPELINE_EVERY)
        };
        let (active, standby) = (exec(["active", "pg1", "go2"]), exec(["standby", "pg2", "go1"]));
        try_join!(self.host("go1")?.ask(&active, LIMIT), self.host("go2")?.ask(&standby, LIMIT))?;
        Ok(())
    }

    async fn write_operator_files(&self) -> Result<()> {
        let addresses: BTreeMap<_, _> = self.hosts().map(|host| (host.name, host.address)).collect();
        let address = |host: &str| addresses.get(host).copied().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
        let operator = self.host("operator")?;
        for (path, text) in
            [("/etc/bcctl/bc.toml", files::inventory(self.vip(), &address)), ("/etc/fence/fence.toml", files::fence())]
        {
            let write = Exec::shell(&format!("mkdir -p $(dirname {path}) && umask 077 && cat >{path}")).stdin(text);
            operator.ask(&write, LIMIT).await.with_context(|| format!("cannot write {path}"))?;
        }
        Ok(())
    }

    async fn start_gocd(&self) -> Result<()> {
        let (go1, go2) = (self.host("go1")?, self.host("go2")?);
        go1.ask(&Exec::new(["systemctl", "start", "go-server"]), LIMIT).await?;
        let address = self.gocd_on("go1")?;
        wait::until("GoCD on go1", LIMIT, Duration::from_millis(50), || async move {
            match http::get(address, "/go/api/v1/health", "*/*", Duration::from_secs(1)).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("status {}", answer.status)),
                Err(error) => Err(error),
            }
        })
        .await?;
        let grant =
            Exec::new(["runuser", "-u", "go", "--", "gocd-standin", "grant"]).stdin(self.secrets.gocd_token.clone());
        go1.ask(&grant, LIMIT).await?;
        let put = Exec::shell(
            "mkdir -p /etc/bcctl && umask 077 && cat >/etc/bcctl/gocd-token && chown go: /etc/bcctl/gocd-token",
        )
        .stdin(self.secrets.gocd_token.clone() + "\n");
        try_join!(go1.ask(&put, LIMIT), go2.ask(&put, LIMIT))?;
        let vip = format!("{}/24", self.vip());
        go1.ask(&Exec::new(["vipd", "assign", &vip, "--dev", "eth0"]), LIMIT).await?;
        go2.ask(&Exec::new(["systemctl", "enable", "--now", "standbyd-pull.timer"]), LIMIT).await?;
        Ok(())
    }

    async fn provision_agents(&self) -> Result<()> {
        let url = format!("http://{}/go", self.gocd_at_vip());
        let url = &url;
        try_join_all(AGENTS.map(|name| async move {
            let exec = Exec::new([script("provision-agent"), url.clone()])
                .env("AGENT_AUTO_REGISTER_KEY", &self.secrets.auto_register);
            self.host(name)?.ask(&exec, LIMIT).await
        }))
        .await?;
        Ok(())
    }

    /// The addresses that are watched for health.
    ///
    /// # Errors
    /// If a host is missing.
    pub(crate) fn endpoints(&self) -> Result<[(Endpoint, std::net::SocketAddrV4); 3]> {
        Ok([
            (Endpoint::Vip, self.gocd_at_vip()),
            (Endpoint::Go1, self.gocd_on("go1")?),
            (Endpoint::Go2, self.gocd_on("go2")?),
        ])
    }
}

/// Waits until a host has booted.
///
/// # Errors
/// If it has not within 90 seconds, or a unit failed: it is named.
pub(crate) async fn wait_booted(host: &Host) -> Result<()> {
    let state = host.ask(&Exec::new([script("wait-booted")]), BOOTED).await?;
    ensure!(state == "running", "{} is {state}", host.name);
    Ok(())
}
