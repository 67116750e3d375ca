//! OpenSSH's own programs, and a hardware key made of software.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256, Sha512};

use super::servers::{Dir, Process, eventually};

/// What approvals are signed for.
pub const NAMESPACE: &str = "hallpass-approval@v1";

/// A key pair in files.
#[derive(Clone, Debug)]
pub struct Key(pub PathBuf);

impl Key {
    /// Has `ssh-keygen` make one, without a passphrase.
    pub fn new(dir: &Dir, name: &str, arguments: &[&str]) -> Self {
        let path = dir.join(name);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-N", "", "-C", name]).args(arguments).arg("-f").arg(&path);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self(path)
    }

    pub fn ed25519(dir: &Dir, name: &str) -> Self {
        Self::new(dir, name, &["-t", "ed25519"])
    }

    /// Its public half, as it stands in lists: the kind, and itself.
    pub fn public(&self) -> String {
        let line = fs::read_to_string(self.public_file()).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    pub fn public_file(&self) -> PathBuf {
        self.0.with_extension("pub")
    }

    pub fn sign(&self, text: &str) -> String {
        self.sign_for(text, NAMESPACE, &[])
    }

    pub fn sign_for(&self, text: &str, namespace: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("ssh-keygen");
        command.args(["-Y", "sign", "-n", namespace]).args(arguments).arg("-f").arg(&self.0);
        let output = with_input(&mut command, text);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Runs a program that reads a text.
fn with_input(command: &mut Command, text: &str) -> Output {
    let dir = Dir::new("input");
    fs::write(dir.join("text"), text).unwrap();
    command.stdin(File::open(dir.join("text")).unwrap());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

/// Whether plain `ssh-keygen -Y verify` takes a signature by a list.
pub fn verifies(list: &str, principal: &str, text: &str, signature: &str, arguments: &[&str]) -> bool {
    let dir = Dir::new("verify");
    fs::write(dir.join("allowed_signers"), list).unwrap();
    fs::write(dir.join("text.sig"), signature).unwrap();
    verify(&dir.join("allowed_signers"), principal, text, &dir.join("text.sig"), arguments).status.success()
}

/// Runs `ssh-keygen -Y verify`, as an auditor does.
pub fn verify(list: &Path, principal: &str, text: &str, signature: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "verify", "-n", NAMESPACE, "-I", principal]).args(arguments);
    command.arg("-f").arg(list).arg("-s").arg(signature);
    with_input(&mut command, text)
}

/// An agent that has one key. It ends when this is dropped.
#[derive(Debug)]
pub struct Agent {
    pub socket: PathBuf,
    _dir: Dir,
    _process: Process,
}

impl Agent {
    pub async fn with(key: &Key) -> Self {
        let dir = Dir::new("agent");
        let socket = dir.join("socket");
        let mut command = Command::new("ssh-agent");
        command.arg("-D").arg("-a").arg(&socket);
        let process = Process::start(&command, "KILL", None, &dir.join("log"));
        eventually("the agent listens", async || socket.exists()).await;
        let added =
            Command::new("ssh-add").arg("-q").arg(&key.0).env("SSH_AUTH_SOCK", &socket).output().unwrap();
        assert!(added.status.success(), "{added:?}");
        Self { socket, _dir: dir, _process: process }
    }
}

/// A security key made of software: it signs as one does, and says that it was touched when it is told to.
#[derive(Debug)]
pub enum Hardware {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
}

const APPLICATION: &[u8] = b"ssh:hallpass";

impl Hardware {
    pub fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub fn ecdsa() -> Self {
        Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "sk-ssh-ed25519@openssh.com",
            Self::Ecdsa(_) => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    fn blob(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => {
                strings(&[self.kind().as_bytes(), pair.public_key().as_ref(), APPLICATION])
            }
            Self::Ecdsa(pair) => {
                strings(&[self.kind().as_bytes(), b"nistp256", pair.public_key().as_ref(), APPLICATION])
            }
        }
    }

    /// As it stands in lists.
    pub fn public(&self) -> String {
        format!("{} {}", self.kind(), STANDARD.encode(self.blob()))
    }

    /// Signs a text. Bit 0 of the flags says that somebody touched it, bit 2 that he gave his PIN.
    pub fn sign(&self, text: &str, flags: u8) -> String {
        let hash = Sha512::digest(text);
        let parts: [&[u8]; 4] = [NAMESPACE.as_bytes(), b"", b"sha512", &hash];
        let signed = [b"SSHSIG".to_vec(), strings(&parts)].concat();
        let (flags, counter) = ([flags], [0, 0, 0, 7]);
        let message = [&Sha256::digest(APPLICATION)[..], &flags, &counter, &Sha256::digest(signed)].concat();
        let signature = match self {
            Self::Ed25519(pair) => pair.sign(&message).as_ref().to_vec(),
            Self::Ecdsa(pair) => {
                let made = pair.sign(&SystemRandom::new(), &message).unwrap();
                let (r, s) = made.as_ref().split_at(32);
                strings(&[&number(r), &number(s)])
            }
        };
        let signature = [&strings(&[self.kind().as_bytes(), &signature])[..], &flags, &counter].concat();
        let body = strings(&[&self.blob(), NAMESPACE.as_bytes(), b"", b"sha512", &signature]);
        let blob = [b"SSHSIG", &1_u32.to_be_bytes()[..], &body].concat();
        let lines: Vec<String> = STANDARD
            .encode(blob)
            .as_bytes()
            .chunks(70)
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect();
        format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
    }
}

/// SSH's strings, one after the other.
fn strings(parts: &[&[u8]]) -> Vec<u8> {
    let one = |part: &&[u8]| [&u32::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat();
    parts.iter().flat_map(one).collect()
}

/// A positive integer in its shortest form.
fn number(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap();
    let sign = if bytes[first] >= 0x80 { &[0][..] } else { &[] };
    [sign, &bytes[first..]].concat()
}
