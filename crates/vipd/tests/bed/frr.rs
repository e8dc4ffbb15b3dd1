//! FRR's vrrpd as a VRRP router. It wants a macvlan with the virtual router's MAC address, which carries the addresses and
//! is kept down (protodown) by zebra unless the router is Active.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::process::Process;
use super::router::{Router, Setting, bare};
use super::world::{Host, until};

pub const ZEBRA: &str = "/usr/lib/frr/zebra";
pub const VRRPD: &str = "/usr/lib/frr/vrrpd";

/// Whether that is the log of a vrrpd that advertises nothing, because zebra has not told it again that its macvlan has an
/// address. It happens where the kernel reports protodown on and off in one state of the link, and is mended by
/// FRRouting/frr pull request 19861 of 2025. Where all goes well, one or a few advertisements are lost like that.
pub fn has_lost_its_address(log: &str) -> bool {
    log.matches("Failed to find address to bind on vrrp").count() >= 20
}

pub fn start(host: &Host, setting: &Setting) -> Router {
    for instance in &setting.instances {
        plug_macvlan(host, instance.vrid, &instance.addresses, setting.is_ipv6());
    }
    // Both run as the user frr, and keep all their sockets and pid files in a directory that only this router has.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(path.join("zebra.conf"), "").unwrap();
    fs::write(path.join("vrrpd.conf"), text(setting)).unwrap();
    let owned = Command::new("chown").arg("frr:frr").arg(path).status().unwrap();
    assert!(owned.success(), "the user and the group frr");

    let start = |program: &str, name: &str| {
        let mut command = host.namespace.command(program);
        command.arg("-f").arg(path.join(format!("{name}.conf"))).arg("-i").arg(path.join(format!("{name}.pid")));
        command.arg("-z").arg(path.join("zserv.api")).arg("--vty_socket").arg(path).args(["-P", "0"]);
        command.args(["--log", "stdout"]);
        Process::start(&mut command, &directory, &format!("{name}.log"))
    };
    let zebra = start(ZEBRA, "zebra");
    until("zebra listens", || path.join("zserv.api").exists());
    let vrrpd = start(VRRPD, "vrrpd");
    Router { processes: vec![zebra, vrrpd], directory }
}

/// RFC 9568 §7.3: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6.
fn plug_macvlan(host: &Host, vrid: u8, addresses: &[String], ipv6: bool) {
    let (name, family) = (format!("vrrp{vrid}"), if ipv6 { 2 } else { 1 });
    if host.namespace.ip_json("link show").as_array().unwrap().iter().any(|link| link["ifname"] == name.as_str()) {
        return;
    }
    let mut lines = format!(
        "link add {name} link eth0 address 00:00:5e:00:0{family}:{vrid:02x} type macvlan mode bridge\n\
         link set {name} addrgenmode none\n"
    );
    for address in addresses {
        writeln!(lines, "address add {address} dev {name}{}", if ipv6 { " nodad" } else { "" }).unwrap();
    }
    // It advertises from the link-local address that was added last: the host's own, so that the observer knows the host.
    for own in host.addresses().iter().filter(|own| ipv6 && own.starts_with("fe80:")) {
        writeln!(lines, "address add {own} dev {name} nodad").unwrap();
    }
    writeln!(lines, "link set {name} up").unwrap();
    host.namespace.ip(&lines);
}

fn text(setting: &Setting) -> String {
    let mut text = "interface eth0\n".to_owned();
    for instance in &setting.instances {
        let (vrid, family) = (instance.vrid, if setting.is_ipv6() { "ipv6" } else { "ip" });
        writeln!(text, " vrrp {vrid} version {}", setting.version).unwrap();
        writeln!(text, " vrrp {vrid} priority {}", setting.priority).unwrap();
        writeln!(text, " vrrp {vrid} advertisement-interval {}", setting.interval.as_millis()).unwrap();
        for address in &instance.addresses {
            writeln!(text, " vrrp {vrid} {family} {}", bare(address)).unwrap();
        }
        if !setting.preempt {
            writeln!(text, " no vrrp {vrid} preempt").unwrap();
        }
    }
    text + "exit\n"
}
