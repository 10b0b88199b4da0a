//! The simulated vCenters: starting them, and the client of their admin interface.
//!
//! What the admin interface can do is listed in `hack/testbed/vcsim/README.md`; this client only carries JSON to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::addresses::{self, VCENTER_ADMIN_PORT, VCENTER_PORT};
use crate::pki::Pki;
use crate::process::Components;

/// The first user of each vCenter.
pub const USER: &str = "administrator@vsphere.local";
/// Making thousands of virtual machines takes a while.
const PATIENCE: Duration = Duration::from_secs(300);
const CALL: Duration = Duration::from_secs(30);

/// One vCenter of the bed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VCenter {
    /// Its address, which is also in its certificate.
    pub address: String,
    /// Base URL of its admin interface.
    pub admin: String,
    /// The CA of its certificate, PEM.
    pub ca: PathBuf,
    /// Its first user.
    pub user: String,
    /// File with that user's password, without a newline.
    pub password_file: PathBuf,
    /// Its virtual machines, as the simulator lists them.
    pub inventory: PathBuf,
}

/// A virtual machine as the simulator lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Machine {
    /// Its name, which its Node shares.
    pub name: String,
    /// BIOS UUID, the Node's systemUUID.
    pub uuid: String,
    /// The guest's address, the Node's InternalIP.
    pub ip: String,
}

/// What a vCenter should be like.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Number of virtual machines.
    pub machines: usize,
    /// vSphere version.
    pub version: &'a str,
    /// The first user's password.
    pub password: &'a str,
    /// Datacenters, comma separated.
    pub datacenters: &'a str,
}

/// Starts the vCenter with this number, without waiting for it.
pub fn start(
    folder: &Path,
    bin: &Path,
    pki: &Pki,
    components: &mut Components,
    number: usize,
    wanted: &Wanted<'_>,
) -> Result<VCenter> {
    let address = addresses::vcenter(number).to_string();
    let name = component(number);
    let pair = pki.vcenters.sign(&name, None, &[address.clone(), host_name(number)])?;
    let (certificate, key) = pki.store_pair(&name, &pair)?;
    let password_file = folder.join(format!("{name}.password"));
    fs::write(&password_file, wanted.password)?;
    let vcenter = VCenter {
        admin: format!("http://{address}:{VCENTER_ADMIN_PORT}"),
        ca: pki.path("vcenter-ca.crt"),
        user: USER.to_owned(),
        password_file,
        inventory: folder.join(format!("{name}.inventory.json")),
        address,
    };
    let prefix = if number == 1 { "node-".to_owned() } else { format!("vc{number}-node-") };
    let flags = [
        format!("-listen={}:{VCENTER_PORT}", vcenter.address),
        format!("-advertise={}", vcenter.address),
        format!("-admin={}:{VCENTER_ADMIN_PORT}", vcenter.address),
        format!("-cert={}", certificate.display()),
        format!("-key={}", key.display()),
        format!("-username={USER}"),
        format!("-password-file={}", vcenter.password_file.display()),
        format!("-version={}", wanted.version),
        format!("-datacenters={}", wanted.datacenters),
        format!("-vms={}", wanted.machines),
        format!("-vm-prefix={prefix}"),
        format!("-seed={name}"),
        format!("-first-ip={}", addresses::first_machine(number)),
        format!("-inventory={}", vcenter.inventory.display()),
    ];
    components.start(&name, &bin.join("vcsim"), &flags)?;
    Ok(vcenter)
}

/// Waits until the vCenter serves, and lists its machines.
pub async fn machines(
    folder: &Path,
    components: &mut Components,
    number: usize,
    vcenter: &VCenter,
) -> Result<Vec<Machine>> {
    let name = component(number);
    let log = folder.join("log").join(format!("{name}.log"));
    components
        .wait_for(&name, &format!("{name} serves"), PATIENCE, async || {
            let text = fs::read_to_string(&log)?;
            if text.lines().any(|line| line.starts_with("ready ")) {
                Ok(())
            } else {
                bail!("it does not say ready")
            }
        })
        .await?;
    vcenter.machines()
}

/// The name by which the bed's DNS server knows a vCenter; its certificate holds it too.
pub fn host_name(number: usize) -> String {
    format!("vcenter-{number}.testbed.example")
}

fn component(number: usize) -> String {
    format!("vcenter-{number}")
}

impl VCenter {
    /// The variables by which commands in the bed find the vCenter with this number.
    pub fn variables(&self, number: usize) -> Vec<(String, String)> {
        let file = |path: &Path| path.display().to_string();
        let rows = [
            ("", self.address.clone()),
            ("_ADMIN", self.admin.clone()),
            ("_CA", file(&self.ca)),
            ("_USER", self.user.clone()),
            ("_PASSWORD_FILE", file(&self.password_file)),
            ("_INVENTORY", file(&self.inventory)),
        ];
        rows.map(|(name, value)| (format!("VCENTER_{number}{name}"), value)).to_vec()
    }

    /// The vCenter with this number, as the variables tell it.
    pub fn from_variables(number: usize, read: impl Fn(&str) -> Result<String>) -> Result<VCenter> {
        let variable = |name: &str| read(&format!("VCENTER_{number}{name}"));
        Ok(VCenter {
            address: variable("")?,
            admin: variable("_ADMIN")?,
            ca: variable("_CA")?.into(),
            user: variable("_USER")?,
            password_file: variable("_PASSWORD_FILE")?.into(),
            inventory: variable("_INVENTORY")?.into(),
        })
    }

    /// The machines it has now.
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let text = fs::read(&self.inventory).context("failed to read the vCenter's inventory")?;
        serde_json::from_slice(&text).context("failed to parse the vCenter's inventory")
    }

    /// The password of its first user when the bed was made.
    pub fn password(&self) -> Result<String> {
        fs::read_to_string(&self.password_file).context("failed to read the vCenter's password")
    }

    /// Asks the admin interface.
    pub fn admin_get(&self, path: &str) -> Result<Value> {
        answer(agent().get(format!("{}{path}", self.admin)).call(), "GET", path)
    }

    /// Tells the admin interface something, by POST.
    pub fn admin_post(&self, path: &str, body: &Value) -> Result<Value> {
        let request =
            agent().post(format!("{}{path}", self.admin)).header("content-type", "application/json");
        answer(request.send(body.to_string()), "POST", path)
    }

    /// Replaces a setting of the admin interface, by PUT.
    pub fn admin_put(&self, path: &str, body: &Value) -> Result<Value> {
        let request = agent().put(format!("{}{path}", self.admin)).header("content-type", "application/json");
        answer(request.send(body.to_string()), "PUT", path)
    }

    /// Takes something away through the admin interface.
    pub fn admin_delete(&self, path: &str) -> Result<Value> {
        answer(agent().delete(format!("{}{path}", self.admin)).call(), "DELETE", path)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(CALL))
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

/// The answer's JSON; null when it has no body.
fn answer(
    response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    verb: &str,
    path: &str,
) -> Result<Value> {
    let mut response = response.with_context(|| format!("{verb} {path} at the vCenter's admin port"))?;
    let text = response.body_mut().read_to_string().with_context(|| format!("{verb} {path}: no answer"))?;
    if !response.status().is_success() {
        bail!("{verb} {path} was answered {}: {}", response.status(), text.trim());
    }
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).with_context(|| format!("{verb} {path} answered what is not JSON: {text}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_variables_tell_everything() {
        let vcenter = VCenter {
            address: "198.51.100.12".to_owned(),
            admin: "http://198.51.100.12:8990".to_owned(),
            ca: "/bed/ca.crt".into(),
            user: USER.to_owned(),
            password_file: "/bed/password".into(),
            inventory: "/bed/inventory".into(),
        };
        let variables: BTreeMap<_, _> = vcenter.variables(2).into_iter().collect();

        let read = VCenter::from_variables(2, |name| variables.get(name).cloned().context("missing"));

        assert_eq!(read.unwrap(), vcenter);
    }
}
