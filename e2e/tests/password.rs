//! A password of every printable character reaches both drivers byte for byte: they log in with it, and with one
//! character changed at the vCenter they are refused.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use e2e::crd::apply;
use e2e::stand::{
    CONFIG, VCENTER, apply_secret, apply_vcenter, await_condition, both_drivers, csi_socket, csic,
    install_chart, matrix, round_trip,
};
use e2e::vcenter::{CPI_AGENT, CSI_AGENT, Login, join, logins, set_password};
use testbed::bed::Bed;
use testbed::wait::eventually;

const SOON: Duration = Duration::from_secs(120);

fn end_sessions(bed: &Bed) {
    bed.vcenter(1).admin_delete("/sessions").unwrap();
}

/// Waits until the driver has tried to log in under the name of its Secret, and gives all that it tried since `seen`.
fn next_logins(bed: &Bed, agent: &str, seen: usize) -> Vec<Login> {
    eventually(SOON, "a driver logs in", || {
        let later = logins(bed, agent).split_off(seen);
        let tried = later.iter().any(Login::is_named);
        if tried { Ok(later) } else { Err(format!("{later:?}")) }
    })
}

#[test]
fn a_password_of_every_printable_character_is_read_by_both_drivers_and_one_wrong_character_refused() {
    let bed = Bed::from_env();
    let user = bed.vcenter(1).user.clone();
    // A space at both ends, and all that JSON, YAML, XML, INI files and shells take for their own.
    let password: String = (' '..='~').chain([' ']).collect();
    set_password(&bed, &password).unwrap();
    install_chart(&bed, &[]);
    apply_secret(&bed, &user, &password);
    apply_vcenter(&bed);
    apply(&bed, &matrix()).unwrap();
    apply(&bed, &both_drivers()).unwrap();
    await_condition(&bed, "vcc", VCENTER, "Ready", "True", SOON);
    await_condition(&bed, "vdo", CONFIG, "CPIReady", "True", SOON);
    await_condition(&bed, "vdo", CONFIG, "CSIReady", "True", SOON);

    let by_cpi = logins(&bed, CPI_AGENT);
    assert!(by_cpi.iter().any(|login| login.ok && login.user == user), "{by_cpi:?}");
    // It tries without a name first, and reads its Secret only after that was refused.
    assert!(by_cpi.iter().all(|login| login.ok || !login.is_named()), "{by_cpi:?}");
    let by_csi = logins(&bed, CSI_AGENT);
    assert!(!by_csi.is_empty() && by_csi.iter().all(|login| login.ok && login.user == user), "{by_csi:?}");
    let said = round_trip(&bed, "pvc-password", SOON);
    assert!(said.to_lowercase().contains("deleted"), "{said}");

    // One character changed, at the vCenter only: what the drivers hold is wrong by that one.
    let middle = password.len() / 2;
    let wrong: String = password.char_indices().map(|(at, c)| if at == middle { '~' } else { c }).collect();
    assert_ne!(wrong, password);
    set_password(&bed, &wrong).unwrap();
    let seen = [logins(&bed, CPI_AGENT).len(), logins(&bed, CSI_AGENT).len()];
    end_sessions(&bed);
    csic(&bed, &csi_socket(&bed).unwrap(), &["create", "--name", "pvc-refused"]).unwrap_err();
    join(&bed, "node-late", "198.18.0.200").unwrap();
    for later in [next_logins(&bed, CPI_AGENT, seen[0]), next_logins(&bed, CSI_AGENT, seen[1])] {
        assert!(later.iter().all(|login| !login.ok), "{later:?}");
        assert!(later.iter().any(|login| login.user == user), "{later:?}");
    }
    let late = bed.get(&["node", "node-late"]).unwrap();
    assert!(late["spec"]["providerID"].is_null(), "{late:#}");

    // The right one again, and both log in: nothing but that character stood in the way.
    let seen = [logins(&bed, CPI_AGENT).len(), logins(&bed, CSI_AGENT).len()];
    set_password(&bed, &password).unwrap();
    eventually(SOON, "both drivers log in again", || {
        // What makes the storage driver call its vCenter. The volume itself may fail: this driver keeps using a session
        // that was ended until it restarts.
        let call = |socket: String| csic(&bed, &socket, &["round-trip", "--name", "pvc-again"]);
        let volume = csi_socket(&bed).and_then(call);
        let again = [logins(&bed, CPI_AGENT).split_off(seen[0]), logins(&bed, CSI_AGENT).split_off(seen[1])];
        let both = again.iter().all(|logins| logins.iter().any(|login| login.ok && login.user == user));
        if both { Ok(()) } else { Err(format!("{again:?}; {volume:?}")) }
    });
    eventually(SOON, "the late node is initialised", || {
        let late = bed.get(&["node", "node-late"])?;
        anyhow::ensure!(late["spec"]["providerID"].is_string(), "{}", late["spec"]);
        Ok(())
    });
}
