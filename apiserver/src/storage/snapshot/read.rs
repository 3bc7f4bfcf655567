//! Reading: a file is gone through once to check it and once more to restore it.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{MAGIC, MAX_PART, PREFIX, SnapshotError, Summary, VERSION, time};
use crate::storage::Revision;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The full key.
    pub key: String,
    /// The stored bytes.
    pub value: Bytes,
    /// When it expires, in ms of unix time; 0 for never.
    pub expires: u64,
}

/// The records of a file, in key order. Only of a file that [`check`] has found whole.
pub struct Reader {
    input: BufReader<File>,
    path: PathBuf,
    hash: Sha256,
    revision: Revision,
    made: u64,
    keys: u64,
    last: String,
    done: bool,
}

/// Reads a file to its end and says what it is. Blocking.
pub fn check(path: &Path) -> Result<Summary, SnapshotError> {
    let mut reader = Reader::open(path)?;
    while reader.next()?.is_some() {}
    Ok(Summary { revision: reader.revision, made: time(reader.made), keys: reader.keys })
}

impl Reader {
    /// Opens a file and reads what it begins with.
    pub fn open(path: &Path) -> Result<Self, SnapshotError> {
        let failed = |source| SnapshotError::File { operation: "opening", path: path.into(), source };
        let input = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
        let mut reader = Self {
            input,
            path: path.into(),
            hash: Sha256::new(),
            revision: 0,
            made: 0,
            keys: 0,
            last: String::new(),
            done: false,
        };
        if reader.array::<8>()? != MAGIC {
            return Err(reader.damaged("it does not begin like one"));
        }
        let version = reader.u32()?;
        if version != VERSION {
            return Err(SnapshotError::Version { path: path.into(), found: version });
        }
        reader.revision = reader.u64()?;
        reader.made = reader.u64()?;
        Ok(reader)
    }

    /// The revision the file is exact at.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The next record; `None` after the last, once the checksum was found right. Blocking.
    #[expect(clippy::should_implement_trait, reason = "an iterator of results would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Record>, SnapshotError> {
        if self.done {
            return Ok(None);
        }
        let key_length = self.u32()?;
        if key_length == 0 {
            return self.end().map(|()| None);
        }
        let value_length = self.u32()?;
        if key_length > MAX_PART || value_length > MAX_PART {
            return Err(self.damaged("a record is longer than any can be"));
        }
        let expires = self.u64()?;
        let key = String::from_utf8(self.bytes(key_length)?).map_err(|_| self.damaged("a key is no text"))?;
        if key <= self.last || !key.starts_with(PREFIX) {
            return Err(self.damaged("its keys are not in order"));
        }
        let value = self.bytes(value_length)?.into();
        self.keys += 1;
        self.last.clone_from(&key);
        Ok(Some(Record { key, value, expires }))
    }

    fn end(&mut self) -> Result<(), SnapshotError> {
        self.done = true;
        if self.u64()? != self.keys {
            return Err(self.damaged("it holds another number of keys than it says"));
        }
        let expected = self.hash.finalize_reset();
        if self.array::<32>()?[..] != expected[..] {
            return Err(self.damaged("its checksum does not match"));
        }
        match self.input.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("it goes on after its end")),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, SnapshotError> {
        let mut out = vec![0; length as usize];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, SnapshotError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, SnapshotError> {
        self.array().map(u64::from_le_bytes)
    }

    fn fill(&mut self, out: &mut [u8]) -> Result<(), SnapshotError> {
        match self.input.read_exact(out) {
            Ok(()) => {
                self.hash.update(&*out);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends before its end, as a copy does that was broken off"))
            }
            Err(e) => Err(self.failed(e)),
        }
    }

    fn failed(&self, source: std::io::Error) -> SnapshotError {
        SnapshotError::File { operation: "reading", path: self.path.clone(), source }
    }

    fn damaged(&self, why: &'static str) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.clone(), why }
    }
}
