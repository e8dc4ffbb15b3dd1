//! `vipd run` on real interfaces: what it lets go of when it dies, what it does when told, what it finds out. Needs root.

#![expect(clippy::disallowed_methods, reason = "tests wait for the wire, with deadlines")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken test bed fails the test, with the place")]
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "whoever runs the tests must see why one was skipped")]
#![expect(unreachable_pub, reason = "modules of one test; pub says what the tests use")]

#[path = "daemon/another_mac.rs"]
mod another_mac;
#[expect(dead_code, reason = "the benches use the rest")]
mod bed;
#[path = "daemon/busy_port.rs"]
mod busy_port;
#[path = "daemon/by_hand.rs"]
mod by_hand;
#[path = "daemon/check_words.rs"]
mod check_words;
#[path = "daemon/configured.rs"]
mod configured;
#[path = "daemon/death.rs"]
mod death;
#[path = "daemon/giving_in.rs"]
mod giving_in;
#[path = "daemon/hung_up.rs"]
mod hung_up;
#[path = "daemon/instance.rs"]
mod instance;
#[path = "daemon/least_privilege.rs"]
mod least_privilege;
#[path = "daemon/managed.rs"]
mod managed;
#[path = "daemon/owner.rs"]
mod owner;
#[path = "daemon/reload.rs"]
mod reload;
#[path = "daemon/strangers.rs"]
mod strangers;
#[path = "daemon/succession.rs"]
mod succession;
#[path = "daemon/surroundings.rs"]
mod surroundings;
#[path = "daemon/sync_group.rs"]
mod sync_group;
#[path = "daemon/unheard.rs"]
mod unheard;
#[path = "daemon/unlogged.rs"]
mod unlogged;
#[path = "daemon/virtual_mac.rs"]
mod virtual_mac;
