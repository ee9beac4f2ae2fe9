//! What browsers send: queries and forms. A form's fields are wiped when it goes, since one of them may be a value.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::{HeaderMap, header, request::Parts};
use zeroize::Zeroizing;

use super::{
    Console,
    page::Failure,
    session::{Cookie, Visitor},
};
use crate::server::edge::Ending;

/// A value of 64 KiB in which every byte is percent-encoded, and the other fields.
const LONGEST: usize = 256 * 1024;

/// Fields by name, decoded.
pub struct Fields(Vec<(String, Zeroizing<Vec<u8>>)>);

impl Fields {
    fn parse(encoded: &[u8]) -> Self {
        let pairs = encoded.split(|b| *b == b'&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
                    let name = decode(&pair[..at]);
                    (String::from_utf8_lossy(&name).into_owned(), decode(pair.get(at + 1..).unwrap_or_default()))
                })
                .collect(),
        )
    }

    /// A field's text; empty where it is not there, or is no text.
    pub fn text(&self, name: &str) -> &str {
        self.text_of(name).unwrap_or_default()
    }

    /// A field's text, where it is there and is text.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.and_then(|(_, bytes)| std::str::from_utf8(bytes).ok())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, bytes)| other == name && !bytes.is_empty())
    }

    /// Whether a box is ticked.
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == "on"
    }

    /// A value, as its owner pasted it: browsers send every line end of a text as CR LF.
    pub fn take_value(&mut self) -> Zeroizing<Vec<u8>> {
        let found = self.0.iter_mut().find(|(name, _)| name == "value");
        let mut bytes = found.map(|(_, bytes)| std::mem::take(bytes)).unwrap_or_default();
        let mut kept = 0;
        for at in 0..bytes.len() {
            if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') {
                continue;
            }
            bytes[kept] = bytes[at];
            kept += 1;
        }
        bytes[kept..].fill(0);
        bytes.truncate(kept);
        bytes
    }
}

fn decode(encoded: &[u8]) -> Zeroizing<Vec<u8>> {
    let hex = |at: usize| encoded.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len())); // never grows: no copy is left behind
    let mut at = 0;
    while let Some(byte) = encoded.get(at) {
        at += 1;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => match (hex(at), hex(at + 1)) {
                (Some(high), Some(low)) => {
                    at += 2;
                    (high * 16 + low) as u8
                }
                _ => b'%',
            },
            byte => *byte,
        });
    }
    bytes
}

/// What stands behind the `?`.
pub struct Query(pub Fields);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(Self(Fields::parse(parts.uri.query().unwrap_or_default().as_bytes())))
    }
}

/// A form that somebody sent who is not signed in, or need not be. Where it came from has been checked by the guard.
pub struct Form(pub Fields);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(Failure::invalid("this is not a form of ours"));
        }
        let body = to_bytes(body, LONGEST).await;
        let body =
            body.map_err(|_| Failure::invalid("this is more than a form may hold; a value has 64 KiB at the most"))?;
        let fields = Fields::parse(&body);
        // A value came in the clear, inside TLS: the buffers that it went through are wiped when they are freed, with the connection.
        if fields.has("value")
            && let Some(ending) = parts.extensions.get::<Ending>()
        {
            ending.end();
        }
        Ok(Self(fields))
    }
}

/// A change that a visitor wants, from a page of ours: without a session or without its CSRF token there is none.
pub struct Change {
    pub visitor: Visitor,
    pub fields: Fields,
}

impl FromRequest<Arc<Console>> for Change {
    type Rejection = Failure;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let Form(fields) = Form::from_request(Request::from_parts(parts, body), console).await?;
        let genuine = verify_slices_are_equal(fields.text("csrf").as_bytes(), visitor.csrf.as_bytes());
        genuine.map_err(|_| {
            Failure::forbidden("this form is of another session; open the page again and try once more")
        })?;
        Ok(Self { visitor, fields })
    }
}

/// Whether a request that changes something came from a page of ours. `Origin` is `null` in forms of pages with our
/// `Referrer-Policy`; then, and where it agrees, `Sec-Fetch-Site` decides, which no script can set.
pub fn is_ours(headers: &HeaderMap, host: Option<&str>) -> bool {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let ours = |origin: &str| host.is_some_and(|host| origin.strip_prefix("https://") == Some(host));
    match (header("sec-fetch-site"), header("origin")) {
        (Some("same-origin"), None | Some("null")) => true,
        (Some("same-origin") | None, Some(origin)) => ours(origin),
        _ => false,
    }
}

/// The token of a session's forms: what only we and its cookie's holder can compute.
pub fn csrf_of(cookie: &Cookie) -> String {
    cookie.derive("csrf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_as_browsers_encode() {
        let fields = Fields::parse(b"name=db-url&q=a+b%26c%3D%C3%A4&empty=&flag&bad=%zz%4");
        for (name, expected) in
            [("name", "db-url"), ("q", "a b&c=\u{e4}"), ("empty", ""), ("flag", ""), ("none", ""), ("bad", "%zz%4")]
        {
            assert_eq!(fields.text(name), expected, "{name}");
        }
        assert_eq!((fields.text_of("empty"), fields.text_of("none")), (Some(""), None));
    }

    #[test]
    fn a_values_line_ends_are_the_ones_that_were_pasted() {
        for (encoded, expected) in [
            (&b"value=a%0D%0Ab%0D%0A"[..], &b"a\nb\n"[..]),
            (b"value=a%0Db", b"a\rb"),
            (b"value=%00%ff", b"\x00\xff"),
            (b"value=", b""),
            (b"other=x", b""),
        ] {
            assert_eq!(&Fields::parse(encoded).take_value()[..], expected);
        }
    }

    #[test]
    fn where_a_change_may_come_from() {
        for (site, origin, expected) in [
            (Some("same-origin"), Some("https://keys.example:8443"), true),
            (Some("same-origin"), Some("null"), true),
            (Some("same-origin"), None, true),
            (None, Some("https://keys.example:8443"), true),
            (Some("same-origin"), Some("https://evil.example"), false),
            (Some("same-site"), Some("https://keys.example:8443"), false),
            (Some("cross-site"), Some("https://keys.example:8443"), false),
            (Some("cross-site"), Some("null"), false),
            (Some("none"), None, false),
            (None, Some("null"), false),
            (None, Some("http://keys.example:8443"), false),
            (None, Some("https://keys.example"), false),
            (None, Some("https://keys.example:8443.evil.example"), false),
            (None, None, false),
        ] {
            let mut headers = HeaderMap::new();
            site.map(|site: &str| headers.insert("sec-fetch-site", site.parse().unwrap()));
            origin.map(|origin: &str| headers.insert("origin", origin.parse().unwrap()));
            assert_eq!(is_ours(&headers, Some("keys.example:8443")), expected, "{site:?} {origin:?}");
        }
        assert!(!is_ours(&HeaderMap::new(), None));
    }
}
