//! The pause image: our own program in an image of one file, made in memory.

use super::oci_archive::{File, Image};

/// The static pause program, built by `build.rs`.
const PAUSE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pause"));

/// Name the image is imported under and the runtime is told to use.
pub fn image_name() -> String {
    format!("skiff.local/pause:{}", env!("CARGO_PKG_VERSION"))
}

/// The OCI archive of the pause image.
pub fn archive() -> std::io::Result<Vec<u8>> {
    Image {
        name: image_name(),
        files: vec![File::executable("pause", PAUSE.to_vec())],
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..Image::default()
    }
    .to_archive()
}
