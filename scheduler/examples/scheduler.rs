//! Runs the scheduler with the identity of the current kubeconfig: for trying it against any API server.

use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let client = kube::Client::try_default().await?;
    let scheduler = scheduler::build(scheduler::Config::new(client), &mut Registry::default());
    let token = CancellationToken::new();
    let stop = token.clone();
    let signal = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
    scheduler.run(token).await;
    signal.abort();
    Ok(())
}
