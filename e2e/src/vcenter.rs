//! What a story changes at the first vCenter, and who logs in there.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::nodes::{Role, node};
use testbed::spec::Kubernetes;
use testbed::vcenter::Machine;

/// How the cloud provider names itself to a vCenter.
pub const CPI_AGENT: &str = "k8s-cloud-provider-vsphere";
/// How the storage driver does; more follows.
pub const CSI_AGENT: &str = "k8s-csi-useragent";

/// An attempt to log in.
#[derive(Debug)]
pub struct Login {
    pub user: String,
    pub ok: bool,
}

impl Login {
    /// The cloud provider tries without a name before it has read its credentials.
    pub fn is_named(&self) -> bool {
        !self.user.is_empty()
    }
}

/// What a driver tried since the bed began, in order.
pub fn logins(bed: &Bed, agent: &str) -> Vec<Login> {
    read(bed, agent).unwrap_or_else(|error| panic!("logins: {error:#}"))
}

fn read(bed: &Bed, agent: &str) -> Result<Vec<Login>> {
    let rows: Vec<Value> = serde_json::from_value(bed.vcenter(1).admin_get("/logins")?)?;
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let of_agent = rows.iter().filter(|row| text(row, "userAgent").starts_with(agent));
    Ok(of_agent.map(|row| Login { user: text(row, "user"), ok: row["outcome"] == "ok" }).collect())
}

/// Whether each login with a name that a driver tried after its first `seen` was let in.
pub fn let_in(bed: &Bed, agent: &str, seen: usize) -> Vec<bool> {
    logins(bed, agent).split_off(seen).iter().filter(|it| it.is_named()).map(|it| it.ok).collect()
}

/// Makes this the password of the first user. Whoever is logged in stays so.
pub fn set_password(bed: &Bed, password: &str) -> Result<()> {
    let vcenter = bed.vcenter(1);
    vcenter.admin_put("/users", &json!({&vcenter.user: password})).map(drop)
}

/// A new machine in the vCenter, and its Node, which waits for the cloud provider.
pub fn join(bed: &Bed, name: &str, ip: &str) -> Result<Machine> {
    let vcenter = bed.vcenter(1);
    vcenter.admin_post("/vms", &json!({"name": name, "ip": ip, "hostName": name}))?;
    let inventory: Vec<Value> = serde_json::from_value(vcenter.admin_get("/inventory")?)?;
    let row = inventory.into_iter().find(|row| row["name"] == name).context("the machine is not there")?;
    let machine: Machine = serde_json::from_value(row)?;
    let node = serde_json::to_string(&node(&machine, Role::Worker, Kubernetes::Newest)?)?;
    bed.kubectl_with(&["create", "-f", "-"], &node)?;
    Ok(machine)
}
