//! vipd and the routers that it must live with, on one wire: keepalived and FRR. Needs root, and the peers' programs.

#![expect(clippy::disallowed_methods, reason = "tests wait for the wire, with deadlines")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken test bed fails the test, with the place")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "whoever runs the tests must see why one was skipped")]
#![expect(unreachable_pub, reason = "modules of one test; pub says what the tests use")]

#[expect(dead_code, reason = "the benches use the rest")]
mod bed;
#[path = "peers/protocol.rs"]
mod protocol;
#[path = "peers/story.rs"]
mod story;

use bed::router::Make::{Frr, Keepalived, Vipd};
use protocol::Protocol::{V2, V3, V3Ipv6, V3Ipv6VirtualMac, V3VirtualMac};

/// The judge himself: two peers whose interoperation is not in question pass, so what fails below is vipd's doing.
mod control {
    use super::*;

    #[test]
    fn keepalived_and_keepalived_live_together() {
        story::life(Keepalived, Keepalived, V3);
    }

    #[test]
    fn keepalived_settles_a_tie_by_address() {
        story::tie(Keepalived, Keepalived, V3Ipv6);
    }

    #[test]
    fn keepalived_does_not_preempt_frr_when_told_not_to() {
        story::patience(Frr, Keepalived, V3);
    }

    #[test]
    fn keepalived_and_frr_live_together_over_ipv6() {
        story::life(Keepalived, Frr, V3Ipv6);
    }
}

/// vipd and itself.
mod vipd {
    use super::*;

    #[test]
    fn vipd_announces_again_when_another_gives_way_after_a_split_brain() {
        story::split_brain(Vipd, Vipd, V3);
    }

    #[test]
    fn vipd_announces_again_when_another_gives_way_after_a_split_brain_over_ipv6() {
        story::split_brain(Vipd, Vipd, V3Ipv6);
    }
}

mod keepalived {
    use super::*;

    #[test]
    fn keepalived_announces_again_when_vipd_gives_way_after_a_split_brain() {
        story::split_brain(Vipd, Keepalived, V3);
    }

    #[test]
    fn vipd_is_backup_of_keepalived() {
        story::life(Vipd, Keepalived, V3);
    }

    #[test]
    fn keepalived_is_backup_of_vipd() {
        story::life(Keepalived, Vipd, V3);
    }

    #[test]
    fn vipd_is_backup_of_keepalived_over_ipv6() {
        story::life(Vipd, Keepalived, V3Ipv6);
    }

    #[test]
    fn keepalived_is_backup_of_vipd_over_ipv6() {
        story::life(Keepalived, Vipd, V3Ipv6);
    }

    #[test]
    fn vipd_is_backup_of_keepalived_in_version_2() {
        story::life(Vipd, Keepalived, V2);
    }

    #[test]
    fn keepalived_is_backup_of_vipd_in_version_2() {
        story::life(Keepalived, Vipd, V2);
    }

    #[test]
    fn a_tie_goes_to_vipd_if_its_address_is_higher() {
        story::tie(Keepalived, Vipd, V3);
    }

    #[test]
    fn a_tie_goes_to_keepalived_if_its_address_is_higher() {
        story::tie(Vipd, Keepalived, V3);
    }

    #[test]
    fn a_tie_goes_to_vipd_if_its_address_is_higher_over_ipv6() {
        story::tie(Keepalived, Vipd, V3Ipv6);
    }

    #[test]
    fn a_tie_goes_to_keepalived_if_its_address_is_higher_over_ipv6() {
        story::tie(Vipd, Keepalived, V3Ipv6);
    }

    #[test]
    fn a_tie_goes_to_vipd_if_its_address_is_higher_in_version_2() {
        story::tie(Keepalived, Vipd, V2);
    }

    #[test]
    fn a_tie_goes_to_keepalived_if_its_address_is_higher_in_version_2() {
        story::tie(Vipd, Keepalived, V2);
    }

    #[test]
    fn vipd_does_not_preempt_keepalived_when_told_not_to() {
        story::patience(Keepalived, Vipd, V3);
    }

    #[test]
    fn keepalived_does_not_preempt_vipd_when_told_not_to() {
        story::patience(Vipd, Keepalived, V3);
    }

    #[test]
    fn vipd_is_backup_of_keepalived_with_one_virtual_mac_address() {
        story::life(Vipd, Keepalived, V3VirtualMac);
    }

    #[test]
    fn keepalived_is_backup_of_vipd_with_one_virtual_mac_address() {
        story::life(Keepalived, Vipd, V3VirtualMac);
    }

    #[test]
    fn vipd_is_backup_of_keepalived_with_one_virtual_mac_address_over_ipv6() {
        story::life(Vipd, Keepalived, V3Ipv6VirtualMac);
    }

    #[test]
    fn keepalived_is_backup_of_vipd_with_one_virtual_mac_address_over_ipv6() {
        story::life(Keepalived, Vipd, V3Ipv6VirtualMac);
    }

    #[test]
    fn a_tie_goes_to_vipd_if_its_address_is_higher_with_one_virtual_mac_address() {
        story::tie(Keepalived, Vipd, V3VirtualMac);
    }

    #[test]
    fn a_tie_goes_to_keepalived_if_its_address_is_higher_with_one_virtual_mac_address() {
        story::tie(Vipd, Keepalived, V3VirtualMac);
    }

    #[test]
    fn vipd_does_not_preempt_keepalived_in_version_2_when_told_not_to() {
        story::patience(Keepalived, Vipd, V2);
    }

    #[test]
    fn keepalived_does_not_preempt_vipd_in_version_2_when_told_not_to() {
        story::patience(Vipd, Keepalived, V2);
    }

    #[test]
    fn a_killed_vipd_is_silent_before_keepalived_speaks() {
        story::silence(Keepalived, |active| active.kill());
    }

    #[test]
    fn a_stopped_vipd_is_silent_before_keepalived_speaks() {
        story::silence(Keepalived, |active| active.daemon().freeze());
    }
}

mod frr {
    use super::*;

    #[test]
    fn vipd_is_backup_of_frr() {
        story::life(Vipd, Frr, V3);
    }

    #[test]
    fn frr_is_backup_of_vipd() {
        story::life(Frr, Vipd, V3);
    }

    #[test]
    fn vipd_is_backup_of_frr_over_ipv6() {
        story::life(Vipd, Frr, V3Ipv6);
    }

    #[test]
    fn frr_is_backup_of_vipd_over_ipv6() {
        story::life(Frr, Vipd, V3Ipv6);
    }

    #[test]
    fn vipd_is_backup_of_frr_in_version_2() {
        story::life(Vipd, Frr, V2);
    }

    #[test]
    fn frr_is_backup_of_vipd_in_version_2() {
        story::life(Frr, Vipd, V2);
    }

    #[test]
    fn a_tie_goes_to_vipd_if_its_address_is_higher() {
        story::tie(Frr, Vipd, V3);
    }

    #[test]
    fn a_tie_goes_to_frr_if_its_address_is_higher() {
        story::tie(Vipd, Frr, V3);
    }

    #[test]
    fn a_tie_goes_to_vipd_if_its_address_is_higher_over_ipv6() {
        story::tie(Frr, Vipd, V3Ipv6);
    }

    #[test]
    fn a_tie_goes_to_frr_if_its_address_is_higher_over_ipv6() {
        story::tie(Vipd, Frr, V3Ipv6);
    }

    #[test]
    fn vipd_is_backup_of_frr_with_the_virtual_mac_address() {
        story::life(Vipd, Frr, V3VirtualMac);
    }

    #[test]
    fn frr_is_backup_of_vipd_with_the_virtual_mac_address() {
        story::life(Frr, Vipd, V3VirtualMac);
    }

    #[test]
    fn frr_is_backup_of_vipd_with_the_virtual_mac_address_over_ipv6() {
        story::life(Frr, Vipd, V3Ipv6VirtualMac);
    }

    #[test]
    fn vipd_does_not_preempt_frr_when_told_not_to() {
        story::patience(Frr, Vipd, V3);
    }

    #[test]
    fn frr_does_not_preempt_vipd_when_told_not_to() {
        story::patience(Vipd, Frr, V3);
    }
}
