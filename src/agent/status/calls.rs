//! The calls: `keyfob.v1.AgentStatusService` and `grpc.health.v1.Health`. Each first asks who is calling.
//!
//! Healthy (SERVING) means that the files are in place: they were read back when they were written, and they are still there.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status as Refusal};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use super::{
    Status,
    sight::{Peer, Sight, Vouched},
};
use crate::wire::v1::{
    GetStatusRequest, GetStatusResponse, WatchStatusRequest, WatchStatusResponse,
    agent_status_service_server::AgentStatusService,
};

/// While somebody watches: how often it is asked whether they still may, and whether the files are still there.
const LOOK: Duration = Duration::from_secs(5);
/// What health is told of, but the empty name, which means all.
const SERVICE: &str = "keyfob.v1.AgentStatusService";

#[derive(Clone)]
pub struct Calls {
    pub status: Status,
    pub vouched: Arc<Vouched>,
}

impl Calls {
    async fn sight<T>(&self, request: &Request<T>) -> Result<(Sight, Peer), Refusal> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Refusal::unauthenticated("who are you?"))?;
        Ok((self.vouched.sight(&self.status, &peer).await?, peer))
    }

    fn health(&self) -> HealthCheckResponse {
        let serving = if self.status.healthy() { ServingStatus::Serving } else { ServingStatus::NotServing };
        HealthCheckResponse { status: serving.into() }
    }
}

#[tonic::async_trait]
impl AgentStatusService for Calls {
    async fn get_status(&self, request: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Refusal> {
        let (sight, _) = self.sight(&request).await?;
        Ok(Response::new(GetStatusResponse { status: Some(sight.of(self.status.read())) }))
    }

    type WatchStatusStream = ReceiverStream<Result<WatchStatusResponse, Refusal>>;

    async fn watch_status(
        &self,
        request: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Refusal> {
        let (sight, peer) = self.sight(&request).await?;
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(watch(self.clone(), sight, peer, send));
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

async fn watch(calls: Calls, mut sight: Sight, peer: Peer, send: mpsc::Sender<Result<WatchStatusResponse, Refusal>>) {
    let mut changes = calls.status.0.now.subscribe();
    let mut told = None;
    loop {
        let status = sight.of(changes.borrow_and_update().clone());
        if told.as_ref() != Some(&status) {
            told = Some(status.clone());
            if send.send(Ok(WatchStatusResponse { status: Some(status) })).await.is_err() {
                return;
            }
        }
        let local = matches!(peer, Peer::Local);
        tokio::select! {
            () = send.closed() => return,
            changed = changes.changed() => if changed.is_err() { return },
            () = sleep(LOOK), if !local => {}
        }
        match calls.vouched.sight(&calls.status, &peer).await {
            Ok(newest) => sight = newest,
            Err(refusal) => {
                let _ = send.send(Err(refusal)).await;
                return;
            }
        }
    }
}

#[tonic::async_trait]
impl Health for Calls {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Refusal> {
        self.sight(&request).await?;
        known(&request.into_inner().service)?;
        Ok(Response::new(self.health()))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Refusal>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Refusal> {
        let (_, peer) = self.sight(&request).await?;
        known(&request.into_inner().service)?;
        let (send, receive) = mpsc::channel(1);
        let calls = self.clone();
        tokio::spawn(async move {
            let mut changes = calls.status.0.now.subscribe();
            let mut told = None;
            loop {
                changes.mark_unchanged();
                let health = calls.health();
                if told != Some(health.status) {
                    told = Some(health.status);
                    if send.send(Ok(health)).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = send.closed() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                    () = sleep(LOOK) => {} // files may go without anybody's word
                }
                if let Err(refusal) = calls.vouched.sight(&calls.status, &peer).await {
                    let _ = send.send(Err(refusal)).await;
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receive)))
    }
}

fn known(service: &str) -> Result<(), Refusal> {
    match service {
        "" | SERVICE => Ok(()),
        _ => Err(Refusal::not_found("no such service")),
    }
}
