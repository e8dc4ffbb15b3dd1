//! Who is elected, and when: what keepalived makes of keys that contradict each other (vrrp.c, vrrp_complete_instance).

use std::time::Duration;

use super::*;

fn vrrp_of(text: &str) -> (vipd::config::Vrrp, Vec<String>) {
    let import = imported(text);
    let config = Config::parse("imported", &import.toml).unwrap_or_else(|error| panic!("{error}\n{import:#?}"));
    (config.instances["VI_1"].vrrp().unwrap().clone(), notes(&import))
}

#[test]
fn a_master_without_a_priority_is_the_owner() {
    let of = |lines: &str| {
        let (vrrp, notes) = vrrp_of(&instance(lines));
        (vrrp.priority.get(), notes)
    };
    let (priority, notes) = of("state MASTER");
    assert_eq!(priority, 255);
    assert!(
        notes[0].starts_with("keepalived.conf:7: state MASTER: without a priority keepalived takes 255"),
        "{notes:?}"
    );
    assert_eq!(of("state MASTER\npriority 150"), (150, vec![]));
    assert_eq!(of("state MASTER\npriority 999").0, 100);
    assert_eq!(of("state BACKUP"), (100, vec![]));
    assert_eq!(of("state MASTER\nstate BACKUP").0, 255);
    assert_eq!(of("state FAULT").1, ["keepalived.conf:7: state FAULT: expected MASTER or BACKUP; BACKUP is used"]);
}

#[test]
fn a_master_preempts_at_once() {
    let of = |lines: &str| {
        let (vrrp, notes) = vrrp_of(&instance(&format!("priority 150\n{lines}")));
        (vrrp.preempt, notes)
    };
    let cleared =
        |line, what| vec![format!("keepalived.conf:{line}: {what}: keepalived clears it with `state MASTER`")];
    assert_eq!(of("state MASTER\nnopreempt"), (Preempt::Immediately, cleared(9, "nopreempt")));
    assert_eq!(of("preempt_delay 5\nstate MASTER"), (Preempt::Immediately, cleared(8, "preempt_delay 5")));
    assert_eq!(of("nopreempt\npreempt"), (Preempt::Immediately, vec![]));
    assert_eq!(of("preempt\nnopreempt\nstate BACKUP"), (Preempt::Never, vec![]));
    // Strict mode takes the state from the priority.
    assert_eq!(of("state MASTER\nstrict_mode on\nnopreempt").0, Preempt::Never);
    assert_eq!(of("preempt_delay 5").0, Preempt::After(Duration::from_secs(5)));
    let (strict, notes) = of("strict_mode on\npreempt_delay 5");
    assert_eq!(strict, Preempt::Immediately);
    assert!(
        notes.iter().any(|note| note.contains("preempt_delay 5: keepalived clears it in strict mode")),
        "{notes:?}"
    );
}

#[test]
fn preemption_comes_over() {
    let preempt = |lines: &str| vrrp_of(&instance(lines)).0.preempt;
    assert_eq!(preempt(""), Preempt::Immediately);
    assert_eq!(preempt("nopreempt"), Preempt::Never);
    assert_eq!(preempt("preempt_delay 4.5"), Preempt::After(Duration::from_millis(4500)));
    assert_eq!(preempt("priority 255\nnopreempt"), Preempt::Immediately);
}

#[test]
fn what_means_nothing_for_the_owner_is_named() {
    let lines = "priority 255\nuse_vmac\nno_accept\nnopreempt\npreempt_delay 5";
    let (vrrp, notes) = vrrp_of(&format!("global_defs {{\n vrrp_startup_delay 5\n}}\n{}", instance(lines)));
    assert_eq!((vrrp.preempt, vrrp.accept, vrrp.virtual_mac), (Preempt::Immediately, true, false));
    assert!(vrrp.startup_delay.is_zero());
    for (note, what) in notes.iter().zip([
        "vrrp_instance VI_1: startup-delay",
        "use_vmac: virtual-mac",
        "no_accept: accept",
        "nopreempt: preempt",
        "preempt_delay 5: preempt-delay",
    ]) {
        assert!(note.contains(&format!("{what} has no meaning for the owner of the addresses")), "{notes:#?}");
    }
    assert_eq!(notes.len(), 5, "{notes:#?}");
}

#[test]
fn version_2_in_strict_mode_never_accepts() {
    let of = |lines: &str| vrrp_of(&instance(lines));
    let (vrrp, notes) = of("strict_mode on\naccept");
    assert!(!vrrp.accept);
    assert!(notes.iter().any(|note| note.contains(":8: accept: keepalived takes it back")), "{notes:?}");
    assert!(of("strict_mode on\naccept\nversion 3").0.accept);
    assert!(of("accept").0.accept);
}

#[test]
fn a_peer_without_a_minimum_ttl_may_be_anywhere() {
    let of = |peers: &str| {
        let (vrrp, notes) = vrrp_of(&instance(&format!("unicast_src_ip 198.18.0.1\nunicast_peer {{\n{peers}\n}}")));
        let PeerSet::Unicast(unicast) = vrrp.peers else { panic!("{vrrp:?}") };
        (unicast.minimum_ttl, notes)
    };
    let (ttl, notes) = of("198.18.0.2 min_ttl 254\n198.18.9.2");
    assert_eq!(ttl, 1);
    assert!(notes[0].contains("checks no TTL of 198.18.9.2"), "{notes:?}");
    assert_eq!(of("198.18.0.2 min_ttl 254\n198.18.9.2 min_ttl 0").0, 1);
    assert_eq!(of("198.18.0.1\n198.18.0.2 min_ttl 254"), (254, vec![]));
    let (ttl, notes) = of("198.18.0.2 min_ttl 254\n198.18.9.2 min_ttl 250");
    assert_eq!(ttl, 250);
    assert!(notes[0].contains("one minimum-ttl for all peers"), "{notes:?}");
}

#[test]
fn an_instance_whose_only_peer_is_this_host_says_so() {
    let text = instance("unicast_src_ip 198.18.0.1\nunicast_peer {\n198.18.0.1\n}");
    let import = import("keepalived.conf", &text, "high", &no_includes).unwrap();
    let words = "keepalived.conf:1-11: vrrp_instance VI_1: its only unicast_peer, 198.18.0.1, is this host itself (unicast_src_ip); \
                 name the other routers";
    assert_eq!((import.instances, notes(&import)), (0, vec![words.to_owned()]));
}
