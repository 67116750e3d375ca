//! Integration tests: the real server against a real OpenBao and real databases.
//!
//! One binary, so that it is linked once and its tests share the servers in [`support::servers`]. Every module is marked
//! `cfg(test)`, which is always so here, because that is how clippy knows that helpers are test code too.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod authorization;
#[cfg(test)]
mod backup;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod config;
#[cfg(test)]
mod crash_points;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod defects;
#[cfg(test)]
mod doctor;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod erasing;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod foreign;
#[cfg(test)]
mod fsck;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod histories;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod login;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod process;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod report;
#[cfg(test)]
mod reports;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod signatures;
#[cfg(test)]
mod store;
#[cfg(test)]
mod story;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod telemetry;
#[cfg(test)]
mod unit_file;
#[cfg(test)]
mod vault;
#[cfg(test)]
mod wire;
