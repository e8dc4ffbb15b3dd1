//! Lines as keepalived reads them: braces, backslashes, quotes, includes.

use super::*;

#[test]
fn braces_need_no_spaces_around_them() {
    let text = "vrrp_script chk {\n script /bin/true\n}\n\
                vrrp_instance A {\n interface eth0\n virtual_router_id 51\n virtual_ipaddress{198.18.0.100/24}\n\
                virtual_ipaddress_excluded {198.18.0.9/24}\n unicast_peer {198.18.0.2}\n\
                track_interface {eth1}\n track_script {chk}\n}\n\
                vrrp_instance B{interface eth1\nvirtual_router_id 52\nvirtual_ipaddress {198.18.1.100/24}}\n\
                vrrp_sync_group G { group {A\nB}}\n";
    let config = config(text);
    let vrrp = config.instances["A"].vrrp().unwrap();
    let PeerSet::Unicast(unicast) = &vrrp.peers else { panic!("the peers became multicast: {vrrp:?}") };
    assert_eq!(unicast.peers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["198.18.0.2"]);
    assert_eq!(vrrp.unadvertised.iter().map(ToString::to_string).collect::<Vec<_>>(), ["198.18.0.9/24"]);
    assert_eq!(vrrp.interfaces.iter().map(|tracked| tracked.what.as_str()).collect::<Vec<_>>(), ["eth1"]);
    assert_eq!(vrrp.checks.iter().map(|tracked| tracked.what.as_str()).collect::<Vec<_>>(), ["chk"]);
    let members = &config.sync_groups["G"].instances;
    assert_eq!(members.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn a_keyword_without_its_block_is_named_and_so_is_a_block_that_none_takes() {
    for line in ["unicast_peer 198.18.0.2", "track_script chk", "track_interface eth1", "virtual_ipaddress_excluded x"]
    {
        let import = imported(&instance(line));
        let expected = format!("keepalived.conf:7: {line}: its block is missing: expected `{{` after it");
        assert_eq!(notes(&import), [expected]);
        assert!(!import.carried.iter().any(|place| place.line == 7), "{import:?}");
    }
    let import = imported(&instance("priority 150 {\n nopreempt\n}"));
    assert_eq!(notes(&import), ["keepalived.conf:7-9: priority 150: it takes no block; what is in it was left behind"]);
}

#[test]
fn a_backslash_joins_the_lines_of_a_definition_and_no_others() {
    let priority = |text: &str| config(text).instances["VI_1"].vrrp().unwrap().priority.get();
    assert_eq!(priority(&instance("advert_int 1 \\\npriority 150")), 150);
    assert_eq!(priority(&instance("priority 150 \\\nadvert_int 1")), 150);
    let definition = format!("@high $P= \\\n priority \\\n# why\n 150\n{}", instance("$P"));
    assert_eq!(
        notes(&imported(&definition)),
        [
            "keepalived.conf:11: 150: the keyword is not known in a vrrp_instance",
            "keepalived.conf:11: priority: expected a number from 1 to 255; the default, 100, is used",
        ]
    );
}

#[test]
fn what_is_included_may_be_named_by_a_parameter() {
    let files = |pattern: &str, _: &str| {
        assert_eq!(pattern, "conf.d/x.conf");
        Ok(vec![(pattern.to_owned(), instance(""))])
    };
    let import = import("a.conf", "$DIR=conf.d\ninclude ${DIR}/x.conf\n", "x", &files).unwrap();
    assert_eq!((import.instances, notes(&import)), (1, vec![]));
}

#[test]
fn single_quotes_quote_in_scripts_only() {
    let import = imported(&instance("authentication {\n auth_type PASS\n auth_pass it's\n}"));
    assert_eq!(import.instances, 1);
    let command = |script: &str| {
        let import =
            imported(&format!("vrrp_script c {{\n script {script}\n}}\n{}", instance("track_script {\n c\n}")));
        let config = Config::parse("imported", &import.toml).unwrap();
        (config.checks.get("c").map(|check| check.command.clone()).unwrap_or_default(), notes(&import))
    };
    assert_eq!(command(r#"'/bin/a "b c"'"#).0, ["/bin/a", "b c"]);
    assert_eq!(command(r#""/bin/a 'b c' \x64""#).0, ["/bin/a", "b c", "d"]);
    assert_eq!(command(r#""/bin/a \\\"b c\\\"""#).0, ["/bin/a", "\"b", "c\""]);
    let (none, notes) = command("/bin/echo it's");
    assert!(
        none.is_empty() && notes.iter().any(|note| note.contains(":2: script /bin/echo it's: a quote (')")),
        "{notes:?}"
    );
}

#[test]
fn a_parameter_ends_where_its_name_does() {
    let import = imported(&format!("$A=198.18.0.2\n{}", instance("unicast_peer {\n $A,\n}")));
    assert!(notes(&import)[0].contains("198.18.0.2,"), "{import:?}");
}
