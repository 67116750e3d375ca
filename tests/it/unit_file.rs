//! The systemd unit stays as tight as it is said to be.

use std::process::{Command, Output};

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/hallpassd.service");

/// The exposure that is accepted, in tenths: systemd calls everything below 2.0 "OK".
const EXPOSURE_MAX: &str = "--threshold=15";

fn systemd_analyze(args: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(args).arg(UNIT).env("SYSTEMD_PAGER", "").env("LC_ALL", "C.UTF-8");
    command.output().expect("systemd-analyze is missing: run .ci/setup test")
}

#[test]
fn its_exposure_is_low() {
    let output = systemd_analyze(&["security", "--offline=true", EXPOSURE_MAX]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn it_has_no_fault_but_that_the_binary_may_not_be_installed() {
    let output = systemd_analyze(&["verify"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let faults: Vec<_> = said.lines().filter(|line| line.contains("hallpassd")).collect();
    let excused = |fault: &&str| fault.contains("Command /usr/bin/hallpassd is not executable");
    assert!(faults.iter().all(excused), "{said}");
}

/// A reload is the command, which reads the same file as the daemon and fails if that isn't taken.
#[test]
fn a_reload_asks_the_daemon_about_its_own_file() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
    assert_eq!(line("ExecReload="), line("ExecStart=").replace(" serve ", " reload "));
    assert_eq!(line("Type="), "notify");
    assert!(!unit.contains("ExecReload=-"), "a refusal is a failure");
}

#[test]
fn its_limits_leave_room_for_the_drain() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    for limit in ["TimeoutStopSec=", "WatchdogSec="] {
        let line = unit.lines().find_map(|line| line.strip_prefix(limit)).unwrap();
        let seconds: u64 = line.strip_suffix('s').unwrap().parse().unwrap();
        assert!(seconds > hallpass::lifecycle::DRAIN.as_secs(), "{limit}{line}");
    }
}

#[test]
fn the_socket_of_the_sample_is_in_the_units_directory_and_sees_the_systems_users() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    let set = |key: &str| unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
    let directory = set("RuntimeDirectory").unwrap();
    let sample = include_str!("../../deploy/hallpassd.toml");
    assert!(sample.contains(&format!("path = \"/run/{directory}/hallpass.sock\"")));
    assert_eq!(set("RuntimeDirectoryMode"), Some("0755"), "or nobody else would reach it");
    assert_eq!(set("PrivateUsers"), None, "everybody would be the user nobody");
    assert!(set("RestrictAddressFamilies").unwrap().contains("AF_UNIX"));
}
