//! Callers as types: somebody who is logged in, and what he can do.

use std::time::Duration;

use hallpass::wire::{
    ApproveRequestRequest, ClaimGrantRequest, ClaimGrantResponse, DenyRequestRequest, Exception,
    GetExceptionRequest, GetGrantRequest, Grant, GrantState, ReleaseGrantRequest, Request,
    SubmitRequestRequest, daemon_service_client::DaemonServiceClient,
    exception_service_client::ExceptionServiceClient, freeze_service_client::FreezeServiceClient,
    grant_service_client::GrantServiceClient, request_service_client::RequestServiceClient,
    target_service_client::TargetServiceClient,
};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{
    Request as Call, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{servers::eventually, world::World};

type Authorized = InterceptedService<Channel, Bearer>;

/// Puts the token on each call.
#[derive(Clone, Debug)]
pub struct Bearer(pub Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut call: Call<()>) -> Result<Call<()>, Status> {
        if let Some(token) = &self.0 {
            call.metadata_mut().insert("authorization", token.clone());
        }
        Ok(call)
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Person {
    pub jwt: String,
    vault: String,
    pub targets: TargetServiceClient<Authorized>,
    pub requests: RequestServiceClient<Authorized>,
    pub grants: GrantServiceClient<Authorized>,
    pub exceptions: ExceptionServiceClient<Authorized>,
    pub freezes: FreezeServiceClient<Authorized>,
}

/// A credential that was unwrapped.
#[derive(Clone, Debug)]
pub struct Credential {
    pub username: String,
    pub password: String,
    pub lease_id: String,
}

impl Person {
    /// Logs in to Vault and fetches a token from its identity provider, as `hallpass login` does.
    pub async fn log_in(world: &World, name: &str) -> Self {
        let (bao, world_name) = (&world.bao, &world.name);
        let path = format!("auth/userpass-{world_name}/login/{name}");
        let (status, login) =
            bao.call("", Method::POST, &path, Some(json!({ "password": "open sesame" }))).await;
        assert_eq!(status, 200, "{login}");
        let token = login["auth"]["client_token"].as_str().unwrap();
        let path = format!("identity/oidc/token/hallpass-{world_name}");
        let (status, answer) = bao.call(token, Method::GET, &path, None).await;
        assert_eq!(status, 200, "{answer}");
        Self::with_token(world, answer["data"]["token"].as_str().unwrap())
    }

    /// Somebody who calls with this token, whatever it is worth.
    pub fn with_token(world: &World, jwt: &str) -> Self {
        Self::with_bearer(world, jwt, Bearer(Some(format!("Bearer {jwt}").parse().unwrap())))
    }

    pub fn with_bearer(world: &World, jwt: &str, bearer: Bearer) -> Self {
        Self::at(world, &world.address, jwt, bearer)
    }

    /// The same, calling another daemon.
    pub fn calling(&self, world: &World, address: &str) -> Self {
        let bearer = Bearer(Some(format!("Bearer {}", self.jwt).parse().unwrap()));
        Self::at(world, address, &self.jwt, bearer)
    }

    fn at(world: &World, address: &str, jwt: &str, bearer: Bearer) -> Self {
        let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect_lazy();
        Self {
            jwt: jwt.to_owned(),
            vault: world.bao.address.clone(),
            targets: TargetServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            requests: RequestServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            grants: GrantServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            exceptions: ExceptionServiceClient::with_interceptor(channel.clone(), bearer.clone()),
            freezes: FreezeServiceClient::with_interceptor(channel, bearer),
        }
    }

    /// The daemons' service of the daemon at an address.
    pub fn daemons(&self, address: &str) -> DaemonServiceClient<Authorized> {
        let channel = Endpoint::from_shared(address.to_owned()).unwrap().connect_lazy();
        let bearer = Bearer(Some(format!("Bearer {}", self.jwt).parse().unwrap()));
        DaemonServiceClient::with_interceptor(channel, bearer)
    }

    pub async fn submit(&mut self, duration: Duration, reason: &str) -> Result<Request, Status> {
        self.submit_to("orders-ro", duration, reason).await
    }

    pub async fn submit_to(
        &mut self,
        target: &str,
        duration: Duration,
        reason: &str,
    ) -> Result<Request, Status> {
        let ask = SubmitRequestRequest {
            target: format!("targets/{target}"),
            duration: Some(duration.try_into().unwrap()),
            reason: reason.to_owned(),
            ..SubmitRequestRequest::default()
        };
        Ok(self.requests.submit_request(ask).await?.into_inner())
    }

    pub async fn approve(&mut self, request: &Request, statement: &str) -> Result<Request, Status> {
        let (name, digest, statement) = (request.name.clone(), request.digest.clone(), statement.to_owned());
        let decision = ApproveRequestRequest { name, digest, statement, ..ApproveRequestRequest::default() };
        Ok(self.requests.approve_request(decision).await?.into_inner())
    }

    pub async fn deny(&mut self, request: &Request, statement: &str) -> Result<Request, Status> {
        let (name, digest, statement) = (request.name.clone(), request.digest.clone(), statement.to_owned());
        let decision = DenyRequestRequest { name, digest, statement };
        Ok(self.requests.deny_request(decision).await?.into_inner())
    }

    pub async fn claim(&mut self, request: &Request) -> Result<ClaimGrantResponse, Status> {
        self.claim_with(request, false).await
    }

    pub async fn claim_with(
        &mut self,
        request: &Request,
        reissue: bool,
    ) -> Result<ClaimGrantResponse, Status> {
        let claim = ClaimGrantRequest { request: request.name.clone(), reissue };
        Ok(self.grants.claim_grant(claim).await?.into_inner())
    }

    pub async fn release(&mut self, grant: &Grant) -> Result<Grant, Status> {
        Ok(self
            .grants
            .release_grant(ReleaseGrantRequest { name: grant.name.clone(), wrapping_opened: false })
            .await?
            .into_inner())
    }

    pub async fn grant(&mut self, name: &str) -> Result<Grant, Status> {
        Ok(self.grants.get_grant(GetGrantRequest { name: name.to_owned() }).await?.into_inner())
    }

    pub async fn exception(&mut self, request: &Request) -> Result<Exception, Status> {
        let name = request.name.replace("requests/", "exceptions/");
        Ok(self.exceptions.get_exception(GetExceptionRequest { name }).await?.into_inner())
    }

    /// Waits until a grant is in a state.
    pub async fn sees(&mut self, grant: &Grant, state: GrantState) -> Grant {
        let mut seen = grant.clone();
        eventually(&format!("{} is {}", grant.name, state.as_str_name()), async || {
            seen = self.grant(&grant.name).await.unwrap();
            seen.state() == state
        })
        .await;
        seen
    }

    /// Opens a wrapped credential at Vault, with nothing but the wrapping token.
    pub async fn unwrap(&self, claimed: &ClaimGrantResponse) -> Credential {
        let answer = self.try_unwrap(claimed).await.unwrap_or_else(|errors| panic!("{errors}"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Credential {
            username: text(&answer["data"]["username"]),
            password: text(&answer["data"]["password"]),
            lease_id: text(&answer["lease_id"]),
        }
    }

    pub async fn try_unwrap(&self, claimed: &ClaimGrantResponse) -> Result<Value, Value> {
        let call = reqwest::Client::new()
            .post(format!("{}/v1/sys/wrapping/unwrap", self.vault))
            .header("X-Vault-Token", &claimed.wrapping_token);
        let answer = call.send().await.unwrap();
        if answer.status().is_success() {
            Ok(answer.json().await.unwrap())
        } else {
            Err(answer.json().await.unwrap())
        }
    }
}

/// Whether a daemon serves there.
pub async fn serves(address: &str) -> bool {
    let Ok(channel) = Endpoint::from_shared(address.to_owned()).unwrap().connect().await else {
        return false;
    };
    let check = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(check).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}
