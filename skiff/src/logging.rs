//! Logs: quiet unless asked, to standard error.

use tracing_subscriber::EnvFilter;

/// Sets the subscriber up; `SKIFF_LOG` overrides `-v`.
pub fn init(verbose: u8) {
    let default = match verbose {
        0 => "warn,skiff=info",
        1 => "info",
        2 => "info,skiff=debug,apiserver=debug,scheduler=debug,controllers=debug,nodeagent=debug",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_env("SKIFF_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
}
