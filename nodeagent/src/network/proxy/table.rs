//! The part of the ruleset that belongs to no service.

use super::model::Family;

/// The bit that marks packets to be masqueraded; the same as upstream's.
const MARK: &str = "0x4000";

/// Removes the table, whether it is there or not.
pub(super) fn removal(table: &str, family: Family) -> String {
    let family = family.name();
    format!("add table {family} {table}\ndelete table {family} {table}\n")
}

/// The empty table with its hooks. `localhost` keeps packets from outside away from loopback addresses, which the
/// kernel routes once node ports answer there.
pub(super) fn base(table: &str, family: Family, localhost: bool) -> String {
    let (name, address) = (family.name(), family.address_type());
    let guard = if localhost && family == Family::V4 {
        "    iifname != \"lo\" ip daddr 127.0.0.0/8 ct state { new, invalid, untracked } drop\n"
    } else {
        ""
    };
    // A node port on a loopback address works for IPv4 only, and only if it is asked for.
    let node_addresses = match (family, localhost) {
        (Family::V4, true) => "fib daddr type local",
        (Family::V4, false) => "fib daddr type local ip daddr != 127.0.0.0/8",
        (Family::V6, _) => "fib daddr type local ip6 daddr != ::1",
    };
    format!(
        r#"table {name} {table} {{
  comment "services; rules for service ports are made by skiff"
  set cluster-ips {{ type {address}; }}
  map service-ips {{ type {address} . inet_proto . inet_service : verdict; }}
  map service-nodeports {{ type inet_proto . inet_service : verdict; }}
  map no-endpoint-services {{ type {address} . inet_proto . inet_service : verdict; }}
  map no-endpoint-nodeports {{ type inet_proto . inet_service : verdict; }}
  chain mark-for-masquerade {{ meta mark set meta mark or {MARK}; }}
  chain reject-chain {{ reject; }}
  chain services {{
    {name} daddr . meta l4proto . th dport vmap @service-ips
    {node_addresses} meta l4proto . th dport vmap @service-nodeports
  }}
  chain unreachable {{
    {name} daddr . meta l4proto . th dport vmap @no-endpoint-services
    {name} daddr @cluster-ips reject
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat - 1; policy accept;
    meta mark and {MARK} == 0 return
    meta mark set meta mark xor {MARK}
    masquerade fully-random
  }}
  chain filter-input {{
    type filter hook input priority filter - 1; policy accept;
{guard}    ct state new {name} daddr . meta l4proto . th dport vmap @no-endpoint-services
    ct state new {node_addresses} meta l4proto . th dport vmap @no-endpoint-nodeports
  }}
  chain filter-forward {{
    type filter hook forward priority filter - 1; policy accept;
    ct state new jump unreachable
  }}
  chain filter-output {{
    type filter hook output priority filter - 1; policy accept;
    ct state new jump unreachable
  }}
}}
"#
    )
}
