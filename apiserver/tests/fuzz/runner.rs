//! The loop of every target: pick, mutate, check.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Inputs made in a test that is no campaign.
const ROUNDS: u32 = 3_000;
/// Inputs remembered, so that mutations add up.
const POOL: usize = 400;
/// Longest input.
const MAX: usize = 8 << 10;

/// What one target starts from.
pub struct Corpus<'a> {
    /// Name of the target.
    pub name: &'a str,
    /// Whole inputs.
    pub seeds: &'a [&'a [u8]],
    /// What the language is made of.
    pub words: &'a [&'a str],
}

/// Runs `check` on mutations of a corpus; it panics where an invariant is broken. Returns whether anything was done
/// beyond the seeds.
pub fn run(corpus: &Corpus<'_>, check: impl Fn(&[u8])) {
    run_with(corpus, ROUNDS, check);
}

/// As [`run`], for targets whose inputs cost more.
pub fn run_with(corpus: &Corpus<'_>, rounds: u32, check: impl Fn(&[u8])) {
    let seconds = std::env::var("SKIFF_FUZZ_SECONDS").ok().map(|s| s.parse().expect("SKIFF_FUZZ_SECONDS"));
    let until = seconds.map(|s| Instant::now() + Duration::from_secs(s));
    let given = std::env::var("SKIFF_FUZZ_SEED").ok().map(|s| s.parse().expect("SKIFF_FUZZ_SEED"));
    let seed = given.unwrap_or_else(|| if until.is_some() { rand::rng().next_u64() } else { 1 });
    let mut random = StdRng::seed_from_u64(seed);
    let mut pool: Vec<Vec<u8>> = corpus.seeds.iter().map(|s| s.to_vec()).collect();
    for input in &pool {
        guarded(corpus.name, seed, input, &check);
    }
    let mut round = 0u32;
    while until.map_or(round < rounds, |until| Instant::now() < until) {
        round = round.wrapping_add(1);
        let mut input = pool[random.random_range(0..pool.len())].clone();
        for _ in 0..random.random_range(1..5) {
            mutate(&mut input, corpus.words, &pool, &mut random);
        }
        input.truncate(MAX);
        guarded(corpus.name, seed, &input, &check);
        if random.random_ratio(1, 8) {
            if pool.len() < POOL {
                pool.push(input);
            } else {
                // The seeds stay.
                let at = random.random_range(corpus.seeds.len()..pool.len());
                pool[at] = input;
            }
        }
    }
    println!("{}: {round} inputs from seed {seed}", corpus.name);
}

fn guarded(name: &str, seed: u64, input: &[u8], check: &impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
        panic!("{name} (SKIFF_FUZZ_SEED={seed}): {}\n  input: b\"{}\"", said(&*panic), input.escape_ascii());
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
}

fn mutate(input: &mut Vec<u8>, words: &[&str], pool: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let end = random.random_range(at..=input.len().min(at + 40));
    match random.random_range(0..10u8) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 => drop(input.drain(at..end)),
        3 | 4 if !words.is_empty() => {
            let word = words[random.random_range(0..words.len())].as_bytes().to_vec();
            input.splice(at..if random.random() { at } else { end }, word);
        }
        5 => {
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        6 => {
            let other = &pool[random.random_range(0..pool.len())];
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len());
            input.splice(at..end, other[from..to].to_vec());
        }
        7 => {
            // Deep or long.
            let part = input[at..end.min(at + 4)].to_vec();
            let many = part.repeat(random.random_range(1..600));
            input.splice(at..at, many);
        }
        8 => {
            const NUMBERS: [&str; 9] = [
                "0",
                "-1",
                "1e400",
                "9223372036854775808",
                "18446744073709551616",
                "-9223372036854775809",
                "0.1",
                "2147483648",
                "00",
            ];
            input.splice(at..end, NUMBERS[random.random_range(0..NUMBERS.len())].bytes());
        }
        _ => {
            const ODD: [&str; 8] =
                ["\u{0}", "\u{feff}", "é", "\u{202e}", "\u{10ffff}", "\"", "\\u0000", "\n"];
            input.splice(at..at, ODD[random.random_range(0..ODD.len())].bytes());
        }
    }
}
