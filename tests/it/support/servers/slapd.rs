//! `OpenLDAP` with a few people: the directory that Vault's `ldap` method asks.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::Command,
};

use super::process::{Dir, Process, find_program, on_free_port};

/// The password of everybody in the directory.
pub const PASSWORD: &str = "open directory";

/// A directory server.
#[derive(Debug)]
pub struct Slapd {
    /// For example `ldap://127.0.0.1:18200`.
    pub url: String,
    /// Below whom the people are.
    pub people: &'static str,
    _process: Process,
    _dir: Dir,
}

impl Slapd {
    /// A server of the caller's own, with these people.
    pub fn start_private(names: &[&str]) -> Self {
        let dir = Dir::new("slapd");
        let people = "ou=people,dc=example,dc=org";
        let conf = dir.join("slapd.conf");
        let data = dir.join("data");
        fs::create_dir(&data).unwrap();
        let settings = format!(
            "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {}\n\
             database mdb\nsuffix dc=example,dc=org\ndirectory {}\nmaxsize 1048576\ndbnosync\n",
            dir.join("pid").display(),
            data.display(),
        );
        fs::write(&conf, settings).unwrap();
        let top = "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\no: Example\n\n\
             dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\n\n";
        let person = |name: &&str| {
            format!("dn: cn={name},{people}\nobjectClass: person\nsn: {name}\nuserPassword: {PASSWORD}\n\n")
        };
        let entries = top.to_owned() + &names.iter().map(person).collect::<String>();
        fs::write(dir.join("people.ldif"), entries).unwrap();
        let mut add = Command::new(program("slapadd"));
        let added = add.arg("-f").arg(&conf).arg("-l").arg(dir.join("people.ldif")).output().unwrap();
        assert!(added.status.success(), "{added:?}");
        let start = |port| {
            let mut server = Command::new(program("slapd"));
            // Without debugging it would go to the background; 0 says nothing.
            server.arg("-f").arg(&conf).args(["-h", &format!("ldap://127.0.0.1:{port}"), "-d", "0"]);
            Process::start(&server, "TERM", None, &dir.join("log"))
        };
        let answers = |port| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        let (port, process) = on_free_port(&dir.join("log"), start, answers);
        Self { url: format!("ldap://127.0.0.1:{port}"), people, _process: process, _dir: dir }
    }
}

/// Debian keeps the server's programs where only root's PATH leads.
fn program(name: &str) -> PathBuf {
    find_program(name, &format!("HALLPASS_{}", name.to_uppercase()), &[PathBuf::from("/usr/sbin")])
}
