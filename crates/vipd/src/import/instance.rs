//! `vrrp_instance`.

mod election;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use vrrp::{AdverInterval, Family, Version};

use self::election::{Choice, State};
use super::address;
use super::global::{self, Globals};
use super::ledger::Ledger;
use super::number::{seconds, switch};
use super::outcome::{Draft, Instance, Item, quoted, quoted_list};
use super::track::{self, Tracked};
use super::tree::Statement;
use crate::address::is_link_local_v6;
use crate::config::carried;

pub(super) const NOTIFY: &str =
    "one [hook] command gets every event as JSON on its standard input, one at a time; call the script from there";
pub(super) const MAIL: &str = "vipd sends no mail; let the [hook] command do it";

/// What the block says; the rules between the keys come after.
#[derive(Default)]
struct Spoken<'s> {
    interface: Option<&'s str>,
    vrid: Option<u8>,
    priority: Option<u8>,
    version: Option<Version>,
    interval: Option<(Duration, &'s Statement)>,
    state: Option<(State, &'s Statement)>,
    nopreempt: Option<&'s Statement>,
    preempt_delay: Option<(Duration, &'s Statement)>,
    accept: Option<(bool, &'s Statement)>,
    strict: Option<bool>,
    virtual_mac: Option<&'s Statement>,
    source: Option<IpAddr>,
    /// The peers, each with its `min_ttl`.
    peers: Vec<(IpAddr, Option<u8>)>,
    rfc9568_checksum: Option<bool>,
    addresses: Vec<&'s Statement>,
    excluded: Vec<&'s Statement>,
    interfaces: Vec<Tracked>,
    checks: Vec<Tracked>,
}

pub(super) fn read(block: &Statement, globals: &Globals, draft: &mut Draft, ledger: &mut Ledger) {
    let Some(original) = block.argument() else {
        return ledger.leave(block, "it has no name");
    };
    let mut spoken = Spoken::default();
    for statement in ledger.block(block) {
        if spoken.hear_block(statement, ledger) {
            continue;
        }
        match spoken.hear(statement, draft) {
            Ok(()) => ledger.carry(statement),
            Err(reason) => ledger.leave(statement, &reason),
        }
    }
    match settle(spoken, globals, block, ledger) {
        Err(reason) => ledger.leave(block, &reason),
        Ok(Settled { keys, unicast, interfaces, checks, owner }) => {
            let name = draft.name_for(original, block, ledger);
            let item = Item { original: original.to_owned(), name, statement: block.clone(), keys };
            draft.instances.push(Instance { item, unicast, interfaces, checks, owner });
        }
    }
}

impl<'s> Spoken<'s> {
    /// Takes a statement that has a block, if it is one.
    fn hear_block(&mut self, statement: &'s Statement, ledger: &mut Ledger) -> bool {
        match statement.keyword() {
            "unicast_peer" => self.hear_peers(statement, ledger),
            "virtual_ipaddress" => self.addresses.extend(ledger.block(statement)),
            "virtual_ipaddress_excluded" => self.excluded.extend(ledger.block(statement)),
            "track_interface" => self.interfaces.extend(track::read(statement, ledger)),
            "track_script" => self.checks.extend(track::read(statement, ledger)),
            _ => return false,
        }
        true
    }

    /// Takes any other statement; an error is why it is left behind.
    fn hear(&mut self, statement: &'s Statement, draft: &mut Draft) -> Result<(), String> {
        let argument = statement.argument();
        match statement.keyword() {
            "interface" => self.interface = Some(argument.ok_or("expected an interface")?),
            "virtual_router_id" => {
                let vrid = argument.and_then(|text| text.parse().ok()).filter(|vrid| *vrid > 0);
                self.vrid = Some(vrid.ok_or("expected a number from 1 to 255")?);
            }
            "priority" => {
                let priority = argument.and_then(|text| text.parse().ok()).filter(|priority| *priority > 0);
                self.priority = Some(priority.unwrap_or(100));
                priority.ok_or("expected a number from 1 to 255; the default, 100, is used")?;
            }
            "version" => {
                let version = global::version(argument);
                self.version = Some(version.ok_or("expected 2 or 3; the default is used")?);
            }
            "advert_int" => {
                let interval = argument.and_then(seconds).filter(|interval| !interval.is_zero());
                self.interval = Some((interval.ok_or("expected seconds; the default, 1, is used")?, statement));
            }
            "state" => return self.hear_state(statement),
            "nopreempt" => self.nopreempt = Some(statement),
            "preempt" => self.nopreempt = None,
            "preempt_delay" => {
                self.preempt_delay = Some((argument.and_then(seconds).ok_or("expected seconds")?, statement));
            }
            "accept" => self.accept = Some((true, statement)),
            "no_accept" => self.accept = Some((false, statement)),
            "strict_mode" => {
                self.strict = Some(switch(argument).ok_or("expected on or off")?);
                return Err("vipd has no strict mode; what it says of accept is carried over".to_owned());
            }
            "use_vmac" => {
                self.virtual_mac = Some(statement);
                if argument.is_some() {
                    return Err(
                        "virtual-mac = true is carried over; the interface's name and MAC address are not".to_owned()
                    );
                }
            }
            "unicast_src_ip" => {
                self.source = Some(argument.and_then(|text| text.parse().ok()).ok_or("expected an address")?);
            }
            "unicast_ttl" if argument == Some("255") => {}
            "v3_checksum_as_v2" => self.rfc9568_checksum = Some(switch(argument).ok_or("expected on or off")?),
            "mcast_dst_ip" if matches!(argument, Some("224.0.0.18" | "ff02::12")) => {}
            "down_timer_adverts" if argument == Some("3") => {}
            // What vipd does in any case: the addresses decide the family; a peer is checked by its address, never by its
            // list of addresses.
            "native_ipv6" | "check_unicast_src" | "skip_check_adv_addr" | "promote_secondaries" => {}
            keyword => {
                draft.notify |= keyword.starts_with("notify");
                return Err(reason(keyword).to_owned());
            }
        }
        Ok(())
    }

    fn hear_peers(&mut self, block: &Statement, ledger: &mut Ledger) {
        for line in ledger.block(block) {
            let Ok(peer) = line.keyword().parse() else {
                ledger.leave(line, "expected the address of a peer");
                continue;
            };
            ledger.carry(line);
            let mut minimum_ttl = None;
            for option in line.words[1..].chunks(2) {
                match option {
                    [name, value] if name == "min_ttl" && value.parse::<u8>().is_ok() => {
                        minimum_ttl = value.parse().ok().filter(|ttl| *ttl > 0);
                    }
                    other => {
                        let reason = format!("{:?} is not carried over; the peer is", other.join(" "));
                        ledger.leave(line, &reason);
                    }
                }
            }
            self.peers.push((peer, minimum_ttl));
        }
    }
}

struct Settled {
    keys: Vec<(&'static str, String)>,
    unicast: Vec<(&'static str, String)>,
    interfaces: Vec<Tracked>,
    checks: Vec<Tracked>,
    owner: bool,
}

/// The keys of the new instance, or why there is none.
fn settle(spoken: Spoken<'_>, globals: &Globals, block: &Statement, ledger: &mut Ledger) -> Result<Settled, String> {
    let interface = spoken.interface.ok_or("it names no interface, and vipd needs one")?;
    let vrid = spoken.vrid.ok_or("it has no virtual_router_id")?;
    let priority = election::priority(&spoken, ledger);
    let (addresses, unadvertised) = addresses(&spoken, interface, vrid, block, ledger)?;
    let v6 = addresses.first().is_some_and(|net| Family::of(net.addr()) == Family::V6);
    let version = match (spoken.version.or(globals.version), v6) {
        (_, true) => Version::V3,
        (version, false) => version.unwrap_or(Version::V2),
    };
    let mut keys = vec![
        ("mode", quoted("vrrp")),
        ("interface", quoted(interface)),
        ("addresses", nets(&addresses)),
        ("virtual-router-id", vrid.to_string()),
        ("priority", priority.to_string()),
    ];
    if !unadvertised.is_empty() {
        keys.push(("unadvertised-addresses", nets(&unadvertised)));
    }
    if version == Version::V2 {
        keys.push(("version", "2".to_owned()));
    }
    if let Some((interval, statement)) = spoken.interval {
        keys.push(("advertisement-interval-ms", milliseconds(interval, version, statement, ledger)?));
    }
    if spoken.rfc9568_checksum.unwrap_or(globals.rfc9568_checksum) && version == Version::V3 && !v6 {
        keys.push(("checksum", quoted("rfc9568")));
    }
    let owner = priority == 255;
    for Choice { key, value, statement, objection } in
        election::choices(&spoken, globals, owner, version, block, ledger)
    {
        match objection {
            _ if owner => {
                let reason = format!(
                    "{key} has no meaning for the owner of the addresses (priority 255), who is Active at once, accepts packets \
                     and keeps its MAC address"
                );
                ledger.remark(statement, &reason);
            }
            Some(objection) => ledger.leave(statement, objection),
            None => keys.push((key, value)),
        }
    }
    let unicast = unicast(&spoken.peers, spoken.source, block, ledger)?;
    let interfaces = spoken.interfaces.into_iter().filter(|tracked| tracked.name != interface).collect();
    Ok(Settled { keys, unicast, interfaces, checks: spoken.checks, owner })
}

/// The advertised addresses and the others, of one family, each once.
fn addresses(
    spoken: &Spoken<'_>,
    interface: &str,
    vrid: u8,
    block: &Statement,
    ledger: &mut Ledger,
) -> Result<(Vec<IpNet>, Vec<IpNet>), String> {
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    let mut family = None;
    let mut take = |lines: &[&Statement], ledger: &mut Ledger| {
        let mut nets = Vec::new();
        for line in lines {
            let Some(net) = address::read(line, Some(interface), ledger) else { continue };
            let own = Family::of(net.addr());
            if *family.get_or_insert(own) != own {
                let reason =
                    "an instance has one family; make another one for these, and join them in a [[sync-group]]";
                ledger.leave(line, reason);
            } else if !seen.insert(net.addr()) {
                ledger.leave(line, "the address is there already");
            } else {
                nets.push(net);
            }
        }
        nets
    };
    let mut advertised = take(&spoken.addresses, ledger);
    let mut unadvertised = take(&spoken.excluded, ledger);
    if advertised.is_empty() && !unadvertised.is_empty() {
        return Err("it advertises no address, and an advertisement carries at least one (RFC 9568 §5.2.5)".to_owned());
    }
    if family == Some(Family::V6) {
        match advertised.iter().position(|net| is_link_local_v6(net.addr())) {
            Some(0) => {}
            Some(position) => advertised[..=position].rotate_right(1),
            None => {
                let link_local = format!("fe80::{vrid:x}/64");
                let reason = format!(
                    "the first IPv6 address of a virtual router must be link-local (RFC 9568 §5.2.9): {link_local} was \
                     added; the peers must have it too"
                );
                ledger.remark(block, &reason);
                advertised.insert(0, link_local.parse().map_err(|_| "no link-local address")?);
            }
        }
    }
    let most = carried(family.unwrap_or(Family::V4));
    if advertised.len() > most {
        let reason = format!("an advertisement carries {most} addresses; the others are held and not advertised");
        ledger.remark(block, &reason);
        unadvertised.splice(0..0, advertised.drain(most..));
    }
    if advertised.is_empty() {
        return Err("no address is left that could be carried over".to_owned());
    }
    Ok((advertised, unadvertised))
}

/// What the version can carry, rounded as keepalived does.
fn milliseconds(
    interval: Duration,
    version: Version,
    statement: &Statement,
    ledger: &mut Ledger,
) -> Result<String, String> {
    let unit = if version == Version::V2 { 1000 } else { 10 };
    let exact = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
    let millis = (exact.saturating_add(unit * 500) / (unit * 1000)).max(1).saturating_mul(unit);
    if millis.saturating_mul(1000) != exact {
        let reason = format!("rounded to {millis} ms: the protocol counts in {unit} ms");
        ledger.leave(statement, &reason);
    }
    AdverInterval::from_millis(version, millis).map_err(|error| error.to_string())?;
    Ok(millis.to_string())
}

fn unicast(
    peers: &[(IpAddr, Option<u8>)],
    source: Option<IpAddr>,
    block: &Statement,
    ledger: &mut Ledger,
) -> Result<Vec<(&'static str, String)>, String> {
    if peers.is_empty() {
        if source.is_some() {
            let reason =
                "unicast_src_ip without unicast_peer: advertisements come from the interface's primary address";
            ledger.remark(block, reason);
        }
        return Ok(Vec::new());
    }
    let others: Vec<_> = peers.iter().filter(|(peer, _)| Some(*peer) != source).collect();
    if let ([], Some(source)) = (others.as_slice(), source) {
        return Err(format!(
            "its only unicast_peer, {source}, is this host itself (unicast_src_ip); name the other routers"
        ));
    }
    let addresses: BTreeSet<_> = others.iter().map(|(peer, _)| peer.to_string()).collect();
    let mut keys = vec![("peers", quoted_list(&addresses.into_iter().collect::<Vec<_>>()))];
    keys.extend(source.map(|source| ("source", quoted(&source.to_string()))));
    // One value for all of them, so the most lenient: an advertisement that is not heard makes a second Active router.
    let minimum_ttl = others.iter().map(|(_, ttl)| ttl.unwrap_or(1)).min().unwrap_or(1);
    if let Some((peer, _)) = others.iter().find(|(_, ttl)| ttl.is_none()) {
        let reason = format!(
            "keepalived checks no TTL of {peer}, and there is one minimum-ttl for all peers, so it is 1; remove it if they are \
             on this link"
        );
        ledger.remark(block, &reason);
    } else if others.iter().any(|(_, ttl)| ttl.is_some_and(|ttl| ttl > minimum_ttl)) {
        ledger.remark(block, "there is one minimum-ttl for all peers, so it is the lowest min_ttl of theirs");
    }
    keys.push(("minimum-ttl", minimum_ttl.to_string()));
    Ok(keys)
}

fn nets(nets: &[IpNet]) -> String {
    quoted_list(&nets.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn reason(keyword: &str) -> &'static str {
    match keyword {
        "authentication" => {
            "VRRP has no authentication any more (RFC 3768, RFC 9568); peers that ask for it will not hear vipd, so remove \
             it there first"
        }
        "virtual_routes" | "virtual_rules" => {
            "vipd moves addresses, not routes and rules; let the [hook] command do it"
        }
        "track_file" | "track_process" | "track_bfd" => {
            "only interfaces and checks are tracked; a [[check]] may look at it"
        }
        "use_ipvlan" => "there is no ipvlan; virtual-mac = true makes a macvlan",
        "vmac_xmit_base" => {
            "with virtual-mac = true multicast advertisements leave by the interface, from the virtual MAC address"
        }
        "use_vmac_addr" => "one macvlan carries the addresses, and nothing else of it can be chosen",
        "dont_track_primary" => {
            "the instance's own interface is always watched: without it nobody hears the advertisements"
        }
        "lvs_sync_daemon_interface" => "LVS load balancing is no part of vipd",
        "mcast_src_ip" => "advertisements come from the interface's primary address",
        "mcast_dst_ip" => "advertisements go to the group that the protocol assigns, and to no other",
        "unicast_ttl" => "advertisements always leave with a TTL of 255",
        "unicast_fault_no_peer" => "unicast without peers is an error in any case",
        "old_unicast_checksum" => "vipd sends the checksum of RFC 5798 or of RFC 9568, and no older one",
        "track_src_ip" => "the source is watched with the interface",
        "vrf" => "vipd works on an interface; name it",
        "down_timer_adverts" => "three intervals, as the protocol says; all routers must agree",
        "lower_prio_no_advert" | "higher_prio_send_advert" => "vipd answers as RFC 9568 §6.4.3 says",
        "smtp_alert" => MAIL,
        "debug" => "set VIPD_LOG instead",
        "kernel_rx_buf_size" => "vipd sizes its buffers by itself",
        "linkbeat_use_polling" => "links are watched through netlink only",
        "notify_priority_changes" => "every event is in the stream, changes of priority too",
        keyword if keyword.starts_with("notify") => NOTIFY,
        keyword if keyword.starts_with("garp_") => {
            "vipd announces every address once before any is repeated, and paces that by itself"
        }
        _ => "the keyword is not known in a vrrp_instance",
    }
}
