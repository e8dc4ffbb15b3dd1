//! The virtual IP: who holds it, who answers for it on the wire, and what its name means.

use super::Site;
use crate::finding::kinds::{VIP_FOREIGN, VIP_NAME, VIP_NOBODY, VIP_TWICE, VIP_WRONG, VIPD_SILENT};
use crate::finding::{ALL, Finding, PLANNED};
use crate::place::Place;

pub(super) fn findings(site: &Site<'_>) -> Vec<Finding> {
    let address = site.inventory.vip.address.addr();
    let mut findings = Vec::new();
    for place in Place::BOTH {
        if let Some(Err(words)) = site.seen.gocd(site.inventory, place).map(|gocd| gocd.vip.as_ref()) {
            let refuses = if place == site.serving { PLANNED } else { ALL };
            findings.push(
                Finding::of(
                    &VIPD_SILENT,
                    site.go(place),
                    format!("vipd does not say whether the VIP is here: {words}"),
                )
                .refuses(refuses)
                .hint("install vipd there; it has to run as root"),
            );
        }
    }
    let (one, two) = (site.go(site.serving), site.go(site.other()));
    let holds = |place| site.seen.holds_vip(site.inventory, place);
    let answers = || site.seen.gocd(site.inventory, site.other()).and_then(|gocd| gocd.vip_answers.as_deref());
    findings.extend(match (holds(site.serving), holds(site.other()), answers()) {
        (Some(true), Some(true), _) => {
            Some(Finding::of(&VIP_TWICE, "vip", format!("{one} and {two} both hold {address}")).hint(format!(
                "on {two}: vipd unassign {} --dev {}",
                site.inventory.vip.address, site.inventory.vip.interface
            )))
        }
        (Some(false), Some(true), _) => Some(
            Finding::of(&VIP_WRONG, "vip", format!("{two} holds {address}, and {one} serves"))
                .hint(format!("on {two}: vipd unassign; on {one}: vipd assign")),
        ),
        (Some(false), Some(false), Some(mac)) => Some(
            Finding::of(
                &VIP_FOREIGN,
                "vip",
                format!(
                    "{address} is in use by {}, which is neither {one} nor {two}",
                    if mac.is_empty() { "another host" } else { mac }
                ),
            )
            .hint("find that host by its MAC and take the address from it"),
        ),
        (Some(false), Some(false), None) => {
            Some(Finding::of(&VIP_NOBODY, "vip", format!("nobody holds {address}: the agents find no server")).hint(
                format!("on {one}: vipd assign {} --dev {}", site.inventory.vip.address, site.inventory.vip.interface),
            ))
        }
        (Some(true), _, Some(mac)) if foreign(site, mac) => Some(
            Finding::of(
                &VIP_FOREIGN,
                "vip",
                format!("{one} holds {address}, and {two} is answered by {mac}, which is not {one}"),
            )
            .hint("find that host by its MAC and take the address from it"),
        ),
        (Some(true), _, _) => Some(Finding::ok("vip", format!("{one} holds {address}"))),
        (None, Some(true), _) => Some(Finding::ok("vip", format!("{two} holds {address} already"))),
        (None, _, _) | (_, None, _) => None,
    });
    findings.extend(name(site));
    findings
}

/// Whether the MAC that answered the other host is not the holder's; behind a router nothing can be said.
fn foreign(site: &Site<'_>, mac: &str) -> bool {
    let holder = site.seen.gocd(site.inventory, site.serving).and_then(|gocd| gocd.mac.as_deref());
    !mac.is_empty() && holder.is_some_and(|holder| holder != mac)
}

fn name(site: &Site<'_>) -> Vec<Finding> {
    let Some(name) = &site.inventory.vip.name else { return Vec::new() };
    let address = site.inventory.vip.address.addr().to_string();
    let seen = |place| Some((site.go(place), &site.seen.gocd(site.inventory, place)?.name));
    Place::BOTH
        .into_iter()
        .filter_map(seen)
        .filter(|(_, addresses)| **addresses != [address.clone()])
        .map(|(host, addresses)| {
            Finding::of(&VIP_NAME, host, format!("{name} means {} here, not {address}", addresses.join(", ")))
                .hint(format!("correct the DNS record of {name}, or /etc/hosts of {host}"))
        })
        .collect()
}
