//! Debian's keepalived, alone on a virtual cable, becomes MASTER: through `notify`, and through its FIFO.

use std::fs;
use std::time::Duration;

use crate::bench::{have, in_own_namespace, install};
use crate::site::{Site, snippet};

const SCRIPT: &str = r#"
set -eu
here=@HERE@
ip link set lo up
ip link add one type veth peer name two
ip address add 198.18.77.1/24 dev one
ip link set one up; ip link set two up
mount -t tmpfs tmpfs /run
sleep 1000 & echo $! >$here/pg1.pid
export FENCE_CONFIG=$here/pg2.toml
cat >$here/keepalived.conf <<'CONF'
@CONF@
CONF
keepalived --dont-fork --log-console --vrrp --use-file $here/keepalived.conf \
    --pid $here/keepalived.pid --vrrp_pid $here/vrrp.pid >$here/keepalived.log 2>&1 &
keepalived=$!
end=$((SECONDS + 40))
until [ -e $here/promoted ] || [ $SECONDS -ge $end ]; do sleep 0.2; done
if kill -0 $(cat $here/pg1.pid) 2>/dev/null; then echo "pg1 is on"; else echo "pg1 is off"; fi
kill $keepalived; wait $keepalived || true
cat $here/keepalived.log
"#;

const INSTANCE: &str = "vrrp_instance VI_1 {
    state BACKUP
    interface one
    virtual_router_id 51
    priority 100
    advert_int 0.2
    virtual_ipaddress { 198.18.77.200/24 }
@NOTIFY@
}";

fn become_master(name: &str, in_instance: bool) {
    if !have("keepalived", "keepalived") {
        return;
    }
    let site = Site::new();
    install(&site.path("promote"), &format!("#!/bin/sh\necho \"$@\" >>{}/promoted\n", site.here()));
    let asked = snippet(name).replace("/usr/local/sbin/promote", &format!("{}/promote", site.here()));
    let asked = asked.replace("/usr/bin/fence", &format!("{}/fence", site.here()));
    let (global, notify) = if in_instance { ("", asked.as_str()) } else { (asked.as_str(), "") };
    let conf = format!("{global}\n{}", INSTANCE.replace("@NOTIFY@", notify));
    let script = SCRIPT.replace("@CONF@", &conf).replace("@HERE@", &site.here());
    let Some(said) = in_own_namespace(&script, Duration::from_secs(60)) else { return };
    assert!(said.stdout.contains("pg1 is off"), "{}\n{}", said.stdout, said.stderr);
    assert_eq!(site.history("pg2"), ["off pg1 true"], "{}", said.stdout);
    let promoted = fs::read_to_string(site.path("promoted")).unwrap();
    assert_eq!(promoted, "INSTANCE VI_1 MASTER 100\n", "once, and after the fence");
}

#[test]
fn keepalived_notifies_and_the_other_node_is_fenced_before_what_comes_then() {
    become_master("keepalived-notify", true);
}

#[test]
fn the_fifo_of_keepalived_is_read_in_order() {
    become_master("keepalived-fifo", false);
}
