//! Debian's repmgr: two PostgreSQL servers, and repmgrd on the standby.

use crate::bench::have;
use crate::site::{Site, assert_only_after_a_fence};

const SETUP: &str = r#"
for number in 1 2; do
    mkdir -p $here/pg$number
    # The validation, the promotion and the events come from the documentation; a short election fits a test.
    cat >$here/repmgr$number.conf <<CONF
node_id=$number
node_name='pg$number'
conninfo='host=127.0.0.1 port=543$number user=postgres dbname=repmgr connect_timeout=2'
data_directory='$here/pg$number/data'
pg_bindir='$bin'
failover=automatic
reconnect_attempts=2
reconnect_interval=1
monitor_interval_secs=1
log_level=INFO
follow_command='repmgr standby follow -f $here/repmgr$number.conf'
$(cat $here/snippet.conf | sed "s|/etc/repmgr.conf|$here/repmgr$number.conf|; s|^election_rerun_interval=.*|election_rerun_interval=2|")
CONF
done
chown -R postgres $here
export PGUSER=postgres
as_postgres initdb -D $here/pg1/data --no-sync --auth=trust >$here/initdb.log
cat >>$here/pg1/data/postgresql.conf <<CONF
listen_addresses = '127.0.0.1'
fsync = off
shared_buffers = 16MB
shared_preload_libraries = 'repmgr'
hot_standby = on
wal_keep_size = 64MB
CONF
unshare --pid --fork --mount-proc --kill-child \
    setpriv --reuid postgres --regid postgres --clear-groups postgres -D $here/pg1/data -p 5431 >$here/postgres1.log 2>&1 &
first=$!
until_true 10 "PostgreSQL of pg1 runs" eval "pgrep -P $first >$here/pg1.pid"
until_true 20 "pg1 answers" sql 5431 'SELECT 1'
sql 5431 'CREATE DATABASE repmgr'
as_postgres FENCE_CONFIG=$here/pg1.toml repmgr -f $here/repmgr1.conf primary register >>$here/repmgr.log 2>&1
as_postgres FENCE_CONFIG=$here/pg2.toml repmgr -f $here/repmgr2.conf -h 127.0.0.1 -p 5431 -d repmgr standby clone --fast-checkpoint >>$here/repmgr.log 2>&1
as_postgres postgres -D $here/pg2/data -p 5432 >$here/postgres2.log 2>&1 &
until_true 30 "pg2 answers" sql 5432 'SELECT 1'
as_postgres FENCE_CONFIG=$here/pg2.toml repmgr -f $here/repmgr2.conf standby register --wait-sync >>$here/repmgr.log 2>&1
FENCE_CONFIG=$here/pg2.toml as_postgres repmgrd -f $here/repmgr2.conf --daemonize=false --no-pid-file >$here/repmgrd.log 2>&1 &
# The postmaster hangs and its sessions are gone. Were they frozen too, repmgrd 5.3.3 would wait for an answer to its own for ever
# after the first election that is to be held again, and the test with it.
freeze_pg1() {
    postmaster=$(cat $here/pg1.pid)
    kill -STOP $postmaster
    kill -KILL $(pgrep -P $postmaster)
}
afterwards() { until_true 30 "the event of the promotion is written down" grep -q '"node":"pg2"' $here/pg2/primary/main; }
until_true 20 "repmgrd watches" grep -q 'starting monitoring of node' $here/repmgrd.log
"#;

#[test]
fn repmgr_promotes_only_after_the_old_primary_is_fenced() {
    if !have("repmgrd", "postgresql-15-repmgr") {
        return;
    }
    let site = Site::new();
    std::fs::write(site.path("snippet.conf"), site.snippet("repmgr")).unwrap();
    let Some(said) = site.fail_over(SETUP) else { return };
    assert_only_after_a_fence(&site, &said);
    assert!(site.recorded_primary("pg1").contains(r#""node":"pg1""#), "{}", site.recorded_primary("pg1"));
}
