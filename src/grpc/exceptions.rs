//! `ExceptionService`: the auditor's view.

use tonic::{Request, Response, Status};

use super::{from_proto, server::Api, to_proto};
use crate::wire::{
    Exception, GetExceptionRequest, ListExceptionsRequest, ListExceptionsResponse,
    SummarizeExceptionsRequest, SummarizeExceptionsResponse, exception_service_server::ExceptionService,
};

#[tonic::async_trait]
impl ExceptionService for Api {
    async fn list_exceptions(
        &self,
        call: Request<ListExceptionsRequest>,
    ) -> Result<Response<ListExceptionsResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let (filter, page) = from_proto::exception_page(message)?;
        let part = broker.exceptions(&caller, &filter, page.slice()).await?;
        let (exceptions, next_page_token) =
            page.fill_part(part, |exception| exception.request.request.id, to_proto::exception);
        Ok(Response::new(ListExceptionsResponse { exceptions, next_page_token }))
    }

    async fn summarize_exceptions(
        &self,
        call: Request<SummarizeExceptionsRequest>,
    ) -> Result<Response<SummarizeExceptionsResponse>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let filter = from_proto::counted(message)?;
        Ok(Response::new(to_proto::totals(broker.totals(&caller, &filter).await?)))
    }

    async fn get_exception(&self, call: Request<GetExceptionRequest>) -> Result<Response<Exception>, Status> {
        let (broker, caller, message) = Self::open(call)?;
        let id = from_proto::name("name", "exceptions", &message.name)?;
        Ok(Response::new(to_proto::exception(broker.exception(&caller, id).await?)))
    }
}
