//! What an instance depends on: scripts, interfaces, and the weights that keepalived takes away (vrrp.c).

use super::*;
use vipd::config::Effect;

const CHECK: &str = "vrrp_script chk {\n script /bin/true\n user nobody\n}\n\
                     vrrp_script heavy {\n script /bin/true\n user nobody\n weight -20\n}\n";

/// Two instances, A on eth0 with more lines, B on eth1, in the sync group G with more lines.
fn pair(a: &str, group: &str) -> String {
    let of = |name: &str, n: u8, more: &str| {
        let address = format!("virtual_ipaddress {{\n198.18.{n}.100/24\n}}");
        format!("vrrp_instance {name} {{\ninterface eth{n}\nvirtual_router_id 5{n}\n{address}\n{more}\n}}\n")
    };
    format!("{CHECK}{}{}vrrp_sync_group G {{\ngroup {{\nA\nB\n}}\n{group}\n}}\n", of("A", 0, a), of("B", 1, ""))
}

/// What instance `name` depends on, its group's included, and the notes.
fn tracked(text: &str, name: &str) -> (Vec<(String, Effect)>, String) {
    let import = imported(text);
    let config = Config::parse("imported", &import.toml).unwrap_or_else(|error| panic!("{error}\n{import:#?}"));
    let vrrp = config.instances[name].vrrp().unwrap();
    let interfaces = vrrp.interfaces.iter().map(|tracked| (tracked.what.to_string(), tracked.effect));
    let checks = vrrp.checks.iter().map(|tracked| (tracked.what.to_string(), tracked.effect));
    (interfaces.chain(checks).collect(), notes(&import).join("\n"))
}

fn weight(by: i16) -> Effect {
    let config = config(&format!("{CHECK}{}", instance(&format!("track_script {{\nchk weight {by}\n}}"))));
    config.instances["VI_1"].vrrp().unwrap().checks[0].effect
}

#[test]
fn a_weighted_script_never_becomes_a_fault() {
    // keepalived: "ignoring tracked script … with weights due to SYNC group", and "… address_owner".
    for (script, line) in [("heavy", "heavy"), ("chk weight 5", "chk")] {
        let block = format!("track_script {{\n{script}\n}}");
        let (effects, notes) = tracked(&pair(&block, ""), "A");
        assert_eq!(effects, [], "{notes}");
        assert!(
            notes.contains(&format!("{line}: keepalived tracks no script with a weight in a sync group")),
            "{notes}"
        );
        let (effects, notes) = tracked(&(CHECK.to_owned() + &instance(&format!("priority 255\n{block}"))), "VI_1");
        assert_eq!(effects, [], "{notes}");
        assert!(notes.contains(&format!("{line}: no weight moves the priority of the owner (255)")), "{notes}");
    }
    let unweighted = "track_script {\nheavy weight 0\n}";
    assert_eq!(tracked(&pair(unweighted, ""), "A").0, [("heavy".to_owned(), Effect::Fault)]);
}

/// keepalived 2.2.7 says that it ignores the weight in a sync group, and then moves the priority by it.
#[test]
fn a_weighted_interface_of_a_member_weighs_for_its_sync_group() {
    let block = "track_interface {\neth2 weight -20\n}";
    let (effects, notes) = tracked(&pair(block, ""), "A");
    assert_eq!(effects, [("eth2".to_owned(), weight(-20))], "{notes}");
    assert_eq!(tracked(&pair(block, ""), "B").0, effects, "{notes}");
    assert!(notes.contains("eth2: its weight counts for every instance of the sync group"), "{notes}");
    let (effects, notes) = tracked(&instance(&format!("priority 255\n{block}")), "VI_1");
    assert_eq!(effects, [], "{notes}");
    assert!(notes.contains("eth2: no weight moves the priority of the owner (255)"), "{notes}");
}

#[test]
fn a_script_of_a_member_may_weigh_for_its_sync_group() {
    let text = pair("track_script {\nheavy\n}", "sync_group_tracking_weight");
    let (effects, notes) = tracked(&text, "B");
    assert_eq!(effects, [("heavy".to_owned(), weight(-20))], "{notes}");
    assert!(notes.contains("heavy: its weight counts for every instance of the sync group"), "{notes}");
}

#[test]
fn what_a_member_tracks_without_a_weight_stays_a_fault() {
    let text = pair("track_script {\nchk\n}", "track_script {\nchk weight -20\n}");
    let (effects, notes) = tracked(&text, "A");
    assert_eq!(effects, [("chk".to_owned(), Effect::Fault)], "{notes}");
    assert!(notes.contains("chk: an instance of the group tracks it without a weight"), "{notes}");
}

#[test]
fn an_owner_in_the_group_takes_the_weights_of_the_group_away() {
    let text = pair("priority 255", "track_script {\nheavy\n}\ntrack_interface {\neth2 weight 5\n}");
    let (effects, notes) = tracked(&text, "B");
    assert_eq!(effects, [("eth2".to_owned(), Effect::Fault), ("heavy".to_owned(), Effect::Fault)], "{notes}");
    assert!(notes.contains("heavy: an instance of the group is the owner (255)"), "{notes}");
}

#[test]
fn a_script_without_a_user_is_named() {
    let user = |globals: &str, script: &str| {
        let text = format!(
            "{globals}\nvrrp_script c {{\nscript /bin/true\n{script}\n}}\n{}",
            instance("track_script {\nc\n}")
        );
        (config(&text).checks["c"].user.clone(), notes(&imported(&text)).join("\n"))
    };
    let (none, notes) = user("", "");
    assert_eq!(none, None);
    assert!(notes.contains("vrrp_script c: keepalived runs it as keepalived_script"), "{notes}");
    assert_eq!(user("", "user nobody"), (Some("nobody".to_owned()), String::new()));
    assert_eq!(user("global_defs {\nscript_user root\n}", ""), (Some("root".to_owned()), String::new()));
}

#[test]
fn a_script_with_a_reversed_weight_never_becomes_a_fault() {
    let text = format!("{CHECK}{}", instance("track_script {\nheavy\n}")).replace("weight -20", "weight -20 reverse");
    let (effects, notes) = tracked(&text, "VI_1");
    assert_eq!(effects, [], "{notes}");
    assert!(notes.contains("vrrp_script heavy: a reversed weight does not exist"), "{notes}");
}

#[test]
fn more_runs_than_vipd_counts_are_named() {
    let text = "vrrp_script c {\nscript /bin/true\nuser nobody\nrise 5000\nfall 0\n}\n".to_owned()
        + &instance("track_script {\nc\n}");
    let check = &config(&text).checks["c"];
    assert_eq!((check.rise, check.fall), (1000, 1));
    let notes = notes(&imported(&text));
    assert!(notes[0].contains("rise 5000: expected 1 to 1000 runs; 1000 is used"), "{notes:?}");
    assert!(notes[1].contains("fall 0: expected 1 to 1000 runs; 1 is used"), "{notes:?}");
}

#[test]
fn what_tracked_a_check_that_was_refused_is_named() {
    let text = "vrrp_script c {\nscript /bin/true\nuser \"a:b\"\n}\n".to_owned() + &instance("track_script {\nc\n}");
    let import = imported(&text);
    assert_eq!(import.instances, 1);
    let all = notes(&import).join("\n");
    assert!(all.contains("keepalived.conf:12: c: there is no vrrp_script of this name that was carried over"), "{all}");
}

#[test]
fn the_first_of_two_scripts_of_one_name_stays_tracked() {
    let text = format!("{CHECK}{CHECK}{}", instance("track_script {\nchk\n}"));
    assert_eq!(tracked(&text, "VI_1").0, [("chk".to_owned(), Effect::Fault)]);
}

#[test]
fn a_member_that_was_refused_is_named_in_its_group() {
    let third = "vrrp_instance C {\ninterface eth1\nvirtual_router_id 51\nvirtual_ipaddress {\n198.18.9.9/24\n}\n}\n";
    let text = (pair("", "") + third).replace("\nA\nB\n", "\nA\nB\nC\n");
    let import = imported(&text);
    assert_eq!(import.instances, 2);
    let all = notes(&import).join("\n");
    assert!(all.contains(": C: there is no vrrp_instance of this name that was carried over"), "{all}");
}

#[test]
fn what_a_group_of_one_tracks_counts_for_the_one() {
    let text = pair("track_interface {\neth2 weight -20\n}", "track_script {\nchk\n}").replace("\nA\nB\n", "\nA\n");
    let (effects, notes) = tracked(&text, "A");
    assert_eq!(effects, [("eth2".to_owned(), weight(-20)), ("chk".to_owned(), Effect::Fault)], "{notes}");
    assert_eq!(tracked(&text, "B").0, []);
}

#[test]
fn what_is_tracked_twice_is_tracked_once() {
    let text = CHECK.to_owned() + &instance("track_script {\nchk\nchk weight 5\n}\ntrack_script {\nchk\n}");
    let (effects, notes) = tracked(&text, "VI_1");
    assert_eq!(effects, [("chk".to_owned(), Effect::Fault)], "{notes}");
    assert_eq!(notes.matches("chk: it is tracked already").count(), 2, "{notes}");
}
