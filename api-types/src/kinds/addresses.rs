//! IP addresses and ranges in fields (`apimachinery/pkg/util/validation/ip.go`).
//!
//! Older fields keep what Go once took, leading zeros included, and take nothing of the kind anew; newer ones have only
//! the canonical form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::fields::{below, list, text};
use crate::field::{ErrorList, Path};

const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const NO_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// A range: its address as written, and its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address, which may have bits beyond the prefix.
    pub ip: IpAddr,
    /// Length of the prefix.
    pub prefix: u8,
}

impl Cidr {
    /// The first address of the range.
    pub fn network(&self) -> IpAddr {
        match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        }
    }

    /// Whether an address is in the range.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.ip.is_ipv4() == ip.is_ipv4() && Cidr { ip, prefix: self.prefix }.network() == self.network()
    }

    /// The last address of the range.
    pub fn last(&self) -> IpAddr {
        match self.network() {
            IpAddr::V4(ip) => {
                let hosts = u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() | hosts).into()
            }
            IpAddr::V6(ip) => {
                let hosts = u128::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() | hosts).into()
            }
        }
    }

    /// Whether a service may have an address of this range: not the network's own, nor the broadcast address.
    pub fn serves(&self, ip: IpAddr) -> bool {
        self.contains(ip) && ip != self.network() && !(ip.is_ipv4() && ip == self.last())
    }

    /// Whether all addresses of the other range are in this one.
    pub fn covers(&self, other: &Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.network())
    }

    /// Whether an address is in both.
    pub fn overlaps(&self, other: &Cidr) -> bool {
        self.covers(other) || other.covers(self)
    }

    fn canonical(&self) -> String {
        format!("{}/{}", self.network(), self.prefix)
    }
}

/// Reads an address, with leading zeros in its parts if need be.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| without_zeros(text)?.parse().ok())
}

fn without_zeros(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() != 4 || parts.iter().any(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
        return None;
    }
    let short = parts.iter().map(|p| match p.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    });
    Some(short.collect::<Vec<_>>().join("."))
}

/// Reads a range, with leading zeros if need be.
pub fn parse_cidr(text: &str) -> Option<Cidr> {
    let (ip, prefix) = text.split_once('/')?;
    let ip = parse_ip(ip)?;
    if prefix.is_empty() || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let prefix: u8 = prefix.parse().ok()?;
    (prefix <= if ip.is_ipv4() { 32 } else { 128 }).then_some(Cidr { ip, prefix })
}

fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// Reasons to refuse an address in an old field, where it may be there already.
pub fn readable_ip(text: &str) -> Vec<String> {
    if parse_ip(text).is_some() { Vec::new() } else { vec![NO_IP.into()] }
}

/// Reasons to refuse a new address in an old field.
pub fn ip(text: &str) -> Vec<String> {
    let Some(ip) = parse_ip(text) else { return vec![NO_IP.into()] };
    if text.parse::<IpAddr>().is_err() {
        vec!["must not have leading 0s".into()]
    } else if is_mapped(ip) {
        vec!["must not be an IPv4-mapped IPv6 address".into()]
    } else {
        Vec::new()
    }
}

/// Reasons to refuse an address that packets cannot be sent to from elsewhere, as upstream's endpoints do. Loopback is
/// not refused: on a cluster of one machine the API server itself may be there.
pub fn reserved(text: &str) -> Vec<String> {
    let Some(ip) = parse_ip(text) else { return Vec::new() };
    let mut why = Vec::new();
    if ip.is_unspecified() {
        why.push(format!("may not be unspecified ({text})"));
    }
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        why.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    if link_local_multicast {
        why.push("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned());
    }
    why
}

/// Reasons to refuse an address in a new field.
pub fn canonical_ip(text: &str) -> Vec<String> {
    let why = ip(text);
    match parse_ip(text) {
        Some(ip) if why.is_empty() && ip.to_string() != text => {
            vec![format!("must be in canonical form (\"{ip}\")")]
        }
        _ => why,
    }
}

/// Reasons to refuse a range in an old field, where it may be there already.
pub fn readable_cidr(text: &str) -> Vec<String> {
    if parse_cidr(text).is_some() { Vec::new() } else { vec![NO_CIDR.into()] }
}

/// Reasons to refuse a new range in an old field.
pub fn cidr(text: &str) -> Vec<String> {
    let Some(cidr) = parse_cidr(text) else { return vec![NO_CIDR.into()] };
    if has_leading_zeros(text) {
        vec!["must not have leading 0s in IP or prefix length".into()]
    } else if is_mapped(cidr.ip) {
        vec!["must not have an IPv4-mapped IPv6 address".into()]
    } else if cidr.network() != cidr.ip {
        vec!["must not have bits set beyond the prefix length".into()]
    } else {
        Vec::new()
    }
}

/// Refuses addresses of an old field that were not there before, and that can be read in more than one way.
pub fn new_ips(all: &[&str], before: &[&str], path: &Path, errors: &mut ErrorList) {
    anew(all, before, ip, path, errors);
}

/// Refuses ranges of an old field that were not there before, and that can be read in more than one way.
pub fn new_cidrs(all: &[&str], before: &[&str], path: &Path, errors: &mut ErrorList) {
    anew(all, before, cidr, path, errors);
}

fn anew(all: &[&str], before: &[&str], rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut ErrorList) {
    for (i, text) in all.iter().enumerate().filter(|(_, t)| !before.contains(t)) {
        // What cannot be read at all is refused elsewhere.
        let ambiguous = rule(text).into_iter().filter(|why| why != NO_IP && why != NO_CIDR);
        errors.invalid_all(&path.index(i), text, ambiguous.collect());
    }
}

/// Reasons to refuse a range in a new field.
pub fn canonical_cidr(text: &str) -> Vec<String> {
    let why = cidr(text);
    match parse_cidr(text) {
        Some(cidr) if why.is_empty() && cidr.canonical() != text => {
            vec![format!("must be in canonical form (\"{}\")", cidr.canonical())]
        }
        _ => why,
    }
}

/// Reasons to refuse an address with the prefix length of its network (`192.168.1.5/24`).
pub fn interface_address(text: &str) -> Vec<String> {
    let Some(cidr) = parse_cidr(text) else {
        let why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
        return vec![why.into()];
    };
    let canonical = format!("{}/{}", cidr.ip.to_canonical(), cidr.prefix);
    if canonical == text { Vec::new() } else { vec![format!("must be in canonical form ({canonical:?})")] }
}

fn has_leading_zeros(cidr: &str) -> bool {
    let (ip, prefix) = cidr.split_once('/').unwrap_or((cidr, ""));
    ip.parse::<IpAddr>().is_err() || (prefix.len() > 1 && prefix.starts_with('0'))
}

/// What a client should read about an address in an old field.
pub fn ip_warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(ip) = parse_ip(text) else { return Vec::new() };
    if text.parse::<IpAddr>().is_err() || is_mapped(ip) {
        let better = ip.to_canonical();
        return vec![format!("{path}: non-standard IP address {text:?} is invalid: use \"{better}\"")];
    }
    if ip.is_ipv6() && ip.to_string() != text {
        return vec![format!(
            "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format (\"{ip}\")"
        )];
    }
    Vec::new()
}

/// The addresses that a load balancer was given.
pub fn of_load_balancer(object: &Value) -> Vec<&str> {
    list(below(below(object, "status"), "loadBalancer"), "ingress").iter().map(|e| text(e, "ip")).collect()
}

/// What a client should read about the addresses that a load balancer was given; upstream names the element only.
pub fn load_balancer_warnings(object: &Value) -> Vec<String> {
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let ends = list(below(below(object, "status"), "loadBalancer"), "ingress").iter().enumerate();
    ends.flat_map(|(i, e)| ip_warnings(&path.index(i), text(e, "ip"))).collect()
}

/// What a client should read about a range in an old field.
pub fn cidr_warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(cidr) = parse_cidr(text) else { return Vec::new() };
    let mut warnings = Vec::new();
    if cidr.network() != cidr.ip {
        let (ip, length) = (cidr.ip, if cidr.ip.is_ipv4() { 32 } else { 128 });
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {:?} or \"{ip}/{length}\"?)",
            cidr.canonical()
        ));
    }
    if has_leading_zeros(text) || is_mapped(cidr.ip) {
        warnings
            .push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {:?}", cidr.canonical()));
    }
    let rewritten = format!("{}/{}", cidr.ip, cidr.prefix);
    if warnings.is_empty() && cidr.ip.is_ipv6() && rewritten != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({rewritten:?})"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ranges() {
        for (text, want) in [
            ("10.0.0.1", None),
            ("2001:db8::1", None),
            ("010.0.0.1", Some("must not have leading 0s")),
            ("2001:DB8::1", Some("must be in canonical form (\"2001:db8::1\")")),
            ("::ffff:1.2.3.4", Some("must not be an IPv4-mapped IPv6 address")),
            ("x", Some(NO_IP)),
        ] {
            assert_eq!(canonical_ip(text).first().map(String::as_str), want, "{text}");
        }
        for (text, want) in [
            ("10.0.0.0/8", None),
            ("10.0.0.1/8", Some("must not have bits set beyond the prefix length")),
            ("10.0.0.0/08", Some("must not have leading 0s in IP or prefix length")),
            ("2001:db8:0::/64", Some("must be in canonical form (\"2001:db8::/64\")")),
            ("10.0.0.0/33", Some(NO_CIDR)),
            ("10.0.0.0", Some(NO_CIDR)),
        ] {
            assert_eq!(canonical_cidr(text).first().map(String::as_str), want, "{text}");
        }
        let range = parse_cidr("10.0.0.0/8").unwrap();
        assert!(range.contains("10.255.0.1".parse().unwrap()));
        assert!(!range.contains("11.0.0.1".parse().unwrap()));
        assert_eq!(range.last(), "10.255.255.255".parse::<IpAddr>().unwrap());
        for (ip, serves) in
            [("10.0.0.0", false), ("10.0.0.1", true), ("10.255.255.255", false), ("::1", false)]
        {
            assert_eq!(range.serves(ip.parse().unwrap()), serves, "{ip}");
        }
        let six = parse_cidr("2001:db8::/64").unwrap();
        assert!(six.serves(six.last()) && !six.serves(six.network()));
        assert_eq!(parse_cidr("0.0.0.0/0").unwrap().last(), "255.255.255.255".parse::<IpAddr>().unwrap());
        assert_eq!(parse_cidr("10.0.0.1/32").unwrap().last(), "10.0.0.1".parse::<IpAddr>().unwrap());
        for (a, b, covers, overlaps) in [
            ("10.0.0.0/8", "10.1.0.0/16", true, true),
            ("10.1.0.0/16", "10.0.0.0/8", false, true),
            ("10.0.0.0/8", "10.0.0.0/8", true, true),
            ("10.0.0.0/8", "11.0.0.0/8", false, false),
            ("10.0.0.0/8", "2001:db8::/64", false, false),
        ] {
            let (x, y) = (parse_cidr(a).unwrap(), parse_cidr(b).unwrap());
            assert_eq!((x.covers(&y), x.overlaps(&y)), (covers, overlaps), "{a} {b}");
        }
        assert_eq!(
            cidr_warnings(&Path::new("spec"), "10.0.0.1/8"),
            [
                "spec: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
    }
}
