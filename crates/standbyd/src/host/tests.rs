//! What is read from this host's disk, and what is not.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use super::*;

struct Fixture {
    _directory: tempfile::TempDir,
    host: Host,
}

fn fixture() -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let host =
        Host { config_directory: directory.path().join("go"), plugin_directory: directory.path().join("external") };
    fs::create_dir(&host.config_directory).unwrap();
    fs::create_dir(&host.plugin_directory).unwrap();
    fs::write(host.path(&FileId::Cipher), "0123456789abcdef0123456789abcdef").unwrap();
    fs::write(host.path(&FileId::Config), "<cruise schemaVersion=\"139\"></cruise>\n").unwrap();
    Fixture { _directory: directory, host }
}

fn ids(manifest: &Manifest) -> Vec<&str> {
    manifest.files.iter().map(|file| file.id.as_str()).collect()
}

#[test]
fn a_manifest_has_each_file_with_its_length_and_hash_in_the_order_of_ids() {
    let Fixture { host, _directory } = fixture();
    for name in ["b.jar", "a.jar", "README.txt", ".standbyd-x.tmp"] {
        fs::write(host.plugin_directory.join(name), name).unwrap();
    }
    let manifest = host.manifest(&mut |skipped| panic!("{skipped}")).unwrap();
    assert_eq!(ids(&manifest), ["cipher.aes", "cruise-config.xml", "plugins/a.jar", "plugins/b.jar"]);
    assert_eq!(manifest.files[2].size, 5);
    // echo -n a.jar | sha256sum
    assert_eq!(manifest.files[2].sha256, hexadecimal(&Sha256::digest(b"a.jar")));
    assert!(ids(&manifest).is_sorted());
}

#[test]
fn what_is_absent_on_the_host_is_absent_in_the_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let host =
        Host { config_directory: directory.path().to_owned(), plugin_directory: directory.path().join("external") };
    assert_eq!(host.manifest(&mut |_| {}).unwrap().files, []);
}

#[test]
fn links_fifos_directories_and_odd_names_are_not_plugins_and_it_is_said() {
    let Fixture { host, _directory } = fixture();
    let plugins = &host.plugin_directory;
    symlink("/etc/passwd", plugins.join("link.jar")).unwrap();
    fs::create_dir(plugins.join("directory.jar")).unwrap();
    nix::unistd::mkfifo(&plugins.join("fifo.jar"), Mode::S_IRWXU).unwrap();
    fs::write(plugins.join("with space.jar"), "x").unwrap();
    fs::write(plugins.join("new\nline.jar"), "x").unwrap();
    let mut skipped = 0;
    assert_eq!(ids(&host.manifest(&mut |_| skipped += 1).unwrap()), ["cipher.aes", "cruise-config.xml"]);
    assert_eq!(skipped, 5);
    for name in ["link.jar", "directory.jar", "fifo.jar"] {
        let id = FileId::Plugin(JarName::parse(name).unwrap());
        assert!(matches!(host.open(&id), Err(HostError::NotRegular(_))), "{name}");
    }
}

#[test]
fn a_cipher_that_is_a_link_is_refused() {
    let Fixture { host, _directory } = fixture();
    fs::remove_file(host.path(&FileId::Cipher)).unwrap();
    symlink("/etc/passwd", host.path(&FileId::Cipher)).unwrap();
    assert!(matches!(host.manifest(&mut |_| {}), Err(HostError::NotRegular(_))));
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_is_read() {
    let Fixture { host, _directory } = fixture();
    for id in [FileId::Cipher, FileId::Config, FileId::Plugin(JarName::parse("huge.jar").unwrap())] {
        let file = File::create(host.path(&id)).unwrap();
        file.set_len(id.max_size() + 1).unwrap();
        assert!(matches!(host.hash(&id), Err(HostError::TooLarge { .. })), "{id}");
        file.set_len(0).unwrap();
    }
}

#[test]
fn a_configuration_that_stays_torn_is_an_error() {
    let Fixture { host, _directory } = fixture();
    fs::write(host.path(&FileId::Config), "<cruise><pipelines>").unwrap();
    assert!(matches!(host.read_config(), Err(HostError::Torn { .. })));
}

/// Another process that writes as GoCD does: a POSIX write lock as Java's `FileChannel.lock()` takes it, the length set to
/// zero, the text in pieces, with pauses where a reader without the lock would see the tear.
///
/// A test of its own only so that this binary can be started as that process: such a lock does not exclude its own process.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the writer holds its lock for a while, as a slow disk would, and then lets go"
)]
fn writes_as_gocd_does() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let lock = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    for size in (1..8).cycle() {
        let mut file = File::options().write(true).open(&path).unwrap();
        nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLKW(&lock)).unwrap();
        file.set_len(0).unwrap();
        let text = format!("<cruise>{}</cruise>", "<pipeline/>".repeat(size * 100));
        for piece in text.as_bytes().chunks(300) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(file);
        std::thread::sleep(Duration::from_millis(40));
    }
}

const WRITER: &str = "STANDBYD_TEST_WRITES";

#[test]
fn a_reader_never_sees_what_gocd_is_writing() {
    let Fixture { host, _directory } = fixture();
    let path = host.path(&FileId::Config);
    let mut writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host::tests::writes_as_gocd_does"])
        .env(WRITER, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Deadline::after(Duration::from_secs(20));
    while fs::read(&path).unwrap().len() < 500 {
        assert!(!begun.passed(), "the writer does not write");
    }
    let (mut seen, mut torn_without_lock) = (std::collections::BTreeSet::new(), 0);
    while seen.len() < 4 || torn_without_lock == 0 {
        assert!(!begun.passed(), "seen {seen:?}, torn without the lock {torn_without_lock} times");
        let bytes = host.read_config_once().unwrap().unwrap();
        assert!(xml::check(&bytes).is_ok(), "torn: {}", String::from_utf8_lossy(&bytes));
        seen.insert(bytes.len());
        torn_without_lock += u32::from(xml::check(&fs::read(&path).unwrap()).is_err());
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
}

/// The writer holds its lock longer than a reader waits.
#[test]
fn a_writer_that_never_ends_is_an_error_and_not_a_hang() {
    let Fixture { host, _directory } = fixture();
    let file = File::options().read(true).write(true).open(host.path(&FileId::Config)).unwrap();
    let lock = nix::libc::flock {
        l_type: i16::try_from(nix::libc::F_WRLCK).unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let HostError::Io { source, .. } = host.read_config().unwrap_err() else { panic!("another error") };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
}
