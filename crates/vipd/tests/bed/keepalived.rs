//! keepalived as a VRRP router. Its words: MASTER is Active, `advert_int` is the Advertisement_Interval in seconds.

use std::fmt::Write as _;
use std::fs;

use super::process::Process;
use super::router::{Router, Setting};
use super::world::Host;

pub const PROGRAM: &str = "/usr/sbin/keepalived";

pub fn start(host: &Host, setting: &Setting) -> Router {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    fs::write(file("keepalived.conf"), text(setting)).unwrap();
    let mut command = host.namespace.command(PROGRAM);
    // VRRP alone, in the foreground, every detail to the console and nothing to syslog; no pid file outside its directory.
    command.args(["-P", "-n", "-l", "-D", "-G", "-f"]).arg(file("keepalived.conf"));
    command.arg("-p").arg(file("keepalived.pid")).arg("-r").arg(file("vrrp.pid"));
    Router { processes: vec![Process::start(&mut command, &directory, "keepalived.log")], directory }
}

fn text(setting: &Setting) -> String {
    let mut text = String::new();
    for instance in &setting.instances {
        write!(
            text,
            "vrrp_instance v{vrid} {{\n  version {}\n  state BACKUP\n  interface eth0\n  virtual_router_id {vrid}\n  \
             priority {}\n  advert_int {}\n{}{}  virtual_ipaddress {{\n    {}\n  }}\n",
            setting.version,
            setting.priority,
            setting.interval.as_secs_f64(),
            if setting.preempt { "" } else { "  nopreempt\n" },
            if setting.virtual_mac { "  use_vmac\n" } else { "" },
            instance.addresses.join("\n    "),
            vrid = instance.vrid,
        )
        .unwrap();
        if !instance.unadvertised.is_empty() {
            write!(text, "  virtual_ipaddress_excluded {{\n    {}\n  }}\n", instance.unadvertised.join("\n    "))
                .unwrap();
        }
        text.push_str("}\n");
    }
    text
}
