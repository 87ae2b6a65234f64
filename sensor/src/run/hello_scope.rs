//! Whose hellos the coverage counts: those of clients in scope. The count of a minute with few people moves with each of them, so
//! guests and personal devices are not in it.

use std::sync::Arc;

use vigie_judgement::policy::{Mac, Policy, Subject};

use crate::worker::HelloScope;

/// The clients in scope of a policy; none if it has everybody in scope.
pub fn hello_scope(policy: &Arc<Policy>, interfaces: &[String]) -> Option<HelloScope> {
    if policy.has_all_in_scope() {
        return None;
    }
    let (policy, interfaces) = (Arc::clone(policy), interfaces.to_vec());
    Some(Arc::new(move |flow, mac| {
        policy.has_in_scope(&Subject {
            time_ns: flow.last_seen_ns,
            address: flow.client.ip(),
            mac: mac.map(Mac),
            vlan: flow.encapsulation.innermost_vlan(),
            interface: interfaces.get(usize::from(flow.interface)).map_or("", String::as_str),
        })
    }))
}
