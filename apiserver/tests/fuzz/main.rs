//! Every parser that a client can reach, fed with what a client might send: mutations of a corpus.
//!
//! As tests they do a fixed number of rounds from a fixed seed. `make fuzz` (`SKIFF_FUZZ_SECONDS=n`) runs each that
//! long from a new seed, `SKIFF_FUZZ_SEED` from that one. A failure prints its input; add it to the corpus of the target.

#[expect(dead_code, reason = "shared with the API tests, which use all of it")]
#[path = "../api/common/mod.rs"]
mod common;

mod bodies;
mod identities;
mod languages;
mod objects;
mod pages;
mod patches;
mod runner;
