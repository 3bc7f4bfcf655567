//! Runs a node agent from a kubeconfig: `agent KUBECONFIG NODE_NAME DIRECTORY POD_CIDR [down]`. For development.

use std::net::IpAddr;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, node, directory, cidr, rest @ ..] = args.as_slice() else {
        return Err("usage: agent KUBECONFIG NODE_NAME DIRECTORY POD_CIDR [down]".into());
    };
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let client = kube::Client::try_from(
        kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?,
    )?;
    let mut config = nodeagent::Config::new(node, IpAddr::from([127, 0, 0, 1]), client);
    config.data_dir = format!("{directory}/data").into();
    config.run_dir = format!("{directory}/run").into();
    config.pod_log_dir = format!("{directory}/logs").into();
    config.cgroup_root = format!("kubepods-{node}");
    config.bridge = format!("{node}0");
    config.pod_cidr = Some(cidr.clone());
    config.port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(10350);
    if let Ok(dir) = std::env::var("TLS_DIR") {
        config.server_tls = Some(nodeagent::ServerTls {
            cert_file: format!("{dir}/apiserver.crt").into(),
            key_file: format!("{dir}/apiserver.key").into(),
            client_ca_file: format!("{dir}/ca.crt").into(),
        });
    }
    match rest {
        [down] if down == "down" => {
            nodeagent::agent::shutdown_all(&config).await?;
            return Ok(());
        }
        [import, path] if import == "import" => {
            let names = nodeagent::images::import_image(&config.runtime_socket(), path.as_ref()).await?;
            println!("{names:?}");
            return Ok(());
        }
        [busybox, path] if busybox == "busybox" => {
            std::fs::write(path, busybox_image()?)?;
            return Ok(());
        }
        _ => {}
    }
    let begin = Instant::now();
    let agent = nodeagent::build(config).await?;
    let mut state = agent.state();
    tokio::spawn(async move {
        while state.changed().await.is_ok() {
            eprintln!("{:?} {:?}", begin.elapsed(), *state.borrow());
        }
    });
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stopped.cancel();
        }
    });
    agent.run(stop).await?;
    Ok(())
}

/// An image with nothing but busybox, from the machine's own.
fn busybox_image() -> std::io::Result<Vec<u8>> {
    use nodeagent::images::oci_archive::{File, Image};
    let mut files = vec![
        File::directory("bin", 0o755),
        File::directory("tmp", 0o1777),
        File::directory("etc", 0o755),
        File::plain("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n".to_vec()),
        File::executable("bin/busybox", std::fs::read("/bin/busybox")?),
    ];
    for applet in "sh sleep cat echo ls tar wget httpd nslookup ip ps true false env id hostname touch kill dd head tail trap".split(' ') {
        files.push(File::symlink(&format!("bin/{applet}"), "busybox"));
    }
    Image {
        name: "skiff.local/busybox:dev".to_owned(),
        files,
        cmd: vec!["sh".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        ..Image::default()
    }
    .to_archive()
}
