//! Two replicas of an operator against a real API server: who leads, and how soon another one does.
//!
//! The processes are ours, without pods: what a pod adds to this is in the other stories.

#![allow(clippy::unwrap_used)]

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use e2e::crd::{NAMESPACE, install};
use e2e::operator::Replica;
use testbed::bed::Bed;
use testbed::wait::eventually;

const OPERATOR: &str = "cpi-operator";

/// Who holds the Lease; nobody after it was given up.
fn holder(bed: &Bed) -> String {
    let lease = bed.get(&["lease", OPERATOR, "-n", NAMESPACE]).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Waits until this replica leads, and says how long it took.
fn until_it_leads(bed: &Bed, replica: &Replica, within: Duration) -> Duration {
    let began = Instant::now();
    eventually(within, "another replica leads", || {
        let holder = holder(bed);
        if holder == replica.identity { Ok(()) } else { Err(format!("the holder is {holder:?}")) }
    });
    began.elapsed()
}

#[test]
fn another_replica_leads_within_35_seconds_of_a_kill_and_within_3_of_a_clean_stop() {
    let bed = Bed::from_env();
    install(&bed);
    let mut first = Replica::start(&bed, OPERATOR, "first");
    until_it_leads(&bed, &first, Duration::from_secs(10));
    let mut second = Replica::start(&bed, OPERATOR, "second");

    first.signal("KILL");
    assert_eq!(first.ended(Duration::from_secs(5)).signal(), Some(9));
    let took = until_it_leads(&bed, &second, Duration::from_secs(35));
    // Less would be a Lease that was not waited for.
    assert!(took > Duration::from_secs(15), "after {took:?}");

    let mut third = Replica::start(&bed, OPERATOR, "third");
    third.says("another replica leads", Duration::from_secs(10));
    second.signal("TERM");
    until_it_leads(&bed, &third, Duration::from_secs(3));
    assert_eq!(second.ended(Duration::from_secs(10)).code(), Some(0));

    // A process that sleeps through its Lease ends when it wakes, and its successor stays.
    let fourth = Replica::start(&bed, OPERATOR, "fourth");
    third.signal("STOP");
    until_it_leads(&bed, &fourth, Duration::from_secs(35));
    third.signal("CONT");
    assert_ne!(third.ended(Duration::from_secs(10)).code(), Some(0));
    assert_eq!(holder(&bed), "fourth");
}
