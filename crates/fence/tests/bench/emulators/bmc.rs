//! A BMC: OpenIPMI's simulator in front of a machine's power switch.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::{free_udp_port, wait_for};
use crate::bench::have;

/// Who may log in; the password is the caller's.
pub(crate) const USER: &str = "admin";

pub(crate) struct Bmc {
    server: Child,
    directory: TempDir,
    pub(crate) port: u16,
}

impl Bmc {
    /// Starts one whose power is switched by `chassis`.
    pub(crate) fn start(chassis: &Path, password: &str) -> Option<Self> {
        if !(have("ipmi_sim", "openipmi") && have("ipmitool", "ipmitool")) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("state")).unwrap();
        let port = free_udp_port();
        fs::write(at("lan.conf"), lan_conf(chassis, port, password)).unwrap();
        let emulation = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n\
                         sel_enable 0x20 1000 0x0a\nmc_enable 0x20\n";
        fs::write(at("sim.emu"), emulation).unwrap();
        fs::write(at("password"), format!("{password}\n")).unwrap();
        fs::write(at("wrong"), "not-the-password\n").unwrap();
        let log = fs::File::create(at("log")).unwrap();
        let server = Command::new("ipmi_sim")
            .args(["-n", "-c"])
            .arg(at("lan.conf"))
            .arg("-f")
            .arg(at("sim.emu"))
            .arg("-s")
            .arg(at("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let bmc = Self { server, directory, port };
        let log = || fs::read_to_string(bmc.directory.path().join("log")).unwrap_or_default();
        wait_for("the BMC answers", || bmc.guid().is_some(), log);
        Some(bmc)
    }

    /// Its GUID, as ipmitool prints it.
    pub(crate) fn guid(&self) -> Option<String> {
        let asked = Command::new("ipmitool")
            .args(["-I", "lanplus", "-H", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, "-C", "3", "-R", "1"])
            .arg("-f")
            .arg(self.password_file())
            .args(["mc", "guid"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&asked.stdout).into_owned();
        text.lines().find_map(|line| Some(line.strip_prefix("System GUID")?.split_once(':')?.1.trim().to_owned()))
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.directory.path().join("password")
    }

    pub(crate) fn wrong_password_file(&self) -> PathBuf {
        self.directory.path().join("wrong")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.id()
    }
}

impl Drop for Bmc {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn lan_conf(chassis: &Path, port: u16, password: &str) -> String {
    let allowed: String = ["callback", "user", "operator", "admin"]
        .iter()
        .map(|level| format!("  allowed_auths_{level} none md2 md5 straight\n"))
        .collect();
    format!(
        "name \"bench\"\nset_working_mc 0x20\n startlan 1\n  addr 127.0.0.1 {port}\n  priv_limit admin\n{allowed}  \
         guid a123456789abcdefa123456789abcdef\n endlan\n chassis_control \"{} 0x20\"\n \
         user 1 true \"\" \"test\" user 10 none md2 md5 straight\n \
         user 2 true \"{USER}\" \"{password}\" admin 10 none md2 md5 straight\n",
        chassis.display()
    )
}
