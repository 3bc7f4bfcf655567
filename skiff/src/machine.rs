//! What this machine is called and where others reach it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use anyhow::{Context, Result, bail};

/// The host name as a node's name: lower case.
pub fn node_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("reading the host name")?;
    let name = name.to_string_lossy().to_lowercase();
    let errors = api_types::names::dns1123_subdomain(&name);
    if !errors.is_empty() {
        bail!(
            "the host name {name:?} cannot be a node's name ({}); give one with --node-name",
            errors.join("; ")
        );
    }
    Ok(name)
}

/// The address that the machine's default route leaves from; no packet is sent.
pub fn address() -> IpAddr {
    let by_route = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Any address outside will do to ask the routing table.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    if let Ok(ip) = by_route()
        && !ip.is_loopback()
        && !ip.is_unspecified()
    {
        return ip;
    }
    first_interface_address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The first address of an interface that is up, for machines without a default route.
fn first_interface_address() -> Option<IpAddr> {
    use nix::net::if_::InterfaceFlags;
    nix::ifaddrs::getifaddrs().ok()?.find_map(|i| {
        let usable =
            i.flags.contains(InterfaceFlags::IFF_UP) && !i.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let ip = i.address.as_ref()?.as_sockaddr_in()?.ip();
        (usable && !ip.is_link_local()).then_some(IpAddr::V4(ip))
    })
}

/// Everything that starts containers needs root.
pub fn require_root(what: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("`skiff {what}` starts containers and sets up networks, which needs root: run it with sudo")
}
