//! A part of a volume, bound by descriptor: what a container swaps for a link afterwards makes no difference, and
//! no link leads out of the volume.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

/// Binds `sub` of the volume at `root` to `target` and gives `target`. A missing directory is made.
pub fn bind(root: &Path, sub: &str, target: &Path) -> io::Result<PathBuf> {
    let relative = Path::new(sub);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath {sub:?} leaves the volume"),
        ));
    }
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let volume = open(root, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let how = || {
        OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS)
    };
    let found = match openat2(&volume, relative, how()) {
        Err(nix::errno::Errno::ENOENT) => {
            make_dirs(&volume, relative, &how)?;
            openat2(&volume, relative, how())?
        }
        other => other?,
    };
    let is_dir = SFlag::from_bits_truncate(fstat(&found)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    super::mounts::unmount_below(target);
    if let Some(parent) = target.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if is_dir {
        std::fs::create_dir_all(target)?;
    } else if !target.exists() {
        std::fs::write(target, b"")?;
    }
    let source = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source.as_str()), target, None::<&str>, flags, None::<&str>)?;
    Ok(target.to_owned())
}

/// Makes the missing directories, each step resolved inside the volume.
fn make_dirs(volume: &std::os::fd::OwnedFd, relative: &Path, how: &impl Fn() -> OpenHow) -> io::Result<()> {
    let mut made = PathBuf::new();
    for part in relative.components() {
        let parent = if made.as_os_str().is_empty() {
            openat2(volume, Path::new("."), how())?
        } else {
            openat2(volume, &made, how())?
        };
        match mkdirat(&parent, Path::new(part.as_os_str()), Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        made.push(part);
    }
    Ok(())
}
