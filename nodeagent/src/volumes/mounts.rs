//! Mounts of this machine as /proc/self/mountinfo shows them, and taking them down.

use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

/// Mount points at or below `dir`, deepest first.
pub fn below(dir: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    parse(&text, dir)
}

fn parse(text: &str, dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescape(path)))
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// mountinfo writes space, tab, newline and backslash as octal escapes.
fn unescape(path: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(path.to_owned(), |path, (escape, character)| path.replace(escape, character))
}

/// Whether something is mounted exactly there.
pub fn is_mount_point(path: &Path) -> bool {
    below(path).iter().any(|mount| mount == path)
}

/// Unmounts everything at or below `dir`.
pub fn unmount_below(dir: &Path) {
    for path in below(dir) {
        if let Err(error) = umount2(&path, MntFlags::MNT_DETACH) {
            tracing::warn!(%error, path = %path.display(), "not unmounted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_comes_first() {
        let text =
            "1 0 0:1 / /a rw - tmpfs t rw\n2 1 0:2 / /a/b\\040c rw - tmpfs t rw\n3 1 0:3 / /ab rw - t t rw\n";
        assert_eq!(parse(text, Path::new("/a")), [PathBuf::from("/a/b c"), PathBuf::from("/a")]);
    }
}
