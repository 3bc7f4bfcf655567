//! How long the runtime itself takes for N pods at once, driven over CRI directly: `cri_baseline SOCKET IMAGE N`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use k8s_cri::v1;
use nodeagent::runtime::ContainerRuntime;
use nodeagent::runtime::cri::CriRuntime;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [socket, image, count] = args.as_slice() else {
        return Err("usage: cri_baseline SOCKET IMAGE N".into());
    };
    let runtime = CriRuntime::new(Path::new(socket));
    let count: usize = count.parse()?;
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let (runtime, image) = (runtime.clone(), image.clone());
        tasks.spawn(async move { one(&runtime, &image, number).await });
    }
    let mut sandboxes = Vec::new();
    while let Some(done) = tasks.join_next().await {
        sandboxes.push(done??);
    }
    println!("{count} at once: {:?}", begin.elapsed());
    for id in sandboxes {
        runtime.stop_sandbox(&id).await?;
        runtime.remove_sandbox(&id).await?;
    }
    Ok(())
}

async fn one(
    runtime: &CriRuntime,
    image: &str,
    number: usize,
) -> Result<String, nodeagent::runtime::RuntimeError> {
    let config = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: format!("baseline-{number}"),
            uid: format!("baseline-{number}"),
            namespace: "baseline".into(),
            attempt: 0,
        }),
        hostname: "baseline".into(),
        log_directory: format!("/tmp/cri-baseline/{number}"),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: format!("/cri-baseline/pod{number}"),
            ..Default::default()
        }),
        ..Default::default()
    };
    let sandbox = runtime.run_sandbox(config.clone()).await?;
    let container = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }),
        command: vec!["sleep".into(), "1000".into()],
        log_path: "c.log".into(),
        labels: HashMap::new(),
        linux: Some(v1::LinuxContainerConfig::default()),
        ..Default::default()
    };
    let id = runtime.create_container(&sandbox, container, config).await?;
    runtime.start_container(&id).await?;
    Ok(sandbox)
}
