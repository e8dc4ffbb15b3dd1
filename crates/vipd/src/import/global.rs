//! `global_defs`: what counts for every instance.

use std::time::Duration;

use vrrp::Version;

use super::ledger::Ledger;
use super::number;
use super::tree::Statement;

/// What the instances and scripts take from here.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub(super) version: Option<Version>,
    pub(super) startup_delay: Option<Duration>,
    pub(super) script_user: Option<String>,
    pub(super) strict: bool,
    pub(super) rfc9568_checksum: bool,
}

impl Globals {
    pub(super) fn read(&mut self, block: &Statement, ledger: &mut Ledger) {
        for statement in ledger.block(block) {
            match self.take(statement) {
                Ok(()) => ledger.carry(statement),
                Err(reason) => ledger.leave(statement, reason),
            }
        }
    }

    fn take(&mut self, statement: &Statement) -> Result<(), &'static str> {
        let argument = statement.argument();
        match statement.keyword() {
            "vrrp_version" => {
                let version = version(argument).ok_or("expected 2 or 3; keepalived's default is used")?;
                self.version = Some(version);
            }
            "vrrp_startup_delay" => {
                let delay = argument.and_then(number::seconds).ok_or("expected seconds")?;
                self.startup_delay = Some(delay);
            }
            "script_user" => {
                self.script_user = Some(argument.ok_or("expected the name of a user")?.to_owned());
                if statement.words.len() > 2 {
                    return Err("the user is carried over; the group is always the user's own");
                }
            }
            "vrrp_strict" => {
                self.strict = true;
                return Err(
                    "vipd has no strict mode; that packets to the addresses are dropped is carried over (accept = false)",
                );
            }
            "v3_checksum_as_v2" => self.rfc9568_checksum = number::switch(argument).ok_or("expected on or off")?,
            "vrrp_mcast_group4" if argument == Some("224.0.0.18") => {}
            "vrrp_mcast_group6" if argument == Some("ff02::12") => {}
            "vrrp_mcast_group4" | "vrrp_mcast_group6" => {
                return Err("advertisements go to the group that the protocol assigns, and to no other");
            }
            // What vipd does in any case.
            "vrrp_check_unicast_src" | "vrrp_skip_check_adv_addr" | "dynamic_interfaces" | "nftables" => {}
            keyword => return Err(reason(keyword)),
        }
        Ok(())
    }
}

/// `2` or `3`.
pub(super) fn version(text: Option<&str>) -> Option<Version> {
    match text {
        Some("2") => Some(Version::V2),
        Some("3") => Some(Version::V3),
        Some(_) | None => None,
    }
}

fn reason(keyword: &str) -> &'static str {
    const MAIL: &str = "vipd sends no mail; let the [hook] command do it, which gets each event as JSON";
    const SCHEDULING: &str = "set CPUSchedulingPolicy=, Nice=, CPUAffinity= or MemoryLock limits in the unit of vipd";
    const OWN: &str = "this is about keepalived's own processes and files";
    match keyword {
        "router_id" => "nothing names the host; events carry its host name",
        "notification_email"
        | "notification_email_from"
        | "smtp_server"
        | "smtp_helo_name"
        | "smtp_connect_timeout"
        | "smtp_alert"
        | "smtp_alert_vrrp"
        | "smtp_alert_checker"
        | "no_email_faults"
        | "email_faults" => MAIL,
        "enable_script_security" => "vipd runs nothing as root by itself; see that only root can change the commands",
        "notify_fifo" | "notify_fifo_script" | "vrrp_notify_fifo" | "vrrp_notify_fifo_script" => {
            "use `vipd events --json`, or the [hook] command, which gets each event as JSON on its standard input"
        }
        "vrrp_notify_priority_changes" => "every event is in the stream, changes of priority too",
        "vrrp_lower_prio_no_advert" | "vrrp_higher_prio_send_advert" => "vipd answers as RFC 9568 §6.4.3 says",
        "vrrp_down_timer_adverts" => "three intervals, as the protocol says; all routers must agree",
        "enable_dbus"
        | "dbus_service_name"
        | "snmp_socket"
        | "enable_snmp_keepalived"
        | "enable_snmp_vrrp"
        | "enable_snmp_checker"
        | "enable_snmp_rfc"
        | "enable_snmp_rfcv2"
        | "enable_snmp_rfcv3"
        | "enable_traps" => "there is no SNMP and no D-Bus; use [metrics] and the control socket",
        "vrrp_iptables" | "vrrp_ipsets" | "nftables_priority" | "nftables_counters" | "nftables_ifindex" => {
            "vipd keeps a table of its own in nf_tables, and needs no configuration for it"
        }
        "default_interface" => "there are no static addresses",
        "startup_script" | "startup_script_timeout" | "shutdown_script" | "shutdown_script_timeout" => {
            "set ExecStartPre= or ExecStopPost= in the unit of vipd"
        }
        keyword
            if keyword.starts_with("vrrp_garp") || keyword.starts_with("vrrp_gna") || keyword == "vrrp_min_garp" =>
        {
            "vipd announces every address once before any is repeated, and paces that by itself"
        }
        keyword
            if keyword.starts_with("lvs") || keyword.starts_with("checker") || keyword.starts_with("nftables_ipvs") =>
        {
            "LVS load balancing is no part of vipd"
        }
        keyword
            if keyword.contains("priority")
                || keyword.contains("rlimit")
                || keyword.contains("affinity")
                || keyword.contains("no_swap")
                || keyword.contains("rt_priority") =>
        {
            SCHEDULING
        }
        keyword if keyword.starts_with("bfd") => "BFD is not spoken",
        keyword if keyword.contains("rx_buf") || keyword.contains("netlink") => "vipd sizes its buffers by itself",
        keyword if keyword.contains("process_name") || keyword.ends_with("_directory") || keyword.ends_with("_dir") => {
            OWN
        }
        _ => "vipd has nothing like it",
    }
}
