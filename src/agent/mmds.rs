//! Firecracker's microVM metadata service, version 2: a session token first, then the value. Two small exchanges of plain
//! HTTP/1.1 with a link-local address, which only the VM's own host can answer; an HTTP client's tree is not worth it.
//! Protocol: Firecracker's docs/mmds/mmds-user-guide.md.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use zeroize::Zeroizing;

use crate::client::Error;

pub const ADDRESS: &str = "169.254.169.254:80";
const PATIENCE: Duration = Duration::from_secs(2);
/// Headers and a token; the service's own are some hundred bytes.
const HEADERS: usize = 4096;

/// The value at `path`, as text of `longest` bytes at the most.
pub async fn get(address: &str, path: &str, longest: u64) -> Result<Zeroizing<String>, Error> {
    let fail = |cause: String| Error::Unreachable { address: format!("the metadata service ({address})"), cause };
    let exchange = async {
        let put = format!(
            "PUT /latest/api/token HTTP/1.1\r\nHost: {address}\r\nX-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let token = ask(address, &put, HEADERS).await?;
        if token.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err("its token is none".to_owned());
        }
        let get = Zeroizing::new(format!(
            "GET /{path} HTTP/1.1\r\nHost: {address}\r\nX-metadata-token: {}\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
            *token
        ));
        ask(address, &get, longest as usize).await
    };
    timeout(PATIENCE, exchange).await.map_err(|_| fail("no answer".into()))?.map_err(fail)
}

/// The body of a 200 answer.
async fn ask(address: &str, request: &str, longest: usize) -> Result<Zeroizing<String>, String> {
    let exchange = async || -> io::Result<Zeroizing<Vec<u8>>> {
        let mut tcp = TcpStream::connect(address).await?;
        tcp.write_all(request.as_bytes()).await?;
        let mut reply = Zeroizing::new(vec![0; HEADERS + longest]);
        let mut filled = 0;
        // To the end of the body, which its length tells: the service may keep the connection open all the same.
        while filled < reply.len() && body(&reply[..filled]).is_none_or(|(body, length)| body.len() < length) {
            match tcp.read(&mut reply[filled..]).await? {
                0 => break,
                read => filled += read,
            }
        }
        reply.truncate(filled);
        Ok(reply)
    };
    let reply = exchange().await.map_err(|e| e.to_string())?;
    let status =
        reply.split(|b| *b == b' ').nth(1).map(|s| String::from_utf8_lossy(s).into_owned()).unwrap_or_default();
    if status != "200" {
        return Err(format!("HTTP status {}", status.chars().filter(char::is_ascii_digit).take(3).collect::<String>()));
    }
    match body(&reply) {
        Some((body, length)) if length <= longest && body.len() >= length => {
            let text = std::str::from_utf8(&body[..length]).map_err(|_| "it is no text".to_owned())?;
            Ok(Zeroizing::new(text.to_owned()))
        }
        _ => Err("the answer is cut short, or longer than it may be".into()),
    }
}

/// What follows the headers so far, and the length that they announce.
fn body(reply: &[u8]) -> Option<(&[u8], usize)> {
    let end = reply.windows(4).position(|w| w == b"\r\n\r\n")?;
    let headers = std::str::from_utf8(&reply[..end]).ok()?;
    let length = headers
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some((&reply[end + 4..], length.1.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection after the other with what the table says.
    async fn service(answers: &'static [&'static str]) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1024];
                let read = tcp.read(&mut request).await.unwrap();
                asked.push(String::from_utf8(request[..read].to_vec()).unwrap());
                tcp.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (address, serving)
    }

    #[tokio::test]
    async fn a_token_first_then_the_value() {
        let (address, serving) = service(&[
            "HTTP/1.1 200 \r\nServer: Firecracker API\r\nContent-Length: 6\r\n\r\ntoken=",
            "HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nvalue",
        ])
        .await;
        assert_eq!(*get(&address, "keyfob/join", 100).await.unwrap(), "value");
        let asked = serving.await.unwrap();
        assert!(asked[0].starts_with("PUT /latest/api/token HTTP/1.1\r\n"), "{asked:?}");
        assert!(asked[0].contains("X-metadata-token-ttl-seconds: 60\r\n"), "{asked:?}");
        assert!(asked[1].starts_with("GET /keyfob/join HTTP/1.1\r\n"), "{asked:?}");
        assert!(asked[1].contains("X-metadata-token: token=\r\n"), "{asked:?}");
    }

    #[tokio::test]
    async fn whatever_else_it_says_is_worth_another_try() {
        const TOKEN: &str = "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nt";
        for (what, answers) in [
            ("version 1 only", &["HTTP/1.1 405 Not\r\nContent-Length: 0\r\n\r\n"][..]),
            ("no such key yet", &[TOKEN, "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n"]),
            ("a token with a line end", &["HTTP/1.1 200 \r\nContent-Length: 4\r\n\r\na\r\nb"]),
            ("no length", &["HTTP/1.1 200 \r\n\r\n"]),
            ("too long", &[TOKEN, "HTTP/1.1 200 \r\nContent-Length: 101\r\n\r\n"]),
            ("cut short", &[TOKEN, "HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\nval"]),
            ("nothing", &[""]),
        ] {
            let (address, _serving) = service(answers).await;
            let error = get(&address, "keyfob/join", 100).await.unwrap_err();
            assert!(error.is_transient(), "{what}: {error}");
        }
    }
}
