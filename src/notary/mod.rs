//! Who stands for the log, as the system has them: the key that signs its checkpoints, in Vault or in a file, and the witnesses
//! that they are shown to, in a directory or behind a URL. What they are asked, and what their answers mean, is the broker's.

mod directory;
mod endpoint;
mod signer;

pub use self::{
    directory::Directory,
    endpoint::Endpoint,
    signer::{FileSigner, TransitSigner},
};
