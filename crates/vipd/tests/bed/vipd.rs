//! vipd as a VRRP router.

use std::fmt::Write as _;
use std::fs;

use super::process::Process;
use super::router::{Router, Setting};
use super::world::Host;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_vipd");

pub fn start(host: &Host, setting: &Setting) -> Router {
    let directory = tempfile::tempdir().unwrap();
    let (config, socket) = (directory.path().join("vipd.toml"), directory.path().join("vipd.sock"));
    fs::write(&config, text(setting)).unwrap();
    let mut command = host.namespace.command(PROGRAM);
    command.arg("run").arg("--config").arg(config).arg("--socket").arg(socket).env("VIPD_LOG", "info");
    Router { processes: vec![Process::start(&mut command, &directory, "vipd.log")], directory }
}

fn text(setting: &Setting) -> String {
    let mut text = String::new();
    for instance in &setting.instances {
        write!(
            text,
            "[[instance]]\nname = \"v{vrid}\"\nmode = \"vrrp\"\ninterface = \"eth0\"\naddresses = {:?}\n\
             unadvertised-addresses = {:?}\nvirtual-router-id = {vrid}\npriority = {}\nversion = {}\n\
             advertisement-interval-ms = {}\npreempt = {}\nvirtual-mac = {}\n",
            instance.addresses,
            instance.unadvertised,
            setting.priority,
            setting.version,
            setting.interval.as_millis(),
            setting.preempt,
            setting.virtual_mac,
            vrid = instance.vrid,
        )
        .unwrap();
    }
    text
}
