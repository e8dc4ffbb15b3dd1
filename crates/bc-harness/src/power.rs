//! The power switch of the drill: what `fence` meets in place of a rack's PDU or a BMC.
//!
//! It serves HTTP on a Unix socket whose directory is mounted into the operator box: `GET /NODE` answers `on` or `off`,
//! `POST /NODE/on` and `POST /NODE/off` switch and answer the same. The truth is what Docker says of the container.
//! With `--sabotage no-fence` the switch lies: told to turn a node off it says `off` from then on, and does nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use bollard::Docker;
use futures_util::future::BoxFuture;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::clock::Moment;
use crate::history::{Asked, Event, Recorder};
use crate::host;
use crate::network::Network;

/// The mains behind the switch.
pub(crate) trait Mains: Send + Sync + 'static {
    /// Whether `node` has power.
    fn is_on<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<bool>>;
    /// Gives it power, or takes it away at once.
    fn set<'a>(&'a self, node: &'a str, on: bool) -> BoxFuture<'a, Result<()>>;
}

/// Containers as nodes.
pub(crate) struct DockerMains {
    /// The engine.
    pub(crate) docker: Docker,
    /// What the nodes are plugged into.
    pub(crate) network: Network,
    /// By the name of the node: the id of its container, and its address.
    pub(crate) nodes: BTreeMap<String, (String, Ipv4Addr)>,
}

impl DockerMains {
    fn node(&self, name: &str) -> Result<(&str, Ipv4Addr)> {
        let found = self.nodes.get(name).with_context(|| format!("there is no node {name}"))?;
        Ok((&found.0, found.1))
    }
}

impl Mains for DockerMains {
    fn is_on<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move { Ok(host::power_of(&self.docker, self.node(node)?.0).await?.0) })
    }

    fn set<'a>(&'a self, node: &'a str, on: bool) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let (container, address) = self.node(node)?;
            if on {
                host::switch_on(&self.docker, container).await
            } else {
                host::switch_off(&self.docker, container, &self.network, address).await
            }
        })
    }
}

/// The switch as it is asked: truthful, or lying.
pub(crate) struct Switch {
    mains: Box<dyn Mains>,
    nodes: BTreeSet<String>,
    recorder: Recorder,
    /// Nodes that the switch claims to have turned off; present only if it lies.
    claims: Option<Mutex<BTreeSet<String>>>,
}

impl Switch {
    /// A switch for `nodes`.
    pub(crate) fn new(mains: Box<dyn Mains>, nodes: BTreeSet<String>, recorder: Recorder, lies: bool) -> Self {
        Self { mains, nodes, recorder, claims: lies.then(Mutex::default) }
    }

    /// Answers `on` or `off`, having done what was asked unless it lies.
    ///
    /// # Errors
    /// If there is no such node (404), or the mains do not obey (503).
    async fn ask(&self, node: &str, asked: Asked) -> Result<&'static str, (StatusCode, String)> {
        let began = Moment::now();
        if !self.nodes.contains(node) {
            return Err((StatusCode::NOT_FOUND, format!("there is no node {node} on this switch\n")));
        }
        let answer = self.answer(node, asked).await;
        let running = self.mains.is_on(node).await.ok();
        let said = answer.as_ref().map_or_else(|error| format!("error: {error:#}"), |said| (*said).to_owned());
        self.recorder.since(began, Event::Power { node: node.to_owned(), asked, said, running });
        answer.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}\n")))
    }

    async fn answer(&self, node: &str, asked: Asked) -> Result<&'static str> {
        if let Some(claims) = &self.claims {
            let mut claims = claims.lock().unwrap_or_else(PoisonError::into_inner);
            match asked {
                Asked::Off => {
                    claims.insert(node.to_owned());
                    return Ok("off");
                }
                Asked::Status if claims.contains(node) => return Ok("off"),
                Asked::Status => {}
                Asked::On => {
                    claims.remove(node);
                }
            }
        }
        match asked {
            Asked::On => self.mains.set(node, true).await?,
            Asked::Off => self.mains.set(node, false).await?,
            Asked::Status => {}
        }
        Ok(if self.mains.is_on(node).await? { "on" } else { "off" })
    }
}

/// Serves `switch` on the socket `path` until the handle is aborted.
///
/// # Errors
/// If the socket cannot be made.
pub(crate) fn serve(switch: Switch, path: &Path) -> Result<JoinHandle<()>> {
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    // With user namespaces, root of the box is nobody here.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    let routes = Router::new()
        .route(
            "/{node}",
            get(|State(switch): State<Arc<Switch>>, UrlPath(node): UrlPath<String>| async move {
                switch.ask(&node, Asked::Status).await
            }),
        )
        .route(
            "/{node}/on",
            post(|State(switch): State<Arc<Switch>>, UrlPath(node): UrlPath<String>| async move {
                switch.ask(&node, Asked::On).await
            }),
        )
        .route(
            "/{node}/off",
            post(|State(switch): State<Arc<Switch>>, UrlPath(node): UrlPath<String>| async move {
                switch.ask(&node, Asked::Off).await
            }),
        )
        .with_state(Arc::new(switch));
    Ok(tokio::spawn(async move {
        // Serving ends when the run does; an error of one connection is the caller's to see.
        let _ = axum::serve(listener, routes).await;
    }))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Mains that remember what is on, and can be stuck.
    struct Fake {
        on: Mutex<BTreeSet<String>>,
        stuck: bool,
    }

    impl Mains for Arc<Fake> {
        fn is_on<'a>(&'a self, node: &'a str) -> BoxFuture<'a, Result<bool>> {
            Box::pin(async move { Ok(self.on.lock().expect("lock").contains(node)) })
        }

        fn set<'a>(&'a self, node: &'a str, on: bool) -> BoxFuture<'a, Result<()>> {
            Box::pin(async move {
                anyhow::ensure!(!self.stuck, "the relay is stuck");
                let mut all = self.on.lock().expect("lock");
                if on {
                    all.insert(node.to_owned())
                } else {
                    all.remove(node)
                };
                Ok(())
            })
        }
    }

    struct Bench {
        directory: tempfile::TempDir,
        mains: Arc<Fake>,
        recorder: Recorder,
        _server: JoinHandle<()>,
    }

    fn bench(lies: bool, stuck: bool) -> Bench {
        let directory = tempfile::tempdir().expect("directory");
        let mains = Arc::new(Fake { on: Mutex::new(["pg1".to_owned()].into()), stuck });
        let recorder = Recorder::create(&directory.path().join("h"), Moment::now()).expect("recorder");
        let nodes = ["pg1".to_owned(), "go1".to_owned()].into();
        let switch = Switch::new(Box::new(mains.clone()), nodes, recorder.clone(), lies);
        let server = serve(switch, &directory.path().join("switch.sock")).expect("served");
        Bench { directory, mains, recorder, _server: server }
    }

    impl Bench {
        async fn ask(&self, request: &str) -> String {
            let path = self.directory.path().join("switch.sock");
            let mut stream = tokio::net::UnixStream::connect(path).await.expect("connected");
            let head = format!("{request} HTTP/1.1\r\nHost: switch\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("written");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("read");
            let status = answer.split_whitespace().nth(1).expect("a status").to_owned();
            let body = answer.split_once("\r\n\r\n").expect("a body").1.trim().to_owned();
            format!("{status} {body}")
        }

        fn is_on(&self, node: &str) -> bool {
            self.mains.on.lock().expect("lock").contains(node)
        }
    }

    #[tokio::test]
    async fn it_switches_and_says_what_is_true() {
        let bench = bench(false, false);
        assert_eq!(bench.ask("GET /pg1").await, "200 on");
        assert_eq!(bench.ask("GET /go1").await, "200 off");
        assert_eq!(bench.ask("POST /pg1/off").await, "200 off");
        assert!(!bench.is_on("pg1"));
        assert_eq!(bench.ask("POST /pg1/on").await, "200 on");
        assert!(bench.is_on("pg1"));
    }

    #[tokio::test]
    async fn a_lying_switch_says_off_and_does_nothing_and_the_history_knows() {
        let bench = bench(true, false);
        assert_eq!(bench.ask("GET /pg1").await, "200 on");
        assert_eq!(bench.ask("POST /pg1/off").await, "200 off");
        assert_eq!(bench.ask("GET /pg1").await, "200 off");
        assert!(bench.is_on("pg1"));
        let last = bench.recorder.newest(|entry| Some(entry.event.clone())).expect("an event");
        let expected =
            Event::Power { node: "pg1".into(), asked: Asked::Status, said: "off".into(), running: Some(true) };
        assert_eq!(last, expected);
    }

    #[tokio::test]
    async fn a_node_it_does_not_have_is_404_and_mains_that_do_not_obey_are_503() {
        let bench = bench(false, true);
        assert_eq!(bench.ask("GET /pg9").await, "404 there is no node pg9 on this switch");
        assert_eq!(bench.ask("POST /pg1/off").await, "503 the relay is stuck");
        assert_eq!(bench.ask("GET /pg1").await, "200 on");
    }
}
