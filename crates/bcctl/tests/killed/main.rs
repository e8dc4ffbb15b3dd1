//! Every verb, killed (SIGKILL) around every command of every step, and continued by another operator, who has nothing but the journals
//! on the hosts: the same end, and each effect once.
//!
//! The steps are those of the journal of an undisturbed run, so this needs no change when there are more. A kill right after `done` is
//! the same to the hosts as one before the next step: they have the line with its first command.
//!
//! What may be done twice, because it does no harm: CHECKPOINT, the looks, `fence off` of a node that is off (the evidence of our own is
//! worth more), `vipd assign` of an address that is held. The effects (power, promotion, start, stop, address) are counted.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "a test says where it stops, and that it was skipped")]

mod gate;
mod scene;
#[path = "../site/mod.rs"]
mod site;

use std::sync::Mutex;
use std::time::Duration;

use gate::{Call, Fate, Kind};
use site::{Site, possible};

/// Sites at work at the same time, for each test.
const SITES: usize = 3;

/// An operation and where it begins.
struct Operation {
    arguments: &'static [&'static str],
    /// Makes the state that is kept.
    before: fn(&Site),
    /// What cannot be kept: done after each time the state was put back.
    mishap: fn(&Site),
}

/// Where bcctl is killed.
#[derive(Clone, Debug)]
struct Kill {
    step: String,
    call: Call,
    fate: Fate,
}

fn nothing(_: &Site) {}

fn prepared(operation: &Operation) -> Site {
    let site = Site::small();
    gate::install(&site);
    site.sql("pg1", "INSERT INTO rows (t) SELECT 'before' FROM generate_series(1, 100)");
    site.wait("SELECT count(*) FROM rows", "pg2", "100");
    // So that no step has nothing to do: the primary waits for its standby, and a file has changed.
    let inventory = std::fs::read_to_string(site.path("bc.toml")).expect("a file");
    let inventory = inventory.replace("[postgresql]\n", "[postgresql]\nsynchronous = true\n");
    std::fs::write(site.path("bc.toml"), inventory.replace("[policy]\n", "[policy]\nwhen-behind = \"wait\"\n"))
        .expect("a file");
    for (host, peer) in [("pg1", "pg2"), ("pg2", "pg1")] {
        site.sql(host, &format!("ALTER SYSTEM SET synchronous_standby_names = '\"{peer}\"'"));
        site.sql(host, "SELECT pg_reload_conf()");
    }
    site.wait("SELECT sync_state FROM pg_stat_replication", "pg1", "sync");
    std::fs::write(site.path("files/go1"), "second\n").expect("a file");
    (operation.before)(&site);
    scene::save(&site);
    site
}

fn begin(site: &Site, operation: &Operation) {
    scene::restore(site);
    (operation.mishap)(site);
}

/// Steps that have begun, and their hosts, in order, from the newest journal.
fn steps(site: &Site) -> Vec<(String, String)> {
    let journal = site.journals().pop().expect("a journal");
    let plan: serde_json::Value = serde_json::from_str(journal.lines().next().expect("a plan")).expect("JSON");
    let word = |step: &serde_json::Value, name: &str| step[name].as_str().expect("a word").to_owned();
    let begun = |id: &str| journal.contains(&format!("\"event\":\"begin\",\"step\":\"{id}\""));
    let steps = plan["steps"].as_array().expect("steps").iter().map(|step| (word(step, "id"), word(step, "host")));
    let (begun, skipped): (Vec<_>, Vec<_>) = steps.partition(|(id, _)| begun(id));
    eprintln!("skipped without a kill: {skipped:?}");
    begun
}

/// The commands of each step, each once.
fn commands(calls: &[Call], step: &str, host: &str) -> Vec<Call> {
    let mut mine: Vec<Call> = Vec::new();
    for call in calls.iter().filter(|call| call.steps.iter().any(|name| name == step)) {
        let its = call.host == host || call.steps.len() == 1;
        if its && !mine.iter().any(|one| one.same(call)) {
            mine.push(call.clone());
        }
    }
    mine
}

/// Before each command of each step, and in the middle of its first.
fn kills(calls: &[Call], steps: &[(String, String)]) -> Vec<Kill> {
    let mut kills = Vec::new();
    for (step, host) in steps {
        let mine = commands(calls, step, host);
        let kill = |call: &Call, fate: Fate| Kill { step: step.clone(), call: call.clone(), fate };
        let changes = mine.iter().filter(|call| call.kind != Kind::Look);
        kills.extend(changes.map(|call| kill(call, Fate::Cut)));
        match mine.iter().find(|call| call.kind == Kind::Deed) {
            Some(deed) => kills.extend([Fate::Finished, Fate::Late].map(|fate| kill(deed, fate))),
            None => kills.extend(mine.first().map(|look| kill(look, Fate::Cut))),
        }
    }
    kills
}

/// Kills bcctl, forgets its machine, and lets another one go on with `verb`.
#[expect(clippy::disallowed_methods, reason = "a late command comes after a while")]
fn kill_and_go_on(site: &Site, kill: &Kill, arguments: &[&str], verb: &str) -> Result<(), String> {
    let mut held = gate::hold(site, &kill.step, &kill.call, arguments)?;
    held.kill();
    std::fs::remove_dir_all(site.state()).expect("its journals");
    site.another_operator();
    let mut bcctl = site.bcctl(&[verb, "--yes"]);
    let output = match kill.fate {
        Fate::Cut => {
            held.cut();
            bcctl.output()
        }
        Fate::Finished => {
            held.run();
            held.wait();
            bcctl.output()
        }
        Fate::Late => {
            let other = bcctl.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
            let mut other = other.expect("bcctl starts");
            for _ in 0..300 {
                // One that goes on beside the late command is given the time to end before it.
                let works = site.journals().last().is_some_and(|journal| journal.contains("\"event\":\"resumed\""));
                if other.try_wait().expect("a child").is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(if works { 100 } else { 5 }));
            }
            held.run();
            let mut output = other.wait_with_output();
            held.wait();
            // It may have been told that the other one is still at work.
            if output.as_ref().is_ok_and(|output| output.status.code() == Some(3)) {
                output = site.bcctl(&[verb, "--yes"]).output();
            }
            output
        }
    };
    let output = output.expect("bcctl starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || said.contains("nothing to resume") {
        return Err(format!("{verb} ended with {}:\n{said}", output.status));
    }
    Ok(())
}

/// Does `work` with each of `items`, on several sites; says which have failed.
fn on_sites<T: Sync>(
    first: Site,
    operation: &Operation,
    items: &[T],
    work: impl Fn(&Site, &T) -> Result<(), String> + Sync,
) {
    let queue = Mutex::new(items.iter());
    let failures = Mutex::new(Vec::new());
    let mut first = Some(first);
    std::thread::scope(|scope| {
        for _ in 0..SITES {
            let site = first.take();
            let (queue, failures, work) = (&queue, &failures, &work);
            scope.spawn(move || {
                let site = site.unwrap_or_else(|| prepared(operation));
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some(item) = next else { break };
                    if let Err(error) = work(&site, item) {
                        eprintln!("{error}");
                        failures.lock().expect("no panic").push(error);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{} of {} kills:\n{}", failures.len(), items.len(), failures.join("\n"));
}

/// The whole enumeration of one operation.
fn killed_everywhere(operation: &Operation) {
    if !possible() {
        return;
    }
    let site = prepared(operation);
    begin(&site, operation);
    let calls = gate::record(&site, || drop(site.expect(0, operation.arguments)));
    let end = scene::settled(&site);
    let steps = steps(&site);
    let kills = kills(&calls, &steps);
    for (step, _) in &steps {
        assert!(kills.iter().any(|kill| kill.step == *step), "{step} had no command: {calls:?}");
    }
    eprintln!(
        "{:?}: {} steps, {} kills; the end:\n  {}",
        operation.arguments,
        steps.len(),
        kills.len(),
        end.join("\n  ")
    );
    on_sites(site, operation, &kills, |site, kill| {
        begin(site, operation);
        kill_and_go_on(site, kill, operation.arguments, "resume")
            .and_then(|()| scene::becomes(site, &end, |_| true))
            .map_err(|error| format!("  {} {:?} at: {}{error}", kill.step, kill.fate, kill.call.words))
    });
}

#[test]
fn a_switchover() {
    killed_everywhere(&Operation { arguments: &["switchover", "--yes"], before: nothing, mishap: nothing });
}

fn home_hangs(site: &Site) {
    site.unplug("pg1");
    site.unplug("go1");
}

#[test]
fn a_failover() {
    killed_everywhere(&Operation { arguments: &["failover", "--yes"], before: nothing, mishap: home_hangs });
}

fn failed_over(site: &Site) {
    home_hangs(site);
    site.expect(0, &["failover", "--yes"]);
    site.sql("pg2", "INSERT INTO rows (t) SELECT 'away' FROM generate_series(1, 100)");
}

#[test]
fn a_failback() {
    killed_everywhere(&Operation { arguments: &["failback", "--yes"], before: failed_over, mishap: nothing });
}

/// pg2 is the primary; pg1 has power again, a row of its own, and no server.
fn diverged(site: &Site) {
    site.service("pg2", "stop");
    // Nobody is waited for, or there would be no such row.
    site.sql("pg1", "SET synchronous_commit = local; INSERT INTO rows (t) VALUES ('only here')");
    site.kill_server("pg1");
    site.service("pg2", "start");
    site.unplug("pg1");
    site.expect(0, &["promote-only", "--yes"]);
    site.plug_in("pg1");
    site.sql("pg2", "INSERT INTO rows (t) SELECT 'new' FROM generate_series(1, 100)");
    site.sql("pg2", "GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO replicator");
}

#[test]
fn a_rejoin_by_copy() {
    killed_everywhere(&Operation { arguments: &["rejoin", "pg1", "--yes"], before: diverged, mishap: nothing });
}

#[test]
fn a_rejoin_by_rewind() {
    let arguments = &["rejoin", "pg1", "--rewind", "--yes"];
    killed_everywhere(&Operation { arguments, before: diverged, mishap: nothing });
}

#[test]
fn a_promotion_only() {
    let before = |site: &Site| {
        std::fs::remove_file(site.path("gocd/go1")).expect("it runs");
        site.service("pg1", "stop");
    };
    killed_everywhere(&Operation { arguments: &["promote-only", "--yes"], before, mishap: nothing });
}

#[test]
fn a_promotion_only_of_a_primary_that_hangs() {
    let mishap = |site: &Site| site.unplug("pg1");
    killed_everywhere(&Operation { arguments: &["promote-only", "--yes"], before: nothing, mishap });
}

#[test]
fn a_vip_only() {
    let arguments = &["vip-only", "--to", "go2", "--yes"];
    killed_everywhere(&Operation { arguments, before: nothing, mishap: nothing });
}

/// What is the same after a way back: not how often something was done.
fn state(line: &str) -> bool {
    !scene::is_effect(line)
}

#[test]
fn a_switchover_that_is_given_up_wherever_it_was_killed() {
    if !possible() {
        return;
    }
    // A way back leaves the files and the setting of the standby as they are, which are so already here.
    let before = |site: &Site| {
        std::fs::write(site.path("files/go2"), "second\n").expect("a file");
        site.sql("pg2", "ALTER SYSTEM RESET synchronous_standby_names");
        site.sql("pg2", "SELECT pg_reload_conf()");
    };
    let operation = &Operation { arguments: &["switchover", "--yes"], before, mishap: nothing };
    let site = prepared(operation);
    begin(&site, operation);
    let healthy = scene::settled(&site);
    let calls = gate::record(&site, || drop(site.expect(0, operation.arguments)));
    let steps: Vec<_> = steps(&site).into_iter().take_while(|(step, _)| step != "promote").collect();
    let mut kills = kills(&calls, &steps);
    kills.retain(|kill| kill.call.kind != Kind::Copy && kill.fate != Fate::Finished);
    assert!(kills.len() > 10, "{kills:?}");
    on_sites(site, operation, &kills, |site, kill| {
        begin(site, operation);
        kill_and_go_on(site, kill, operation.arguments, "abort")
            .and_then(|()| scene::becomes(site, &healthy, state))
            .map_err(|error| format!("  {} {:?} at: {}{error}", kill.step, kill.fate, kill.call.words))
    });
}

#[test]
fn a_way_back_that_is_killed() {
    if !possible() {
        return;
    }
    let before = |site: &Site| {
        let call = Call::copy_to("pg2");
        let mut held = gate::hold(site, "promote", &call, &["switchover", "--yes"]).expect("held");
        held.kill();
        held.cut();
        site.another_operator();
    };
    let operation = &Operation { arguments: &["abort", "--yes"], before, mishap: nothing };
    let site = prepared(operation);
    begin(&site, operation);
    let calls = gate::record(&site, || drop(site.expect(0, operation.arguments)));
    let end = scene::settled(&site);
    eprintln!("{:?}: the end:\n  {}", operation.arguments, end.join("\n  "));
    let mut deeds: Vec<Call> = Vec::new();
    for call in calls.iter().filter(|call| call.kind == Kind::Deed && !call.words.contains("/copies/")) {
        if !deeds.iter().any(|deed| deed.same(call)) {
            deeds.push(call.clone());
        }
    }
    let fates = [Fate::Cut, Fate::Finished, Fate::Late];
    let kills: Vec<Kill> = deeds
        .iter()
        .flat_map(|call| fates.map(|fate| Kill { step: "-".to_owned(), call: call.clone(), fate }))
        .collect();
    assert!(deeds.len() > 4, "{calls:?}");
    on_sites(site, operation, &kills, |site, kill| {
        begin(site, operation);
        kill_and_go_on(site, kill, operation.arguments, "abort")
            .and_then(|()| scene::becomes(site, &end, |_| true))
            .map_err(|error| format!("  {:?} at: {}{error}", kill.fate, kill.call.words))
    });
}

#[test]
fn nobody_works_beside_another_and_nobody_promotes_twice() {
    if !possible() {
        return;
    }
    let operation = &Operation { arguments: &["switchover", "--yes"], before: nothing, mishap: nothing };
    let site = prepared(operation);
    begin(&site, operation);
    let mut first = gate::hold(&site, "promote", &Call::copy_to("pg2"), operation.arguments).expect("held");
    site.another_operator();
    for verb in ["resume", "abort", "switchover"] {
        let said = site.expect(3, &[verb, "--yes"]);
        assert!(said.contains("another bcctl works on this site"), "{said}");
    }
    // It dies, and two others want to go on at the same time.
    first.kill();
    first.run();
    first.wait();
    let mut ends = Vec::new();
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..2)
            .map(|_| {
                site.another_operator();
                let mut bcctl = site.bcctl(&["resume", "--yes"]);
                scope.spawn(move || bcctl.output().expect("bcctl starts"))
            })
            .collect();
        ends.extend(others.into_iter().map(|other| other.join().expect("no panic")));
    });
    let said: Vec<String> = ends.iter().map(|end| String::from_utf8_lossy(&end.stderr).into_owned()).collect();
    assert!(ends.iter().any(|end| end.status.success()), "{said:?}");
    for (end, said) in ends.iter().zip(&said) {
        let refused = end.status.code() == Some(3) && said.contains("another bcctl works on this site");
        assert!(end.status.success() || refused, "{}: {said}", end.status);
    }
    for _ in 0..2 {
        site.another_operator();
        let said = site.expect(0, &["resume", "--yes"]);
        assert!(said.contains("nothing to resume"), "{said}");
    }
    let promotions: Vec<String> =
        scene::describe(&site).into_iter().filter(|line| line.contains("promotion of")).collect();
    assert_eq!(promotions, ["0 x promotion of pg1", "1 x promotion of pg2"]);
    assert_eq!(site.serving(), (vec!["go2".to_owned()], vec!["go2".to_owned()]));
}
