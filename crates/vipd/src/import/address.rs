//! One line of `virtual_ipaddress`.

use ipnet::IpNet;

use super::ledger::Ledger;
use super::tree::Statement;
use crate::address::{NamedAddress, VipAddress};

/// The address of a line, if it can be held on `interface`. Options that cannot be carried over are noted.
pub(super) fn read(line: &Statement, interface: Option<&str>, ledger: &mut Ledger) -> Option<IpNet> {
    let mut words = line.words.iter().map(String::as_str);
    let text = words.next()?;
    // Without a prefix length keepalived takes the address alone.
    let net = match text.parse::<NamedAddress>() {
        Ok(named) => match named.as_net().to_string().parse::<VipAddress>() {
            Ok(vip) => vip.0,
            Err(error) => {
                ledger.leave(line, &error.to_string());
                return None;
            }
        },
        Err(error) => {
            ledger.leave(line, &error.to_string());
            return None;
        }
    };
    while let Some(option) = words.next() {
        let reason = match option {
            "dev" => match (words.next(), interface) {
                (Some(device), Some(interface)) if device == interface => continue,
                (device, _) => {
                    let device = device.unwrap_or_default();
                    let reason = format!(
                        "an instance holds addresses on its own interface only; make another one on {device}, and join \
                         them in a [[sync-group]]"
                    );
                    ledger.leave(line, &reason);
                    return None;
                }
            },
            "scope" => match words.next() {
                Some("global" | "0") => continue,
                _ => "the scope is always global; the address is carried over",
            },
            "preferred_lft" => {
                let _ = words.next();
                "IPv6 addresses are never preferred as a source; the address is carried over"
            }
            "brd" | "broadcast" | "label" | "peer" => {
                let _ = words.next();
                "broadcast addresses, labels and point-to-point peers are not set; the address is carried over"
            }
            "use_vmac" => "set virtual-mac for the whole instance; the address is carried over",
            "no_track" => "every address is watched and put back; the address is carried over",
            "-nodad" | "nodad" | "home" | "mngtmpaddr" | "noprefixroute" | "autojoin" | "track_group" => {
                "address flags are not set; the address is carried over"
            }
            other => {
                ledger.leave(line, &format!("{other:?} is not known here; the address before it is carried over"));
                break;
            }
        };
        ledger.leave(line, reason);
    }
    ledger.carry(line);
    Some(net)
}
