use proptest::prelude::*;
use vsphere_client::PowerState;

use super::*;

const UUID: &str = "4230a8f3-1c4e-7d21-9f60-0123456789ab";
const SWAPPED: &str = "f3a83042-4e1c-217d-9f60-0123456789ab";

fn node(name: &str, uuid: &str) -> NodeRow {
    NodeRow {
        name: name.into(),
        uid: name.into(),
        provider_id: None,
        uninitialized: true,
        ready: true,
        network_unavailable: false,
        control_plane: false,
        system_uuid: uuid.into(),
        internal_ips: Vec::new(),
        taints: Vec::new(),
    }
}

fn done(name: &str, uuid: &str) -> NodeRow {
    NodeRow {
        provider_id: Some(format!("vsphere://{uuid}").into()),
        uninitialized: false,
        ..node(name, uuid)
    }
}

fn vm(id: &str, uuid: &str, host: &str) -> Vm {
    Vm {
        id: id.into(),
        name: id.into(),
        bios_uuid: Uuid::parse(uuid),
        instance_uuid: None,
        guest_host_name: Some(host.into()),
        tools: ToolsState::Running,
        power: PowerState::On,
        datacenter: 0,
    }
}

fn found(joined: &Joined) -> Vec<(&str, i64)> {
    joined.summary.findings.iter().map(|it| (it.reason.as_str(), it.count)).collect()
}

#[test]
fn a_node_is_matched_in_both_byte_orders() {
    for reported in [UUID, SWAPPED, &UUID.to_uppercase()] {
        let joined = join(&[node("w", reported)], &[&vm("vm-1", UUID, "w")], Inventory::Complete);
        assert_eq!(found(&joined), [("WaitsForCloudProvider", 1)], "{reported}");
        assert_eq!(joined.summary.foreign, 0);
    }
}

#[test]
fn a_node_without_a_machine_is_foreign_and_one_that_says_nothing_is_not_judged() {
    let other = "00000000-0000-0000-0000-000000000001";
    let elsewhere = NodeRow { provider_id: Some("aws://x".into()), ..done("c", UUID) };
    let nodes = [done("a", other), done("b", ""), elsewhere];
    let joined = join(&nodes, &[&vm("vm-1", UUID, "c")], Inventory::Complete);
    assert_eq!((joined.summary.expected, joined.summary.initialised, joined.summary.foreign), (3, 3, 2));
    assert_eq!(found(&joined), [("VMNotFound", 1)]);
    assert_eq!(joined.unmatched, BTreeSet::from(["a".to_owned()]));
}

#[test]
fn a_node_that_is_newer_than_the_inventory_is_not_foreign_yet() {
    let other = "00000000-0000-0000-0000-000000000001";
    let nodes = [node("new", other), done("old", other)];
    let newer = BTreeSet::from(["new".to_owned()]);
    let joined = join(&nodes, &[&vm("vm-1", UUID, "c")], Inventory::OlderThan(&newer));
    assert_eq!(joined.summary.foreign, 1);
    assert_eq!(joined.strangers, BTreeSet::from(["new".to_owned(), "old".to_owned()]));
    assert_eq!(joined.unmatched, joined.strangers);
    assert_eq!(join(&nodes, &[], Inventory::Complete).summary.foreign, 2);
}

#[test]
fn what_keeps_a_node_uninitialised_is_named() {
    let idle = Vm { tools: ToolsState::NotRunning, ..vm("vm-1", UUID, "other.example.com") };
    let joined = join(&[node("w", UUID)], &[&idle], Inventory::Complete);
    assert_eq!(
        found(&joined),
        [("HostNameMismatch", 1), ("ToolsNotRunning", 1), ("WaitsForCloudProvider", 1)]
    );
    let joined = join(&[done("w", UUID)], &[&idle], Inventory::Complete);
    assert_eq!(found(&joined), []);
}

#[test]
fn a_guest_may_leave_its_domain_out() {
    assert!(same_host("W-1", "w-1.example.com") && same_host("w-1.example.com", "w-1"));
    assert!(!same_host("w-10", "w-1"));
}

#[test]
fn before_every_vcenter_was_read_what_was_said_of_machines_stays() {
    let before = NodesSummary {
        expected: 2,
        initialised: 0,
        foreign: 1,
        findings: vec![
            NodeFinding { reason: "VMNotFound".into(), count: 1, names: vec!["a".into()] },
            NodeFinding { reason: "WaitsForCloudProvider".into(), count: 2, names: Vec::new() },
        ],
    };
    let joined = join(&[done("a", UUID), done("b", UUID)], &[], Inventory::Partial(Some(&before)));
    assert_eq!((joined.summary.initialised, joined.summary.foreign), (2, 1));
    assert_eq!(found(&joined), [("VMNotFound", 1)]);
    let joined = join(&[node("a", UUID)], &[], Inventory::Partial(None));
    assert_eq!(joined.summary.foreign, 0);
    assert_eq!(found(&joined), [("WaitsForCloudProvider", 1)]);
}

#[test]
fn at_most_five_nodes_are_named() {
    let nodes: Vec<_> = (0..9).map(|n| node(&format!("w-{n}"), "")).collect();
    let joined = join(&nodes, &[], Inventory::Complete);
    let finding = &joined.summary.findings[0];
    assert_eq!((finding.count, finding.names.len()), (9, 5));
}

#[test]
fn a_pod_network_is_one_node_that_is_ready_with_it() {
    let network = |ready, network_unavailable| {
        let node = NodeRow { ready, network_unavailable, ..node("w", "") };
        join(&[node], &[], Inventory::Complete).network
    };
    assert!(network(true, false));
    assert!(!network(true, true) && !network(false, false));
}

proptest! {
    #[test]
    fn the_order_of_nodes_and_machines_does_not_matter(
        kinds in proptest::collection::vec((0u8..4, 0u8..6), 0..12),
        machines in proptest::collection::vec((0u8..6, any::<bool>()), 0..12),
        turn in 0usize..12,
    ) {
        let uuid = |n: u8| format!("00000000-0000-0000-0000-0000000000{n:02x}");
        let mut nodes: Vec<NodeRow> = kinds.iter().enumerate().map(|(at, (kind, n))| {
            let name = format!("w-{at}");
            match kind {
                0 => node(&name, &uuid(*n)),
                1 => done(&name, &uuid(*n)),
                2 => node(&name, ""),
                _ => node(&name, &Uuid::parse(&uuid(*n)).unwrap().swapped().to_string()),
            }
        }).collect();
        let mut vms: Vec<Vm> = machines.iter().enumerate().map(|(at, (n, runs))| Vm {
            tools: if *runs { ToolsState::Running } else { ToolsState::NotRunning },
            ..vm(&format!("vm-{at}"), &uuid(*n), "x")
        }).collect();
        let first = join(&nodes, &vms.iter().collect::<Vec<_>>(), Inventory::Complete);
        let by = turn.min(nodes.len());
        nodes.rotate_left(by);
        nodes.reverse();
        vms.reverse();
        let second = join(&nodes, &vms.iter().collect::<Vec<_>>(), Inventory::Complete);
        prop_assert_eq!(first, second);
    }
}
