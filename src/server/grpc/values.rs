//! Values on their way in: unsealed where they were sealed, and judged once, before the store's one writer has to do with them.

use zeroize::Zeroizing;

use super::App;
use crate::{
    domain::{
        forms::{self, Strength},
        identity::Identity,
        value::{self, Delivery},
    },
    seal::Purpose,
    server::error::Error,
    wire::v1::{self, secret_value::Kind},
};

/// A value in a buffer that is wiped.
pub struct Received {
    pub bytes: Zeroizing<Vec<u8>>,
    pub strength: Strength,
}

pub fn received(app: &App, from: &Identity, value: Option<v1::SecretValue>) -> Result<Received, Error> {
    let bytes = unsealed(app, from, value)?;
    // Of a size that can be judged in a moment.
    value::check(&bytes, Delivery::File).map_err(|e| Error::Invalid(e.to_string()))?;
    let strength = forms::strength(&bytes);
    Ok(Received { bytes, strength })
}

impl Received {
    /// Refuses what could not be installed.
    pub fn fits(&self, delivery: Delivery) -> Result<(), Error> {
        value::check(&self.bytes, delivery).map_err(|e| Error::Invalid(e.to_string()))
    }

    /// What is worth telling.
    pub fn warnings(&self) -> Vec<String> {
        value::warnings(&self.bytes, self.strength).into_iter().map(str::to_owned).collect()
    }
}

fn unsealed(app: &App, from: &Identity, value: Option<v1::SecretValue>) -> Result<Zeroizing<Vec<u8>>, Error> {
    match value.and_then(|v| v.kind) {
        None => Err(Error::Invalid("there is no value".into())),
        Some(Kind::Plain(bytes)) => Ok(Zeroizing::new(bytes)),
        Some(Kind::Sealed(sealed)) => {
            if sealed.key_id != app.sealing_key_id.as_str() {
                return Err(Error::Precondition(
                    "the value is sealed to a key this server does not have any more; get the sealing key anew".into(),
                ));
            }
            let mut message = Zeroizing::new(sealed.ciphertext);
            let subject = from.subject.to_string();
            let purpose = Purpose::Value { org: from.org.as_str(), subject: &subject };
            let len = app
                .sealing_key
                .open(&sealed.encapsulated_key, &mut message, &purpose)
                .map_err(|e| Error::Invalid(e.to_string()))?;
            message.truncate(len);
            Ok(message)
        }
    }
}
