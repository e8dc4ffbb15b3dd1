//! The agent `redfish`: one named computer system behind a Redfish service (DMTF DSP0266), spoken to natively over TLS.
//!
//! The system is named in the configuration and never guessed: a client that takes the first or last of the list has switched
//! off the wrong machine and exited 0. `off` is `ForceOff`; `GracefulShutdown` is a request to the operating system, which the
//! service accepts (204) whether or not anything follows. Only `PowerState` exactly `Off`, read afterwards, is off.

mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bc_model::fencing::{Grade, NodeState};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value, json};
use toml::Spanned;
use ureq::unversioned::resolver::DefaultResolver;

use crate::agent::{Action, Agent, Answer, Call, Preview, seconds};
use crate::clock::instant;
use crate::config::{Keys, Problem};
use crate::devices::credential::{Credential, CredentialKeys, Password};
use crate::secret::clean;
use crate::stop::Stop;
use tls::{Line, Trust};

/// The most that is read of one answer.
const LARGEST_ANSWER: u64 = 1 << 20;

/// One system.
#[derive(Clone, Debug)]
struct Redfish {
    address: IpAddr,
    port: u16,
    name: ServerName<'static>,
    /// Its path: `/redfish/v1/Systems/ID`.
    system: String,
    credential: Credential,
    session: bool,
    trust: Trust,
    /// What `UUID` must be before anything is done.
    uuid: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RedfishKeys {
    address: Option<Spanned<String>>,
    port: Option<u16>,
    tls_name: Option<Spanned<String>>,
    system: Option<Spanned<String>>,
    username: Option<Spanned<String>>,
    password_file: Option<Spanned<String>>,
    password_command: Option<Spanned<Vec<String>>>,
    login: Option<Spanned<String>>,
    ca_file: Option<Spanned<String>>,
    certificate_sha256: Option<Spanned<String>>,
    uuid: Option<Spanned<String>>,
}

/// Reads the keys of a device with `agent = "redfish"`.
pub(crate) fn read(keys: Keys<'_>) -> Result<Box<dyn Agent>, Problem> {
    let (keys, place) = keys.read::<RedfishKeys>()?;
    let RedfishKeys { username, password_file, password_command, .. } = keys;
    let address = place.address(keys.address, "the IP address of the BMC")?;
    let system =
        place.needed("system", keys.system, "the id of the system, the last part of /redfish/v1/Systems/ID")?;
    let id = system.get_ref().strip_prefix("/redfish/v1/Systems/").unwrap_or(system.get_ref());
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if id.is_empty() || id.chars().all(|c| c == '.') || !id.chars().all(legal) {
        return Err(place.wrong("system", &system, "the id of one system, the last part of /redfish/v1/Systems/ID"));
    }
    let name = match &keys.tls_name {
        None => ServerName::IpAddress(address.into()),
        Some(name) => ServerName::try_from(name.get_ref().clone())
            .map_err(|_| place.wrong("tls-name", name, "the name in the BMC's certificate"))?,
    };
    let session = match keys.login {
        None => false,
        Some(login) => match login.get_ref().as_str() {
            "basic" => false,
            "session" => true,
            _ => return Err(place.wrong("login", &login, "\"basic\" or \"session\"")),
        },
    };
    let trust = match (place.path("ca-file", keys.ca_file.as_ref())?, keys.certificate_sha256) {
        (Some(file), None) => Trust::Authority(file),
        (None, Some(sha256)) => Trust::Certificate(tls::fingerprint(sha256.get_ref()).ok_or_else(|| {
            place.wrong(
                "certificate-sha256",
                &sha256,
                "64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` prints",
            )
        })?),
        (None, None) => {
            return Err(place.missing("ca-file", "a PEM file, or certificate-sha256: TLS is always verified"));
        }
        (Some(_), Some(sha256)) => {
            return Err(place.wrong("certificate-sha256", &sha256, "either this or ca-file, not both"));
        }
    };
    Ok(Box::new(Redfish {
        address,
        port: keys.port.unwrap_or(443),
        name,
        system: format!("/redfish/v1/Systems/{id}"),
        credential: Credential::read(&place, CredentialKeys { username, password_file, password_command })?,
        session,
        trust,
        uuid: keys.uuid.map(Spanned::into_inner),
    }))
}

/// One conversation: a client, its deadline, and what it logs in with.
struct Conversation<'a> {
    device: &'a Redfish,
    client: ureq::Agent,
    until: Instant,
    limit: Duration,
    password: Password,
    basic: String,
    token: Option<String>,
    /// Where the session is closed.
    session: Option<String>,
}

/// An answer: its HTTP status and its JSON, null if there is none.
struct Reply {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Value,
}

impl Redfish {
    fn base(&self) -> String {
        match self.address {
            IpAddr::V4(address) => format!("https://{address}:{}", self.port),
            IpAddr::V6(address) => format!("https://[{address}]:{}", self.port),
        }
    }

    fn converse(&self, limit: Duration, stop: &Stop) -> Result<Conversation<'_>, String> {
        let until = instant() + limit;
        let password = self.credential.password(limit, stop)?;
        let config = ureq::Agent::config_builder()
            // A BMC is never behind a proxy that the environment happens to name; a redirect would carry the login away.
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent("fence")
            .build();
        let line = Line {
            config: tls::client(&self.trust)?,
            name: self.name.clone(),
            to: SocketAddr::new(self.address, self.port),
            until,
            stop: stop.clone(),
        };
        let client = ureq::Agent::with_parts(config, line, DefaultResolver::default());
        let basic = STANDARD.encode(format!("{}:{}", self.credential.username, password.reveal()));
        let mut conversation =
            Conversation { device: self, client, until, limit, password, basic, token: None, session: None };
        if self.session {
            conversation.log_in()?;
        }
        Ok(conversation)
    }

    fn ask(&self, action: Action, limit: Duration, stop: &Stop) -> Result<Answer, String> {
        let conversation = self.converse(limit, stop)?;
        let answer = conversation.carry_out(action);
        conversation.log_out();
        answer
    }
}

impl Conversation<'_> {
    fn carry_out(&self, action: Action) -> Result<Answer, String> {
        let system = self.system()?;
        let (state, words) = power_state(&system);
        let reset = match action {
            Action::Monitor => {
                // Whether it could be turned off: the service names the place for a reset, and those that it knows.
                reset_target(&system, "ForceOff")?;
                return Ok(Answer { state, obeyed: true, at_most: None, detail: words });
            }
            Action::Status => {
                return Ok(Answer { state, obeyed: state != NodeState::Unknown, at_most: None, detail: words });
            }
            Action::Off => "ForceOff",
            Action::On => "On",
        };
        let wanted = if action == Action::Off { NodeState::Off } else { NodeState::On };
        // Many services answer ForceOff of a system that is off with an error.
        if state == wanted {
            return Ok(Answer { state, obeyed: true, at_most: None, detail: format!("{words} already") });
        }
        let target = reset_target(&system, reset)?;
        let reply = self.send("POST", &target, Some(&json!({ "ResetType": reset })))?;
        let said = self.expect(&format!("POST {reset}"), &reply, &[200, 202, 204])?;
        // Accepted is not done: PowerState follows seconds later, and is asked for by whoever wants proof.
        Ok(Answer { state: wanted, obeyed: true, at_most: None, detail: format!("{said}: {reset} accepted") })
    }

    /// The system as the service describes it, when it is the one that is meant.
    fn system(&self) -> Result<Value, String> {
        let path = &self.device.system;
        let reply = self.send("GET", path, None)?;
        self.expect(&format!("GET {path}"), &reply, &[200])?;
        is_meant(&reply.body, path, self.device.uuid.as_deref())?;
        Ok(reply.body)
    }

    fn log_in(&mut self) -> Result<(), String> {
        let login = json!({ "UserName": self.device.credential.username, "Password": self.password.reveal() });
        let reply = self.send("POST", "/redfish/v1/SessionService/Sessions", Some(&login))?;
        self.expect("POST session", &reply, &[200, 201])?;
        let token = reply.headers.get("x-auth-token").and_then(|token| token.to_str().ok());
        self.token = Some(token.ok_or("the service opens no session: no X-Auth-Token")?.to_owned());
        let place = reply.headers.get("location").and_then(|place| place.to_str().ok()).unwrap_or_default();
        let place = place.strip_prefix(&self.device.base()).unwrap_or(place);
        self.session = is_place(place).then(|| place.to_owned());
        Ok(())
    }

    /// Sessions are few on a BMC: one that is left behind may keep the next request out. It ends by itself some time later,
    /// so that this fails is no reason to fail.
    fn log_out(&self) {
        if let Some(session) = &self.session {
            let _ = self.send("DELETE", session, None);
        }
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply, String> {
        let left = self.until.saturating_duration_since(instant());
        if left.is_zero() {
            return Err(format!("no answer within {}", seconds(self.limit)));
        }
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.device.base()))
            .header("Accept", "application/json")
            .header("OData-Version", "4.0")
            .header("Content-Type", "application/json");
        request = match &self.token {
            Some(token) => request.header("X-Auth-Token", token),
            None if self.device.session => request,
            None => request.header("Authorization", format!("Basic {}", self.basic)),
        };
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(text).map_err(|error| format!("request: {error}"))?;
        let mut reply = self.client.run(request).map_err(|error| self.words(&error))?;
        let text = reply.body_mut().with_config().limit(LARGEST_ANSWER).read_to_string();
        let text = text.map_err(|error| self.words(&error))?;
        Ok(Reply {
            status: reply.status().as_u16(),
            headers: reply.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or_default(),
        })
    }

    /// `HTTP 204`, or why any other status is a failure, with the service's own message.
    fn expect(&self, what: &str, reply: &Reply, fine: &[u16]) -> Result<String, String> {
        let status = format!("HTTP {}", reply.status);
        if fine.contains(&reply.status) {
            return Ok(status);
        }
        let advice = match reply.status {
            401 | 403 => ": the service refuses the login",
            404 => ": there is no such system",
            300..=399 => ": a redirect is not followed",
            _ => "",
        };
        let error = &reply.body["error"];
        let message = error["@Message.ExtendedInfo"][0]["Message"].as_str().or_else(|| error["message"].as_str());
        let message = message.map(|message| format!(": {message}")).unwrap_or_default();
        Err(clean(&format!("{what}: {status}{advice}{message}"), &self.secrets()))
    }

    fn words(&self, error: &ureq::Error) -> String {
        if matches!(error, ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::TimedOut) {
            return format!("no answer within {}", seconds(self.limit));
        }
        // The library wraps the cause, which says more.
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        clean(&text, &self.secrets())
    }

    fn secrets(&self) -> crate::secret::Options {
        self.password.secrets(&[&self.basic, self.token.as_deref().unwrap_or_default()])
    }
}

/// Whether this is the system asked for: a service that hands out another one is not to be believed about either.
fn is_meant(system: &Value, path: &str, uuid: Option<&str>) -> Result<(), String> {
    let said = system["@odata.id"].as_str().unwrap_or_default();
    if said.trim_end_matches('/') != path {
        return Err(format!("asked for {path}, the service answers about {said:?}"));
    }
    let Some(uuid) = uuid else { return Ok(()) };
    match system["UUID"].as_str() {
        Some(found) if found.eq_ignore_ascii_case(uuid) => Ok(()),
        found => Err(format!("this is another machine: its UUID is {:?}, expected {uuid}", found.unwrap_or_default())),
    }
}

/// `PowerState` (DSP0268): only these two words are a state; `PoweringOff` and `Paused` are none.
fn power_state(system: &Value) -> (NodeState, String) {
    match system["PowerState"].as_str() {
        Some("Off") => (NodeState::Off, "PowerState Off".to_owned()),
        Some("On") => (NodeState::On, "PowerState On".to_owned()),
        Some(other) => (NodeState::Unknown, clean(&format!("PowerState {other}"), &crate::secret::Options::new())),
        None => (NodeState::Unknown, "no PowerState in the answer".to_owned()),
    }
}

/// Where the reset is sent: the service names the place, and may name the resets that it knows.
fn reset_target(system: &Value, reset: &str) -> Result<String, String> {
    let action = &system["Actions"]["#ComputerSystem.Reset"];
    let target = action["target"].as_str().ok_or("the service offers no ComputerSystem.Reset")?;
    if !is_place(target) {
        return Err(format!("the service names {target:?} as the place for a reset"));
    }
    if let Some(known) = action["ResetType@Redfish.AllowableValues"].as_array()
        && !known.iter().any(|value| value == reset)
    {
        return Err(format!("the service does not know {reset}"));
    }
    Ok(target.to_owned())
}

/// Whether this is a path of the service itself.
fn is_place(path: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    path.starts_with("/redfish/") && path.chars().all(legal)
}

impl Agent for Redfish {
    fn call(&self, call: &Call<'_>) -> Answer {
        let begun = instant();
        let (done, asked) = mpsc::channel();
        let (action, limit, stop) = (call.action, call.limit, call.stop);
        thread::scope(|scope| {
            // It ends by itself at the deadline; this thread tells the person how long it has taken.
            scope.spawn(move || done.send(self.ask(action, limit, stop).unwrap_or_else(Answer::unknown)));
            loop {
                match asked.recv_timeout(Duration::from_secs(1)) {
                    Ok(answer) => return answer,
                    Err(RecvTimeoutError::Timeout) => (call.waiting)(begun.elapsed()),
                    Err(RecvTimeoutError::Disconnected) => return Answer::unknown("the conversation broke off"),
                }
            }
        })
    }

    fn preview(&self, action: Action, _node: &str) -> Preview {
        let get = format!("GET {}{}", self.base(), self.system);
        let post = |reset: &str| format!("POST {{\"ResetType\":\"{reset}\"}} to its #ComputerSystem.Reset");
        let mut stdin = vec![format!("{}:{}", self.credential.username, self.credential.shown())];
        match action {
            Action::Off => stdin.push(post("ForceOff")),
            Action::On => stdin.push(post("On")),
            Action::Status | Action::Monitor => {}
        }
        Preview { command: vec![get], stdin }
    }

    fn turns_on(&self) -> bool {
        true
    }

    fn grade(&self) -> Grade {
        Grade::A
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_off_is_off() {
        for (said, state) in [
            (json!("Off"), NodeState::Off),
            (json!("On"), NodeState::On),
            (json!("off"), NodeState::Unknown),
            (json!("PoweringOff"), NodeState::Unknown),
            (json!("Paused"), NodeState::Unknown),
            (json!(null), NodeState::Unknown),
            (json!(0), NodeState::Unknown),
        ] {
            assert_eq!(power_state(&json!({ "PowerState": said })).0, state, "{said}");
        }
        assert_eq!(power_state(&Value::Null).0, NodeState::Unknown);
    }

    #[test]
    fn another_system_is_not_believed() {
        let path = "/redfish/v1/Systems/pg1";
        let said = json!({ "@odata.id": path, "UUID": "AA-1" });
        assert_eq!(is_meant(&said, path, None), Ok(()));
        assert_eq!(is_meant(&said, path, Some("aa-1")), Ok(()));
        for (said, uuid) in [
            (json!({ "@odata.id": "/redfish/v1/Systems/pg2", "UUID": "AA-1" }), None),
            (json!({}), None),
            (said.clone(), Some("bb-1")),
            (json!({ "@odata.id": path }), Some("aa-1")),
        ] {
            assert!(is_meant(&said, path, uuid).is_err(), "{said}");
        }
    }

    #[test]
    fn a_reset_goes_only_where_the_service_says_and_only_if_it_knows_it() {
        let system = |target: &str, known: Value| json!({ "Actions": { "#ComputerSystem.Reset": { "target": target, "ResetType@Redfish.AllowableValues": known } } });
        let place = "/redfish/v1/Systems/pg1/Actions/ComputerSystem.Reset";
        assert_eq!(reset_target(&system(place, Value::Null), "ForceOff").as_deref(), Ok(place));
        assert_eq!(reset_target(&system(place, json!(["On", "ForceOff"])), "ForceOff").as_deref(), Ok(place));
        assert!(reset_target(&system(place, json!(["GracefulShutdown"])), "ForceOff").is_err());
        assert!(reset_target(&system("https://elsewhere/", Value::Null), "ForceOff").is_err());
        assert!(reset_target(&json!({}), "ForceOff").is_err());
    }
}
