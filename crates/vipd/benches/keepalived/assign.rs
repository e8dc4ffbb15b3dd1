//! One address, by hand: from the start of the process to the first announcement on the wire.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::bed::frame::Frame;
use super::bed::observer::now;
use super::bed::router::Make;
use super::bed::site::Site;
use super::bed::vipd;
use super::bed::world::until;
use super::table::{Limit, Row};
use super::{RowSet, VIP, milliseconds};

pub struct Assign;

impl RowSet for Assign {
    fn rows(&self) -> Vec<Row> {
        vec![Row::new("assign", "start to first announcement", "ms", &[Limit::Ratio(0.5)])]
    }

    fn measure(&self, make: Make, _: f64) -> Vec<f64> {
        let site = Site::new().expect("namespaces");
        let commands: &[&[&str]] = match make {
            Make::Vipd => &[&[vipd::PROGRAM, "assign", "198.18.5.200/24", "--dev", "eth0", "--no-probe"]],
            // The peer is not keepalived but what a script does in its place.
            _ => &[
                &["ip", "address", "add", "198.18.5.200/24", "dev", "eth0"],
                &["arping", "-U", "-c", "1", "-I", "eth0", "198.18.5.200"],
            ],
        };
        // Started by a thread inside the namespace, so that no program to enter it is measured too.
        let run = move || {
            let started = now();
            for words in commands {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null());
                let status = command.status().unwrap_or_else(|error| panic!("{words:?}: {error}"));
                assert!(status.success(), "{words:?}: {status}");
            }
            started
        };
        let started = site.world.hosts[0].namespace.enter(run).join().unwrap();
        let mut announced = Duration::ZERO;
        until("the address is announced", || {
            let first =
                |frames: &[Frame]| frames.iter().find(|frame| frame.announces() == Some(VIP.into())).map(|f| f.at);
            announced = site.observer.look(started, first).unwrap_or_default();
            announced > started
        });
        vec![milliseconds(announced - started)]
    }
}
