//! `LedgerService`: the audit log for those who verify it.

use tonic::{Request, Response, Status};

use super::{from_proto, server::Api, to_proto};
use crate::wire::{
    AddCosignatureRequest, AddCosignatureResponse, Checkpoint, GetCheckpointRequest, ListLeavesRequest,
    ListLeavesResponse, Proof, ProveConsistencyRequest, ProveInclusionRequest,
    ledger_service_server::LedgerService,
};

#[tonic::async_trait]
impl LedgerService for Api {
    async fn get_checkpoint(
        &self,
        call: Request<GetCheckpointRequest>,
    ) -> Result<Response<Checkpoint>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let size_min = from_proto::checkpoint("size_min", message.size_min)?;
        Ok(Response::new(to_proto::checkpoint(&broker.checkpoint(&caller, size_min).await?)))
    }

    async fn list_leaves(
        &self,
        call: Request<ListLeavesRequest>,
    ) -> Result<Response<ListLeavesResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (after, limit) = from_proto::leaves(&message)?;
        let leaves = broker.leaves(&caller, after, limit).await?;
        Ok(Response::new(ListLeavesResponse { leaves: leaves.into_iter().map(to_proto::leaf).collect() }))
    }

    async fn prove_inclusion(&self, call: Request<ProveInclusionRequest>) -> Result<Response<Proof>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (sequence, size) = from_proto::inclusion(&message)?;
        Ok(Response::new(to_proto::proof(broker.prove_inclusion(&caller, sequence, size).await?)))
    }

    async fn prove_consistency(
        &self,
        call: Request<ProveConsistencyRequest>,
    ) -> Result<Response<Proof>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (former, size) = from_proto::consistency(&message)?;
        Ok(Response::new(to_proto::proof(broker.prove_consistency(&caller, former, size).await?)))
    }

    async fn add_cosignature(
        &self,
        call: Request<AddCosignatureRequest>,
    ) -> Result<Response<AddCosignatureResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let size = from_proto::checkpoint("size", message.size)?;
        broker.add_cosignatures(&caller, size, &message.signatures).await?;
        Ok(Response::new(AddCosignatureResponse {}))
    }
}
