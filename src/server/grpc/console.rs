//! Links into the console.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{detail, timestamp},
    credential,
};
use crate::{
    domain::policy::{Action, Target, decide},
    server::error::Error,
    wire::v1::{self, console_service_server::ConsoleService},
};

pub struct ConsoleCalls(pub Arc<App>);

#[tonic::async_trait]
impl ConsoleService for ConsoleCalls {
    async fn create_link(
        &self,
        request: Request<v1::CreateLinkRequest>,
    ) -> Result<Response<v1::CreateLinkResponse>, Status> {
        let credential = credential(&request)?;
        let served = self.0.console.is_some();
        let (token, expires_at) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let target = caller.user().map_or(Target::Organization, |name| Target::User { name: name.clone() });
                let decision = decide(&caller, Action::ConsoleLink, &target);
                let grant = tx.admit(caller.org(), decision, "user", detail([]))?;
                if !served {
                    return Err(Error::Precondition(
                        "this server has no console; whoever runs it can start it with --console-listen".into(),
                    ));
                }
                let name = caller.user().ok_or(Error::Internal("policy let somebody through who is no person"))?;
                tx.create_console_link(&grant, name)
            })
            .await?;
        let at = self.0.console.as_deref().unwrap_or_default();
        let url = format!("{at}/signin?link={}", URL_SAFE_NO_PAD.encode(token.expose()));
        Ok(Response::new(v1::CreateLinkResponse { url, expires_at: Some(timestamp(expires_at)) }))
    }
}
