//! `hallpassd doctor` against a real OpenBao: all is well with the files that operators load, and each defect, made for
//! real, is found with its advice. Where the advice is a command, it is run, and must mend what it is about.

mod store;
mod vault;

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::world::World;

/// What doctor said.
#[derive(Debug)]
struct Diagnosis {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Diagnosis {
    fn of(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        let output = command.args(["doctor", "--output", "json", "--config"]).arg(config).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        Self { code: output.status.code(), findings: report["findings"].as_array().unwrap().clone() }
    }

    fn with(&self, status: &str) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["status"] == status).collect()
    }

    /// The one finding of this status that is about this.
    fn about(&self, status: &str, about: &str) -> &Value {
        let found: Vec<_> =
            self.with(status).into_iter().filter(|finding| finding["about"] == about).collect();
        assert_eq!(found.len(), 1, "{status} {about} in {self:#?}");
        found[0]
    }

    fn is_well(&self) {
        assert_eq!(
            (self.code, self.with("fail").len(), self.with("warn").len()),
            (Some(0), 0, 0),
            "{self:#?}"
        );
        let about: Vec<_> = self.findings.iter().map(|finding| finding["about"].as_str().unwrap()).collect();
        for looked_at in [
            "vault http",
            "clocks",
            "secret id",
            "rights",
            "token role ",
            "ledger key",
            "target ",
            "policy ",
            "store ",
        ] {
            assert!(about.iter().any(|about| about.starts_with(looked_at)), "{looked_at} in {about:?}");
        }
    }
}

/// What must be found, and only that.
struct Defect<'a> {
    about: String,
    said: &'a str,
    advice: &'a str,
}

fn defect<'a>(about: impl Into<String>, said: &'a str, advice: &'a str) -> Defect<'a> {
    Defect { about: about.into(), said, advice }
}

/// Runs doctor, which must fail because of this defect alone; its advice.
fn fails(world: &World, defect: &Defect<'_>) -> String {
    let diagnosis = Diagnosis::of(&world.config_file());
    assert_eq!((diagnosis.code, diagnosis.with("fail").len()), (Some(1), 1), "{diagnosis:#?}");
    says(diagnosis.about("fail", &defect.about), defect)
}

/// Runs doctor, which must warn of this alone; its advice.
fn warns(world: &World, defect: &Defect<'_>) -> String {
    let diagnosis = Diagnosis::of(&world.config_file());
    let [warn, fail] = ["warn", "fail"].map(|status| diagnosis.with(status).len());
    assert_eq!((diagnosis.code, warn, fail), (Some(0), 1, 0), "{diagnosis:#?}");
    says(diagnosis.about("warn", &defect.about), defect)
}

fn says(finding: &Value, defect: &Defect<'_>) -> String {
    let (said, advice) = (finding["said"].as_str().unwrap(), finding["advice"].as_str().unwrap());
    assert!(said.contains(defect.said), "{:?} in {finding:#}", defect.said);
    assert!(advice.contains(defect.advice), "{:?} in {finding:#}", defect.advice);
    advice.to_owned()
}

fn is_well(world: &World) {
    Diagnosis::of(&world.config_file()).is_well();
}
