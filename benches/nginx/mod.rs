//! The rival: nginx, which serves a static file over mTLS from one worker, a full handshake for each connection.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

pub type Anything = Box<dyn std::error::Error + Send + Sync>;

pub struct Nginx {
    child: Running,
    /// Has `ca.pem`, `client.pem`, `client.key`.
    pub dir: PathBuf,
    pub port: u16,
}

impl Nginx {
    /// A static file of `size` bytes over mTLS, one worker, every connection a full handshake.
    pub fn start(dir: &Path, size: usize) -> Result<Self, Anything> {
        let dir = dir.join("nginx");
        fs::create_dir(&dir)?;
        let ca_key = KeyPair::generate()?;
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "benchmark authority");
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);
        fs::write(dir.join("ca.pem"), ca_certificate.pem())?;
        for (name, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
            params.extended_key_usages = vec![usage];
            fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, &issuer)?.pem())?;
            fs::write(dir.join(format!("{name}.key")), key.serialize_pem())?;
        }
        fs::write(dir.join("file"), vec![b'x'; size])?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = dir.display();
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        fs::write(
            dir.join("nginx.conf"),
            format!(
                "{user} daemon off; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
                 events {{ worker_connections 4096; }}
                 http {{
                   access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
                   server {{
                     listen 127.0.0.1:{port} ssl backlog=1024; root {root};
                     ssl_certificate server.pem; ssl_certificate_key server.key;
                     ssl_client_certificate ca.pem; ssl_verify_client on;
                     ssl_protocols TLSv1.3; ssl_session_tickets off; ssl_session_cache off;
                   }}
                 }}"
            ),
        )?;
        let child = Running(
            Command::new("nginx")
                .arg("-p")
                .arg(&dir)
                .arg("-c")
                .arg(dir.join("nginx.conf"))
                .stderr(Stdio::null())
                .spawn()?,
        );
        wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { child, dir, port })
    }

    pub fn pids(&self) -> Result<Vec<u32>, Anything> {
        let master = self.child.0.id();
        let workers = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        Ok(workers.split_whitespace().filter_map(|p| p.parse().ok()).collect())
    }

    pub fn connector(&self) -> Result<tokio_rustls::TlsConnector, Anything> {
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.join("ca.pem"))?)?;
        let chain = vec![CertificateDer::from_pem_file(self.dir.join("client.pem"))?];
        let key = PrivatePkcs8KeyDer::from_pem_file(self.dir.join("client.key"))?;
        let provider = rustls::crypto::CryptoProvider {
            kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
            ..rustls::crypto::aws_lc_rs::default_provider()
        };
        let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key.into())?;
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config).into())
    }
}

/// A child that ends with its owner.
pub struct Running(pub Child);

impl std::ops::Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM, not on SIGKILL.
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id() as i32), nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

pub fn wait_for(condition: impl Fn() -> bool) -> Result<(), Anything> {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        if Instant::now() > end {
            return Err("waited 20 s in vain".into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
