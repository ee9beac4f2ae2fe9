//! `keyfob login` and `keyfob logout`.

use std::time::Duration;

use rcgen::KeyPair;
use serde_json::json;
use time::OffsetDateTime;

use super::{
    args::{self, Sure},
    failure::{Done, Failure},
    home::{Home, Login},
    input,
    output::Out,
};
use crate::{
    client::{self, Credentials},
    domain::join::{Audience, BadJoin, Join},
    tls,
};

/// Everything that can go wrong on this side is found out before the join string is spent.
pub async fn login(home: &Home, out: &Out, args: args::Login) -> Done {
    if !args.replace
        && let Some(current) = home.load()?
        && OffsetDateTime::now_utc() < current.credentials.not_after
    {
        return Err(Failure::refused(
            "already_exists",
            format!(
                "already logged in as {} of {}; to replace that login: keyfob login --replace; to have both: set KEYFOB_HOME to another \
                 directory. The join string was not used up",
                current.identity.subject.name(),
                current.identity.org
            ),
        ));
    }
    home.make_dir()?;
    let text = input::join(args.join_file.as_deref()).await?;
    let parsed =
        std::str::from_utf8(&text).map_err(|_| BadJoin::NotOne).and_then(|text| Join::parse(text, Audience::User));
    let join = parsed.map_err(|e| Failure::refused("invalid_argument", e.to_string()))?;
    let login = enrol(&join).await?;
    home.store(&login)?;
    let (name, org) = (login.identity.subject.name(), &login.identity.org);
    if out.is_json() {
        return out.json(&json!({"name": name, "organization": org, "address": login.address}));
    }
    out.line(&format!("logged in as {name} of {org}"))?;
    out.note(&format!("the key stays in {}; the certificate renews itself in use", home.path().display()));
    Ok(())
}

pub async fn logout(home: &Home, out: &Out, sure: &Sure) -> Done {
    // A damaged login, or one that others could read, is there too, and goes like any other.
    let whose = match home.load() {
        Ok(None) if out.is_json() => return out.json(&json!({"removed": false})),
        Ok(None) => {
            out.note("not logged in; nothing to remove");
            return Ok(());
        }
        Ok(Some(login)) => format!("the login of {} of {}", login.identity.subject.name(), login.identity.org),
        Err(_) => "an unusable login".into(),
    };
    input::confirm(sure, out, &format!("removing {whose} from {}", home.path().display())).await?;
    let removed = home.remove()?;
    if out.is_json() { out.json(&json!({"removed": removed})) } else { out.line(&format!("removed {whose}")) }
}

/// Redeems a join string for a login, with a key made here.
pub async fn enrol(join: &Join) -> Done<Login> {
    let key = client::new_key()?;
    let credentials = redeem(join, &key).await?;
    let identity = credentials.chain.first().and_then(tls::identity_of);
    let identity = identity.ok_or_else(|| {
        Failure::local("the control plane issued a certificate that names nobody; it is not one of ours")
    })?;
    Ok(Login { address: join.address.clone(), identity, credentials })
}

/// A connection that breaks in the middle may have spent the token already: the same key may try again, so it does.
async fn redeem(join: &Join, key: &KeyPair) -> Done<Credentials> {
    for pause in [200, 1000] {
        match client::enrol(join, key, OffsetDateTime::now_utc()).await {
            Err(broken @ client::Error::Status(_)) if broken.is_transient() => {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            answer => return Ok(answer?),
        }
    }
    Ok(client::enrol(join, key, OffsetDateTime::now_utc()).await?)
}
