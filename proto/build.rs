//! Compiles the protos without `protoc`, keeps the descriptors for the reflection service and for JSON output, and lists
//! the methods as an enum, so that what has a case for each doesn't compile without one for a new method.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use prost_build::Config;
use protox::prost::Message;

const FILES: [&str; 9] = [
    "hallpass/v1/errors.proto",
    "hallpass/v1/event.proto",
    "hallpass/v1/exception.proto",
    "hallpass/v1/daemon.proto",
    "hallpass/v1/freeze.proto",
    "hallpass/v1/grant.proto",
    "hallpass/v1/ledger.proto",
    "hallpass/v1/request.proto",
    "hallpass/v1/target.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("hallpass.bin"), descriptors.encode_to_vec())?;
    let services =
        descriptors.file.iter().flat_map(|file| file.service.iter().map(move |of| (file.package(), of)));
    let methods = services.flat_map(|(package, service)| {
        let path = move |method: &str| format!("/{package}.{}/{method}", service.name());
        service.method.iter().map(move |method| (method.name(), path(method.name())))
    });
    fs::write(out.join("methods.rs"), enumerated(&methods.collect::<Vec<_>>())?)?;
    let mut config = Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}

/// The enum of all methods, with their paths.
fn enumerated(methods: &[(&str, String)]) -> Result<String, Box<dyn Error>> {
    let mut code = "/// Every method of the contract.\n\
                    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]\n\
                    #[expect(missing_docs, reason = \"the protos document the methods\")]\n\
                    pub enum Method {\n"
        .to_owned();
    for (name, _) in methods {
        writeln!(code, "    {name},")?;
    }
    writeln!(code, "}}\nimpl Method {{\n    /// All of them, with their paths.")?;
    writeln!(code, "    pub const ALL: [(Self, &str); {}] = [", methods.len())?;
    for (name, path) in methods {
        writeln!(code, "        (Self::{name}, {path:?}),")?;
    }
    code.push_str("    ];\n}\n");
    Ok(code)
}
