//! `GrantService`: claiming, ending, and looking.

use tonic::{Request, Response, Status};

use super::{from_proto, server::Api, to_proto};
use crate::wire::{
    ClaimGrantRequest, ClaimGrantResponse, GetGrantRequest, Grant, ListGrantsRequest, ListGrantsResponse,
    ReleaseGrantRequest, RevokeGrantRequest, grant_service_server::GrantService,
};

#[tonic::async_trait]
impl GrantService for Api {
    async fn claim_grant(
        &self,
        call: Request<ClaimGrantRequest>,
    ) -> Result<Response<ClaimGrantResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let id = from_proto::name("request", "requests", &message.request)?;
        Ok(Response::new(to_proto::claimed(broker.claim(&caller, id, message.reissue).await?)))
    }

    async fn release_grant(&self, call: Request<ReleaseGrantRequest>) -> Result<Response<Grant>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let id = from_proto::name("name", "grants", &message.name)?;
        Ok(Response::new(to_proto::grant(broker.release(&caller, id, message.wrapping_opened).await?)))
    }

    async fn revoke_grant(&self, call: Request<RevokeGrantRequest>) -> Result<Response<Grant>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (id, reason) = from_proto::revocation(&message)?;
        Ok(Response::new(to_proto::grant(broker.revoke(&caller, id, reason).await?)))
    }

    async fn get_grant(&self, call: Request<GetGrantRequest>) -> Result<Response<Grant>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let id = from_proto::name("name", "grants", &message.name)?;
        Ok(Response::new(to_proto::grant(broker.grant(&caller, id).await?)))
    }

    async fn list_grants(
        &self,
        call: Request<ListGrantsRequest>,
    ) -> Result<Response<ListGrantsResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let overdue = message.filter.as_ref().is_some_and(|filter| filter.overdue);
        let (mut filter, page) = from_proto::grant_page(message)?;
        filter.overdue = overdue.then(|| broker.overdue());
        let grants = broker.grants(&caller, &filter, page.slice()).await?;
        let (grants, next_page_token) = page.fill(grants, |grant| grant.id, to_proto::grant);
        Ok(Response::new(ListGrantsResponse { grants, next_page_token }))
    }
}
