//! Debian's Patroni with its raft: two PostgreSQL servers and a third voter.

use crate::bench::have;
use crate::site::{Site, assert_only_after_a_fence};

const SETUP: &str = r#"
for number in 1 2 3; do
    mkdir -p $here/pg$number $here/raft$number
    chmod 700 $here/pg$number
    partners=
    for other in 1 2 3; do [ $other = $number ] || partners="$partners, 127.0.0.1:222$other"; done
    cat >$here/pg$number.yml <<YAML
scope: main
name: pg$number
restapi: {listen: 127.0.0.1:800$number, connect_address: 127.0.0.1:800$number}
raft: {data_dir: $here/raft$number, self_addr: 127.0.0.1:222$number, partner_addrs: [${partners#, }]}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 8
    postgresql: {use_slots: false, use_pg_rewind: false, parameters: {fsync: "off", shared_buffers: 16MB}}
  initdb: [encoding: UTF8, no-sync]
  pg_hba: [host all all 127.0.0.1/32 trust, host replication all 127.0.0.1/32 trust]
@SNIPPET@
  listen: 127.0.0.1:543$number
  connect_address: 127.0.0.1:543$number
  data_dir: $here/pg$number/data
  bin_dir: $bin
  pgpass: $here/pg$number/pgpass
  authentication: {superuser: {username: postgres}, replication: {username: replicator}}
YAML
done
chown -R postgres $here
as_postgres patroni_raft_controller $here/pg3.yml >$here/raft3.log 2>&1 &
FENCE_CONFIG=$here/pg1.toml unshare --pid --fork --mount-proc --kill-child \
    setpriv --reuid postgres --regid postgres --clear-groups env HOME=$here patroni $here/pg1.yml >$here/patroni1.log 2>&1 &
first=$!
until_true 10 "Patroni of pg1 runs" eval "pgrep -P $first >$here/pg1.pid"
pg1_is_primary() { [ "$(sql 5431 'SELECT pg_is_in_recovery()')" = f ]; }
until_true 60 "pg1 is the primary" pg1_is_primary
# The hooks of pg2 run as postgres, and ask the root helper.
systemd-socket-activate --accept --inetd --listen $here/fence.sock $fence --config $here/pg2.toml serve >$here/serve.log 2>&1 &
until_true 10 "the helper listens" test -S $here/fence.sock
chmod 666 $here/fence.sock
FENCE_SOCKET=$here/fence.sock FENCE_CONFIG=$here/pg2.toml as_postgres patroni $here/pg2.yml >$here/patroni2.log 2>&1 &
recorded() { grep -q '"node":"pg1"' $here/pg1/primary/main && grep -q '"node":"pg1"' $here/pg2/primary/main; }
until_true 60 "the callbacks of both have written pg1 down" recorded
"#;

#[test]
fn patroni_promotes_only_after_the_old_primary_is_fenced() {
    if !have("patroni", "patroni python3-pysyncobj") || !have("systemd-socket-activate", "systemd") {
        return;
    }
    let site = Site::new();
    let Some(said) = site.fail_over(&SETUP.replace("@SNIPPET@", &site.snippet("patroni"))) else { return };
    assert_only_after_a_fence(&site, &said);
    let history = std::fs::read_to_string(site.path("pg2/history.jsonl")).unwrap();
    assert!(history.contains("(through fence serve)") && history.contains(r#""timeline":1"#), "{history}");
    assert!(site.recorded_primary("pg1").contains(r#""node":"pg1""#), "{}", site.recorded_primary("pg1"));
}
