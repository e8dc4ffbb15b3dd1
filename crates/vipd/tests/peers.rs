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

use bed::router::Make::{Frr, Keepalived};
use protocol::Protocol::{V2, V3, V3Ipv6};

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
    fn frr_and_keepalived_live_together() {
        story::life(Frr, Keepalived, V3);
    }

    #[test]
    fn keepalived_and_frr_live_together_over_ipv6() {
        story::life(Keepalived, Frr, V3Ipv6);
    }

    #[test]
    fn keepalived_and_frr_live_together_in_version_2() {
        story::life(Keepalived, Frr, V2);
    }
}
