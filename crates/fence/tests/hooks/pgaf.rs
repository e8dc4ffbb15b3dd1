//! pg_auto_failover's own monitor extension, in a PostgreSQL of its own. Its keepers are not run: the monitor's words about a lost
//! primary are said by `pg_notify`, in the form in which the extension says that a node has joined.

use std::time::Duration;

use crate::bench::{have, in_own_namespace};
use crate::site::Site;

const SCRIPT: &str = r#"
set -eu
here=@HERE@
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
PATH=$bin:$PATH
ip link set lo up
as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=$here "$@"; }
sql() { psql -h 127.0.0.1 -p 5433 -U postgres -XAtqc "$*" monitor; }
chown -R postgres $here
as_postgres initdb -D $here/monitor --no-sync --auth=trust >/dev/null
as_postgres postgres -D $here/monitor -p 5433 -k $here -c fsync=off -c listen_addresses=127.0.0.1 \
    -c shared_preload_libraries=pgautofailover >$here/monitor.log 2>&1 &
end=$((SECONDS + 30))
until psql -h 127.0.0.1 -p 5433 -U postgres -XAtqc 'CREATE DATABASE monitor' postgres 2>/dev/null; do
    [ $SECONDS -lt $end ] || { cat $here/monitor.log; exit 1; }; sleep 0.1
done
sql 'CREATE EXTENSION pgautofailover CASCADE'
sleep 1000 & echo $! >$here/pg1.pid
FENCE_CONFIG=$here/pg2.toml @FENCE@ hook pgaf-watch --monitor 'host=127.0.0.1 port=5433 user=postgres dbname=monitor' >$here/watch.log 2>&1 &
watch=$!
until_said() {
    end=$((SECONDS + 30))
    until grep -q "$1" $here/watch.log; do [ $SECONDS -lt $end ] || { echo "never said: $1"; cat $here/watch.log; exit 1; }; sleep 0.2; done
}
until_said 'listening to the monitor'
sleep 1
# The extension itself speaks: its node is none of ours, so the watch shows that it has understood.
sql "SELECT * FROM pgautofailover.register_node('default', '127.0.0.1', 7777, dbname => 'postgres', node_name => 'stranger')" >/dev/null
until_said '"stranger" is none of ours'
say() { sql "SELECT pg_notify('state', '{\"type\":\"state\",\"formation\":\"default\",\"groupId\":0,\"nodeId\":1,\"name\":\"pg1\",\"host\":\"127.0.0.1\",\"port\":5431,\"reportedState\":\"primary\",\"goalState\":\"$1\",\"health\":\"$2\"}')"; }
say draining good
say primary bad
say draining bad
until_said 'pg1 is fenced'
say demote_timeout bad
kill $watch; wait $watch || true
kill -0 $(cat $here/pg1.pid) 2>/dev/null || echo "pg1 is off"
"#;

#[test]
fn a_primary_that_the_monitor_gives_up_is_fenced_once() {
    if !have("../share/postgresql/15/extension/pgautofailover.control", "postgresql-15-auto-failover") {
        return;
    }
    let site = Site::new();
    let script = SCRIPT.replace("@FENCE@", &format!("{}/fence", site.here())).replace("@HERE@", &site.here());
    let Some(said) = in_own_namespace(&script, Duration::from_secs(100)) else { return };
    assert!(said.stdout.contains("pg1 is off"), "{}\n{}", said.stdout, said.stderr);
    assert_eq!(site.history("pg2"), ["off pg1 true"]);
}
