//! Everything as CSV, by the client's binary.

use std::{
    fs,
    io::{BufRead as _, BufReader},
};

use crate::{
    common::{millis, now},
    support::{shell::Shell, world::World},
};

/// How often the memory is looked at: once in so many lines.
const LOOK_EVERY: usize = 10_000;

pub fn measure(many: &World) {
    let audrey = Shell::log_in(many, "audrey");
    let begun = now();
    let mut client = audrey.start(&["audit", "list", "--all", "--output", "csv"]);
    let (mut lines, mut bytes, mut memory) = (0, 0, [0, 0]);
    let mut daemon_before = 0;
    for line in BufReader::new(client.stdout.take().unwrap()).lines() {
        bytes += line.unwrap().len() + 2;
        lines += 1;
        if lines % LOOK_EVERY == 1 {
            memory = [peak(client.id()), peak(many.daemon_pid())];
            daemon_before = daemon_before.max(if lines == 1 { memory[1] } else { 0 });
        }
    }
    let seconds = millis(begun.elapsed()) / 1000.0;
    assert!(client.wait().unwrap().success());
    println!(
        "CSV: {} rows, {} MiB in {seconds:.1} s, {:.0} rows a second; at most {} KiB in the client; in the daemon at most \
         {daemon_before} KiB before and {} KiB after",
        lines - 1,
        bytes >> 20,
        f64::from(u32::try_from(lines - 1).unwrap()) / seconds,
        memory[0],
        memory[1],
    );
}

/// The most memory that a process ever had, in KiB.
fn peak(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
