//! What the node has allocated to a pod's containers, and where that is kept.
//!
//! As long as nothing was resized, the containers themselves tell it: each carries what it was made with. The first
//! resize writes it to `resources.json` in the pod's directory, with what running containers were given since.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use crate::pod::spec::{self, Kind};
use crate::pod::state::PodState;

const FILE: &str = "resources.json";

/// The resources allocated to one pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    containers: BTreeMap<String, ResourceRequirements>,
}

/// What is on disk.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Stored {
    allocated: Allocation,
    /// Of containers, by id, that were resized in place.
    given: BTreeMap<String, Amounts>,
}

/// Containers that can be resized: all but those added to debug.
fn resizable(pod: &Pod) -> Vec<(Kind, Container)> {
    let spec = spec::spec(pod);
    let all = spec::all_containers(&spec).filter(|(kind, _)| *kind != Kind::Ephemeral);
    all.map(|(kind, container)| (kind, container.into_owned())).collect()
}

impl Allocation {
    /// All that the pod asks for.
    pub fn of(pod: &Pod) -> Allocation {
        let all = resizable(pod).into_iter();
        let containers = all.map(|(_, c)| (c.name, c.resources.unwrap_or_default())).collect();
        Allocation { containers }
    }

    /// What was allocated to a pod that the agent finds: as it was written down, else as its containers were made.
    /// Notes in `state` what containers were given.
    pub fn found(pod: &Pod, dir: Option<&Path>, state: &mut PodState) -> Allocation {
        if let Some(stored) = dir.and_then(read) {
            state.resize.given = stored.given;
            return stored.allocated;
        }
        let mut allocation = Allocation::of(pod);
        for (name, resources) in &mut allocation.containers {
            let Some(made_with) = state.latest(name).and_then(|record| record.made_with) else { continue };
            let asked = Container { resources: Some(resources.clone()), ..Container::default() };
            if made_with != Amounts::of(&asked) {
                made_with.write(resources);
            }
        }
        allocation
    }

    /// Whether the pod asks for exactly this.
    pub fn covers(&self, pod: &Pod) -> bool {
        resizable(pod).iter().all(|(_, container)| {
            let allocated = Container { resources: self.resources(container), ..Container::default() };
            Amounts::of(&allocated) == Amounts::of(container)
        })
    }

    /// The pod with what is allocated in place of what it asks for.
    pub fn apply(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        if self.covers(pod) {
            return pod.clone();
        }
        let mut pod = Pod::clone(pod);
        if let Some(spec) = &mut pod.spec {
            for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
                container.resources = self.resources(container);
            }
        }
        Arc::new(pod)
    }

    fn resources(&self, container: &Container) -> Option<ResourceRequirements> {
        self.containers.get(&container.name).cloned().or_else(|| container.resources.clone())
    }

    /// Writes it down, with what the containers still there were given.
    pub fn store(&self, dir: &Path, state: &PodState) -> io::Result<()> {
        let given = state.resize.given.iter().filter(|(id, _)| state.by_id(id).is_some());
        let given = given.map(|(id, amounts)| (id.clone(), *amounts)).collect();
        let text = serde_json::to_vec(&Stored { allocated: self.clone(), given })?;
        std::fs::create_dir_all(dir)?;
        let path = dir.join(FILE);
        let new: PathBuf = path.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::rename(&new, &path)
    }
}

fn read(dir: &Path) -> Option<Stored> {
    let path = dir.join(FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "cannot read what is allocated to a pod");
            return None;
        }
    };
    match serde_json::from_slice(&text) {
        Ok(stored) => Some(stored),
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "what is allocated to a pod is not readable");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::resize::plan::tests::{pod, running};

    #[test]
    fn what_is_written_down_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let old = pod("100m", "1Gi");
        let mut state = running(&old);
        let given = Amounts { cpu_request: 7, ..Amounts::default() };
        let id = state.latest("a").unwrap().id.clone();
        state.resize.given = [(id.clone(), given), ("gone".to_owned(), given)].into();
        let allocation = Allocation::of(&old);
        allocation.store(dir.path(), &state).unwrap();
        let mut restarted = running(&old);
        let new = pod("300m", "1Gi");
        assert_eq!(Allocation::found(&new, Some(dir.path()), &mut restarted), allocation);
        assert_eq!(restarted.resize.given, [(id, given)].into());
        assert!(!allocation.covers(&new) && allocation.covers(&old));
        assert_eq!(*allocation.apply(&Arc::new(new)), old);
    }

    #[test]
    fn containers_tell_what_they_were_made_with() {
        let old = pod("100m", "1Gi");
        let mut state = running(&old);
        let found = Allocation::found(&pod("300m", "1Gi"), None, &mut state);
        assert!(found.covers(&old));
        // Those made before the agent wrote it on them count as what the pod asks for.
        let mut state = running(&old);
        state.containers.get_mut("a").unwrap()[0].made_with = None;
        let new = pod("300m", "1Gi");
        assert!(Allocation::found(&new, None, &mut state).covers(&new));
    }
}
