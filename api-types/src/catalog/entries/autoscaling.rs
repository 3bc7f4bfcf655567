//! `autoscaling`.

use crate::catalog::Subresource::Status;
use crate::catalog::{Conversion, Kind};
use crate::kinds;
use crate::table::{AGE, Column, NAME, integer, text};

use super::{core, grouped};

const COLUMNS: &[Column] = &[
    NAME,
    text("Reference"),
    text("Targets"),
    text("MinPods"),
    integer("MaxPods"),
    integer("Replicas"),
    AGE,
];

const fn autoscaler(version: &'static str, type_name: &'static str, conversion: Option<Conversion>) -> Kind {
    let kind = Kind {
        version,
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &[Status],
        conversion,
        columns: COLUMNS,
        ..core(
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            "horizontalpodautoscaler",
            type_name,
            &kinds::horizontalpodautoscaler::HorizontalPodAutoscaler,
        )
    };
    grouped("autoscaling", "autoscaling/v2", kind)
}

pub(super) const KINDS: &[Kind] = &[
    autoscaler("v2", "autoscaling.v2.HorizontalPodAutoscaler", None),
    autoscaler("v1", "autoscaling.v1.HorizontalPodAutoscaler", Some(kinds::hpa_conversion::V1)),
];
