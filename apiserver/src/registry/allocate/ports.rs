//! Node ports: the bits of one stored `RangeAllocation`, swapped by its revision.
//!
//! The last state this server has seen is kept under a lock, so that its own writers queue here instead of
//! conflicting in the store; those of other servers are met by the revision.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rand::RngExt;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::storage::{Entry, Storage, StorageError};

const KEY: &str = "/registry/ranges/servicenodeports";
/// How often a change meets another server's before it is given up.
const CONFLICT_TRIES: usize = 100;

/// Why a port cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PortError {
    #[error("range is full")]
    Full,
    #[error("provided port is not in the valid range")]
    OutOfRange,
    #[error("provided port is already allocated")]
    Allocated,
}

/// Which ports of a range are taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u8>);

impl Bits {
    pub(super) fn has(&self, i: u32) -> bool {
        self.0.get(i as usize / 8).is_some_and(|b| b & (1 << (i % 8)) != 0)
    }

    pub(super) fn set(&mut self, i: u32, on: bool) {
        let byte = i as usize / 8;
        if self.0.len() <= byte {
            self.0.resize(byte + 1, 0);
        }
        if on {
            self.0[byte] |= 1 << (i % 8);
        } else {
            self.0[byte] &= !(1 << (i % 8));
        }
        // One form for one set, so that states can be compared.
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

struct State {
    bits: Bits,
    /// 0 while the object is not there.
    revision: u64,
}

/// The node ports of a cluster.
pub(super) struct Ports {
    first: u16,
    last: u16,
    state: Mutex<Option<State>>,
}

impl Ports {
    pub(super) fn new(first: u16, last: u16) -> Self {
        Self { first, last, state: Mutex::new(None) }
    }

    pub(super) fn size(&self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// The bit of a port, if it is in the range.
    pub(super) fn bit(&self, port: u16) -> Option<u32> {
        (self.first..=self.last).contains(&port).then(|| u32::from(port - self.first))
    }

    pub(super) fn port(&self, bit: u32) -> u16 {
        self.first + bit as u16
    }

    /// Takes ports, all or (where one is refused) none; `None` asks for any.
    pub(super) async fn take(
        &self,
        storage: &dyn Storage,
        wanted: &[Option<u16>],
        dry_run: bool,
    ) -> Result<Vec<Result<u16, PortError>>, StorageError> {
        self.change(storage, dry_run, |bits| {
            let mut trial = bits.clone();
            // Those that name a port first: no other may be given theirs.
            let mut out: Vec<Result<u16, PortError>> = vec![Err(PortError::Full); wanted.len()];
            for (o, port) in out.iter_mut().zip(wanted) {
                if let Some(port) = port {
                    *o = self.take_this(&mut trial, *port);
                }
            }
            for (o, _) in out.iter_mut().zip(wanted).filter(|(_, w)| w.is_none()) {
                *o = self.take_any(&mut trial);
            }
            if out.iter().all(Result::is_ok) {
                *bits = trial;
            }
            out
        })
        .await
    }

    fn take_this(&self, bits: &mut Bits, port: u16) -> Result<u16, PortError> {
        let bit = self.bit(port).ok_or(PortError::OutOfRange)?;
        if bits.has(bit) {
            return Err(PortError::Allocated);
        }
        bits.set(bit, true);
        Ok(port)
    }

    fn take_any(&self, bits: &mut Bits) -> Result<u16, PortError> {
        let size = self.size();
        let start = rand::rng().random_range(0..size);
        let free = (0..size).map(|i| (start + i) % size).find(|i| !bits.has(*i)).ok_or(PortError::Full)?;
        bits.set(free, true);
        Ok(self.port(free))
    }

    /// Gives ports back.
    pub(super) async fn give_back(&self, storage: &dyn Storage, ports: &[u16]) -> Result<(), StorageError> {
        if ports.is_empty() {
            return Ok(());
        }
        let clear = |bits: &mut Bits| {
            for bit in ports.iter().filter_map(|p| self.bit(*p)) {
                bits.set(bit, false);
            }
        };
        self.change(storage, false, clear).await
    }

    /// The ports that are taken, as the store has it now.
    pub(super) async fn taken(&self, storage: &dyn Storage) -> Result<Vec<u16>, StorageError> {
        let bits = self.change(storage, true, |bits| bits.clone()).await?;
        Ok((0..self.size()).filter(|b| bits.has(*b)).map(|b| self.port(b)).collect())
    }

    /// Marks ports in use as taken; gives those that were not.
    pub(super) async fn mark(&self, storage: &dyn Storage, used: &[u16]) -> Result<Vec<u16>, StorageError> {
        let bits: Vec<u32> = used.iter().filter_map(|p| self.bit(*p)).collect();
        // What this server knows already, as a rule, is no question to the store.
        let known = |state: &State| bits.iter().all(|b| state.bits.has(*b));
        if bits.is_empty() || self.state.lock().await.as_ref().is_some_and(known) {
            return Ok(Vec::new());
        }
        let mark = |stored: &mut Bits| {
            let missing: Vec<u32> = bits.iter().copied().filter(|b| !stored.has(*b)).collect();
            missing.iter().for_each(|b| stored.set(*b, true));
            missing.into_iter().map(|b| self.port(b)).collect()
        };
        self.change(storage, false, mark).await
    }

    /// Swaps the bits by what `f` makes of them. `f` may be called again, with what another server has written.
    pub(super) async fn change<T>(
        &self,
        storage: &dyn Storage,
        dry_run: bool,
        mut f: impl FnMut(&mut Bits) -> T,
    ) -> Result<T, StorageError> {
        let mut state = self.state.lock().await;
        // What a refusal or a dry run rests on must not be old.
        let mut fresh = false;
        for _ in 0..CONFLICT_TRIES {
            if state.is_none() || (dry_run && !fresh) {
                *state = Some(self.read(storage.get(KEY).await?));
                fresh = true;
            }
            let Some(State { bits: before, revision }) = state.as_ref() else { continue };
            let mut bits = before.clone();
            let out = f(&mut bits);
            if dry_run {
                return Ok(out);
            }
            if bits == *before {
                if fresh {
                    return Ok(out);
                }
                *state = None;
                continue;
            }
            let value = self.encode(&bits);
            let swapped = match revision {
                0 => storage.create(KEY, value, None).await,
                r => storage.update(KEY, value, *r, None).await,
            };
            match swapped {
                Ok(revision) => {
                    *state = Some(State { bits, revision });
                    return Ok(out);
                }
                Err(StorageError::Conflict { current, .. }) => {
                    *state = Some(self.read(Some(*current)));
                    fresh = true;
                }
                Err(StorageError::KeyExists { .. } | StorageError::NotFound { .. }) => *state = None,
                Err(e) => {
                    // It may have been written.
                    *state = None;
                    return Err(e);
                }
            }
        }
        Err(StorageError::NotFound { operation: "swap", key: KEY.into() })
    }

    fn range(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }

    fn encode(&self, bits: &Bits) -> Bytes {
        let big_endian: Vec<u8> = bits.0.iter().rev().copied().collect();
        let object = json!({"kind": "RangeAllocation", "apiVersion": "v1", "metadata": {},
            "range": self.range(), "data": STANDARD.encode(big_endian)});
        object.to_string().into()
    }

    /// What is stored; of another range, nothing is taken (the start has written it anew by then).
    fn read(&self, entry: Option<Entry>) -> State {
        let Some(entry) = entry else { return State { bits: Bits::default(), revision: 0 } };
        let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let data = object.get("data").and_then(Value::as_str).unwrap_or("");
        let mut bits = Bits::default();
        if object.get("range").and_then(Value::as_str) == Some(&self.range()) {
            bits.0 = STANDARD.decode(data).unwrap_or_default();
            bits.0.reverse();
            while bits.0.last() == Some(&0) {
                bits.0.pop();
            }
        }
        State { bits, revision: entry.revision }
    }
}
