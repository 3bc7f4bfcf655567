//! How a proxied page is packed: it is unpacked a little at a time, and packed again.

use std::io::Write;
use std::mem;

use flate2::Compression;
use flate2::write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder};

/// Packed pages are unpacked so much at a time: they grow a thousandfold at most.
const PACKED_STEP: usize = 512;
/// Others are taken in pieces of this size.
const PIECE: usize = 32 * 1024;

/// How a page is packed: what unpacks it, and what packs it again.
pub enum Packing {
    None,
    Gzip(MultiGzDecoder<Vec<u8>>, GzEncoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>, DeflateEncoder<Vec<u8>>),
}

impl Packing {
    /// By the name of the encoding; `None` for one that is not known.
    pub fn of(encoding: &str) -> Option<Self> {
        let level = Compression::default();
        Some(match encoding {
            "" => Self::None,
            "gzip" => Self::Gzip(MultiGzDecoder::new(Vec::new()), GzEncoder::new(Vec::new(), level)),
            "deflate" => {
                Self::Deflate(DeflateDecoder::new(Vec::new()), DeflateEncoder::new(Vec::new(), level))
            }
            _ => return None,
        })
    }

    /// How much is taken at a time.
    pub fn step(&self) -> usize {
        if matches!(self, Self::None) { PIECE } else { PACKED_STEP }
    }

    /// What is unpacked by a little more.
    pub fn unpack(&mut self, packed: &[u8]) -> std::io::Result<Vec<u8>> {
        let taken = |plain: &mut Vec<u8>| mem::take(plain);
        match self {
            Self::None => Ok(packed.to_vec()),
            Self::Gzip(unpacker, _) => {
                unpacker.write_all(packed)?;
                Ok(taken(unpacker.get_mut()))
            }
            Self::Deflate(unpacker, _) => {
                unpacker.write_all(packed)?;
                Ok(taken(unpacker.get_mut()))
            }
        }
    }

    /// What is left to unpack at the end. A page that was cut is an error, where its packing tells.
    pub fn unpack_rest(&mut self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Gzip(unpacker, _) => {
                unpacker.try_finish()?;
                Ok(mem::take(unpacker.get_mut()))
            }
            Self::Deflate(unpacker, _) => {
                unpacker.try_finish()?;
                Ok(mem::take(unpacker.get_mut()))
            }
        }
    }

    /// What is packed by a little more; `last` ends it.
    pub fn pack(&mut self, plain: Vec<u8>, last: bool) -> std::io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(plain),
            Self::Gzip(_, packer) => {
                packer.write_all(&plain)?;
                if last {
                    packer.try_finish()?;
                }
                Ok(mem::take(packer.get_mut()))
            }
            Self::Deflate(_, packer) => {
                packer.write_all(&plain)?;
                if last {
                    packer.try_finish()?;
                }
                Ok(mem::take(packer.get_mut()))
            }
        }
    }
}
