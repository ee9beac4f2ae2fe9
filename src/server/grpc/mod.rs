//! The calls: decode, decide, act, encode. A handler is one store job: it looks the caller up, finds the target, asks
//! `policy::decide`, admits the decision, acts under the grant. No rule lives here.

mod audit;
mod bundle;
mod check;
mod console;
mod convert;
mod enrolment;
mod environments;
mod fleet;
mod import;
mod leaks;
mod receipts;
mod report;
mod rollouts;
mod secrets;
mod sessions;
mod users;
mod values;
mod watch;

pub use audit::AuditCalls;
pub use environments::EnvironmentCalls;
pub use fleet::{Fleet, FleetCalls};
pub use rollouts::RolloutCalls;
pub use secrets::SecretCalls;
pub use sessions::SessionCalls;
pub use users::UserCalls;

use std::{sync::Arc, time::Duration};

use rustls::pki_types::CertificateDer;
use tonic::{
    Request, Status,
    service::{Routes, interceptor::InterceptedService},
};

use super::{
    ca::Authority,
    edge::Peer,
    error::Error,
    store::{Credential, Proof, Store, Tx},
    streams::Streams,
};
use crate::{
    domain::{
        boot::BootPolicy,
        join::{Audience, Join, Token},
        name::Id,
    },
    seal::RecipientKey,
    tls,
    wire::{DESCRIPTORS, v1},
};

/// What every call needs.
pub struct App {
    pub store: Store,
    /// Who listens.
    pub streams: Arc<Streams>,
    pub authority: Arc<Authority>,
    /// `HOST:PORT` under which agents and people reach this server; goes into join strings.
    pub address: String,
    /// Values from people are sealed to this key; it lives as long as the process.
    pub sealing_key: RecipientKey,
    pub sealing_key_id: Id,
    /// How often agents report at the least.
    pub beat: Duration,
    pub fleet: Fleet,
    /// `https://HOST:PORT` of the console; `None` without one.
    pub console: Option<String>,
}

impl App {
    /// As [`Store::read`]; what such a job refuses goes on record too.
    async fn read_on_record<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self.store.read(job).await {
            Err(error) if error.fact().is_some() => {
                let recorded = self.store.write::<T>(move |_| Err(error)).await;
                Err(recorded.err().unwrap_or(Error::Internal("a refusal got lost")))
            }
            answer => answer,
        }
    }

    /// The text that is handed to a VM or a person.
    fn join_text(&self, audience: Audience, token: Token, boot: BootPolicy) -> String {
        let (address, ca_fingerprint) = (self.address.clone(), self.authority.fingerprint());
        Join { audience, address, ca_fingerprint, token, boot }.to_text().to_string()
    }
}

/// Who is calling: the identity in the certificate that passed the handshake; or whom the console says, whose calls come over no
/// network.
fn credential<T>(request: &Request<T>) -> Result<Credential, Error> {
    if let Some(credential) = request.extensions().get::<Credential>() {
        return Ok(credential.clone());
    }
    const NONE: Error = Error::Unauthenticated("this call needs a client certificate; `keyfob login` gets one");
    shown(request.extensions().get::<Peer>().and_then(|peer| peer.certificate.as_ref()).ok_or(NONE)?)
}

/// What a verified certificate says.
fn shown(certificate: &CertificateDer<'_>) -> Result<Credential, Error> {
    let identity = tls::identity_of(certificate)
        .ok_or(Error::Unauthenticated("the client certificate names no identity of ours"))?;
    let key_hash =
        tls::key_hash_of(certificate).ok_or(Error::Unauthenticated("the client certificate has no readable key"))?;
    Ok(Credential { identity, proof: Proof::Key(key_hash) })
}

/// Largest message in: an import of many sealed values. Largest out: a full bundle, sealed, or a page of a listing.
const MAX_IN: usize = 4 * 1024 * 1024;
const MAX_OUT: usize = 4 * 1024 * 1024;

/// All services of the control plane.
pub async fn routes(app: Arc<App>) -> Result<Routes, tonic_reflection::server::Error> {
    macro_rules! limited {
        ($($server:ident of $module:ident: $service:ident),* $(,)?) => {{
            let (reporter, health) = tonic_health::server::health_reporter();
            let mut routes = Routes::new(health);
            $(
                reporter.set_serving::<v1::$module::$server<$service>>().await;
                routes = routes.add_service(
                    v1::$module::$server::new($service(app.clone())).max_decoding_message_size(MAX_IN).max_encoding_message_size(MAX_OUT),
                );
            )*
            routes
        }};
    }
    use bundle::BundleCalls;
    use console::ConsoleCalls;
    use enrolment::EnrolmentCalls;
    let routes = limited![
        EnrolmentServiceServer of enrolment_service_server: EnrolmentCalls,
        BundleServiceServer of bundle_service_server: BundleCalls,
        SecretServiceServer of secret_service_server: SecretCalls,
        EnvironmentServiceServer of environment_service_server: EnvironmentCalls,
        SessionServiceServer of session_service_server: SessionCalls,
        UserServiceServer of user_service_server: UserCalls,
        AuditServiceServer of audit_service_server: AuditCalls,
        FleetServiceServer of fleet_service_server: FleetCalls,
        RolloutServiceServer of rollout_service_server: RolloutCalls,
        ConsoleServiceServer of console_service_server: ConsoleCalls,
    ];
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // What there is to call is told to those who may call something. Python's client knows the alpha only, which is the same.
    let authenticated = |request: Request<()>| match credential(&request) {
        Ok(_) => Ok(request),
        Err(e) => Err(Status::from(e)),
    };
    Ok(routes
        .add_service(InterceptedService::new(reflection().build_v1()?, authenticated))
        .add_service(InterceptedService::new(reflection().build_v1alpha()?, authenticated)))
}
