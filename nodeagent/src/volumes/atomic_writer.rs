//! Writes a set of files so that readers see all of the old or all of the new ones.
//!
//! The files live in a directory named after the time; `..data` points at it and is swapped by a rename; the
//! visible names are links through `..data`. The layout is upstream's, which programs watching it rely on.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::{FileEntry, Payload};

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes `dir` show exactly `payload`; does nothing if it does already. Says whether it changed anything.
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    if let Some(bad) = payload.keys().find(|path| !is_safe(path)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path: {bad}")));
    }
    fs::create_dir_all(dir)?;
    let data = dir.join(DATA);
    let old = fs::read_link(&data).ok();
    if let Some(old) = &old
        && same(&dir.join(old), payload)
    {
        return Ok(false);
    }
    let name = unique_name(dir);
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    for (path, entry) in payload {
        write_file(&fresh, path, entry, group)?;
    }
    let temporary = dir.join(NEW_DATA);
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    symlink(&name, &temporary)?;
    fs::rename(&temporary, &data)?;
    update_links(dir, payload)?;
    if let Some(old) = old {
        fs::remove_dir_all(dir.join(old))?;
    }
    Ok(true)
}

fn is_safe(path: &str) -> bool {
    !path.is_empty()
        && !path.starts_with("..")
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn unique_name(dir: &Path) -> String {
    let stamp = jiff::Timestamp::now().strftime("..%Y_%m_%d_%H_%M_%S");
    (0u32..)
        .map(|number| format!("{stamp}.{number:09}"))
        .find(|name| !dir.join(name).exists())
        .unwrap_or_default()
}

fn write_file(root: &Path, path: &str, entry: &FileEntry, group: Option<u32>) -> io::Result<()> {
    let path = root.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, &entry.data)?;
    // A group that may use the volume may at least read it.
    let mode = if group.is_some() { entry.mode | 0o040 } else { entry.mode };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    if group.is_some() {
        std::os::unix::fs::chown(&path, None, group)?;
    }
    Ok(())
}

fn same(dir: &Path, payload: &Payload) -> bool {
    let mut files = Vec::new();
    collect(dir, &mut files);
    files.len() == payload.len()
        && payload.iter().all(|(path, entry)| {
            let path = dir.join(path);
            fs::read(&path).is_ok_and(|data| data == entry.data)
                && fs::metadata(&path)
                    .is_ok_and(|meta| meta.permissions().mode() & 0o700 == entry.mode & 0o700)
        })
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}

/// The first components of the paths are what is visible in the volume.
fn update_links(dir: &Path, payload: &Payload) -> io::Result<()> {
    let visible: std::collections::BTreeSet<&str> =
        payload.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &visible {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("..") && !visible.contains(name.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, data)| {
                ((*path).to_owned(), FileEntry { data: data.as_bytes().to_vec(), mode: 0o644 })
            })
            .collect()
    }

    #[test]
    fn files_are_swapped_as_a_set() {
        let dir = tempfile::tempdir().unwrap();
        let read = |path: &str| fs::read_to_string(dir.path().join(path)).ok();
        assert!(write(dir.path(), &payload(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert_eq!((read("a").as_deref(), read("d/b").as_deref()), (Some("1"), Some("2")));
        let first = fs::read_link(dir.path().join(DATA)).unwrap();
        assert!(!write(dir.path(), &payload(&[("a", "1"), ("d/b", "2")]), None).unwrap());
        assert!(write(dir.path(), &payload(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!((read("a").as_deref(), read("c").as_deref()), (Some("3"), Some("4")));
        assert_eq!(read("d/b"), None);
        assert!(!dir.path().join(first).exists());
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../a", "/a", "a/../../b", "..a", ""] {
            assert!(write(dir.path(), &payload(&[(path, "x")]), None).is_err(), "{path}");
        }
    }
}
