//! Frames on the wire.

use std::io;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::dictionary::DICTIONARY;

const VERSION: u16 = 0x8003;
const SYN_STREAM: u16 = 1;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FLAG_FIN: u8 = 1;
/// Larger frames are refused; peers send 32 KiB.
const MAX_FRAME: usize = 1 << 20;

/// What the peer sent, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Data of a stream, perhaps the last.
    Data {
        /// Stream.
        stream: u32,
        /// Content.
        data: Bytes,
        /// The sender will send no more.
        fin: bool,
    },
    /// A stream was aborted.
    Reset {
        /// Stream.
        stream: u32,
    },
    /// The peer wants an answer.
    Ping {
        /// To be sent back.
        id: u32,
    },
    /// The peer is going away.
    GoAway,
    /// A stream's reply closed it at once, or anything that needs no reaction.
    Other,
}

/// Reads one frame; `None` at the end of the connection.
pub async fn read<R: AsyncRead + Unpin>(reader: &mut R) -> io::Result<Option<Frame>> {
    let mut head = [0u8; 8];
    match reader.read_exact(&mut head).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let flags = head[4];
    let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
    if length > MAX_FRAME {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "SPDY frame too large"));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    let word = |at: usize| -> u32 {
        body.get(at..at + 4).map_or(0, |four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
    };
    if head[0] & 0x80 == 0 {
        let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        return Ok(Some(Frame::Data { stream, data: Bytes::from(body), fin: flags & FLAG_FIN != 0 }));
    }
    Ok(Some(match u16::from_be_bytes([head[2], head[3]]) {
        RST_STREAM => Frame::Reset { stream: word(0) & 0x7fff_ffff },
        PING => Frame::Ping { id: word(0) },
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    }))
}

fn length(size: usize) -> [u8; 3] {
    let bytes = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    [bytes[1], bytes[2], bytes[3]]
}

/// A data frame.
pub fn data(stream: u32, content: &[u8], fin: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + content.len());
    out.extend_from_slice(&stream.to_be_bytes());
    out.push(if fin { FLAG_FIN } else { 0 });
    out.extend_from_slice(&length(content.len()));
    out.extend_from_slice(content);
    out
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + body.len());
    out.extend_from_slice(&VERSION.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&length(body.len()));
    out.extend_from_slice(body);
    out
}

/// The answer to a ping.
pub fn ping(id: u32) -> Vec<u8> {
    control(PING, &id.to_be_bytes())
}

/// Compresses header blocks; one per connection, for the blocks share their history.
pub struct Headers {
    compress: Compress,
}

impl Headers {
    /// A compressor primed with the dictionary.
    pub fn new() -> io::Result<Headers> {
        let mut compress = Compress::new(Compression::best(), true);
        compress.set_dictionary(&DICTIONARY).map_err(io::Error::other)?;
        Ok(Headers { compress })
    }

    fn block(&mut self, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let mut plain = size(headers.len()).to_vec();
        for (name, value) in headers {
            for text in [name, value] {
                plain.extend_from_slice(&size(text.len()));
                plain.extend_from_slice(text.as_bytes());
            }
        }
        // Generous for the few short headers streams are opened with: everything fits in one call.
        let mut out = Vec::with_capacity(plain.len() * 2 + 128);
        self.compress.compress_vec(&plain, &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        Ok(out)
    }

    /// The frame that opens a stream.
    pub fn syn_stream(&mut self, stream: u32, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let mut body = stream.to_be_bytes().to_vec();
        body.extend_from_slice(&[0; 6]);
        body.extend_from_slice(&self.block(headers)?);
        Ok(control(SYN_STREAM, &body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Decompress, FlushDecompress};

    #[tokio::test]
    async fn frames_survive_the_wire() {
        let mut wire = data(3, b"hello", true);
        wire.extend(ping(2));
        wire.extend(control(GOAWAY, &[0; 8]));
        let mut reader = wire.as_slice();
        let first = read(&mut reader).await.unwrap().unwrap();
        assert_eq!(first, Frame::Data { stream: 3, data: Bytes::from_static(b"hello"), fin: true });
        assert_eq!(read(&mut reader).await.unwrap(), Some(Frame::Ping { id: 2 }));
        assert_eq!(read(&mut reader).await.unwrap(), Some(Frame::GoAway));
        assert_eq!(read(&mut reader).await.unwrap(), None);
    }

    #[test]
    fn header_blocks_are_readable_with_the_dictionary() {
        let mut headers = Headers::new().unwrap();
        let mut decompress = Decompress::new(true);
        for value in ["error", "stdout"] {
            let frame = headers.syn_stream(1, &[("streamtype", value)]).unwrap();
            let block = &frame[18..];
            let mut out = Vec::with_capacity(256);
            let first = decompress.decompress_vec(block, &mut out, FlushDecompress::Sync);
            if let Err(error) = first {
                assert!(error.needs_dictionary().is_some());
                decompress.set_dictionary(&DICTIONARY).unwrap();
                let read = usize::try_from(decompress.total_in()).unwrap();
                decompress.decompress_vec(&block[read..], &mut out, FlushDecompress::Sync).unwrap();
            }
            assert!(out.ends_with(value.as_bytes()), "{out:?}");
        }
    }

    #[tokio::test]
    async fn an_oversize_frame_is_refused() {
        let mut wire: &[u8] = &[0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
        assert!(read(&mut wire).await.is_err());
    }
}
