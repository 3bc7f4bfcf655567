//! Which tokens of service accounts are used: how many are out of date, and how many of the kind that has no end.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

type Count = Counter<u64, AtomicU64>;

/// The counters of tokens of service accounts.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Tokens that name no audience.
    pub legacy: Count,
    /// Tokens whose secret somebody has made on purpose.
    pub manual: Count,
    /// Tokens whose secret the account was given by itself.
    pub auto: Count,
    /// Such tokens after they were marked as invalid.
    pub invalidated: Count,
    /// Tokens of a volume that was to be read again by now.
    pub stale: Count,
    /// Tokens of a volume that are still fresh.
    pub valid: Count,
}

impl Tokens {
    /// With its families in the registry.
    pub fn register(r: &mut Registry) -> Arc<Self> {
        let m = Self::default();
        for (name, help, count) in [
            ("serviceaccount_legacy_tokens", "Cumulative legacy service account tokens used", &m.legacy),
            (
                "serviceaccount_legacy_manual_token_uses",
                "Cumulative manually created legacy tokens used",
                &m.manual,
            ),
            (
                "serviceaccount_legacy_auto_token_uses",
                "Cumulative auto-generated legacy tokens used",
                &m.auto,
            ),
            (
                "serviceaccount_invalid_legacy_auto_token_uses",
                "Cumulative invalid auto-generated legacy tokens used",
                &m.invalidated,
            ),
            (
                "serviceaccount_stale_tokens",
                "Cumulative stale projected service account tokens used",
                &m.stale,
            ),
            (
                "serviceaccount_valid_tokens",
                "Cumulative valid projected service account tokens used",
                &m.valid,
            ),
        ] {
            r.register(name, format!("[ALPHA] {help}"), count.clone());
        }
        Arc::new(m)
    }
}
