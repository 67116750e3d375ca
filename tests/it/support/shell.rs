//! The client's binary, as people and scripts use it.

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use super::world::World;

/// Somebody with a terminal-less shell.
#[derive(Debug)]
pub struct Shell<'a> {
    pub world: &'a World,
    pub token_file: PathBuf,
}

impl<'a> Shell<'a> {
    /// Logs in by `hallpass login`, the password on standard input.
    pub fn log_in(world: &'a World, name: &str) -> Self {
        let shell = Self { world, token_file: world.dir.join(&format!("{name}.token")) };
        let (mount, role) = (format!("userpass-{}", world.name), format!("hallpass-{}", world.name));
        let arguments = ["login", "--username", name, "--mount", &mount, "--role", &role, "--secret-stdin"];
        let mut child = shell.start(&arguments);
        child.stdin.take().unwrap().write_all(b"open sesame\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        shell
    }

    /// Starts it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(arguments, &[])
    }

    /// The same, with these variables in its environment.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.args(arguments).env_clear();
        command.env("HALLPASS_SERVER", &self.world.address).env("VAULT_ADDR", &self.world.bao.address);
        command.env("HALLPASS_TOKEN_FILE", &self.token_file).env("HOME", self.world.dir.join("home"));
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.start(arguments).wait_with_output().unwrap()
    }

    /// Runs what has to succeed, and answers with what it printed.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[&["--output", "json"], arguments].concat())).unwrap()
    }

    /// Runs what has to fail, and answers with its exit code and what it said.
    pub fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}
