//! The generated types of `proto/hallpass/v1`, and their descriptors. Nothing here is written by hand.

#![expect(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code follows its generator's rules"
)]

tonic::include_proto!("hallpass.v1");

include!(concat!(env!("OUT_DIR"), "/methods.rs"));

/// The compiled descriptors of every file, with their imports: a serialized `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hallpass.bin"));
