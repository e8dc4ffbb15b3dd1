//! Takes down what the observer in the operator box sees on the wire.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use bollard::Docker;
use bollard::container::LogOutput;
use futures_util::StreamExt;

use super::Tasks;
use crate::exec::{self, Exec, OutputStream};
use crate::history::{Event, Recorder};
use crate::inbox::arp::Sighting;

/// Where the harness itself is mounted in the operator box.
pub(crate) const HARNESS_IN_BOX: &str = "/usr/local/bin/bc-harness";

/// Starts the observer in `container` and takes down what it prints.
///
/// # Errors
/// If Docker cannot start it.
pub(crate) async fn watch(
    tasks: &mut Tasks,
    docker: &Docker,
    container: &str,
    vip: Ipv4Addr,
    recorder: Recorder,
) -> Result<()> {
    let command = Exec::new([HARNESS_IN_BOX, "observe-arp", "--dev", "eth0", "--address", &vip.to_string()]);
    let (_, output) =
        exec::start(docker, container, &command).await.context("cannot start the observer of the wire")?;
    tasks.spawn(take_down(output, recorder));
    Ok(())
}

async fn take_down(mut output: OutputStream, recorder: Recorder) {
    let mut rest = String::new();
    while let Some(Ok(chunk)) = output.next().await {
        if let LogOutput::StdErr { message } = chunk {
            let words = String::from_utf8_lossy(&message).trim().to_owned();
            recorder.note(Event::Remark { words: format!("observer of the wire: {words}") });
            continue;
        }
        rest.push_str(&String::from_utf8_lossy(&chunk.into_bytes()));
        while let Some(end) = rest.find('\n') {
            let line: String = rest.drain(..=end).collect();
            if let Ok(sighting) = serde_json::from_str(&line) {
                note(sighting, &recorder);
            }
        }
    }
}

fn note(sighting: Sighting, recorder: &Recorder) {
    let (at, event) = match sighting {
        Sighting::Probe { at, number } => (at, Event::ArpProbe { number }),
        Sighting::Answer { at, mac } => (at, Event::ArpAnswer { mac }),
        Sighting::Announcement { at, mac } => (at, Event::ArpAnnouncement { mac }),
    };
    recorder.span(at, at, event);
}
