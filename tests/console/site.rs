//! A world with a console: its people, their browsers, and visitors that are no browsers.

use std::{net::TcpListener, sync::Arc};

use keyfob::wire::v1;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};

use crate::{
    driver::Browser,
    http::{Answer, Peer, form},
    provider::{CLIENT, CLIENT_SECRET, Provider},
    world::{Api, World},
};

pub struct Site {
    pub world: World,
    /// `https://localhost:PORT`
    pub url: String,
    authorities: String,
    peer: Peer,
    pub provider: Option<Provider>,
}

impl Site {
    pub async fn new() -> Self {
        Self::on(free_port(), &[], None).await
    }

    /// With a provider of identities beside it, which says who somebody is, and with these arguments more.
    pub async fn with_provider(more: &[&str]) -> Self {
        // The provider wants to know where people come back to before there is a console.
        let port = free_port();
        let provider = Provider::start(&format!("https://localhost:{port}/signin/callback"));
        let secret = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(secret.path(), CLIENT_SECRET).expect("our own file");
        let (issuer, file) = (provider.issuer.clone(), secret.path().to_str().expect("UTF-8").to_owned());
        let mut arguments = vec!["--oidc-issuer", &issuer, "--oidc-client-id", CLIENT, "--oidc-client-secret", &file];
        arguments.extend(["--oidc-user-claim", "preferred_username"]);
        arguments.extend(more);
        Self::on(port, &arguments, Some(provider)).await
    }

    async fn on(port: u16, arguments: &[&str], provider: Option<Provider>) -> Self {
        let (listen, address) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
        let mut all = vec!["--console-listen", &listen, "--console-address", &address];
        all.extend(arguments);
        let world = World::with_arguments(&all).await;
        let url = world.console.clone().expect("there is a console");
        let authorities = world.server_command(&["ca", "export"]);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
            roots.add(certificate.expect("PEM")).expect("an authority");
        }
        let provided = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provided)
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let peer = Peer { address: listen, host: address, tls: Some(Arc::new(tls)) };
        Self { world, url, authorities, peer, provider }
    }

    /// A browser that nobody has signed in with.
    pub fn browser(&self) -> Browser {
        Browser::start(&self.authorities)
    }

    /// A link that signs somebody in.
    pub async fn link(&self, of: &Api) -> String {
        of.console().create_link(v1::CreateLinkRequest {}).await.expect("a link").into_inner().url
    }

    /// Signs in by link, as somebody who pressed the button.
    pub async fn sign_in(&self, browser: &Browser, who: &Api) {
        browser.open(&self.link(who).await);
        browser.press("Sign in");
        browser.wait_for_path("/secrets");
    }

    pub async fn browser_of(&self, who: &Api) -> Browser {
        let browser = self.browser();
        self.sign_in(&browser, who).await;
        browser
    }

    pub fn nobody(&self) -> Visitor {
        Visitor { peer: self.peer.clone(), origin: self.url.clone(), cookie: String::new(), csrf: String::new() }
    }

    /// Somebody signed in without a browser.
    pub async fn visitor(&self, who: &Api) -> Visitor {
        let mut visitor = self.nobody();
        let link = self.link(who).await;
        let (_, token) = link.rsplit_once("link=").expect("a link has a token");
        let answer = visitor.post("/signin", &[("link", token)]);
        assert_eq!(answer.status, 303, "{}", answer.text());
        let cookie = answer.header("set-cookie").expect("a cookie");
        visitor.cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let page = visitor.get("/secrets").text();
        let (_, after) = page.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no CSRF token in {page}"));
        visitor.csrf = after.split('"').next().unwrap_or_default().to_owned();
        visitor
    }
}

/// One that nobody has now; the console's address has to be known before it listens there.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// Who asks for pages as a browser would, or on purpose not quite so.
#[derive(Clone)]
pub struct Visitor {
    peer: Peer,
    pub origin: String,
    pub cookie: String,
    pub csrf: String,
}

impl Visitor {
    pub fn get(&self, path: &str) -> Answer {
        let headers = [("Cookie", &*self.cookie), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate")];
        self.peer.ask("GET", path, &headers, b"")
    }

    pub fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        if !self.csrf.is_empty() {
            fields.push(("csrf", &self.csrf));
        }
        let headers = [
            ("Cookie", &*self.cookie),
            ("Origin", &self.origin),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        self.peer.ask("POST", path, &headers, &form(&fields))
    }

    /// With exactly these headers.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.peer.ask(method, path, headers, body)
    }
}
