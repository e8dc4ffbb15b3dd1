//! vipd on real interfaces: network namespaces, a bridge, and an observer on the wire. Needs root.

#![expect(clippy::disallowed_methods, reason = "tests wait for the kernel and the wire, with deadlines")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken test bed fails the test, with the place")]
#![expect(unreachable_pub, reason = "modules of one test; pub says what the tests use")]

mod announce;
mod conflict;
mod interruption;
mod permission;
mod release;
mod sniffer;
mod status;
mod world;
