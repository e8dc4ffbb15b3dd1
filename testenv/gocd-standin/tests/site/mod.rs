//! A PostgreSQL, a configuration directory and the processes of one test.

mod http;
mod postgres;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use http::Answer;
use postgres::Postgres;

pub(crate) const API: &str = "application/vnd.go.cd+json";
pub(crate) const KEY: &str = "auto-register-key";

const PROGRAM: &str = env!("CARGO_BIN_EXE_gocd-standin");

/// Tries until there is something; panics after a minute.
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited 60 s for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The parts that outlive a server.
pub(crate) struct Site {
    pub(crate) database: Postgres,
    directory: TempDir,
}

impl Site {
    /// None, aloud, where there is no PostgreSQL; a failure under CI.
    pub(crate) fn new() -> Option<Self> {
        let database = Postgres::start()?;
        let site = Self { database, directory: tempfile::tempdir().unwrap() };
        let port = site.database.port;
        let made = Command::new(PROGRAM)
            .args(["init", "--auto-register-key", KEY, "--every", "1", "--config-directory"])
            .arg(site.config())
            .status()
            .unwrap();
        assert!(made.success());
        site.write_db_properties(port);
        Some(site)
    }

    /// What would be /etc/go.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(crate) fn write_db_properties(&self, port: u16) {
        let text = format!(
            "db.url=jdbc:postgresql://127.0.0.1:{port}/gocd\ndb.user=gocd\ndb.password={}\n",
            postgres::PASSWORD
        );
        fs::write(self.config().join("db.properties"), text).unwrap();
    }

    pub(crate) fn start_server(&self, options: &[&str]) -> Server {
        self.start_server_on(postgres::free_port(), options)
    }

    pub(crate) fn start_server_on(&self, port: u16, options: &[&str]) -> Server {
        let log = self.config().join(format!("server-{port}.log"));
        let process = Command::new(PROGRAM)
            .args(["server", "--listen", &format!("127.0.0.1:{port}"), "--config-directory"])
            .arg(self.config())
            .args(options)
            .current_dir(self.config())
            .env_remove("RUST_LOG")
            .env("STANDIN_BOOT_TIME", "1ms")
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Server { port, process, log }
    }

    /// Grants an administrator's token.
    pub(crate) fn grant(&self, token: &str) {
        let mut granting = Command::new(PROGRAM)
            .args(["grant", "--config-directory"])
            .arg(self.config())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        granting.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        assert!(granting.wait().unwrap().success());
    }

    pub(crate) fn start_agent(&self, server: &Server) -> Agent {
        let log = self.config().join("agent.log");
        let process = Command::new(PROGRAM)
            .args(["agent", "--server-url", &format!("http://127.0.0.1:{}/go", server.port)])
            .args([
                "--auto-register-key",
                KEY,
                "--ping-interval",
                "100ms",
                "--work-interval",
                "100ms",
                "--work-directory",
            ])
            .arg(self.config().join("agent"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Agent { process, log }
    }
}

/// A server's process; killed when dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    process: Child,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Server {
    pub(crate) fn get(&self, path: &str, accept: &str) -> std::io::Result<Answer> {
        let headers = if accept.is_empty() { vec![] } else { vec![("Accept", accept)] };
        http::request(self.port, "GET", path, &headers, "")
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        http::request(self.port, "GET", path, headers, "").unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        http::request(self.port, "POST", path, headers, body).unwrap()
    }

    pub(crate) fn wait_until_up(&self) {
        wait_for("the server to be up", || {
            let log = fs::read_to_string(&self.log).unwrap();
            assert!(!log.contains("error:") && !log.contains("Failed to start"), "{log}");
            self.get("/go/api/v1/health", "").ok().filter(|answer| answer.status == 200)
        });
    }

    pub(crate) fn wait_for_exit(mut self) -> (Option<i32>, String) {
        let status = wait_for("the server to end", || self.process.try_wait().unwrap());
        (status.code(), fs::read_to_string(&self.log).unwrap())
    }

    /// Newest first.
    pub(crate) fn runs(&self) -> Vec<Value> {
        serde_json::from_str(&self.get("/go/stand-in/runs", "").unwrap().body).unwrap()
    }

    pub(crate) fn agents(&self) -> Vec<Value> {
        let answer: Value = serde_json::from_str(&self.get("/go/api/agents", API).unwrap().body).unwrap();
        answer["_embedded"]["agents"].as_array().unwrap().clone()
    }
}

/// An agent's process; killed when dropped.
pub(crate) struct Agent {
    process: Child,
    log: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Agent {
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// The test, speaking as an agent.
#[derive(Clone)]
pub(crate) struct Speaker {
    pub(crate) uuid: String,
    pub(crate) token: String,
    pub(crate) cookie: Option<String>,
}

impl Speaker {
    pub(crate) fn register(server: &Server, key: &str) -> Self {
        let (status, speaker) = Self::try_register(server, key);
        assert_eq!(status, 200);
        speaker
    }

    pub(crate) fn try_register(server: &Server, key: &str) -> (u16, Self) {
        let uuid = "11111111-2222-3333-4444-555555555555".to_owned();
        let token = server.get(&format!("/go/admin/agent/token?uuid={uuid}"), "").unwrap();
        assert_eq!(token.status, 200);
        let escaped = token.body.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let form =
            format!("hostname=h&uuid={uuid}&token={escaped}&agentAutoRegisterKey={key}&location=&elasticAgentId=");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = http::request(server.port, "POST", "/go/admin/agent", &headers, &form).unwrap();
        (answer.status, Self { uuid, token: token.body, cookie: None })
    }

    pub(crate) fn say(&self, server: &Server, action: &str, kind: &str, more: Value) -> Answer {
        let mut message = json!({ "type": kind, "agentRuntimeInfo": { "type": "AgentRuntimeInfo",
            "identifier": { "hostName": "h", "ipAddress": "127.0.0.1", "uuid": self.uuid },
            "runtimeStatus": "Idle", "buildingInfo": { "buildingInfo": "", "buildLocator": "" },
            "location": "/", "usableSpace": 1, "operatingSystemName": "Linux",
            "agentBootstrapperVersion": "26.1.0", "agentVersion": "26.1.0", "cookie": self.cookie } });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let headers = [
            ("Accept", API),
            ("Content-Type", "application/json"),
            ("X-Agent-GUID", &self.uuid),
            ("Authorization", &self.token),
        ];
        let path = format!("/go/remoting/api/agent/{action}");
        http::request(server.port, "POST", &path, &headers, &message.to_string()).unwrap()
    }

    pub(crate) fn get_cookie(&mut self, server: &Server) {
        let answer = self.say(server, "get_cookie", "GetCookieRequest", json!({}));
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.cookie = Some(answer.body);
    }

    pub(crate) fn wait_for_work(&self, server: &Server) -> Value {
        wait_for("a job", || {
            let answer = self.say(server, "get_work", "GetWorkRequest", json!({}));
            assert_eq!(answer.status, 200, "{}", answer.body);
            let work: Value = serde_json::from_str(&answer.body).unwrap();
            (work["type"] == "BuildWork").then_some(work)
        })
    }
}
