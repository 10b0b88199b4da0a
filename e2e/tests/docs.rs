//! The pages that an admin reads do what they say: their commands are run as they stand there, and the outcome that is
//! stated beside them is looked for. And every example is accepted by the API server.

#![allow(clippy::unwrap_used)]

#[path = "docs/page.rs"]
mod page;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::checkout;
use e2e::crd::{NAMESPACE, apply, vdo};
use e2e::readme::filled;
use e2e::stand::{
    CONFIG, OPERATORS, Said, VCENTER, await_said, condition, matrix_of, operator_logs, pods, programs,
};
use serde_json::{Map, Value, json};
use testbed::bed::{Bed, output_of};

const OLD: (&str, &str) = ("1.33.0", "3.3.1");
/// The label that a reader changes.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const SOON: Duration = Duration::from_secs(60);
const CPI: &str = "vmware-system-cpi";
const CSI: &str = "vmware-system-csi";

/// A reader who types what the pages say, in a checkout of their own.
struct Reader {
    bed: Bed,
    pages: BTreeMap<String, String>,
    done: RefCell<BTreeSet<String>>,
    began: Instant,
}

impl Reader {
    fn new() -> Self {
        let bed = Bed::from_env();
        let mut rows = Map::new();
        for name in OPERATORS {
            let image = format!("ghcr.io/vdo-project/{name}:{}", env!("CARGO_PKG_VERSION"));
            let row = json!({"binary": programs().join(name), "path": format!("/{name}"), "needs_libs": true,
                "user": "65532:65532"});
            rows.insert(image, row);
        }
        bed.add_images(&rows).unwrap();
        let folder = bed.path("tmp/checkout");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["charts", "crds"] {
            output_of(Command::new("cp").arg("-r").arg(checkout(name)).arg(&folder), "").unwrap();
        }
        let pages = page::all().into_iter().collect();
        Reader { bed, pages, done: RefCell::default(), began: Instant::now() }
    }

    /// Runs the commands of one block; gives what they printed.
    fn run(&self, page: &str, name: &str) -> String {
        let mut printed = String::new();
        for command in page::commands(&self.pages[page], name).unwrap() {
            printed.push_str(&self.shell(&command));
        }
        println!("[{:>4.0} s] {page}: {name}", self.began.elapsed().as_secs_f64());
        self.done.borrow_mut().insert(format!("{page}: {name}"));
        printed
    }

    fn shell(&self, command: &str) -> String {
        let path = format!(
            "{}:{}:{}",
            programs().display(),
            self.bed.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let mut shell = Command::new("sh");
        shell.args(["-ec", &format!("exec 2>&1; {command}")]);
        shell.current_dir(self.bed.path("tmp/checkout"));
        shell.env("PATH", path).env("KUBECONFIG", self.bed.kubeconfig());
        shell.env("HOME", self.bed.path("tmp")).env("HELM_CACHE_HOME", self.bed.path("tmp/helm"));
        let output = shell.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let ended = output.status;
        assert!(ended.success(), "{command}\n{said}\n{ended}\n{}", operator_logs(&self.bed));
        said
    }

    /// Applies the README's own objects: the Secret and the vCenter, whose certificate has an authority of its own.
    fn paste(&self) {
        let vcenter = self.bed.vcenter(1);
        std::fs::copy(&vcenter.ca, self.bed.path("tmp/checkout/ca.crt")).unwrap();
        self.run("README.md", "authority");
        for name in ["secret", "vcenter"] {
            let text = filled(&self.pages["README.md"], name, vcenter).unwrap();
            self.bed.kubectl_with(&["apply", "--server-side", "-f", "-"], &text).unwrap();
        }
    }

    /// The objects of the README in a file, with the authority of the vCenter, as whoever renders them writes them.
    fn write_down(&self, file: &str, releases: (&str, &str)) {
        let vcenter = self.bed.vcenter(1);
        let mut text: String = ["secret", "vcenter"]
            .map(|name| filled(&self.pages["README.md"], name, vcenter).unwrap() + "\n---\n")
            .concat();
        let authority = e2e::stand::authority(&self.bed);
        for object in [authority, vdo(CONFIG, &wishes(releases))] {
            text.push_str(&format!("{object}\n---\n"));
        }
        std::fs::write(self.bed.path("tmp/checkout").join(file), text).unwrap();
    }

    /// Asks for both drivers in these releases.
    fn ask_for(&self, releases: (&str, &str)) {
        apply(&self.bed, &vdo(CONFIG, &wishes(releases))).unwrap();
    }
}

/// The spec of a VDOConfig that asks for both drivers.
fn wishes((cpi, csi): (&str, &str)) -> Value {
    json!({
        "cloudProvider": {"vsphereCloudConfigs": [VCENTER], "version": cpi},
        "storageProvider": {"vsphereCloudConfig": VCENTER, "version": csi},
    })
}

#[test]
fn every_marked_command_of_the_pages_is_run_in_order_and_does_what_stands_beside_it() {
    let reader = Reader::new();

    // Without operators, and without their CRDs.
    let by_hand = "docs/manual-install.md";
    reader.write_down("vsphere.yaml", ("1.36.0", "3.7.0"));
    reader.run(by_hand, "cloud-provider");
    let said = reader.run(by_hand, "storage");
    let (_, listed) = said.rsplit_once("DRIVERS").unwrap();
    let registered = listed.lines().filter(|line| line.ends_with("csi.vsphere.vmware.com")).count();
    let nodes = reader.bed.get(&["nodes"]).unwrap()["items"].as_array().unwrap().len();
    assert_eq!(registered, nodes, "{said}");
    reader.run(by_hand, "remove-by-hand");

    // README: five minutes, on a cluster that enforces Pod Security.
    let install = "docs/install.md";
    reader.run(install, "label-the-namespace");
    reader.run("README.md", "install");
    reader.paste();
    apply(&reader.bed, &matrix_of(&["1.33.0", "1.36.0"], &["3.3.1", "3.7.0"])).unwrap();
    reader.ask_for(OLD);
    let said = reader.run("README.md", "look");
    assert!(said.contains("condition met") && said.contains("Ready: CPI and CSI work"), "{said}");

    let mut examples = 0;
    for text in reader.pages.values().flat_map(|text| page::examples(text)) {
        let dry = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
        ];
        reader.bed.kubectl_with(&dry, &text).unwrap_or_else(|error| panic!("{text}\n{error:#}"));
        examples += 1;
    }
    assert!(examples >= 4, "{examples}");

    // What follows would wait for minutes that prove nothing here.
    let short = "--set cpi-operator.rolloutSoakSeconds=4,csi-operator.rolloutSoakSeconds=4";
    reader.shell(&format!("helm upgrade vdo charts/vdo -n {NAMESPACE} --reuse-values --wait {short}"));

    // One driver after the other; the other one is not even restarted.
    let upgrade = "docs/upgrade.md";
    let said = reader.run(upgrade, "before-an-upgrade");
    assert!(said.contains(OLD.0) && said.contains(OLD.1), "{said}");
    for (page, name) in [(upgrade, "may-i-upgrade"), ("docs/vdoctl.md", "may-upgrade")] {
        let said = reader.run(page, name);
        assert!(said.contains("May it be upgraded? yes"), "{said}");
    }
    let (cpi, csi) = (pods(&reader.bed, CPI), pods(&reader.bed, CSI));
    reader.run(upgrade, "upgrade-cpi");
    let day_two = "docs/day-two.md";
    let said = reader.run(day_two, "pin-a-release");
    assert!(said.contains("no change"), "{said}");
    assert!(pods(&reader.bed, CPI) != cpi && pods(&reader.bed, CSI) == csi);
    let cpi = pods(&reader.bed, CPI);
    reader.run(upgrade, "upgrade-csi");
    assert!(pods(&reader.bed, CPI) == cpi && pods(&reader.bed, CSI) != csi);
    let drivers = || (pods(&reader.bed, CPI), pods(&reader.bed, CSI));
    let before = drivers();
    reader.run(upgrade, "retry-a-rollout");
    reader.run(day_two, "try-again");
    reader.run(upgrade, "upgrade-crds");
    reader.run(upgrade, "upgrade-vdo");
    let said = reader.run("README.md", "look");
    assert!(said.contains("1.36.0 installed") && said.contains("3.7.0 installed"), "{said}");
    assert_eq!(drivers(), before);

    // What is shown when all is well, and nothing of it is a password.
    for page in ["docs/conditions.md", "docs/bad-input.md"] {
        let said = reader.run(page, "see-conditions");
        assert!(said.contains("Credentials Valid") || said.contains("CredentialsValid"), "{said}");
    }
    let said = reader.run("docs/troubleshooting.md", "what-to-send");
    assert!(said.contains("vsphere-csi-controller") && said.contains("VsphereCloudConfig"), "{said}");
    assert!(!said.contains(&reader.bed.vcenter(1).password().unwrap()), "the password is in it");

    // Day two: only told, put back again; paused, and on.
    let storage_says = |what: &dyn Fn(&Said) -> bool| {
        await_said(&reader.bed, "vdo", CONFIG, "CSIReady", SOON, what);
    };
    let service_account = "serviceaccount/vsphere-csi-controller";
    reader.run(day_two, "only-tell");
    reader.shell(&format!("kubectl -n {CSI} label {service_account} {MANAGED_BY}=me --overwrite"));
    storage_says(&|said| said.reason == "DriftReported");
    let repair = r#"{"spec":{"driftRepair":"Repair"}}"#;
    reader.shell(&format!("kubectl -n {NAMESPACE} patch vdo/vdo --type=merge -p '{repair}'"));
    let managed_by = MANAGED_BY.replace('.', r"\.");
    let put_back = format!("--for=jsonpath='{{.metadata.labels.{managed_by}}}'=vdo --timeout=60s");
    reader.shell(&format!("kubectl -n {CSI} wait {service_account} {put_back}"));
    reader.run(day_two, "pause");
    storage_says(&|said| said.message.contains("pause"));
    reader.run(day_two, "go-on");
    storage_says(&|said| said.status == "True" && !said.message.contains("pause"));
    assert_eq!(drivers(), before);

    // What a newcomer breaks, and mends.
    let tutorial = "docs/tutorial.md";
    let said = reader.run(tutorial, "tutorial-status");
    assert!(said.contains("Ready: CPI and CSI work"), "{said}");
    let said = reader.run(tutorial, "tutorial-wrong-password");
    assert!(said.contains("LoginRefused"), "{said}");
    let degraded = condition(&reader.bed, "vdo", CONFIG, "Degraded").unwrap();
    assert_eq!(
        (degraded.status.as_str(), degraded.reason.as_str()),
        ("True", "LoginRefused"),
        "{degraded:?}"
    );
    assert_eq!(drivers(), before);
    reader.run(tutorial, "tutorial-right-password");
    assert_eq!(drivers(), before);
    let storage = pods(&reader.bed, CSI);
    let said = reader.run(tutorial, "tutorial-take-away");
    assert!(said.contains("DriftRepaired"), "{said}");
    let said = reader.run(tutorial, "tutorial-no-such-release");
    assert!(said.contains("3.99.0") && said.contains("NoReleaseFits"), "{said}");
    reader.run(tutorial, "tutorial-the-release-that-is-there");
    let said = reader.run(tutorial, "tutorial-pause");
    assert!(said.contains("vsphere-csi-controller"), "{said}");
    assert_eq!(pods(&reader.bed, CSI), storage);
    reader.ask_for(("1.36.0", "3.7.0"));
    reader.run("README.md", "look");
    let before = drivers();

    // The drivers outlive the VDOConfig, and a new one takes them back.
    let uninstall = "docs/uninstall.md";
    reader.run("README.md", "let-it-go");
    let said = reader.run(day_two, "leave-the-drivers");
    assert!(said.contains("no change"), "{said}");
    reader.run(uninstall, "keep-the-drivers");
    assert_eq!(drivers(), before);
    reader.ask_for(("1.36.0", "3.7.0"));
    reader.run("README.md", "look");
    assert_eq!(drivers(), before);

    // All of it, once by the README and, on what that left, once more by the page.
    reader.run("README.md", "uninstall");
    reader.run("README.md", "install");
    reader.ask_for(("1.36.0", "3.7.0"));
    reader.run("README.md", "look");
    let said = reader.run(uninstall, "remove-the-drivers");
    assert!(said.contains("No resources found"), "{said}");
    reader.run(uninstall, "remove-the-operators");
    for kept in
        ["crd/vdoconfigs.vdo.vmware.com", "namespace/vmware-system-cpi", "namespace/vmware-system-csi"]
    {
        reader.shell(&format!("kubectl get {kept}"));
    }
    for kept in
        ["configmap/vdo-csi-cluster-id", "secret/vdo-cpi-journal", "secret/vdo-csi-journal", "vcc/vcenter"]
    {
        reader.shell(&format!("kubectl get -n {NAMESPACE} {kept}"));
    }
    // A VDOConfig that no operator is left to let go.
    let mut held = vdo(CONFIG, &wishes(OLD));
    held["metadata"]["finalizers"] = json!(["vdo.vmware.com/csi"]);
    apply(&reader.bed, &held).unwrap();
    let said = reader.run(uninstall, "what-would-be-released");
    assert!(said.contains("vdo.vmware.com/csi would be taken off"), "{said}");
    held["metadata"]["finalizers"] = json!([]);
    apply(&reader.bed, &held).unwrap();

    let of_cns = || reader.shell("kubectl get crds -o name").matches(".cns.vmware.com").count();
    assert!(of_cns() > 0, "the driver made no CRD, so that none can be left");
    reader.run(uninstall, "remove-the-rest");
    let left = reader.shell("kubectl get crds,namespaces -o name");
    assert!(!left.contains("vdo.vmware.com") && !left.contains("vmware-system-"), "{left}");
    assert_eq!(of_cns(), 0, "{left}");

    // Once more, without helm.
    reader.run(install, "one-file");

    // Nothing that is marked was left out.
    let marked = reader
        .pages
        .iter()
        .flat_map(|(page, text)| page::runs(text).into_iter().map(move |name| format!("{page}: {name}")));
    let marked: BTreeSet<String> = marked.collect();
    assert_eq!(marked, *reader.done.borrow());
    println!("{} blocks were run, {examples} examples accepted", marked.len());
}
