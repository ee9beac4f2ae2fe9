//! A client, frame by frame (RFC 9113, RFC 7541): it can do what no well-behaved library lets it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::PATIENCE;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const CHECK: &str = "/grpc.health.v1.Health/Check";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

#[derive(Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub from: Option<IpAddr>,
    pub config: Arc<ClientConfig>,
}

impl Client {
    pub fn from(self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self }
    }

    pub async fn tcp(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(address) = self.from {
            socket.bind((address, 0).into())?;
        }
        socket.connect(self.address).await
    }

    pub async fn tls(&self) -> io::Result<Connection> {
        let tcp = self.tcp().await?;
        let name = ServerName::try_from("keyfob").unwrap();
        let io = TlsConnector::from(self.config.clone()).connect(name, tcp).await?;
        Ok(Connection { io, next_stream: 1, goaway: None })
    }

    pub async fn connect(&self) -> io::Result<Connection> {
        let mut connection = self.tls().await?;
        connection.greet().await?;
        Ok(connection)
    }
}

pub struct Connection {
    pub io: TlsStream<TcpStream>,
    pub next_stream: u32,
    /// The code of a GOAWAY that was read.
    pub goaway: Option<u32>,
}

impl Connection {
    pub async fn greet(&mut self) -> io::Result<()> {
        self.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.write_all(bytes).await?;
        self.io.flush().await
    }

    /// Reads one frame and does what a client owes to it.
    pub async fn step(&mut self) -> io::Result<Frame> {
        let frame = read_frame(&mut self.io).await?;
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => self.send(&self::frame(SETTINGS, ACK, 0, &[])).await?,
            PING if frame.flags & ACK == 0 => self.send(&self::frame(PING, ACK, 0, &frame.payload)).await?,
            GOAWAY => self.goaway = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())),
            _ => {}
        }
        Ok(frame)
    }

    /// The body of the answer on a stream.
    pub async fn answer(&mut self, stream: u32) -> io::Result<Vec<u8>> {
        let mut body = vec![];
        loop {
            let frame = self.step().await?;
            match frame.kind {
                RST_STREAM if frame.stream == stream => return Err(io::ErrorKind::ConnectionAborted.into()),
                DATA | HEADERS if frame.stream == stream => {
                    if frame.kind == DATA {
                        body.extend_from_slice(&frame.payload);
                    }
                    if frame.flags & END_STREAM != 0 {
                        return Ok(body);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether a health check on this connection comes back as SERVING.
    pub async fn is_served(&mut self) -> bool {
        let stream = self.next_stream;
        self.next_stream += 2;
        let asked = async {
            self.send(&request(stream, CHECK)).await?;
            self.answer(stream).await
        };
        let answer = timeout(PATIENCE, asked).await.expect("neither answer nor end");
        // gRPC: not compressed, 2 bytes: field 1 = SERVING
        answer.is_ok_and(|body| body == [0, 0, 0, 0, 2, 8, 1])
    }
}

pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub async fn read_frame(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Frame> {
    let length = io.read_u24().await?;
    let (kind, flags, stream) = (io.read_u8().await?, io.read_u8().await?, io.read_u32().await?);
    let mut payload = vec![0; length as usize];
    io.read_exact(&mut payload).await?;
    Ok(Frame { kind, flags, stream, payload })
}

trait ReadU24 {
    async fn read_u24(&mut self) -> io::Result<u32>;
}

impl<T: AsyncRead + Unpin> ReadU24 for T {
    async fn read_u24(&mut self) -> io::Result<u32> {
        Ok(u32::from(self.read_u8().await?) << 16 | u32::from(self.read_u16().await?))
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A whole unary call with an empty message.
pub fn request(stream: u32, path: &str) -> Vec<u8> {
    [headers(stream, path, false, &[]), frame(DATA, END_STREAM, stream, &[0; 5])].concat()
}

pub fn headers(stream: u32, path: &str, end: bool, more: &[u8]) -> Vec<u8> {
    let flags = END_HEADERS | if end { END_STREAM } else { 0 };
    frame(HEADERS, flags, stream, &[&block(path), more].concat())
}

/// A header block in as many frames as it needs, and no body.
pub fn continuable(stream: u32, block: &[u8]) -> Vec<u8> {
    let (first, rest) = block.split_at(16_000);
    [frame(HEADERS, END_STREAM, stream, first), frame(CONTINUATION, END_HEADERS, stream, rest)].concat()
}

/// The headers of a gRPC call: two of HPACK's static table (POST, https), the others spelled out.
pub fn block(path: &str) -> Vec<u8> {
    let spelled = [(":path", path), (":authority", "keyfob"), ("content-type", "application/grpc"), ("te", "trailers")];
    let spelled = spelled.into_iter().flat_map(|(name, value)| literal(name, value));
    [0x83, 0x87].into_iter().chain(spelled).collect()
}

/// A field that enters no table.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    [vec![0], string(name), string(value)].concat()
}

/// Length in HPACK's integer form (7-bit prefix), then the bytes as they are.
pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = vec![];
    if text.len() < 127 {
        bytes.push(text.len() as u8);
    } else {
        bytes.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            bytes.push(rest as u8 | 128);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// Reads until the other side has ended the connection, in whatever way.
pub async fn ended(io: &mut (impl AsyncRead + Unpin)) {
    let mut discarded = [0; 1024];
    while io.read(&mut discarded).await.is_ok_and(|n| n > 0) {}
}
