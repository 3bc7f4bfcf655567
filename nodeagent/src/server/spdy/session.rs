//! A connection with the streams of one exec or attach.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::frame::{self, Frame, Headers};

/// A stream of a remote command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamType {
    /// The outcome, as a Status.
    Error,
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Terminal sizes.
    Resize,
}

impl StreamType {
    fn as_str(self) -> &'static str {
        match self {
            StreamType::Error => "error",
            StreamType::Stdin => "stdin",
            StreamType::Stdout => "stdout",
            StreamType::Stderr => "stderr",
            StreamType::Resize => "resize",
        }
    }
}

/// What the peer sent on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Bytes.
    Data(StreamType, bytes::Bytes),
    /// The stream's end.
    End(StreamType),
}

/// The receiving half.
pub struct Receiver<S> {
    reader: ReadHalf<S>,
    streams: Vec<(u32, StreamType)>,
    pending: Option<StreamType>,
    pongs: mpsc::Sender<Vec<u8>>,
}

/// The sending half; frames go through a queue that a task of the session writes out.
#[derive(Clone)]
pub struct Sender {
    frames: mpsc::Sender<Vec<u8>>,
    streams: Vec<(u32, StreamType)>,
}

const QUEUE: usize = 16;
/// What one data frame carries at most, as other implementations do.
const CHUNK: usize = 32 * 1024;

/// Opens the streams on an upgraded connection; the writer is a future that has to be driven.
pub fn open<S>(
    connection: S,
    types: &[StreamType],
) -> io::Result<(Sender, Receiver<S>, impl Future<Output = io::Result<()>> + Send + use<S>)>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(connection);
    let mut headers = Headers::new()?;
    let mut opening = Vec::new();
    let mut streams = Vec::new();
    for (number, stream_type) in types.iter().enumerate() {
        let id = u32::try_from(number).unwrap_or_default() * 2 + 1;
        opening.extend(headers.syn_stream(id, &[("streamtype", stream_type.as_str())])?);
        streams.push((id, *stream_type));
    }
    let (frames, queue) = mpsc::channel(QUEUE);
    let sender = Sender { frames: frames.clone(), streams: streams.clone() };
    let receiver = Receiver { reader, streams, pending: None, pongs: frames };
    Ok((sender, receiver, write_out(writer, opening, queue)))
}

async fn write_out<S: AsyncWrite>(
    mut writer: WriteHalf<S>,
    opening: Vec<u8>,
    mut queue: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    writer.write_all(&opening).await?;
    while let Some(frame) = queue.recv().await {
        writer.write_all(&frame).await?;
    }
    Ok(())
}

impl Sender {
    /// Sends bytes on a stream; says whether the connection still takes them.
    pub async fn send(&self, to: StreamType, data: &[u8]) -> bool {
        let Some((id, _)) = self.streams.iter().find(|(_, known)| *known == to) else { return true };
        for chunk in data.chunks(CHUNK) {
            if self.frames.send(frame::data(*id, chunk, false)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Ends our side of a stream.
    pub async fn finish(&self, stream: StreamType) -> bool {
        let Some((id, _)) = self.streams.iter().find(|(_, known)| *known == stream) else { return true };
        self.frames.send(frame::data(*id, &[], true)).await.is_ok()
    }
}

impl<S: AsyncRead + AsyncWrite> Receiver<S> {
    /// The next thing on any stream; `None` at the end of the connection.
    pub async fn next(&mut self) -> io::Result<Option<Received>> {
        if let Some(ended) = self.pending.take() {
            return Ok(Some(Received::End(ended)));
        }
        loop {
            let Some(frame) = frame::read(&mut self.reader).await? else { return Ok(None) };
            let type_of =
                |id: u32| self.streams.iter().find(|(known, _)| *known == id).map(|(_, kind)| *kind);
            match frame {
                Frame::Data { stream, data, fin } => {
                    let Some(kind) = type_of(stream) else { continue };
                    if data.is_empty() && fin {
                        return Ok(Some(Received::End(kind)));
                    }
                    self.pending = fin.then_some(kind);
                    return Ok(Some(Received::Data(kind, data)));
                }
                Frame::Reset { stream } => {
                    if let Some(kind) = type_of(stream) {
                        return Ok(Some(Received::End(kind)));
                    }
                }
                // Odd numbers are answers to pings of ours, of which there are none.
                Frame::Ping { id } if id % 2 == 0 => {
                    if self.pongs.try_send(frame::ping(id)).is_err() {
                        tracing::trace!("ping not answered: the queue is full");
                    }
                }
                Frame::Ping { .. } | Frame::Other => {}
                Frame::GoAway => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn streams_are_opened_and_data_is_routed() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let (sender, mut receiver, writer) =
            open(near, &[StreamType::Error, StreamType::Stdin, StreamType::Stdout]).unwrap();
        let writer = tokio::spawn(writer);
        assert!(sender.send(StreamType::Stdin, b"in").await);
        assert!(sender.finish(StreamType::Stdin).await);
        assert!(sender.send(StreamType::Resize, b"{}").await);
        // Three SYN_STREAMs, data, FIN.
        for _ in 0..3 {
            assert_eq!(frame::read(&mut far).await.unwrap(), Some(Frame::Other));
        }
        let data = Frame::Data { stream: 3, data: bytes::Bytes::from_static(b"in"), fin: false };
        assert_eq!(frame::read(&mut far).await.unwrap(), Some(data));
        assert!(matches!(
            frame::read(&mut far).await.unwrap(),
            Some(Frame::Data { stream: 3, fin: true, .. })
        ));
        far.write_all(&frame::ping(2)).await.unwrap();
        far.write_all(&frame::data(5, b"out", true)).await.unwrap();
        let out = Received::Data(StreamType::Stdout, bytes::Bytes::from_static(b"out"));
        assert_eq!(receiver.next().await.unwrap(), Some(out));
        assert_eq!(receiver.next().await.unwrap(), Some(Received::End(StreamType::Stdout)));
        let mut pong = [0; 12];
        far.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong.as_slice(), frame::ping(2));
        drop(far);
        assert_eq!(receiver.next().await.unwrap(), None);
        drop((sender, receiver));
        writer.await.unwrap().unwrap();
    }
}
