//! `DaemonService`: how the daemons are.

use tonic::{Request, Response, Status};

use super::{server::Api, to_proto};
use crate::wire::{GetStatusRequest, GetStatusResponse, daemon_service_server::DaemonService};

#[tonic::async_trait]
impl DaemonService for Api {
    async fn get_status(
        &self,
        call: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        let (broker, caller, GetStatusRequest {}) = Self::open(call)?;
        Ok(Response::new(to_proto::status(broker.status(&caller).await?)))
    }
}
