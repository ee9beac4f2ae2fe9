//! Does a value look like a secret? For warnings where values are not protected: "use a secret". It errs on the side of
//! silence, and never says any of the value. And is a name a token that was pasted into the wrong place?

/// Says what the value looks like, if it looks like a secret.
pub fn looks_like_secret(value: &str) -> Option<&'static str> {
    let value = value.trim();
    if value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if let Some((_, kind, _)) =
        PREFIXES.iter().find(|(prefix, _, rest)| value.strip_prefix(prefix).is_some_and(|tail| follows(tail, *rest)))
    {
        return Some(kind);
    }
    if is_jwt(value) {
        return Some("a signed token (JWT)");
    }
    if has_password(value) {
        return Some("a URL with a password in it");
    }
    None
}

/// What a token starts with, whose it is, and how many characters follow at the least. From the issuers' documentation.
const PREFIXES: &[(&str, &str, usize)] = &[
    ("ghp_", "a GitHub token", 30),
    ("gho_", "a GitHub token", 30),
    ("ghu_", "a GitHub token", 30),
    ("ghs_", "a GitHub token", 30),
    ("ghr_", "a GitHub token", 30),
    ("github_pat_", "a GitHub token", 30),
    ("glpat-", "a GitLab token", 16),
    ("AKIA", "an AWS access key", 16),
    ("ASIA", "an AWS access key", 16),
    ("sk-ant-", "an Anthropic key", 20),
    ("sk-proj-", "an OpenAI key", 20),
    ("sk-", "an API key", 20),
    ("sk_live_", "a Stripe key", 10),
    ("rk_live_", "a Stripe key", 10),
    ("xoxb-", "a Slack token", 10),
    ("xoxp-", "a Slack token", 10),
    ("xoxa-", "a Slack token", 10),
    ("xoxr-", "a Slack token", 10),
    ("xoxs-", "a Slack token", 10),
    ("xapp-", "a Slack token", 10),
    ("npm_", "an npm token", 30),
    ("pypi-", "a PyPI token", 30),
    ("hvs.", "a Vault token", 20),
    ("hvb.", "a Vault token", 20),
    ("AIza", "a Google API key", 30),
    ("ya29.", "a Google token", 20),
    ("SG.", "a SendGrid key", 30),
    ("dop_v1_", "a DigitalOcean token", 30),
    ("shpat_", "a Shopify token", 20),
    ("hf_", "a Hugging Face token", 20),
    ("kfjoin1", "a Keyfob join string", 20),
    ("AGE-SECRET-KEY-1", "an age key", 30),
];

/// Whether this is a token and hardly a name that happens to start like one: after what a token starts with, a digit stands in
/// 16 letters and digits in a row.
pub fn is_token(name: &str) -> bool {
    let mixed = |run: &str| run.len() >= 16 && run.bytes().any(|b| b.is_ascii_digit());
    let tail =
        PREFIXES.iter().find_map(|(prefix, _, rest)| name.strip_prefix(prefix).filter(|tail| follows(tail, *rest)));
    name.starts_with("kfjoin1") || tail.is_some_and(|tail| tail.split(|c: char| !c.is_ascii_alphanumeric()).any(mixed))
}

/// How long the part is that everybody knows of what looks like a token; 0 for anything else.
pub fn token_prefix(value: &[u8]) -> usize {
    let known = |prefix: &str| value.starts_with(prefix.as_bytes());
    PREFIXES.iter().map(|(prefix, ..)| *prefix).filter(|prefix| known(prefix)).map(str::len).max().unwrap_or(0)
}

fn follows(tail: &str, least: usize) -> bool {
    tail.len() >= least && tail.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=/+".contains(&b))
}

fn is_jwt(value: &str) -> bool {
    let parts: Vec<&str> = value.split('.').collect();
    parts.len() == 3
        && parts[0].starts_with("eyJ")
        && parts.iter().all(|p| p.len() >= 8 && p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
}

/// `scheme://user:password@host`, the password being neither empty nor a placeholder.
fn has_password(value: &str) -> bool {
    let Some((scheme, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user_info, _)) = authority.rsplit_once('@') else { return false };
    let Some((_, password)) = user_info.split_once(':') else { return false };
    !scheme.is_empty() && !password.is_empty() && !password.starts_with(['$', '{', '<', '*'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret() {
        // Assembled, so that scanners of this repository find nothing to report.
        let of = |prefix: &str, n: usize| format!("{prefix}{}", "a1B2".repeat(n));
        for (value, secret) in [
            (of("ghp_", 9), true),
            (of("glpat-", 5), true),
            (of("AKIA", 4), true),
            (of("sk-", 12), true),
            (of("xoxb-", 4), true),
            (of("hvs.", 6), true),
            (format!("eyJ{}.eyJ{}.{}", "a".repeat(10), "b".repeat(10), "c".repeat(20)), true),
            (format!("-----BEGIN EC {}-----\nMHc", "PRIVATE KEY"), true),
            ("postgres://app:hunter2@db.internal/app".into(), true),
            (format!("  {}\n", of("npm_", 9)), true),
            ("development".into(), false),
            ("true".into(), false),
            ("https://example.org/path?x=1".into(), false),
            ("postgres://app@db.internal/app".into(), false),
            ("postgres://app:${PASSWORD}@db.internal/app".into(), false),
            ("postgres://app:@db".into(), false),
            ("sk-short".into(), false),
            ("ghp_".into(), false),
            ("1.2.3".into(), false),
            ("-----BEGIN CERTIFICATE-----".into(), false),
            ("sk-a sentence that happens to start so".into(), false),
            ("550e8400-e29b-41d4-a716-446655440000".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(looks_like_secret(&value).is_some(), secret, "{value}");
        }
    }

    #[test]
    fn names_that_are_tokens() {
        let of = |prefix: &str, n: usize| format!("{prefix}{}", "a1B2".repeat(n));
        for (name, token) in [
            (of("ghp_", 9), true),
            (of("sk-proj-", 20), true),
            (of("AKIA", 4), true),
            (of("hvs.", 6), true),
            ("kfjoin1s_AAAA".into(), true),
            (format!("dop_v1_{}", "0a".repeat(32)), true),
            ("sk-learn-model-registry-key-2".into(), false),
            ("ASIA_PACIFIC_DATABASE_URL_2".into(), false),
            ("hf_organizationwide_token".into(), false),
            ("npm_config_registry_auth_token_v2_production".into(), false),
            (of("x", 9), false), // nothing that is known
        ] {
            assert_eq!(is_token(&name), token, "{name}");
        }
    }
}
