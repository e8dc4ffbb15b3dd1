//! The files that the harness writes into the operator box: the inventory and the fence configuration.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::FENCED;

/// `/etc/bcctl/bc.toml`. `address` tells a host's address.
pub(super) fn inventory(vip: Ipv4Addr, address: &dyn Fn(&str) -> Ipv4Addr) -> String {
    let mut text = format!("site = \"drill\"\n\n[vip]\naddress = \"{vip}/24\"\ninterface = \"eth0\"\n\n");
    for host in FENCED {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "[hosts.{host}]\nssh = \"root@{}\"\n", address(host));
    }
    text + r#"[postgresql]
primary = "pg1"
standby = "pg2"
service = "postgresql@15-main.service"
data-directory = "/var/lib/postgresql/15/main"
bin-directory = "/usr/lib/postgresql/15/bin"

[gocd]
primary = "go1"
standby = "go2"
service = "go-server.service"
api-token-file = "/etc/bcctl/gocd-token"

[fencing]
config = "/etc/fence/fence.toml"

[policy]
minimum-free = "64MB"
"#
}

/// `/etc/fence/fence.toml`: each host is a plug of the drill's power switch, and nothing else may call it off.
pub(super) fn fence() -> String {
    let mut text = "history = \"/var/lib/fence/history.jsonl\"\n\n".to_owned();
    for host in FENCED {
        let _ = writeln!(
            text,
            "[nodes.{host}]\nlevels = [[\"{host}-power\"]]\n\n[devices.{host}-power]\nagent = \"exec\"\n\
             command = \"/usr/sbin/fence_drill\"\ntimeout = \"15s\"\ngrade = \"A\"\n[devices.{host}-power.options]\nplug = \"{host}\"\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use bc_model::inventory::Inventory;

    use super::*;

    #[test]
    fn the_inventory_is_one_that_bcctl_accepts() {
        let address = |host: &str| Ipv4Addr::new(198, 18, 5, if host.ends_with('1') { 11 } else { 12 });
        let text = inventory(Ipv4Addr::new(198, 18, 5, 200), &address);
        let inventory = Inventory::parse("bc.toml", &text).expect("a valid inventory");
        assert_eq!(inventory.vip.address.to_string(), "198.18.5.200/24");
        assert_eq!(inventory.hosts["pg2"].address(), "198.18.5.12");
        assert_eq!(inventory.postgresql.primary, "pg1");
    }

    #[test]
    fn every_host_is_a_plug_of_the_switch() {
        let parsed: toml::Table = fence().parse().expect("valid TOML");
        for host in FENCED {
            let plug = &parsed["devices"][&format!("{host}-power")]["options"]["plug"];
            assert_eq!(plug.as_str(), Some(host));
        }
    }
}
