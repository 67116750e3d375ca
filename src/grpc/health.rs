//! The standard health service: `NOT_SERVING` until the daemon says that it serves, and again from when it stops. Watchers
//! are told and then let go, so that they don't hold up the stop.

use std::{pin::Pin, sync::Arc};

use tokio::sync::watch::{Receiver, Sender};
use tokio_stream::{Stream, StreamExt as _, wrappers::WatchStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health as HealthService, HealthServer},
};

use crate::wire::{
    exception_service_server, freeze_service_server, grant_service_server, request_service_server,
    target_service_server,
};

/// What can be asked about. The empty name is the daemon as a whole, and all stand and fall together.
const SERVICES: [&str; 6] = [
    "",
    exception_service_server::SERVICE_NAME,
    freeze_service_server::SERVICE_NAME,
    grant_service_server::SERVICE_NAME,
    request_service_server::SERVICE_NAME,
    target_service_server::SERVICE_NAME,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    Stopping,
}

impl Phase {
    fn response(self) -> HealthCheckResponse {
        let status = match self {
            Self::Serving => ServingStatus::Serving,
            Self::Starting | Self::Stopping => ServingStatus::NotServing,
        };
        HealthCheckResponse { status: status.into() }
    }
}

/// Says whether the daemon serves.
#[derive(Clone, Debug)]
pub(super) struct Health(Arc<Sender<Phase>>);

impl Health {
    /// Doesn't serve yet.
    pub(super) fn new() -> Self {
        Self(Arc::new(Sender::new(Phase::Starting)))
    }

    /// Serves from now on. Without effect once the daemon is stopping.
    pub(super) fn serving(&self) {
        self.0.send_if_modified(|phase| {
            let begins = *phase == Phase::Starting;
            if begins {
                *phase = Phase::Serving;
            }
            begins
        });
    }

    /// Serves no more, whatever anybody says later.
    pub(super) fn stopping(&self) {
        self.0.send_replace(Phase::Stopping);
    }

    pub(super) fn service(&self) -> HealthServer<impl HealthService> {
        HealthServer::new(Service(self.0.subscribe()))
    }
}

struct Service(Receiver<Phase>);

#[tonic::async_trait]
impl HealthService for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request)?;
        Ok(Response::new(self.0.borrow().response()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request)?;
        let running = WatchStream::new(self.0.clone()).take_while(|phase| *phase != Phase::Stopping);
        let all = running.chain(tokio_stream::once(Phase::Stopping));
        Ok(Response::new(Box::pin(all.map(|phase| Ok(phase.response())))))
    }
}

/// The contract of this service is not ours, so its errors carry no reason of ours.
fn known(request: &Request<HealthCheckRequest>) -> Result<(), Status> {
    let known = SERVICES.contains(&request.get_ref().service.as_str());
    known.then_some(()).ok_or_else(|| Status::not_found("there is no such service"))
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn asked(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.into() })
    }

    async fn status(health: &Health) -> ServingStatus {
        let service = Service(health.0.subscribe());
        service.check(asked("")).await.unwrap().into_inner().status()
    }

    #[tokio::test]
    async fn it_serves_from_when_it_is_told_until_it_stops() {
        let health = Health::new();
        assert_eq!(status(&health).await, ServingStatus::NotServing);
        health.serving();
        assert_eq!(status(&health).await, ServingStatus::Serving);
        health.stopping();
        assert_eq!(status(&health).await, ServingStatus::NotServing);
        health.serving();
        assert_eq!(status(&health).await, ServingStatus::NotServing, "a stop is final");
    }

    #[tokio::test]
    async fn watchers_see_the_end_and_are_let_go() {
        let health = Health::new();
        let service = Service(health.0.subscribe());
        let mut seen = service.watch(asked("hallpass.v1.GrantService")).await.unwrap().into_inner();
        let mut next = async || seen.next().await.map(|response| response.unwrap().status());
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        health.serving();
        assert_eq!(next().await, Some(ServingStatus::Serving));
        health.stopping();
        assert_eq!(next().await, Some(ServingStatus::NotServing));
        assert_eq!(next().await, None);
    }

    #[tokio::test]
    async fn only_our_services_are_known() {
        let service = Service(Health::new().0.subscribe());
        for name in SERVICES {
            assert!(service.check(asked(name)).await.is_ok(), "{name}");
        }
        assert_eq!(service.check(asked("other")).await.unwrap_err().code(), Code::NotFound);
    }
}
