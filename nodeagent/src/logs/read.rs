//! Reads a log as `kubectl logs` asks for it: the last lines, from a time on, and then on as it grows.
//!
//! Following is woken by inotify on the file and its directory (rotation) and by the container's state; when the
//! container has ended, what is left is read and the stream ends.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use super::format::{Line, Stream};
use crate::inotify::FileWatch;

const BLOCK: usize = 64 * 1024;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Go on while the container runs.
    pub follow: bool,
    /// Only so many lines from the end.
    pub tail: Option<u64>,
    /// Only lines written at or after this time.
    pub since: Option<Timestamp>,
    /// Put the time in front of each line.
    pub timestamps: bool,
    /// End after so many bytes.
    pub limit: Option<u64>,
    /// Only this stream.
    pub stream: Option<Stream>,
}

/// Offset at which the last `lines` lines begin.
fn tail_offset(file: &mut std::fs::File, lines: u64) -> io::Result<u64> {
    let end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(end);
    }
    let mut position = end;
    let mut newlines = 0;
    let mut block = vec![0; BLOCK];
    while position > 0 {
        let size = BLOCK.min(usize::try_from(position).unwrap_or(BLOCK));
        position -= size as u64;
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(&mut block[..size])?;
        for index in (0..size).rev() {
            let at = position + index as u64;
            if block[index] == b'\n' && at + 1 != end {
                newlines += 1;
                if newlines == lines {
                    return Ok(at + 1);
                }
            }
        }
    }
    Ok(0)
}

/// Text of the last lines of a log, at most `limit` bytes of it.
pub fn tail_text(path: &Path, lines: usize, limit: usize) -> io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let offset = tail_offset(&mut file, lines as u64)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut raw = Vec::new();
    file.take(1 << 20).read_to_end(&mut raw)?;
    let mut text = Vec::new();
    for record in raw.split(|byte| *byte == b'\n') {
        if let Some(line) = Line::parse(record) {
            text.extend_from_slice(line.text);
            if !line.partial {
                text.push(b'\n');
            }
        }
    }
    let start = text.len().saturating_sub(limit);
    Ok(String::from_utf8_lossy(&text[start..]).into_owned())
}

struct Reader {
    options: Options,
    sink: mpsc::Sender<io::Result<Bytes>>,
    left: Option<u64>,
    pending: Vec<u8>,
    passed_since: bool,
}

/// Whether reading goes on.
type GoOn = bool;

impl Reader {
    /// Turns file content into log text; keeps an unfinished record for the next call.
    async fn feed(&mut self, data: &[u8]) -> GoOn {
        self.pending.extend_from_slice(data);
        let mut out = Vec::with_capacity(data.len());
        let mut begin = 0;
        while let Some(length) = self.pending[begin..].iter().position(|byte| *byte == b'\n') {
            let record = &self.pending[begin..begin + length];
            begin += length + 1;
            let Some(line) = Line::parse(record) else { continue };
            if self.options.stream.is_some_and(|wanted| wanted != line.stream) {
                continue;
            }
            if !self.passed_since {
                if let (Some(since), Some(time)) = (self.options.since, line.timestamp())
                    && time < since
                {
                    continue;
                }
                self.passed_since = true;
            }
            if self.options.timestamps {
                out.extend_from_slice(line.time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.text);
            if !line.partial {
                out.push(b'\n');
            }
        }
        self.pending.drain(..begin);
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        if !out.is_empty() && self.sink.send(Ok(Bytes::from(out))).await.is_err() {
            return false;
        }
        self.left != Some(0)
    }

    /// Feeds what the file has more.
    async fn drain(&mut self, file: &mut tokio::fs::File) -> io::Result<GoOn> {
        use tokio::io::AsyncReadExt;
        let mut block = vec![0; BLOCK];
        loop {
            let size = file.read(&mut block).await?;
            if size == 0 {
                return Ok(true);
            }
            if !self.feed(&block[..size]).await {
                return Ok(false);
            }
        }
    }
}

/// Streams a log to `sink`; `running` says whether the container still writes. Ends when the reader goes away.
pub async fn stream(
    path: PathBuf,
    options: Options,
    mut running: watch::Receiver<bool>,
    sink: mpsc::Sender<io::Result<Bytes>>,
) {
    let error_sink = sink.clone();
    if let Err(error) = read(path, options, &mut running, sink).await
        && error_sink.send(Err(error)).await.is_err()
    {
        tracing::trace!("the reader of a log has gone");
    }
}

async fn read(
    path: PathBuf,
    options: Options,
    running: &mut watch::Receiver<bool>,
    sink: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    // The watch is set up before the first read, so that nothing written in between is missed.
    let mut watch = match options.follow {
        true => Some(watch_log(&path)?),
        false => None,
    };
    let passed_since = options.since.is_none();
    let left = options.limit;
    let tail = options.tail;
    let mut reader = Reader { options, sink, left, pending: Vec::new(), passed_since };
    if reader.left == Some(0) {
        return Ok(());
    }
    if tail.is_none() {
        // Rotated files still belong to the log; compressed ones do not exist here.
        let mut older = super::rotate::rotated_files(&path);
        older.sort();
        for file in older {
            let mut file = tokio::fs::File::open(file).await?;
            if !reader.drain(&mut file).await? {
                return Ok(());
            }
        }
    }
    let mut file = open_at_tail(&path, tail).await?;
    loop {
        let still_running = *running.borrow_and_update();
        if !reader.drain(&mut file).await? {
            return Ok(());
        }
        let Some(notify) = &watch else { return Ok(()) };
        if !still_running {
            return Ok(());
        }
        let closed = reader.sink.clone();
        tokio::select! {
            changed = notify.changed() => changed?,
            changed = running.changed() => if changed.is_err() {
                // The container's owner is gone: read once more and end.
                reader.drain(&mut file).await?;
                return Ok(());
            },
            () = closed.closed() => return Ok(()),
        }
        if replaced(&file, &path).await {
            if !reader.drain(&mut file).await? {
                return Ok(());
            }
            file = tokio::fs::File::open(&path).await?;
            watch = Some(watch_log(&path)?);
        }
    }
}

fn watch_log(path: &Path) -> io::Result<FileWatch> {
    let watch = FileWatch::new()?;
    watch.add_file(path)?;
    if let Some(dir) = path.parent() {
        watch.add_dir(dir)?;
    }
    Ok(watch)
}

async fn open_at_tail(path: &Path, tail: Option<u64>) -> io::Result<tokio::fs::File> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || -> io::Result<std::fs::File> {
        let mut file = std::fs::File::open(&path)?;
        if let Some(lines) = tail {
            let offset = tail_offset(&mut file, lines)?;
            file.seek(SeekFrom::Start(offset))?;
        }
        Ok(file)
    });
    opened.await.map_err(io::Error::other)?.map(tokio::fs::File::from_std)
}

/// Whether another file has taken the path (rotation).
async fn replaced(file: &tokio::fs::File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata().await, tokio::fs::metadata(path).await) {
        (Ok(open), Ok(present)) => open.ino() != present.ino(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stderr F two\n\
                       2026-01-01T00:00:03Z stdout P thr\n2026-01-01T00:00:03Z stdout F ee\n";

    async fn text(options: Options, path: &Path, running: watch::Receiver<bool>) -> String {
        let (sink, mut source) = mpsc::channel(16);
        tokio::spawn(stream(path.to_owned(), options, running, sink));
        let mut all = Vec::new();
        while let Some(chunk) = source.recv().await {
            all.extend_from_slice(&chunk.unwrap());
        }
        String::from_utf8(all).unwrap()
    }

    #[tokio::test]
    async fn the_options_choose_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let (_keep, running) = watch::channel(false);
        let since = Some("2026-01-01T00:00:02Z".parse().unwrap());
        for (options, want) in [
            (Options::default(), "one\ntwo\nthree\n"),
            (Options { tail: Some(3), ..Options::default() }, "two\nthree\n"),
            (Options { tail: Some(0), ..Options::default() }, ""),
            (Options { since, ..Options::default() }, "two\nthree\n"),
            (Options { limit: Some(5), ..Options::default() }, "one\nt"),
            (
                Options { stream: Some(Stream::Stderr), timestamps: true, ..Options::default() },
                "2026-01-01T00:00:02Z two\n",
            ),
        ] {
            assert_eq!(text(options.clone(), &path, running.clone()).await, want, "{options:?}");
        }
        assert_eq!(tail_text(&path, 2, 100).unwrap(), "three\n");
    }

    #[tokio::test]
    async fn following_sees_what_is_written_until_the_container_ends() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let (alive, running) = watch::channel(true);
        let (sink, mut source) = mpsc::channel(16);
        let options = Options { follow: true, tail: Some(0), ..Options::default() };
        let task = tokio::spawn(stream(path.clone(), options, running, sink));
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        // Whether the line is written before or after the watch begins, tail 0 may skip it: write until seen.
        let seen = loop {
            file.write_all(b"2026-01-01T00:00:04Z stdout F four\n").unwrap();
            if let Ok(Some(chunk)) =
                tokio::time::timeout(std::time::Duration::from_millis(200), source.recv()).await
            {
                break chunk.unwrap();
            }
        };
        assert!(seen.starts_with(b"four\n"));
        alive.send(false).unwrap();
        task.await.unwrap();
    }
}
