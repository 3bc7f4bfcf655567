//! Runs the controllers with the identity of the current kubeconfig: for trying them against any API server.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let client = kube::Client::try_default().await?;
    let mut config = controllers::Config::new(Arc::new(move |_| client.clone()), "certificate".to_owned());
    config.cluster_cidrs = vec!["10.244.0.0/16".to_owned()];
    let controllers = controllers::build(config, &mut Registry::default())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    let signal = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    controllers.run(token).await;
    signal.abort();
    Ok(())
}
