//! `TargetService`: what access can be asked for.

use tonic::{Request, Response, Status};

use super::{from_proto, server::Api, to_proto};
use crate::{
    access::target::TargetName,
    wire::{
        GetTargetRequest, ListTargetsRequest, ListTargetsResponse, Target,
        target_service_server::TargetService,
    },
};

#[tonic::async_trait]
impl TargetService for Api {
    async fn list_targets(
        &self,
        call: Request<ListTargetsRequest>,
    ) -> Result<Response<ListTargetsResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let page = from_proto::target_page(&message)?;
        let targets = broker.targets(&caller).await?;
        // There are as many as the operators wrote down by hand, so the page is cut out of all of them.
        let rest =
            targets.into_iter().filter(|view| page.after().is_none_or(|after| view.target.name > *after));
        let (targets, next_page_token) = page.fill(rest, |view| view.target.name.clone(), to_proto::target);
        Ok(Response::new(ListTargetsResponse { targets, next_page_token }))
    }

    async fn get_target(&self, call: Request<GetTargetRequest>) -> Result<Response<Target>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let name: TargetName = from_proto::name("name", "targets", &message.name)?;
        Ok(Response::new(to_proto::target(broker.target(&caller, &name).await?)))
    }
}
