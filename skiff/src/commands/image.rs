//! `skiff image`: images without a registry.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nodeagent::images::import::import_image;
use nodeagent::images::oci_archive::{File, Image};

use crate::cli::ImageCommand;
use crate::paths::Paths;
use crate::say::say;

/// Works with images.
pub async fn image(command: &ImageCommand) -> Result<ExitCode> {
    match command {
        ImageCommand::Import { dirs, container_runtime_endpoint, file } => {
            let paths = Paths::from(dirs);
            let socket = container_runtime_endpoint
                .clone()
                .unwrap_or_else(|| paths.run.join("containerd/containerd.sock"));
            if !socket.exists() {
                bail!("no container runtime at {}; start the cluster with `skiff up`", socket.display());
            }
            let names =
                import_image(&socket, file).await.with_context(|| format!("importing {}", file.display()))?;
            for name in names {
                say!("{name}");
            }
        }
        ImageCommand::Pack { name, output, files, busybox } => {
            pack(name, output, files, busybox.as_deref())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn pack(name: &str, output: &Path, files: &[String], busybox: Option<&Path>) -> Result<()> {
    let mut contents = Vec::new();
    let mut entrypoint = None;
    for spec in files {
        let (source, target) =
            spec.split_once('=').with_context(|| format!("{spec}: expected source=/path/in/image"))?;
        let data = std::fs::read(source).with_context(|| format!("reading {source}"))?;
        contents.push(File::executable(target.trim_start_matches('/'), data));
        entrypoint.get_or_insert_with(|| target.to_owned());
    }
    if let Some(busybox) = busybox {
        let data = std::fs::read(busybox)
            .with_context(|| format!("reading {} (Debian: apt install busybox-static)", busybox.display()))?;
        contents.push(File::executable("bin/busybox", data));
        for applet in applets(busybox)? {
            contents.push(File::symlink(&format!("bin/{applet}"), "/bin/busybox"));
        }
    }
    contents.push(File::directory("tmp", 0o1777));
    let image = Image {
        name: name.to_owned(),
        files: contents,
        entrypoint: entrypoint.into_iter().collect(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        ..Image::default()
    };
    let archive = image.to_archive().context("packing the image")?;
    std::fs::write(output, archive).with_context(|| format!("writing {}", output.display()))?;
    Ok(())
}

/// The names a busybox answers to.
fn applets(busybox: &Path) -> Result<Vec<String>> {
    let program: PathBuf = busybox.into();
    let output = std::process::Command::new(&program)
        .arg("--list")
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().filter(|n| !n.is_empty() && *n != "busybox").map(str::to_owned).collect())
}
