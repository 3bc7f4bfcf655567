//! Who the processes of a pod run as.

use k8s_openapi::api::core::v1 as core;

use crate::field::{ErrorList, Path};

/// Refuses user and group ids the kernel does not have.
pub fn validate(spec: &core::PodSpec, path: &Path, errors: &mut ErrorList) {
    if let Some(c) = &spec.security_context {
        let path = path.child("securityContext");
        id(c.fs_group, &path.child("fsGroup"), errors);
        for (i, g) in c.supplemental_groups.iter().flatten().enumerate() {
            id(Some(*g), &path.child("supplementalGroups").index(i), errors);
        }
        id(c.run_as_user, &path.child("runAsUser"), errors);
        id(c.run_as_group, &path.child("runAsGroup"), errors);
    }
    let lists = [("containers", Some(&spec.containers)), ("initContainers", spec.init_containers.as_ref())];
    for (name, list) in lists {
        for (i, c) in list.into_iter().flatten().enumerate() {
            let Some(s) = &c.security_context else { continue };
            let path = path.child(name).index(i).child("securityContext");
            id(s.run_as_user, &path.child("runAsUser"), errors);
            id(s.run_as_group, &path.child("runAsGroup"), errors);
        }
    }
}

fn id(value: Option<i64>, path: &Path, errors: &mut ErrorList) {
    if let Some(n) = value.filter(|n| !(0..=i64::from(i32::MAX)).contains(n)) {
        errors.invalid(path, n, "must be between 0 and 2147483647, inclusive");
    }
}
