//! `events.k8s.io`.

use crate::catalog::Kind;
use crate::kinds;

use super::{EVENT_COLUMNS, EVENT_FIELDS, EVENT_TTL_SECONDS, core};

pub(super) const KINDS: &[Kind] = &[Kind {
    group: "events.k8s.io",
    short_names: &["ev"],
    stored_version: "v1",
    conversion: Some(kinds::event::EVENTS_V1),
    fields: EVENT_FIELDS,
    columns: EVENT_COLUMNS,
    ttl_seconds: Some(EVENT_TTL_SECONDS),
    ..core("Event", "events", "event", "events.v1.Event", &kinds::event::StrictEvent)
}];
