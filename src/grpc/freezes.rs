//! `FreezeService`: stopping new grants at once.

use tonic::{Request, Response, Status};

use super::{from_proto, server::Api, to_proto};
use crate::wire::{
    Freeze, FreezeTargetsRequest, ListFreezesRequest, ListFreezesResponse, ThawTargetsRequest,
    freeze_service_server::FreezeService,
};

#[tonic::async_trait]
impl FreezeService for Api {
    async fn freeze_targets(&self, call: Request<FreezeTargetsRequest>) -> Result<Response<Freeze>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (extent, reason) = from_proto::freeze(&message.target, &message.reason)?;
        let freeze = broker.freeze(&caller, extent, reason, message.end_grants).await?;
        Ok(Response::new(to_proto::freeze(freeze)))
    }

    async fn thaw_targets(&self, call: Request<ThawTargetsRequest>) -> Result<Response<Freeze>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (extent, reason) = from_proto::freeze(&message.target, &message.reason)?;
        Ok(Response::new(to_proto::freeze(broker.thaw(&caller, extent, reason).await?)))
    }

    async fn list_freezes(
        &self,
        call: Request<ListFreezesRequest>,
    ) -> Result<Response<ListFreezesResponse>, Status> {
        let (broker, caller, ListFreezesRequest {}) = Self::open(call)?;
        let freezes = broker.freezes(&caller).await?;
        Ok(Response::new(ListFreezesResponse {
            freezes: freezes.into_iter().map(to_proto::freeze).collect(),
        }))
    }
}
