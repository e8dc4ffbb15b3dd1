//! A daemon that panics lets go of what it holds on its way out. Alone in its program: a daemon gives up privileges for the
//! whole process, for good.

#![expect(clippy::unwrap_used, reason = "a broken test bed fails the test, with the place")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;
use vipd::config::Config;
use vipd::daemon::Service;

const CONFIG: &str = "[[instance]]\nname = \"web\"\nmode = \"managed\"\ninterface = \"a0\"\n\
                      addresses = [\"198.18.5.200/24\", \"198.18.5.201/24\"]\n";

/// What a program prints, in the network namespace of this thread.
fn run(words: &str) -> String {
    let mut words = words.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Has the daemon at `socket` hold the addresses.
fn acquire(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"{\"do\":\"acquire\",\"instance\":\"web\",\"force\":true}\n").unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn a_panic_in_the_loop_releases_everything() {
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "CI must run the network tests, but: unshare: {errno}");
        eprintln!("skipped: network namespaces need root or CAP_SYS_ADMIN: unshare: {errno}");
        return;
    }
    run("ip link add a0 type veth peer name b0");
    run("ip link set b0 up");
    run("ip link set a0 up");
    let directory = tempfile::tempdir().unwrap();
    let (file, socket) = (directory.path().join("vipd.toml"), directory.path().join("vipd.sock"));
    std::fs::write(&file, CONFIG).unwrap();
    let config = Config::load(&file).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let daemon = async {
        let service = Service::start(file, config, Some(socket.clone())).await.unwrap();
        let (tell, told) = oneshot::channel();
        let at = socket.clone();
        std::thread::spawn(move || tell.send(acquire(&at)));
        let breaks = async {
            let answer = told.await.unwrap();
            assert!(answer.contains("web acquired"), "{answer}");
            assert!(run("ip address show dev a0").contains("198.18.5.201/24"), "it holds");
            assert!(run("nft list tables").contains("inet vipd"), "and guards");
            panic!("injected");
        };
        // Both are polled by one task: the panic unwinds through the loop that is waiting.
        tokio::select! {
            biased;
            () = breaks => {}
            ended = service.run() => panic!("the daemon ended: {ended:?}"),
        }
    };
    let panicked = catch_unwind(AssertUnwindSafe(|| runtime.block_on(daemon))).unwrap_err();
    assert_eq!(panicked.downcast_ref::<&str>(), Some(&"injected"), "{panicked:?}");

    let left = run("ip address show dev a0");
    assert!(!left.contains("198.18.5."), "{left}");
    assert_eq!(run("nft list tables"), "", "and no guard is left");
}
