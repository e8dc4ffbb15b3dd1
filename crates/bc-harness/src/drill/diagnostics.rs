//! What may explain a drill that failed: logs of the hosts that still answer, bcctl's journals, the fence history.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::Drill;
use crate::exec::Exec;
use crate::host::Host;

const LIMIT: Duration = Duration::from_secs(10);

/// Beginning of the host's name, file name, command.
const SOURCES: [(&str, &str, &str); 8] = [
    ("", "journal.log", "journalctl --no-pager --output short-precise --lines 400"),
    ("", "failed-units.txt", "systemctl --failed --no-pager --plain"),
    ("pg", "postgresql.log", "tail -n 200 /var/log/postgresql/*.log"),
    ("go", "addresses.txt", "ip -d address show dev eth0; vipd status"),
    ("go", "files.txt", "ls -l /etc/go /var/lib/go-server/plugins/external"),
    ("operator", "bcctl-journals.jsonl", "cat /var/lib/bcctl/*/*.jsonl"),
    ("operator", "fence-history.jsonl", "cat /var/lib/fence/history.jsonl"),
    ("operator", "bc.toml", "cat /etc/bcctl/bc.toml /etc/fence/fence.toml"),
];

impl Drill {
    /// Writes `REPORT/diagnostics/HOST-FILE` for what can be had; what cannot is left out.
    pub(super) async fn collect_diagnostics(&self) {
        let Some(site) = &self.site else { return };
        let directory = self.setup.report_directory.join("diagnostics");
        if let Err(error) = std::fs::create_dir_all(&directory) {
            self.progress.line(&format!("cannot make {}: {error}", directory.display()));
            return;
        }
        join_all(site.hosts().map(|host| collect(host, &directory))).await;
        self.progress.line(&format!("logs of the hosts: {}", directory.display()));
    }
}

async fn collect(host: &Host, directory: &Path) {
    // A host that is off or frozen has nothing to say.
    if !matches!(host.power().await, Ok((true, false))) {
        return;
    }
    for (name, file, command) in SOURCES {
        if !host.name.starts_with(name) {
            continue;
        }
        let text = match host.run(&Exec::shell(command), LIMIT).await {
            Ok(output) => output.stdout + &output.stderr,
            Err(error) => format!("{error:#}\n"),
        };
        // Diagnostics are a courtesy; the verdict does not depend on them.
        let _ = std::fs::write(directory.join(format!("{}-{file}", host.name)), text);
    }
}
