//! Forgets UDP connections that still lead to endpoints that are gone.
//!
//! UDP has no end of a connection: the kernel would send a client's packets to the old endpoint as long as it goes
//! on sending. Needs the program `conntrack`; without it such entries go after their timeout.

use std::{collections::BTreeSet, net::IpAddr, process::Stdio};

use tokio::process::Command;

use super::model::Rules;

/// Nobody.
static EMPTY: BTreeSet<IpAddr> = BTreeSet::new();

/// What to forget, as arguments to `conntrack -D -p udp`.
pub(super) fn stale<'a>(before: &'a Rules, after: &'a Rules) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut compare = |to: Vec<String>, old: &BTreeSet<IpAddr>, new: &BTreeSet<IpAddr>| {
        for gone in old.difference(new) {
            let mut command = to.clone();
            command.extend(["--reply-src".to_owned(), gone.to_string()]);
            commands.push(command);
        }
        // What came while nobody was there was not translated and would stay so.
        if old.is_empty() && !new.is_empty() {
            commands.push(to);
        }
    };
    for at in before.udp.keys().chain(after.udp.keys()).collect::<BTreeSet<_>>() {
        let address = ["--orig-dst".to_owned(), at.ip().to_string()];
        let port = ["--orig-port-dst".to_owned(), at.port().to_string()];
        let of = |rules: &'a Rules| rules.udp.get(at).unwrap_or(&EMPTY);
        compare([address, port].concat(), of(before), of(after));
    }
    for port in before.udp_node_ports.keys().chain(after.udp_node_ports.keys()).collect::<BTreeSet<_>>() {
        let of = |rules: &'a Rules| rules.udp_node_ports.get(port).unwrap_or(&EMPTY);
        compare(vec!["--orig-port-dst".to_owned(), port.to_string()], of(before), of(after));
    }
    commands
}

/// Forgets.
pub(super) async fn forget(commands: Vec<Vec<String>>) {
    for arguments in commands {
        let run = Command::new("conntrack")
            .args(["-D", "-p", "udp"])
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        match run.await {
            // It also fails when there was nothing to forget.
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "conntrack cannot be run, stale UDP connections stay until they time out");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_endpoints_that_went_are_forgotten() {
        let rules = |endpoints: &[&str]| {
            let addresses = endpoints.iter().map(|text| text.parse().expect("an address")).collect();
            Rules {
                udp: [("10.96.0.10:53".parse().expect("an address"), addresses)].into(),
                ..Rules::default()
            }
        };
        let to = ["--orig-dst", "10.96.0.10", "--orig-port-dst", "53"];
        let commands = stale(&rules(&["10.0.0.1", "10.0.0.2"]), &rules(&["10.0.0.2", "10.0.0.3"]));
        assert_eq!(commands, [[&to[..], &["--reply-src", "10.0.0.1"]].concat()]);
        assert_eq!(stale(&rules(&[]), &rules(&["10.0.0.3"])), [to.to_vec()]);
        assert_eq!(stale(&Rules::default(), &rules(&["10.0.0.3"])), [to.to_vec()], "a new service");
        assert!(stale(&rules(&["10.0.0.3"]), &rules(&["10.0.0.3"])).is_empty());
    }
}
