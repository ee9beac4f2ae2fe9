//! One HTTP/1.1 request on a connection of its own, plain or over TLS: what no browser would send can be sent.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Whom to ask, and how.
#[derive(Clone)]
pub struct Peer {
    pub address: String,
    /// What stands in `Host` and is looked for in the certificate.
    pub host: String,
    pub tls: Option<Arc<ClientConfig>>,
}

impl Peer {
    pub fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), host: address.to_owned(), tls: None }
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_to_ask(method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    pub fn try_to_ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let tcp = TcpStream::connect(&self.address)?;
        tcp.set_read_timeout(Some(Duration::from_secs(60)))?;
        tcp.set_nodelay(true)?;
        match &self.tls {
            None => exchange(tcp, &self.request(method, path, headers, body)),
            Some(config) => {
                let name = self.host.rsplit_once(':').map_or(&*self.host, |(name, _)| name).to_owned();
                let name = ServerName::try_from(name).map_err(io::Error::other)?;
                let connection = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                exchange(StreamOwned::new(connection, tcp), &self.request(method, path, headers, body))
            }
        }
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut request = request.into_bytes();
        request.extend_from_slice(body);
        request
    }
}

fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Answer> {
    // A server that refuses early may close before it has read all; its answer is there all the same.
    let sent = stream.write_all(request).and_then(|()| stream.flush());
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        sent?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        answer.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if answer.header("content-type") == Some("text/event-stream") {
        return Ok(answer); // it has no end
    }
    let number = |text: &str, radix| usize::from_str_radix(text.trim(), radix).map_err(io::Error::other);
    if answer.header("transfer-encoding").is_some() {
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let mut chunk = vec![0; number(&line, 16)?];
            reader.read_exact(&mut chunk)?;
            reader.read_exact(&mut [0; 2])?;
            if chunk.is_empty() {
                break;
            }
            answer.body.append(&mut chunk);
        }
    } else if let Some(length) = answer.header("content-length") {
        answer.body = vec![0; number(length, 10)?];
        reader.read_exact(&mut answer.body)?;
    }
    Ok(answer)
}

/// A form as a browser sends it.
pub fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let encoded: Vec<_> = fields.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    encoded.join("&").into_bytes()
}

pub fn percent(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
