//! The control plane as a logged-in person reaches it: connected, its certificate renewed when due, its sealing key at hand.

use time::OffsetDateTime;
use tonic::{Code, Status, transport::Channel};

use super::{
    failure::{Done, Failure},
    home::{Home, Login},
    output::Out,
};
use crate::{
    client,
    domain::{identity::Identity, value::Value},
    seal,
    wire::v1::{
        self, audit_service_client::AuditServiceClient, console_service_client::ConsoleServiceClient,
        environment_service_client::EnvironmentServiceClient, fleet_service_client::FleetServiceClient,
        rollout_service_client::RolloutServiceClient, secret_service_client::SecretServiceClient,
        session_service_client::SessionServiceClient, user_service_client::UserServiceClient,
    },
};

/// The longest answer taken: a thousand secrets with long descriptions are well below it.
const LONGEST_ANSWER: usize = 16 * 1024 * 1024;

pub struct Remote {
    pub identity: Identity,
    channel: Channel,
}

impl Remote {
    /// With the login in `home`. Renews its certificate first when 70 % of its life have passed.
    pub async fn open(home: &Home, out: &Out) -> Done<Self> {
        let login = home.load()?.ok_or_else(|| {
            Failure::refused(
                "unauthenticated",
                "not logged in; run `keyfob login` with a join string from an admin (`keyfob user invite NAME`)",
            )
        })?;
        let now = OffsetDateTime::now_utc();
        if now >= login.credentials.not_after {
            return Err(expired(&login));
        }
        let remote = Self::with(&login).await?;
        if now < login.credentials.renew_at() {
            return Ok(remote);
        }
        match client::renew(remote.channel.clone(), &login.credentials, now).await {
            Ok(credentials) => {
                let login = Login { credentials, ..login };
                home.store(&login)?;
                Self::with(&login).await
            }
            // The certificate is still good for a while; the next command tries again.
            Err(e) if e.is_transient() => {
                out.warn(&format!("the certificate could not be renewed: {e}"));
                Ok(remote)
            }
            Err(e) => Err(Failure::from(e)),
        }
    }

    /// With a login as it is.
    pub async fn with(login: &Login) -> Done<Self> {
        let channel = client::connect_as(&login.address, &login.credentials).await?;
        Ok(Self { identity: login.identity.clone(), channel })
    }

    pub fn secrets(&self) -> SecretServiceClient<Channel> {
        SecretServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub fn environments(&self) -> EnvironmentServiceClient<Channel> {
        EnvironmentServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub fn rollouts(&self) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub fn users(&self) -> UserServiceClient<Channel> {
        UserServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    pub fn console(&self) -> ConsoleServiceClient<Channel> {
        ConsoleServiceClient::new(self.channel.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(LONGEST_ANSWER)
    }

    /// Makes a call that carries sealed values. A server that was restarted has a new key and refuses what was sealed to its
    /// old one with FAILED_PRECONDITION: then the values are sealed and sent once more.
    pub async fn call_sealed<T>(&self, call: impl AsyncFn(&Sealer) -> Result<T, Status>) -> Done<T> {
        let sealer = self.sealer().await?;
        match call(&sealer).await {
            Err(refusal) if refusal.code() == Code::FailedPrecondition => {
                let fresh = self.sealer().await?;
                if fresh.key_id == sealer.key_id { Err(refusal.into()) } else { Ok(call(&fresh).await?) }
            }
            answer => Ok(answer?),
        }
    }

    async fn sealer(&self) -> Done<Sealer> {
        let key = self.secrets().get_sealing_key(v1::GetSealingKeyRequest {}).await?.into_inner();
        Ok(Sealer {
            key_id: key.key_id,
            public_key: key.public_key,
            org: self.identity.org.to_string(),
            subject: self.identity.subject.to_string(),
        })
    }
}

/// Seals values to the server's key, as this caller's and nobody else's.
pub struct Sealer {
    key_id: String,
    public_key: Vec<u8>,
    org: String,
    subject: String,
}

impl Sealer {
    pub fn seal(&self, value: &Value) -> Result<v1::SecretValue, Status> {
        let mut message = Vec::with_capacity(value.len() + seal::TAG_LEN); // encrypted in place, so nothing of the value stays
        message.extend_from_slice(value.expose());
        let purpose = seal::Purpose::Value { org: &self.org, subject: &self.subject };
        let encapsulated_key = seal::seal(&self.public_key, &mut message, &purpose)
            .map_err(|e| Status::internal(format!("the control plane's sealing key is unusable: {e}")))?;
        let sealed = v1::SealedValue { key_id: self.key_id.clone(), encapsulated_key, ciphertext: message };
        Ok(v1::SecretValue { kind: Some(v1::secret_value::Kind::Sealed(sealed)) })
    }
}

pub fn expired(login: &Login) -> Failure {
    Failure::refused(
        "unauthenticated",
        format!(
            "this login ({} of {}) has expired; ask an admin for a new join string (`keyfob user invite {}`), then: keyfob login",
            login.identity.subject.name(),
            login.identity.org,
            login.identity.subject.name()
        ),
    )
}
