//! Metrics in Prometheus' text format, and the little of HTTP that it takes to hand them out on a listener of their own. Names
//! of secrets, people and organizations are no labels.

use std::{fmt::Write, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

/// A scrape's life, and what it may ask.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST: usize = 8 * 1024;
/// Scrapes at one time.
const MOST: usize = 4;

/// An address of this machine alone. Whoever wants metrics elsewhere puts something in front that knows who asks.
pub fn loopback(address: &str) -> Result<SocketAddr, String> {
    let parsed: SocketAddr = address.parse().map_err(|_| format!("`{address}` is no ADDRESS:PORT"))?;
    if parsed.ip().is_loopback() { Ok(parsed) } else { Err(format!("`{address}` is no loopback address")) }
}

/// The text, as it grows.
#[derive(Default)]
pub struct Text(pub String);

impl Text {
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Labels are ours, made of characters that need no escape.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{value}\"", if at == 0 { "{" } else { "," });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    /// A family of one sample.
    pub fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// Answers `GET /metrics`, until it is dropped.
pub async fn serve(listener: TcpListener, render: impl Fn() -> Text + Send + Sync) {
    let places = Semaphore::new(MOST);
    let answer = |tcp: TcpStream| async {
        let Ok(_place) = places.acquire().await else { return };
        let _ = timeout(PATIENCE, converse(tcp, &render)).await;
    };
    // One task for all: scrapes are seldom, short and from this machine.
    let mut scrapes = Vec::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = all(&mut scrapes), if !scrapes.is_empty() => continue,
        };
        match accepted {
            Ok((tcp, _)) if scrapes.len() < 4 * MOST => scrapes.push(Box::pin(answer(tcp))),
            Ok(_) => {} // closed at once
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Waits until one of them has ended, and takes it out.
async fn all<F: Future<Output = ()> + Unpin>(scrapes: &mut Vec<F>) {
    std::future::poll_fn(|context| {
        let before = scrapes.len();
        scrapes.retain_mut(|scrape| std::pin::Pin::new(scrape).poll(context).is_pending());
        if scrapes.len() < before { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn converse(mut tcp: TcpStream, render: impl Fn() -> Text) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match tcp.read(&mut piece).await? {
            0 => return Ok(()),
            read => request.extend_from_slice(&piece[..read]),
        }
        if request.len() > LONGEST {
            return Ok(());
        }
    }
    let (status, kind, body) = match request.split(|byte| *byte == b' ').take(2).collect::<Vec<_>>()[..] {
        [b"GET", b"/metrics"] => ("200 OK", "text/plain; version=0.0.4; charset=utf-8", render().0),
        _ => ("404 Not Found", "text/plain", "GET /metrics\n".into()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    tcp.write_all(head.as_bytes()).await?;
    tcp.write_all(body.as_bytes()).await?;
    tcp.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format() {
        let mut text = Text::default();
        text.one("a_total", "counter", "As.", 3);
        text.family("b", "gauge", "Bs.");
        text.sample("b", &[("x", "1"), ("y", "z")], 0.5);
        assert_eq!(
            text.0,
            "# HELP a_total As.\n# TYPE a_total counter\na_total 3\n# HELP b Bs.\n# TYPE b gauge\nb{x=\"1\",y=\"z\"} 0.5\n"
        );
    }

    #[test]
    fn where_it_may_listen() {
        for (address, may) in [
            ("127.0.0.1:9464", true),
            ("[::1]:0", true),
            ("0.0.0.0:9464", false),
            ("192.0.2.1:1", false),
            ("9464", false),
        ] {
            assert_eq!(loopback(address).is_ok(), may, "{address}");
        }
    }
}
