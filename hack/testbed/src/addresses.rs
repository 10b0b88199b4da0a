//! Who has which address in a bed.
//!
//! Every bed has the same addresses: it is alone in its network namespace. None is a loopback or link-local
//! address, which the product refuses as a vCenter: documentation networks, and the benchmark network for nodes.

use std::net::Ipv4Addr;

/// A network on the bridge.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// The bridge's address in it.
    pub gateway: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
}

/// Control plane and DNS.
pub const SERVICES: Network = Network { gateway: Ipv4Addr::new(192, 0, 2, 1), prefix: 24 };
/// The vCenters.
pub const VCENTERS: Network = Network { gateway: Ipv4Addr::new(198, 51, 100, 1), prefix: 24 };
/// Nodes; large enough for 16 vCenters with 8,192 virtual machines each.
pub const NODES: Network = Network { gateway: Ipv4Addr::new(198, 18, 0, 1), prefix: 15 };
/// The networks on the bridge.
pub const NETWORKS: [Network; 3] = [SERVICES, VCENTERS, NODES];
/// Pods with a network of their own; the pod runner makes a route for each.
pub const PODS: &str = "10.244.0.0/16";

/// The DNS server.
pub const DNS: Ipv4Addr = SERVICES.gateway;
/// The API server; its port is [`API_SERVER_PORT`].
pub const API_SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The API server's port.
pub const API_SERVER_PORT: u16 = 6443;
/// The port of a vCenter; drivers hard-wire it in places.
pub const VCENTER_PORT: u16 = 443;
/// The port of a vCenter simulator's admin interface, on the vCenter's address.
pub const VCENTER_ADMIN_PORT: u16 = 8990;
/// How many vCenters the plan has room for.
pub const MOST_VCENTERS: usize = 16;
/// How many virtual machines it has room for below one vCenter.
pub const MOST_MACHINES: usize = 8_000;

/// The address of the vCenter with this number; the first is 1.
pub fn vcenter(number: usize) -> Ipv4Addr {
    let last =
        u8::try_from(10 + number).expect("the number of vCenters is checked when the bed is described");
    Ipv4Addr::new(198, 51, 100, last)
}

/// The address of a vCenter's first virtual machine; the others follow it.
pub fn first_machine(vcenter: usize) -> Ipv4Addr {
    let block =
        u32::try_from(vcenter - 1).expect("the number of vCenters is checked when the bed is described");
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 11)) + block * 8_192)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_of_two_vcenters_share_no_address() {
        for number in 1..MOST_VCENTERS {
            let last = u32::from(first_machine(number)) + u32::try_from(MOST_MACHINES).unwrap();
            assert!(last < u32::from(first_machine(number + 1)));
        }
    }

    #[test]
    fn every_machine_lies_in_the_network_of_nodes() {
        let last = u32::from(first_machine(MOST_VCENTERS)) + u32::try_from(MOST_MACHINES).unwrap();

        assert!(last < u32::from(Ipv4Addr::new(198, 20, 0, 0)));
    }
}
