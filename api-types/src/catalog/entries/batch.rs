//! `batch`.

use crate::catalog::Subresource::Status;
use crate::catalog::{Kind, SelectableField};
use crate::kinds;
use crate::table::{AGE, Column, NAME, integer, text, wide};

use super::{core, grouped};

pub(super) const KINDS: &[Kind] = &[
    grouped(
        "batch",
        "batch/v1",
        Kind {
            short_names: &["cj"],
            categories: &["all"],
            subresources: &[Status],
            columns: &[
                NAME,
                text("Schedule"),
                text("Timezone"),
                Column { name: "Suspend", kind: "boolean", format: "", priority: 0 },
                integer("Active"),
                text("Last Schedule"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core("CronJob", "cronjobs", "cronjob", "batch.v1.CronJob", &kinds::cronjob::CronJob)
        },
    ),
    grouped(
        "batch",
        "batch/v1",
        Kind {
            categories: &["all"],
            subresources: &[Status],
            fields: &[SelectableField {
                name: "status.successful",
                path: &["status", "succeeded"],
                default: "0",
            }],
            columns: &[
                NAME,
                text("Status"),
                text("Completions"),
                text("Duration"),
                AGE,
                wide("Containers"),
                wide("Images"),
                wide("Selector"),
            ],
            ..core("Job", "jobs", "job", "batch.v1.Job", &kinds::job::Job)
        },
    ),
];
