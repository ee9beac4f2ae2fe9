//! The first bytes of an HTTP/2 client, read whole before anything is set up for it. Never judges what the settings say:
//! that is left to the protocol's own reader, which gets the same bytes again.
//!
//! ```text
//! client preface (RFC 9113, 3.4)            first frame: SETTINGS (6.5), not an acknowledgement, of stream 0
//! PRI * HTTP/2.0 CR LF CR LF SM CR LF CR LF | length u24 | type u8 = 4 | flags u8 | stream u32 | length bytes
//! ```

use std::io;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt};

const MAGIC: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
/// What a frame may hold before the other side has allowed more (RFC 9113, 4.2).
const MAX_FRAME: usize = 16 * 1024;

/// Preface and first SETTINGS frame, as they came.
pub async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Bytes> {
    let mut bytes = vec![0; MAGIC.len() + FRAME_HEADER];
    io.read_exact(&mut bytes).await?;
    let (magic, mut header) = bytes.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(invalid("not an HTTP/2 client"));
    }
    let length = header.get_uint(3) as usize;
    let (kind, flags, stream) = (header.get_u8(), header.get_u8(), header.get_u32() & 0x7fff_ffff);
    if kind != SETTINGS || flags & ACK != 0 || stream != 0 || length > MAX_FRAME {
        return Err(invalid("the HTTP/2 preface is not followed by SETTINGS"));
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    io.read_exact(&mut bytes[start..]).await?;
    Ok(bytes.into())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn takes_the_preface_whole_and_nothing_else() {
        let after = |magic: &[u8], rest: &[u8]| [magic, rest].concat();
        let end = Err(io::ErrorKind::UnexpectedEof);
        let bad = Err(io::ErrorKind::InvalidData);
        for (what, bytes, expected) in [
            ("no settings", after(MAGIC, &[0, 0, 0, 4, 0, 0, 0, 0, 0]), Ok(33)),
            ("one setting", after(MAGIC, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9]), Ok(39)),
            ("more follows", after(MAGIC, &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8, 6]), Ok(33)),
            ("reserved bit of the stream id set", after(MAGIC, &[0, 0, 0, 4, 0, 0x80, 0, 0, 0]), Ok(33)),
            ("nothing", vec![], end),
            ("half a preface", MAGIC[..12].to_vec(), end),
            ("half a frame header", after(MAGIC, &[0, 0, 6, 4]), end),
            ("half a setting", after(MAGIC, &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3]), end),
            ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: keyfob.example\r\n\r\n".to_vec(), bad),
            ("last byte of the preface wrong", after(&MAGIC[..23], &[0, 0, 0, 0, 4, 0, 0, 0, 0, 0]), bad),
            ("PING first", after(MAGIC, &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]), bad),
            ("acknowledgement first", after(MAGIC, &[0, 0, 0, 4, 1, 0, 0, 0, 0]), bad),
            ("settings of a stream", after(MAGIC, &[0, 0, 0, 4, 0, 0, 0, 0, 1]), bad),
            ("larger than a frame may be", after(MAGIC, &[0, 0x40, 1, 4, 0, 0, 0, 0, 0]), bad),
        ] {
            let got = read(&mut bytes.as_slice()).await;
            match &got {
                Ok(got) => assert_eq!(got[..], bytes[..got.len()], "{what}"),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
            assert_eq!(got.map(|got| got.len()).map_err(|error| error.kind()), expected, "{what}");
        }
    }
}
