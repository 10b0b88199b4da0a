//! Datacenters, virtual machines, and what the hosts run.

use std::collections::{BTreeSet, HashMap};
use std::sync::{MutexGuard, PoisonError};

use crate::error::Error;
use crate::properties::{Object, Query, Walk};
use crate::session::Session;
use crate::soap::{Fault, Reference, Request};
use crate::uuid::Uuid;

/// Folders inside of folders that a path may have. vCenter allows far fewer in practice.
const PATH_DEPTH: usize = 64;

/// Different versions of hosts that are kept. There are fewer of all that were ever published.
const PRODUCTS: usize = 256;

/// Views that are remembered as left. More than one takes several failures in a row.
const LEFT_VIEWS: usize = 32;

/// A datacenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datacenter {
    pub(crate) reference: Reference,
    /// Its name, as vCenter stores it: a slash in a name is `%2f`.
    pub name: String,
    /// Where it is, such as `/folder/dc`, with names as vCenter stores them.
    pub path: String,
}

/// Something that is there and that the account may not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The object as vCenter names it, such as `Folder:group-d1`.
    pub object: String,
    /// The privilege that would help.
    pub privilege: String,
}

/// The datacenters that an account can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Datacenters {
    /// Those whose place is known, by path.
    pub found: Vec<Datacenter>,
    /// What could not be read: a datacenter that was not found may be there.
    pub unreadable: Vec<Denied>,
}

/// What a name or a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatacenterMatch<'a> {
    /// This one.
    One(&'a Datacenter),
    /// Several of that name: a path would tell them apart.
    Ambiguous(Vec<&'a Datacenter>),
    /// None, and all was read.
    Missing,
    /// None of those that could be read; this one could not.
    Unreadable(&'a Denied),
}

impl Datacenters {
    /// Finds a datacenter by its path (`/folder/dc`, the first slash may be missing) or by a name without a
    /// slash, wherever it is. Case matters, as it does to the drivers.
    pub fn select(&self, wanted: &str) -> DatacenterMatch<'_> {
        let matches: Vec<_> = if wanted.contains('/') {
            let wanted: Vec<_> = steps(wanted).collect();
            self.found
                .iter()
                .filter(|datacenter| steps(&datacenter.path).eq(wanted.iter().cloned()))
                .collect()
        } else {
            let wanted = plain(wanted);
            self.found.iter().filter(|datacenter| plain(&datacenter.name) == wanted).collect()
        };
        match (matches.as_slice(), self.unreadable.first()) {
            ([one], _) => DatacenterMatch::One(one),
            ([], Some(denied)) => DatacenterMatch::Unreadable(denied),
            ([], None) => DatacenterMatch::Missing,
            (_, _) => DatacenterMatch::Ambiguous(matches),
        }
    }
}

fn steps(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|step| !step.is_empty()).map(plain)
}

/// A name as a person reads it: vCenter stores slash, backslash and percent sign escaped.
fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(position) = rest.find('%') {
        text.push_str(&rest[..position]);
        let escaped = rest.get(position..position + 3).unwrap_or_default().to_ascii_lowercase();
        let (c, length) = match escaped.as_str() {
            "%2f" => ('/', 3),
            "%5c" => ('\\', 3),
            "%25" => ('%', 3),
            _ => ('%', 1),
        };
        text.push(c);
        rest = &rest[position + length..];
    }
    text.push_str(rest);
    text
}

/// Whether a machine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerState {
    /// Powered on.
    On,
    /// Powered off.
    Off,
    /// Suspended.
    Suspended,
    /// Not readable, or a state we do not know.
    Unknown,
}

/// Whether VMware Tools run in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolsState {
    /// Running, also while a script of theirs is executed.
    Running,
    /// Not running or not installed.
    NotRunning,
    /// Not readable, or a state we do not know.
    Unknown,
}

/// A virtual machine, as small as thousands of them should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its identifier in vCenter, such as `vm-42`.
    pub id: Box<str>,
    /// Its name in the inventory.
    pub name: Box<str>,
    /// Its SMBIOS identity, which a Node reports in this or in [swapped](Uuid::swapped) order. Absent while a
    /// machine is being made or its files are out of reach.
    pub bios_uuid: Option<Uuid>,
    /// Its identity within vCenter.
    pub instance_uuid: Option<Uuid>,
    /// The host name that the guest reports, if its tools have run.
    pub guest_host_name: Option<Box<str>>,
    /// Whether VMware Tools run.
    pub tools: ToolsState,
    /// Whether it runs.
    pub power: PowerState,
    /// Its datacenter: the position in what was asked for.
    pub datacenter: u16,
}

/// The machines of some datacenters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vms {
    /// One row per machine, in vCenter's order.
    pub rows: Vec<Vm>,
    /// Machines of which some property may not be read; their rows have what could be.
    pub unreadable: u32,
    /// The first of them.
    pub first_unreadable: Option<Denied>,
    /// How many pages were read.
    pub pages: u32,
}

/// Whether to read what the ESXi hosts run along with the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostVersions {
    /// No: nothing is asked about hosts.
    #[default]
    Skip,
    /// Yes, in the same calls as the machines.
    Read,
}

/// What an ESXi host says of itself, as vCenter last heard it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Product {
    /// The version, such as `8.0.2`.
    pub version: Box<str>,
    /// The version of its interface, which alone tells the updates of 6.7 apart. Empty if it is not known.
    pub api_version: Box<str>,
}

/// What the ESXi hosts of some datacenters run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Each combination once, and at most 256 of them.
    pub products: BTreeSet<Product>,
    /// Hosts that the account can see. A host that it cannot see is in no list of vCenter.
    pub seen: u32,
    /// Hosts of which vCenter gave no version: it may not be read, or the host never connected.
    pub unreadable: u32,
    /// The first by name of those that may not be read, or what forbade to look for hosts at all.
    pub first_unreadable: Option<Denied>,
}

const NAME: &str = "name";
const PARENT: &str = "parent";
const BIOS_UUID: &str = "config.uuid";
const INSTANCE_UUID: &str = "config.instanceUuid";
const HOST_NAME: &str = "guest.hostName";
const TOOLS: &str = "guest.toolsRunningStatus";
const POWER: &str = "runtime.powerState";
const VIRTUAL_MACHINE: &str = "VirtualMachine";
const HOST_SYSTEM: &str = "HostSystem";
// Of the summary, which vCenter keeps while a host is disconnected; the host's own configuration is gone then.
const PRODUCT: &str = "summary.config.product.version";
const PRODUCT_API: &str = "summary.config.product.apiVersion";

impl Session {
    /// Reads every datacenter that the account can see. One call per page of folders and datacenters.
    pub async fn fetch_datacenters(&self) -> Result<Datacenters, Error> {
        let root = &self.service.root_folder;
        let read: &[(&str, &[&str])] = &[("Folder", &[NAME, PARENT]), ("Datacenter", &[NAME, PARENT])];
        let query = Query { from: root, walk: Walk::Folders, read };
        let mut tree = Tree::default();
        self.read_pages(&query, self.target().limits.pages, &mut |object| tree.add(object)).await?;
        Ok(tree.datacenters(root))
    }

    /// Reads the machines of some datacenters: per datacenter a view, a call per page, and the view's end.
    ///
    /// A read that fails or that nobody waits for may leave its view in vCenter. The next read ends it first,
    /// and so does the end of the session.
    pub async fn fetch_vms(&self, datacenters: &[&Datacenter]) -> Result<Vms, Error> {
        Ok(self.fetch_machines(datacenters, HostVersions::Skip).await?.0)
    }

    /// Reads the machines of some datacenters and, if asked, what their hosts run. The hosts are in the same views, so
    /// they cost no call of their own unless they fill a page; what the account may not see of them fails nothing.
    pub async fn fetch_machines(
        &self,
        datacenters: &[&Datacenter],
        asked: HostVersions,
    ) -> Result<(Vms, Option<Hosts>), Error> {
        match self.fetch_shown(datacenters, asked).await {
            // The machines alone may well be readable.
            Err(Error::NoPermission { privilege, object }) if asked == HostVersions::Read => {
                let (vms, _) = self.fetch_shown(datacenters, HostVersions::Skip).await?;
                let first_unreadable = Some(Denied { object, privilege });
                Ok((vms, Some(Hosts { first_unreadable, ..Hosts::default() })))
            }
            outcome => outcome,
        }
    }

    async fn fetch_shown(
        &self,
        datacenters: &[&Datacenter],
        asked: HostVersions,
    ) -> Result<(Vms, Option<Hosts>), Error> {
        self.end_left_views().await?;
        let limit = self.target().limits.pages;
        let mut vms = Vms::default();
        let mut hosts = match asked {
            HostVersions::Skip => None,
            HostVersions::Read => Some(Hosts::default()),
        };
        for (position, datacenter) in datacenters.iter().enumerate() {
            let position = u16::try_from(position).unwrap_or(u16::MAX);
            let view = self.open_view(&datacenter.reference, asked).await?;
            let view = OpenView { session: self, view: Some(view) };
            let left = limit.saturating_sub(vms.pages);
            let see = |object: Object| match &mut hosts {
                Some(hosts) if &*object.reference.kind == HOST_SYSTEM => hosts.add(object),
                Some(_) | None => vms.add(object, position),
            };
            let outcome = view.fetch(left, asked, see).await;
            if outcome.as_ref().err().is_none_or(still_connected) {
                view.end().await;
            }
            vms.pages += outcome.map_err(|error| match error {
                Error::TooManyPages { .. } => Error::TooManyPages { limit },
                other => other,
            })?;
        }
        vms.rows.shrink_to_fit();
        Ok((vms, hosts))
    }

    async fn open_view(&self, container: &Reference, asked: HostVersions) -> Result<Reference, Error> {
        const METHOD: &str = "CreateContainerView";
        let mut request = Request::on(&self.service.view_manager, METHOD)?;
        request.object("container", container)?;
        request.value("type", VIRTUAL_MACHINE)?;
        match asked {
            HostVersions::Skip => {}
            HostVersions::Read => request.value("type", HOST_SYSTEM)?,
        }
        request.value("recursive", "true")?;
        let mut view = None;
        self.ask(request, |answer| {
            answer.children(|answer, tag| {
                if tag.vim() == "returnval" {
                    view = Some(answer.reference(tag)?);
                }
                Ok(())
            })
        })
        .await?;
        view.ok_or(Error::Malformed { method: METHOD, why: "it has no view" })
    }

    /// Ends what earlier reads left. What cannot be ended now is left again.
    async fn end_left_views(&self) -> Result<(), Error> {
        while let Some(view) = self.take_left_view() {
            let mut view = OpenView { session: self, view: Some(view) };
            match self.ask(view.destruction()?, |_| Ok(())).await {
                Err(error) if !still_connected(&error) => return Err(error),
                // A fault means that it is gone already.
                Ok(()) | Err(_) => view.view = None,
            }
        }
        Ok(())
    }

    fn take_left_view(&self) -> Option<Reference> {
        self.left_views().pop()
    }

    fn left_views(&self) -> MutexGuard<'_, Vec<Reference>> {
        // A list of names stays whole whatever happened to its last writer.
        self.left_views.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A view that is in use. Dropped before its end, it joins the views that are left.
struct OpenView<'a> {
    session: &'a Session,
    view: Option<Reference>,
}

impl OpenView<'_> {
    fn reference(&self) -> Result<&Reference, Error> {
        self.view
            .as_ref()
            .ok_or(Error::Malformed { method: "CreateContainerView", why: "its view has ended" })
    }

    fn destruction(&self) -> Result<Request, Error> {
        Request::on(self.reference()?, "DestroyView")
    }

    async fn fetch(
        &self,
        most: u32,
        asked: HostVersions,
        mut see: impl FnMut(Object) + Send,
    ) -> Result<u32, Error> {
        let both: &[(&str, &[&str])] = &[
            (VIRTUAL_MACHINE, &[NAME, BIOS_UUID, INSTANCE_UUID, HOST_NAME, TOOLS, POWER]),
            (HOST_SYSTEM, &[PRODUCT, PRODUCT_API]),
        ];
        let read = match asked {
            HostVersions::Skip => &both[..1],
            HostVersions::Read => both,
        };
        let query = Query { from: self.reference()?, walk: Walk::View, read };
        self.session.read_pages(&query, most, &mut see).await
    }

    /// What was read is worth more than the answer to this: a view that could not be ended is left.
    async fn end(mut self) {
        if let Ok(request) = self.destruction()
            && self.session.ask(request, |_| Ok(())).await.is_ok()
        {
            self.view = None;
        }
    }
}

impl Drop for OpenView<'_> {
    fn drop(&mut self) {
        if let Some(view) = self.view.take() {
            let mut left = self.session.left_views();
            if left.len() < LEFT_VIEWS {
                left.push(view);
            }
        }
    }
}

/// Whether another call over the same session makes sense after this error.
fn still_connected(error: &Error) -> bool {
    match error {
        Error::NoPermission { .. }
        | Error::TooLarge { .. }
        | Error::TooManyPages { .. }
        | Error::Fault { .. }
        | Error::Malformed { .. }
        | Error::Unwritable { .. } => true,
        Error::NameNotResolved { .. }
        | Error::AddressNotAdmitted { .. }
        | Error::Refused { .. }
        | Error::Unreachable { .. }
        | Error::Timeout { .. }
        | Error::NotTls { .. }
        | Error::TlsFailed { .. }
        | Error::Untrusted { .. }
        | Error::InvalidLogin
        | Error::NotAuthenticated
        | Error::TooOld { .. }
        | Error::NotVCenter { .. }
        | Error::Throttled { .. }
        | Error::Setup { .. } => false,
    }
}

fn denied(object: &Reference, fault: &Fault) -> Denied {
    let privilege =
        if fault.privilege.is_empty() { "System.Read".to_string() } else { fault.privilege.clone() };
    Denied { object: fault.object.as_ref().unwrap_or(object).shown(), privilege }
}

/// Folders and datacenters with their parents.
#[derive(Default)]
struct Tree {
    names: HashMap<Reference, (String, Option<Reference>)>,
    unreadable: Vec<Denied>,
}

impl Tree {
    fn add(&mut self, mut object: Object) {
        if let Some(fault) = &object.missing {
            self.unreadable.push(denied(&object.reference, fault));
        }
        let name = object.take(NAME).map(|value| value.text);
        let parent = object.take(PARENT).and_then(|value| value.reference());
        if let Some(name) = name {
            self.names.insert(object.reference, (name, parent));
        }
    }

    fn datacenters(mut self, root: &Reference) -> Datacenters {
        let mut found = Vec::new();
        for (reference, (name, _)) in &self.names {
            if &*reference.kind != "Datacenter" {
                continue;
            }
            match self.path(reference, root) {
                Ok(path) => found.push(Datacenter { reference: reference.clone(), name: name.clone(), path }),
                Err(hidden) => {
                    self.unreadable
                        .push(Denied { object: hidden.shown(), privilege: "System.View".to_string() });
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        self.unreadable.sort_by(|a, b| a.object.cmp(&b.object));
        self.unreadable.dedup();
        Datacenters { found, unreadable: self.unreadable }
    }

    /// The path from the root, or the object on the way that is not known.
    fn path(&self, of: &Reference, root: &Reference) -> Result<String, Reference> {
        let mut names = Vec::new();
        let mut here = of;
        while here != root {
            let (name, parent) = self.names.get(here).ok_or_else(|| here.clone())?;
            names.push(name.as_str());
            here = parent.as_ref().filter(|_| names.len() < PATH_DEPTH).ok_or_else(|| here.clone())?;
        }
        names.push("");
        names.reverse();
        Ok(names.join("/"))
    }
}

impl Vms {
    fn add(&mut self, mut object: Object, datacenter: u16) {
        if let Some(fault) = &object.missing {
            self.unreadable += 1;
            self.first_unreadable.get_or_insert_with(|| denied(&object.reference, fault));
        }
        let mut text = |name: &str| object.take(name).map(|value| value.text).unwrap_or_default();
        let host_name = text(HOST_NAME);
        let row = Vm {
            name: text(NAME).into(),
            bios_uuid: Uuid::parse(&text(BIOS_UUID)),
            instance_uuid: Uuid::parse(&text(INSTANCE_UUID)),
            guest_host_name: (!host_name.is_empty()).then(|| host_name.into()),
            tools: match text(TOOLS).as_str() {
                "guestToolsRunning" | "guestToolsExecutingScripts" => ToolsState::Running,
                "guestToolsNotRunning" => ToolsState::NotRunning,
                _ => ToolsState::Unknown,
            },
            power: match text(POWER).as_str() {
                "poweredOn" => PowerState::On,
                "poweredOff" => PowerState::Off,
                "suspended" => PowerState::Suspended,
                _ => PowerState::Unknown,
            },
            id: object.reference.id,
            datacenter,
        };
        self.rows.push(row);
    }
}

impl Hosts {
    fn add(&mut self, mut object: Object) {
        self.seen = self.seen.saturating_add(1);
        let mut text = |name: &str| object.take(name).map(|value| value.text).unwrap_or_default();
        let product = Product { version: text(PRODUCT).into(), api_version: text(PRODUCT_API).into() };
        if product.version.is_empty() {
            self.unreadable = self.unreadable.saturating_add(1);
            // Not the first to come: what is said of it must not follow vCenter's order.
            let denied = object.missing.as_ref().map(|fault| denied(&object.reference, fault));
            let both = self.first_unreadable.take().into_iter().chain(denied);
            self.first_unreadable = both.min_by(|a, b| a.object.cmp(&b.object));
        } else if self.products.len() < PRODUCTS && product.is_short() {
            self.products.insert(product);
        }
    }
}

impl Product {
    /// Whether it can be a version at all.
    fn is_short(&self) -> bool {
        self.version.len() <= 64 && self.api_version.len() <= 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_without_end_are_counted_and_not_kept() {
        let mut hosts = Hosts::default();
        let host = |version: &str| Object::new(Reference::new(HOST_SYSTEM, "host-1"), &[(PRODUCT, version)]);
        for number in 0..1000 {
            hosts.add(host(&format!("8.0.{number}")));
        }
        hosts.add(host(&"8".repeat(65)));
        assert_eq!((hosts.products.len(), hosts.seen, hosts.unreadable), (PRODUCTS, 1001, 0));
    }

    #[test]
    fn a_row_is_small() {
        assert!(size_of::<Vm>() <= 88, "{}", size_of::<Vm>());
    }

    #[test]
    fn a_name_is_compared_as_a_person_reads_it() {
        for (stored, read) in [
            ("dc", "dc"),
            ("a%2fb%5Cc%25d", "a/b\\c%d"),
            ("%252f", "%2f"),
            ("100%", "100%"),
            ("%2", "%2"),
            ("%é", "%é"),
            ("%20", "%20"),
            ("", ""),
        ] {
            assert_eq!(plain(stored), read, "{stored:?}");
        }
    }
}
