//! What the tests stand on. It refuses to fake: whatever is a server in production is one here.

pub mod issuer;
pub mod memory;
pub mod people;
pub mod refusals;
pub mod servers;
pub mod shell;
pub mod sim;
pub mod ssh;
pub mod world;

use std::path::Path;

use hallpass::{
    fsck, ledger::note::VerifierKey, signature::Lists, store::sqlite::snapshot::Moment, verify::Report,
};
use serde_json::Value;

/// What `hallpassd fsck` says of a database file.
pub async fn fsck(database: &Path, signers: Option<Lists>, log_keys: Vec<VerifierKey>) -> Report {
    let mut snapshot = Moment::open(database).await.unwrap();
    fsck::check(&mut snapshot, &database.display().to_string(), signers, log_keys).await.unwrap()
}

/// A protobuf message as canonical JSON.
pub fn json_of<M: prost::Message + prost::Name>(message: &M) -> Value {
    let pool = prost_reflect::DescriptorPool::decode(hallpass::wire::DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name(&M::full_name()).unwrap();
    let message =
        prost_reflect::DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).unwrap();
    serde_json::to_value(message).unwrap()
}
