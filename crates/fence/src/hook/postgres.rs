//! What the PostgreSQL of this host knows: its cluster, its timeline, and whom it followed last. Asked through `psql`.

use std::process::Command;
use std::time::Duration;

use crate::child::{self, Ended};
use crate::stop::Stop;

/// A server that does not answer in this time is asked nothing: the promotion waits for us.
const LIMIT: Duration = Duration::from_secs(5);

const QUESTION: &str = "SELECT system_identifier, greatest(timeline_id, min_recovery_end_timeline), \
                        current_setting('primary_conninfo') \
                        FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()";

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Of the cluster.
    pub(crate) system_identifier: u64,
    /// The timeline that it last saw.
    pub(crate) timeline: u32,
    /// The server that it follows, or followed last, by each of the names that it may have: `HOST:PORT`, `HOST`.
    pub(crate) followed: Vec<String>,
}

/// Asks the server behind `conninfo`.
///
/// # Errors
/// In words without secrets: `primary_conninfo` may hold a password, so nothing that was answered is ever repeated.
pub(crate) fn ask(conninfo: &str, stop: &Stop) -> Result<Known, String> {
    let mut command = Command::new("psql");
    command.args(["-XAtqw", "-F", "\t", "-d", conninfo, "-c", QUESTION]).env("PGCONNECT_TIMEOUT", "3").current_dir("/");
    let finished =
        child::run(&mut command, Vec::new(), LIMIT, &|_| {}, stop).map_err(|error| format!("psql: {error}"))?;
    match finished.ended {
        Ended::Exited(0) => read(&finished.stdout).ok_or_else(|| "PostgreSQL's answer is not understood".to_owned()),
        Ended::Exited(code) => Err(format!("psql: exit {code}: {}", finished.stderr.trim())),
        Ended::DeadlineReached => Err(format!("PostgreSQL did not answer within {} s", LIMIT.as_secs())),
        Ended::Signaled(_) | Ended::Interrupted => Err("psql was killed".to_owned()),
    }
}

fn read(line: &str) -> Option<Known> {
    let mut fields = line.trim_end_matches('\n').splitn(3, '\t');
    let system_identifier = fields.next()?.parse().ok()?;
    let timeline = fields.next()?.parse().ok()?;
    Some(Known { system_identifier, timeline, followed: servers(fields.next()?) })
}

/// The servers that a connection string names.
fn servers(conninfo: &str) -> Vec<String> {
    let settings = settings(conninfo);
    let value = |name: &str| settings.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let hosts = value("host").or_else(|| value("hostaddr")).unwrap_or_default();
    let ports: Vec<&str> = value("port").unwrap_or("5432").split(',').collect();
    let mut servers = Vec::new();
    for (at, host) in hosts.split(',').enumerate().filter(|(_, host)| !host.is_empty()) {
        let port = ports.get(at).or(ports.first()).copied().unwrap_or("5432");
        servers.extend([format!("{host}:{port}"), host.to_owned()]);
    }
    servers
}

/// `name = value` pairs; a value may stand in single quotes, and `\` takes the next character as it is (libpq, 34.1.1).
fn settings(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let mut value = String::new();
        let after = after.trim_start();
        let (quoted, body) = after.strip_prefix('\'').map_or((false, after), |body| (true, body));
        let mut characters = body.char_indices();
        let mut end = body.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => value.extend(characters.next().map(|(_, next)| next)),
                '\'' if quoted => {
                    end = at + 1;
                    break;
                }
                space if !quoted && space.is_whitespace() => {
                    end = at;
                    break;
                }
                other => value.push(other),
            }
        }
        found.push((name.trim().to_owned(), value));
        rest = body.get(end..).unwrap_or_default().trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_followed_is_read_from_what_patroni_and_repmgr_write() {
        let patroni = "user=replicator passfile=/tmp/pgpass0 host=198.18.5.11 port=5433 sslmode=prefer";
        assert_eq!(servers(patroni), ["198.18.5.11:5433", "198.18.5.11"]);
        let repmgr = "user=repmgr password='a b''port=9' connect_timeout=2 host='pg 1\\'s' application_name=pg2";
        assert_eq!(servers(repmgr), ["pg 1's:5432", "pg 1's"]);
        assert_eq!(servers("host=a,b port=1,2"), ["a:1", "a", "b:2", "b"]);
        for nothing in ["", "port=5432", "host=", "=", "host", "host='"] {
            assert_eq!(servers(nothing), Vec::<String>::new(), "{nothing:?}");
        }
    }

    #[test]
    fn an_answer_has_three_fields() {
        let known = read("7012345678901234567\t3\thost=pg1\n").unwrap();
        assert_eq!((known.system_identifier, known.timeline), (7_012_345_678_901_234_567, 3));
        assert_eq!(read("7012345678901234567\t3\t\n").unwrap().followed, Vec::<String>::new());
        for text in ["", "7\t3", "x\t3\t", "7\tx\t"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
