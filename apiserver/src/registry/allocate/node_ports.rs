//! The node ports of one service: of its ports, and the one its health is asked at.

use api_types::field::{ErrorList, Path};
use api_types::kinds::service_type;
use api_types::meta;
use api_types::status::Status;
use serde_json::Value;

use super::ports::PortError;
use super::{Allocators, Claim, node_ports, unavailable};

/// What a port is to get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Nothing.
    None,
    /// This number, which the service has or takes for another of its ports.
    Has(u16),
    /// This number.
    Take(u16),
    /// Any number.
    Any,
    /// What the port before it at this place gets.
    Like(usize),
}

fn number(of: &Value, field: &str) -> Option<u16> {
    of.get(field).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0)
}

/// What the ports of a service are to get, as upstream's `initNodePorts` and `updateNodePorts` have it: in a new service,
/// ports with one number for several protocols share a node port. `had` is what the service has already.
fn plan(ports: &[Value], had: Option<&[u16]>, allocates: bool) -> Vec<Plan> {
    let mut known = had.unwrap_or_default().to_vec();
    let mut plans: Vec<Plan> = Vec::with_capacity(ports.len());
    for (i, port) in ports.iter().enumerate() {
        let shares = |other: &Value| had.is_none() && other.get("port") == port.get("port");
        let asked = number(port, "nodePort");
        let asked = match asked {
            // Node ports that nobody asks for are not given out, but those that somebody does.
            None if allocates => ports.iter().filter(|p| shares(p)).find_map(|p| number(p, "nodePort")),
            asked => asked,
        };
        plans.push(match asked {
            Some(n) if known.contains(&n) => Plan::Has(n),
            Some(n) => {
                known.push(n);
                Plan::Take(n)
            }
            None if !allocates => Plan::None,
            None => ports[..i].iter().position(shares).map_or(Plan::Any, Plan::Like),
        });
    }
    plans
}

impl Allocators {
    /// Gives a service of type NodePort or LoadBalancer the node ports it asks for or needs.
    pub(super) async fn assign_ports(
        &self,
        new: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
        claim: &mut Claim,
        errors: &mut ErrorList,
    ) -> Result<(), Status> {
        let had = old.map(node_ports);
        let allocates =
            meta::at(new, &["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
        let plans = {
            let ports = meta::at(new, &["spec", "ports"]).and_then(Value::as_array);
            plan(ports.map_or(&[], Vec::as_slice), had.as_deref(), allocates)
        };
        // (the port, the number it names)
        let mut wanted: Vec<(Option<usize>, Option<u16>)> = Vec::new();
        wanted.extend(plans.iter().enumerate().filter_map(|(i, plan)| match plan {
            Plan::Take(n) => Some((Some(i), Some(*n))),
            Plan::Any => Some((Some(i), None)),
            Plan::None | Plan::Has(_) | Plan::Like(_) => None,
        }));
        let health = new.get("spec").and_then(|s| number(s, "healthCheckNodePort"));
        let needed = old.is_some_and(service_type::has_health_port);
        if service_type::has_health_port(new) && (health.is_none() || !needed) {
            wanted.push((None, health));
        }
        if wanted.is_empty() && plans.iter().all(|p| *p == Plan::None) {
            return Ok(());
        }
        let numbers: Vec<_> = wanted.iter().map(|(_, number)| *number).collect();
        let given = self.0.ports.take(&*self.0.storage, &numbers, dry_run).await.map_err(unavailable)?;
        // All are taken or none.
        if !dry_run && given.iter().all(Result::is_ok) {
            claim.taken.ports.extend(given.iter().flatten());
        }
        let mut taken = vec![None; plans.len()];
        for ((place, asked), outcome) in wanted.into_iter().zip(given) {
            match (place, outcome) {
                (Some(i), Ok(n)) => taken[i] = Some(n),
                (None, Ok(n)) => new["spec"]["healthCheckNodePort"] = n.into(),
                (Some(i), Err(e)) => self.refuse_port(i, asked, e, errors)?,
                (None, Err(e)) => return Err(Status::internal(self.health_refusal(asked, e))),
            }
        }
        for i in 0..plans.len() {
            let number = match plans[i] {
                Plan::None => None,
                Plan::Has(n) => Some(n),
                Plan::Take(_) | Plan::Any => taken[i],
                Plan::Like(before) => taken[before],
            };
            taken[i] = number;
            if let Some(n) = number {
                new["spec"]["ports"][i]["nodePort"] = n.into();
            }
        }
        Ok(())
    }

    fn refuse_port(
        &self,
        i: usize,
        asked: Option<u16>,
        error: PortError,
        errors: &mut ErrorList,
    ) -> Result<(), Status> {
        let Some(asked) = asked else {
            return Err(Status::internal(format!("failed to allocate a nodePort: {error}")));
        };
        let path = Path::new("spec").child("ports").index(i).child("nodePort");
        errors.invalid(&path, asked, self.port_refusal(error));
        Ok(())
    }

    fn port_refusal(&self, error: PortError) -> String {
        match error {
            PortError::OutOfRange => {
                let (first, last) = (self.0.ranges.first_port, self.0.ranges.last_port);
                format!("{error}. The range of valid ports is {first}-{last}")
            }
            PortError::Full | PortError::Allocated => error.to_string(),
        }
    }

    fn health_refusal(&self, asked: Option<u16>, error: PortError) -> String {
        let refusal = self.port_refusal(error);
        match asked {
            Some(n) => format!("failed to allocate requested HealthCheck NodePort {n}: {refusal}"),
            None => format!("failed to allocate a HealthCheck NodePort 0: {refusal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_share_what_upstreams_share() {
        let port = |port: u16, node: u16| json!({"port": port, "nodePort": node});
        for (ports, had, allocates, wanted) in [
            (
                vec![port(53, 0), port(53, 0), port(80, 0)],
                None,
                true,
                vec![Plan::Any, Plan::Like(0), Plan::Any],
            ),
            (vec![port(53, 0), port(53, 7)], None, true, vec![Plan::Take(7), Plan::Has(7)]),
            (vec![port(53, 7), port(53, 8)], None, true, vec![Plan::Take(7), Plan::Take(8)]),
            (vec![port(53, 7), port(80, 7)], None, true, vec![Plan::Take(7), Plan::Has(7)]),
            (vec![port(53, 0), port(80, 7)], None, false, vec![Plan::None, Plan::Take(7)]),
            (vec![port(53, 7), port(53, 0)], Some(vec![7]), true, vec![Plan::Has(7), Plan::Any]),
            (vec![port(53, 0), port(53, 0)], Some(vec![]), true, vec![Plan::Any, Plan::Any]),
        ] {
            assert_eq!(plan(&ports, had.as_deref(), allocates), wanted, "{ports:?}");
        }
    }
}
