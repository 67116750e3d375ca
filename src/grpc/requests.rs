//! `RequestService`: asking, answering, taking back, and watching.

use tonic::{Request as Call, Response, Status};

use super::{
    from_proto,
    server::Api,
    to_proto,
    watch::{Events, Standing, Watcher},
};
use crate::wire::{
    ApproveRequestRequest, DenyRequestRequest, GetRequestRequest, ListRequestsRequest, ListRequestsResponse,
    Request, SubmitRequestRequest, WatchRequestsRequest, WithdrawRequestRequest,
    request_service_server::RequestService,
};

#[tonic::async_trait]
impl RequestService for Api {
    async fn submit_request(&self, call: Call<SubmitRequestRequest>) -> Result<Response<Request>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let submission = from_proto::submission(&message)?;
        let submitted = to_proto::request(broker.submit(&caller, submission).await?);
        if message.validate_only {
            // Of a request that doesn't exist there is no name, and nothing that a decision could be bound to.
            return Ok(Response::new(Request { name: String::new(), digest: String::new(), ..submitted }));
        }
        Ok(Response::new(submitted))
    }

    async fn get_request(&self, call: Call<GetRequestRequest>) -> Result<Response<Request>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let id = from_proto::name("name", "requests", &message.name)?;
        Ok(Response::new(to_proto::request(broker.request(&caller, id).await?)))
    }

    async fn list_requests(
        &self,
        call: Call<ListRequestsRequest>,
    ) -> Result<Response<ListRequestsResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (filter, page) = from_proto::request_page(message)?;
        let part = broker.requests(&caller, &filter, page.slice()).await?;
        let (requests, next_page_token) = page.fill_part(part, |view| view.request.id, to_proto::request);
        Ok(Response::new(ListRequestsResponse { requests, next_page_token }))
    }

    async fn withdraw_request(
        &self,
        call: Call<WithdrawRequestRequest>,
    ) -> Result<Response<Request>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let id = from_proto::name("name", "requests", &message.name)?;
        Ok(Response::new(to_proto::request(broker.withdraw(&caller, id).await?)))
    }

    async fn approve_request(&self, call: Call<ApproveRequestRequest>) -> Result<Response<Request>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (id, approving) = from_proto::approval(&message)?;
        if message.validate_only {
            let (view, changed) = broker.approve_unsigned(&caller, id, &approving).await?;
            return Ok(Response::new(to_proto::approved_unsigned(view, changed)));
        }
        Ok(Response::new(to_proto::request(broker.approve(&caller, id, approving).await?)))
    }

    async fn deny_request(&self, call: Call<DenyRequestRequest>) -> Result<Response<Request>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (id, written) = from_proto::decision(&message.name, &message.digest, &message.statement)?;
        Ok(Response::new(to_proto::request(broker.deny(&caller, id, written).await?)))
    }

    type WatchRequestsStream = Events;

    async fn watch_requests(&self, call: Call<WatchRequestsRequest>) -> Result<Response<Events>, Status> {
        let standing = call.extensions().get::<Standing>().cloned();
        let watcher = Watcher { verified: Self::verified(&call)?.clone(), standing };
        let (broker, caller, message) = Self::open(call)?;
        let (request, after) = from_proto::watched(&message)?;
        // The place comes first, so that the broker isn't asked for what can't be given.
        let place = self.watches.place(&caller)?;
        let watch = broker.watch(&caller, request, after).await?;
        Ok(Response::new(self.watches.stream(watch, place, watcher)))
    }
}
