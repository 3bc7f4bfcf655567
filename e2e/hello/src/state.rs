//! What the program knows: its configuration, and how it was told to behave.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Configuration and behaviour.
pub struct State {
    pub port: u16,
    pub version: String,
    pub host: String,
    pub show: Vec<String>,
    pub log_requests: bool,
    pub drain: Duration,
    pub exit_after: Option<Duration>,
    never_ready: bool,
    draining: AtomicBool,
    unready_until: Mutex<Option<Instant>>,
    active: Mutex<usize>,
    idle: Condvar,
    hoard: Mutex<Vec<Vec<u8>>>,
}

/// A request being answered.
pub struct Active<'a>(&'a State);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        let mut active = lock(&self.0.active);
        *active -= 1;
        if *active == 0 {
            self.0.idle.notify_all();
        }
    }
}

// A panic of one connection must not end the others.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

impl State {
    pub fn from_env() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).ok().map(|t| t.trim().to_owned());
        Self {
            port: number("PORT").and_then(|p| u16::try_from(p).ok()).unwrap_or(8080),
            version: env::var("VERSION").ok().or_else(|| file("/version")).unwrap_or_else(|| "0".into()),
            host: file("/proc/sys/kernel/hostname").unwrap_or_default(),
            show: env::var("SHOW_ENV")
                .map(|names| names.split(',').map(|n| n.trim().to_owned()).collect())
                .unwrap_or_default(),
            log_requests: env::var("LOG_REQUESTS").is_ok_and(|v| v == "1"),
            drain: Duration::from_millis(number("DRAIN_MS").unwrap_or(1500)),
            exit_after: number("EXIT_AFTER_MS").map(Duration::from_millis),
            never_ready: env::var_os("FAIL_READINESS").is_some_and(|v| !v.is_empty()),
            draining: AtomicBool::new(false),
            unready_until: Mutex::new(None),
            active: Mutex::new(0),
            idle: Condvar::new(),
            hoard: Mutex::new(Vec::new()),
        }
    }

    pub fn ready(&self) -> bool {
        let told = lock(&self.unready_until).is_some_and(|until| Instant::now() < until);
        !self.never_ready && !told && !self.draining()
    }

    pub fn fail_readiness(&self, time: Duration) {
        *lock(&self.unready_until) = Some(Instant::now() + time);
    }

    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn start_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub fn enter(&self) -> Active<'_> {
        *lock(&self.active) += 1;
        Active(self)
    }

    /// Waits until no request is being answered.
    pub fn wait_idle(&self, limit: Duration) -> bool {
        let (active, _) = self
            .idle
            .wait_timeout_while(lock(&self.active), limit, |active| *active > 0)
            .unwrap_or_else(PoisonError::into_inner);
        *active == 0
    }

    /// Takes memory, touches it and never gives it back.
    pub fn hoard(&self, megabytes: usize) -> usize {
        for _ in 0..megabytes {
            let block = vec![1u8; 1 << 20];
            lock(&self.hoard).push(block);
        }
        lock(&self.hoard).len()
    }
}
