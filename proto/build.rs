//! Compiles the protos without `protoc`, and keeps the descriptors for the reflection service and for JSON output.

use std::{env, error::Error, fs, path::PathBuf};

use prost_build::Config;
use protox::prost::Message;

const FILES: [&str; 7] = [
    "hallpass/v1/errors.proto",
    "hallpass/v1/event.proto",
    "hallpass/v1/exception.proto",
    "hallpass/v1/freeze.proto",
    "hallpass/v1/grant.proto",
    "hallpass/v1/request.proto",
    "hallpass/v1/target.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-changed=migrations");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("hallpass.bin"), descriptors.encode_to_vec())?;
    let mut config = Config::new();
    config.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
