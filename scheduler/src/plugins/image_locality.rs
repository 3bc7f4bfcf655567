//! Nodes that already have a pod's images are preferred, the more so the larger the images are.

use crate::{
    framework::{MAX_SCORE, Score, ScorePlugin},
    pod::PodInfo,
    snapshot::Snapshot,
};

const MIB: i64 = 1024 * 1024;
/// Less than this is not worth waiting on another node for.
const LEAST: i64 = 23 * MIB;
/// More than this for each container makes no difference.
const MOST: i64 = 1000 * MIB;

/// Compares images on nodes.
pub struct ImageLocality;

struct Prepared<'a> {
    snapshot: &'a Snapshot,
    /// Name, and how many of a thousand nodes have it.
    images: Vec<(String, i64)>,
}

impl ScorePlugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn prepare<'a>(
        &self,
        pod: &'a PodInfo,
        snapshot: &'a Snapshot,
        _feasible: &[usize],
    ) -> Option<Box<dyn Score + 'a>> {
        let total = i64::try_from(snapshot.len()).unwrap_or(i64::MAX);
        let images: Vec<(String, i64)> = pod
            .images
            .iter()
            .filter_map(|image| {
                let name = with_tag(image);
                let having =
                    snapshot.images.iter().filter(|images| images.contains_key(name.as_str())).count();
                // An image that is everywhere, or nowhere, tells no nodes apart.
                let having = i64::try_from(having).unwrap_or(0);
                (having > 0 && having < total).then(|| (name, having * 1000 / total))
            })
            .collect();
        (!images.is_empty()).then(|| Box::new(Prepared { snapshot, images }) as Box<dyn Score>)
    }
}

impl Score for Prepared<'_> {
    fn score(&self, node: usize) -> i64 {
        let known = &self.snapshot.images[node];
        let sum: i64 = self
            .images
            .iter()
            .filter_map(|(name, spread)| known.get(name.as_str()).map(|size| size / 1000 * spread))
            .sum();
        let most = MOST * i64::try_from(self.images.len()).unwrap_or(1);
        MAX_SCORE * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }
}

fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
