//! A join token becomes a certificate; a certificate becomes a fresh one.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use tonic::{Request, Response, Status};

use super::{App, convert::timestamp, credential};
use crate::{
    domain::join::Token,
    server::{
        ca::{self, Issued},
        error::Error,
        store::{Counter, Proof, Renewed},
    },
    wire::v1::{EnrolRequest, EnrolResponse, RenewRequest, RenewResponse, enrolment_service_server::EnrolmentService},
};

/// Enough randomness never to be met twice.
const ATTEMPT_LEN: usize = 16;

pub struct EnrolmentCalls(pub Arc<App>);

#[tonic::async_trait]
impl EnrolmentService for EnrolmentCalls {
    async fn enrol(&self, request: Request<EnrolRequest>) -> Result<Response<EnrolResponse>, Status> {
        let EnrolRequest { token, csr_der } = request.into_inner();
        let token_hash = Token::hash(&zeroize::Zeroizing::new(token));
        let csr = ca::Request::parse(&csr_der)?;
        let key_hash = csr.key_hash();
        let redeemed = self.0.store.write(move |tx| tx.redeem(&token_hash, &key_hash)).await?;
        let issued = self.0.authority.issue(&redeemed.identity, &csr, self.0.store.clock().now())?;
        tracing::info!(identity = %redeemed.identity.subject, org = %redeemed.identity.org, repeated = redeemed.repeated, "enrolled");
        let (certificate_chain, trust_bundle, not_after) = self.reply(issued);
        Ok(Response::new(EnrolResponse { certificate_chain, trust_bundle, not_after }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let credential = credential(&request)?;
        let RenewRequest { csr_der, renewals, attempt } = request.into_inner();
        let csr = ca::Request::parse(&csr_der)?;
        if !matches!(attempt.len(), 0 | ATTEMPT_LEN) {
            return Err(Error::Invalid(format!("the attempt must have {ATTEMPT_LEN} bytes")).into());
        }
        if !matches!(credential.proof, Proof::Key(hash) if hash == csr.key_hash()) {
            return Err(Error::Invalid(
                "a certificate is renewed for the key it has, and the request is made with another".into(),
            )
            .into());
        }
        let (renewing, counter) = (credential.clone(), Counter { renewals, attempt });
        let renewals = match self.0.store.write(move |tx| tx.renew(&renewing, &counter)).await? {
            Renewed::Done(renewals) => renewals,
            Renewed::Cloned => {
                tracing::warn!(identity = %credential.identity.subject, org = %credential.identity.org, "cloned");
                return Err(Error::Cloned.into());
            }
        };
        let issued = self.0.authority.issue(&credential.identity, &csr, self.0.store.clock().now())?;
        let (certificate_chain, trust_bundle, not_after) = self.reply(issued);
        Ok(Response::new(RenewResponse { certificate_chain, trust_bundle, not_after, renewals }))
    }
}

impl EnrolmentCalls {
    fn reply(&self, issued: Issued) -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Option<prost_types::Timestamp>) {
        let der = |list: &[CertificateDer<'_>]| list.iter().map(|c| c.to_vec()).collect();
        (
            der(&issued.chain),
            der(self.0.authority.roots()),
            Some(timestamp(issued.not_after.unix_timestamp() * 1_000_000)),
        )
    }
}
