//! `cruise-config.xml`: who the server is, and what it runs (GoCD: ServerConfig, GoConfigMigrator). Only what a drill needs.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quick_xml::escape::escape;
use serde::Deserialize;
use thiserror::Error;
use uuid::Uuid;

use crate::cipher::{Cipher, CipherError, DecryptError};

/// Secure variable whose plain text is the `serverId`: makes sure that file and cipher belong together.
const CHECK: &str = "STANDIN_CHECK";

/// The configuration, read to its end and checked.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct CruiseConfig {
    /// The server's identity and keys.
    pub(crate) server: Server,
    #[serde(default)]
    pipelines: Vec<Group>,
}

/// `<server>`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Server {
    /// Identity of the site; the same on both servers.
    #[serde(rename = "@serverId")]
    pub(crate) server_id: String,
    /// Key of the agents' tokens.
    #[serde(rename = "@tokenGenerationKey")]
    pub(crate) token_generation_key: String,
    /// Agents that know it are approved at once.
    #[serde(rename = "@agentAutoRegisterKey", default)]
    pub(crate) agent_auto_register_key: String,
    /// Where artifacts are kept.
    #[serde(default)]
    pub(crate) artifacts: Artifacts,
}

/// `<artifacts>`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Artifacts {
    /// `<artifactsDir>`; relative to the server's working directory.
    #[serde(rename = "artifactsDir")]
    pub(crate) directory: String,
}

impl Default for Artifacts {
    fn default() -> Self {
        Self { directory: "artifacts".to_owned() }
    }
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Group {
    #[serde(default)]
    pipeline: Vec<Pipeline>,
}

/// `<pipeline>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Pipeline {
    /// Its name.
    #[serde(rename = "@name")]
    pub(crate) name: String,
    timer: Option<Timer>,
    #[serde(default)]
    environmentvariables: Variables,
    /// Its stages; the stand-in runs the first job of the first.
    pub(crate) stage: Vec<Stage>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Timer {
    #[serde(rename = "$text")]
    spec: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Variables {
    #[serde(default)]
    variable: Vec<Variable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Variable {
    #[serde(rename = "@name")]
    name: String,
    #[serde(rename = "encryptedValue")]
    encrypted_value: Option<String>,
}

/// `<stage>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Stage {
    /// Its name.
    #[serde(rename = "@name")]
    pub(crate) name: String,
    jobs: Jobs,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Jobs {
    job: Vec<Job>,
}

/// `<job>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Job {
    /// Its name.
    #[serde(rename = "@name")]
    pub(crate) name: String,
    #[serde(default)]
    tasks: Tasks,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Tasks {
    #[serde(default)]
    exec: Vec<Exec>,
}

/// `<exec>`: one command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Exec {
    /// The program.
    #[serde(rename = "@command")]
    pub(crate) command: String,
    /// Its arguments.
    #[serde(default)]
    pub(crate) arg: Vec<String>,
}

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// Not a whole cruise-config.xml.
    #[error("{}: {source}", path.display())]
    Xml { path: PathBuf, source: quick_xml::DeError },
    /// A timer that the stand-in does not understand.
    #[error("{}: pipeline {pipeline}: timer \"{spec}\": the stand-in knows 0/N * * * * ? only", path.display())]
    Timer { path: PathBuf, pipeline: String, spec: String },
    /// A pipeline without a job in its first stage.
    #[error("{}: pipeline {pipeline} has no job in its first stage", path.display())]
    NoJob { path: PathBuf, pipeline: String },
    /// A secure variable that the site's cipher does not open.
    #[error("{}: pipeline {pipeline}, variable {variable}: {source}", path.display())]
    Secret { path: PathBuf, pipeline: String, variable: String, source: DecryptError },
    /// No fresh cipher could be made.
    #[error(transparent)]
    Cipher(#[from] CipherError),
}

/// Reads the configuration, making a fresh one (other keys, no pipeline) if there is none, and checks every encrypted value.
///
/// # Errors
///
/// [`ConfigError`], with the file and the place in it.
pub(crate) fn load_or_create(directory: &Path, cipher: &Cipher) -> Result<CruiseConfig, ConfigError> {
    if write_unless_there(directory, "", None)? {
        tracing::warn!("stand-in: no cruise-config.xml; made one with fresh keys: agents of another server get 403");
    }
    let path = directory.join("cruise-config.xml");
    let text = fs::read_to_string(&path).map_err(|source| ConfigError::File { path: path.clone(), source })?;
    let config = parse(&text).map_err(|source| ConfigError::Xml { path: path.clone(), source })?;
    config.check(cipher, &path)?;
    Ok(config)
}

fn parse(text: &str) -> Result<CruiseConfig, quick_xml::DeError> {
    quick_xml::de::from_str(text)
}

/// Writes a fresh configuration, and the cipher it needs, unless `cruise-config.xml` is there. True if it was written.
///
/// With `every`, it has the pipeline `heartbeat`, triggered every so many seconds.
///
/// # Errors
///
/// When a file cannot be written.
pub(crate) fn write_unless_there(directory: &Path, key: &str, every: Option<u8>) -> Result<bool, ConfigError> {
    let path = directory.join("cruise-config.xml");
    let file = |source| ConfigError::File { path: path.clone(), source };
    if path.try_exists().map_err(file)? {
        return Ok(false);
    }
    let cipher = Cipher::load_or_create(&directory.join("cipher.aes"))?;
    let text = fresh(&cipher, key, every)?;
    let new = directory.join(".cruise-config.xml.new");
    let write = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(file)?;
    Ok(true)
}

fn fresh(cipher: &Cipher, key: &str, every: Option<u8>) -> Result<String, CipherError> {
    let server_id = Uuid::new_v4().to_string();
    let pipelines = match every {
        None => String::new(),
        Some(every) => format!(
            r#"  <pipelines group="defaultGroup">
    <pipeline name="heartbeat">
      <timer>0/{every} * * * * ?</timer>
      <environmentvariables>
        <variable name="{CHECK}" secure="true">
          <encryptedValue>{secret}</encryptedValue>
        </variable>
      </environmentvariables>
      <stage name="beat">
        <jobs>
          <job name="tick">
            <tasks>
              <exec command="sleep">
                <arg>1</arg>
              </exec>
            </tasks>
          </job>
        </jobs>
      </stage>
    </pipeline>
  </pipelines>
"#,
            secret = cipher.encrypt(&server_id)?
        ),
    };
    Ok(format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<cruise schemaVersion="139">
  <server agentAutoRegisterKey="{}" webhookSecret="{}" serverId="{server_id}" tokenGenerationKey="{}">
    <artifacts>
      <artifactsDir>artifacts</artifactsDir>
    </artifacts>
  </server>
{pipelines}</cruise>
"#,
        escape(key),
        Uuid::new_v4(),
        Uuid::new_v4(),
    ))
}

impl CruiseConfig {
    /// Every pipeline of every group.
    pub(crate) fn pipelines(&self) -> impl Iterator<Item = &Pipeline> {
        self.pipelines.iter().flat_map(|group| &group.pipeline)
    }

    fn check(&self, cipher: &Cipher, path: &Path) -> Result<(), ConfigError> {
        for pipeline in self.pipelines() {
            let name = || pipeline.name.clone();
            if pipeline.first_job().is_none() {
                return Err(ConfigError::NoJob { path: path.to_owned(), pipeline: name() });
            }
            if let Some(Timer { spec }) = &pipeline.timer
                && parse_timer(spec).is_none()
            {
                return Err(ConfigError::Timer { path: path.to_owned(), pipeline: name(), spec: spec.clone() });
            }
            for variable in &pipeline.environmentvariables.variable {
                let Some(value) = &variable.encrypted_value else { continue };
                let opened = cipher.decrypt(value).and_then(|plain| {
                    let fits = variable.name != CHECK || plain == self.server.server_id;
                    if fits { Ok(()) } else { Err(DecryptError::Key) }
                });
                opened.map_err(|source| ConfigError::Secret {
                    path: path.to_owned(),
                    pipeline: name(),
                    variable: variable.name.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

impl Pipeline {
    /// How often it is triggered, if by a timer.
    pub(crate) fn every(&self) -> Option<Duration> {
        self.timer.as_ref().and_then(|timer| parse_timer(&timer.spec))
    }

    /// The stage and the job that the stand-in runs.
    pub(crate) fn first_job(&self) -> Option<(&Stage, &Job)> {
        let stage = self.stage.first()?;
        Some((stage, stage.jobs.job.first()?))
    }
}

impl Job {
    /// Its commands, in order.
    pub(crate) fn commands(&self) -> &[Exec] {
        &self.tasks.exec
    }
}

/// `0/N * * * * ?`, Quartz for "every N seconds", N of 1 to 59.
fn parse_timer(spec: &str) -> Option<Duration> {
    let seconds: u64 = spec.trim().strip_prefix("0/")?.strip_suffix(" * * * * ?")?.parse().ok()?;
    (1..60).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::{ConfigError, fresh, load_or_create, parse, parse_timer, write_unless_there};
    use crate::cipher::Cipher;
    use std::time::Duration;

    #[test]
    fn a_fresh_configuration_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        assert!(write_unless_there(directory.path(), "a<&\">b", Some(3)).unwrap());
        assert!(!write_unless_there(directory.path(), "other", Some(4)).unwrap(), "it is left alone");
        let cipher = Cipher::load_or_create(&directory.path().join("cipher.aes")).unwrap();
        let config = load_or_create(directory.path(), &cipher).unwrap();
        let pipeline = config.pipelines().next().unwrap();
        assert_eq!(config.server.agent_auto_register_key, "a<&\">b");
        assert_eq!((pipeline.name.as_str(), pipeline.every()), ("heartbeat", Some(Duration::from_secs(3))));
        let (stage, job) = pipeline.first_job().unwrap();
        assert_eq!((stage.name.as_str(), job.name.as_str()), ("beat", "tick"));
        assert_eq!(
            (job.commands()[0].command.as_str(), job.commands()[0].arg.as_slice()),
            ("sleep", ["1".to_owned()].as_slice())
        );
    }

    #[test]
    fn two_servers_without_a_configuration_have_different_keys() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = [&one, &two].map(|directory| {
            let cipher = Cipher::load_or_create(&directory.path().join("cipher.aes")).unwrap();
            load_or_create(directory.path(), &cipher).unwrap().server
        });
        assert_ne!(keys[0].token_generation_key, keys[1].token_generation_key);
        assert_ne!(keys[0].server_id, keys[1].server_id);
    }

    #[test]
    fn a_configuration_of_another_cipher_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        write_unless_there(directory.path(), "key", Some(3)).unwrap();
        for attempt in 0..600 {
            // Often enough that, by chance, padding and encoding fit about twice: the check value is what makes it certain.
            let other = Cipher::load_or_create(&directory.path().join(format!("cipher.{attempt}"))).unwrap();
            let error = load_or_create(directory.path(), &other).unwrap_err();
            assert!(matches!(error, ConfigError::Secret { .. }), "{error}");
        }
    }

    #[test]
    fn a_torn_file_is_refused_wherever_it_is_torn() {
        let directory = tempfile::tempdir().unwrap();
        let cipher = Cipher::load_or_create(&directory.path().join("cipher.aes")).unwrap();
        let whole = fresh(&cipher, "key", Some(3)).unwrap();
        parse(&whole).unwrap();
        for length in 0..whole.trim_end().len() {
            assert!(parse(&whole[..length]).is_err(), "{}", &whole[..length]);
        }
    }

    #[test]
    fn a_timer_is_every_so_many_seconds() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let table = [
            ("0/3 * * * * ?", seconds(3)),
            (" 0/59 * * * * ? ", seconds(59)),
            ("0/0 * * * * ?", None),
            ("0/60 * * * * ?", None),
            ("0 0 22 ? * MON-FRI", None),
            ("", None),
        ];
        for (spec, expected) in table {
            assert_eq!(parse_timer(spec), expected, "{spec}");
        }
    }
}
