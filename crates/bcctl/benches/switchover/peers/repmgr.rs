//! repmgr over an sshd of its own, with replication slots; `standby switchover` is run on the standby, as its manual says.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Daemons, SETTINGS, bin};
use crate::pair::{Pair, as_postgres, free_port, succeed};

pub(crate) struct Repmgr {
    #[expect(dead_code, reason = "held until the end")]
    daemons: Daemons,
    directory: PathBuf,
    ports: [u16; 2],
}

impl Repmgr {
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let bin = bin()?;
        let (ports, ssh_port) = ([free_port()?, free_port()?], free_port()?);
        let at = |name: &str| directory.join(name);
        let log = at("log");
        let mut daemons = Daemons::default();
        for key in ["host", "client"] {
            succeed(as_postgres("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)), &log)?;
        }
        let d = directory.display();
        std::fs::write(
            at("sshd_config"),
            format!(
                "ListenAddress 127.0.0.1:{ssh_port}\nHostKey {d}/host\nAuthorizedKeysFile {d}/client.pub\nPidFile none\n\
                 StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            ),
        )?;
        daemons
            .start(as_postgres("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(at("sshd_config")), &at("sshd.log"))?;
        for (index, port) in ports.iter().enumerate() {
            let number = index + 1;
            std::fs::write(
                at(&format!("r{number}.conf")),
                format!(
                    "node_id={number}\nnode_name=n{number}\ndata_directory='{d}/n{number}'\npg_bindir='{}'\nuse_replication_slots=yes\n\
                     conninfo='host=127.0.0.1 port={port} user=repmgr dbname=repmgr connect_timeout=2'\n\
                     ssh_options='-q -F /dev/null -p {ssh_port} -i {d}/client -o StrictHostKeyChecking=no -o UserKnownHostsFile={d}/known_hosts'\n",
                    bin.display()
                ),
            )?;
        }
        let configure = |number: usize, more: &str| -> Result<()> {
            let mut text = std::fs::read_to_string(at(&format!("n{number}/postgresql.conf")))?;
            text.push_str(&format!("{more}port = {}\n", ports[number - 1]));
            Ok(std::fs::write(at(&format!("n{number}/postgresql.conf")), text)?)
        };
        succeed(as_postgres(bin.join("initdb")).args(["-A", "trust", "-D"]).arg(at("n1")), &log)?;
        configure(
            1,
            &format!(
                "{SETTINGS}unix_socket_directories = '{d}'\nshared_preload_libraries = 'repmgr'\nlogging_collector = on\n"
            ),
        )?;
        let server = |verb: &str, number: usize| {
            let mut command = as_postgres(bin.join("pg_ctl"));
            command
                .arg("-D")
                .arg(at(&format!("n{number}")))
                .args(["-w", "-l"])
                .arg(at(&format!("n{number}.log")))
                .arg(verb);
            succeed(&mut command, &log)
        };
        daemons.server(&at("n1"));
        daemons.server(&at("n2"));
        server("start", 1)?;
        for program in ["createuser", "createdb"] {
            let mut command = as_postgres(bin.join(program));
            command.args(["-h", "127.0.0.1", "-p", &ports[0].to_string()]);
            let more: &[&str] = if program == "createuser" { &["-s", "repmgr"] } else { &["-O", "repmgr", "repmgr"] };
            succeed(command.args(more), &log)?;
        }
        let repmgr = |number: usize, arguments: &[&str]| {
            let mut command = as_postgres(bin.join("repmgr"));
            command.arg("-f").arg(at(&format!("r{number}.conf"))).args(arguments);
            succeed(&mut command, &log)
        };
        repmgr(1, &["primary", "register"])?;
        let port = ports[0].to_string();
        repmgr(2, &["-h", "127.0.0.1", "-p", &port, "-U", "repmgr", "-d", "repmgr", "standby", "clone", "-c"])?;
        configure(2, "")?;
        server("start", 2)?;
        repmgr(2, &["standby", "register"])?;
        Ok(Self { daemons, directory: directory.to_owned(), ports })
    }
}

impl Pair for Repmgr {
    fn name(&self) -> String {
        let version = Command::new("/usr/bin/repmgr").arg("--version").output().ok();
        version.map_or_else(|| "repmgr".to_owned(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    fn ports(&self) -> [u16; 2] {
        self.ports
    }

    fn switch(&mut self, to: usize) -> Result<()> {
        let mut command = as_postgres(bin()?.join("repmgr"));
        command.arg("-f").arg(self.directory.join(format!("r{}.conf", to + 1))).args(["standby", "switchover"]);
        succeed(&mut command, &self.directory.join("switch.log")).context("repmgr standby switchover")
    }
}
