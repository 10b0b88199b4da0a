//! Where the compatibility matrix comes from: the built-in one, a text, an address of a ConfigMap or of a
//! CompatibilityConfig; and what a server of one may do.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use e2e::crd::{NAMESPACE, apply, install, refused, vcenter, vdo};
use e2e::operator::Replica;
use e2e::stand::{Said, await_said};
use e2e::web::{Answer, Web};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::{eventually, throughout};

const OPERATOR: &str = "vdo-core";
/// An address in this bed's own network that a matrix may be fetched from.
const ADDRESS: &str = "10.77.0.1";
const COPY: &str = "vdo-matrix-copy";
const SOON: Duration = Duration::from_secs(30);
/// Longer than a fetch may take here, and a pass after it.
const A_FETCH: Duration = Duration::from_secs(30);

struct World {
    bed: Bed,
    web: Web,
}

impl World {
    fn new() -> World {
        let bed = Bed::from_env();
        install(&bed);
        let added =
            Command::new("ip").args(["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"]).status();
        assert!(added.unwrap().success(), "{ADDRESS} cannot be used");
        let web = Web::start(format!("{ADDRESS}:443").parse().unwrap()).unwrap();
        apply(&bed, &vcenter("vc", &json!({"vcIp": "no-such-host.example.com", "credentials": "vc-creds"})))
            .unwrap();
        apply(&bed, &vdo("vdo", &json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}}))).unwrap();
        let seen = json!({"status": {"verified": {
            "generation": 1, "secret": {"namespace": NAMESPACE, "name": "vc-creds", "uid": "u", "resourceVersion": "1"},
            "server": "no-such-host.example.com", "port": 443,
            "trust": {"mode": "Insecure", "sha1": "", "sha256": ""}, "version": "8.0.3", "apiVersion": "8.0.3.0", "build": "1", "datacenters": []},
            "esxi": {"server": "no-such-host.example.com", "versions": ["7.0.3"]}}});
        bed.kubectl(&[
            "patch",
            "vcc",
            "vc",
            "-n",
            NAMESPACE,
            "--subresource=status",
            "--type=merge",
            "-p",
            &seen.to_string(),
        ])
        .unwrap();
        World { bed, web }
    }

    fn operator(&self, identity: &'static str) -> Replica<'_> {
        let env = [
            ("VDO_CA_BUNDLE", self.web.authority.as_str()),
            ("VDO_MATRIX_INTERVAL_SECONDS", "1"),
            ("VDO_MATRIX_SETTLE_SECONDS", "2"),
            ("VDO_MATRIX_TIMEOUT_SECONDS", "3"),
            ("VDO_STATUS_INTERVAL_SECONDS", "1"),
        ];
        Replica::start_with(&self.bed, OPERATOR, identity, &env)
    }

    fn serve(&self, path: &str, matrix: &Value, etag: &str) {
        let (bytes, etag) = (matrix.to_string().into_bytes(), etag.to_owned());
        self.web.answer(path, Answer::Document { bytes, etag });
    }

    fn config_map(&self, data: &Value) {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "comp-matrix-config", "namespace": NAMESPACE}, "data": data});
        // It is away for a moment, as with some tools, so that the built-in matrix counts between.
        self.bed
            .kubectl_with(&["replace", "--force", "-f", "-"], &map.to_string())
            .or_else(|_| apply(&self.bed, &map))
            .unwrap();
    }

    fn no_config_map(&self) {
        self.bed
            .kubectl(&["delete", "configmap", "comp-matrix-config", "-n", NAMESPACE, "--ignore-not-found"])
            .unwrap();
    }

    fn said(&self, wanted: impl Fn(&Said) -> bool) -> Said {
        await_said(&self.bed, "vdo", "vdo", "CompatibilityResolved", A_FETCH, wanted)
    }

    /// The release that is chosen now, and where from.
    fn chosen(&self) -> (String, String) {
        let gates = &self.bed.get(&["vdo", "vdo", "-n", NAMESPACE]).unwrap()["status"]["gates"];
        let text = |at: &str| gates.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/cpi/release"), text("/matrix/source"))
    }

    fn chooses(&self, release: &str, source: &str) {
        eventually(A_FETCH, &format!("{source} gives {release}"), || {
            let chosen = self.chosen();
            if chosen == (release.to_owned(), source.to_owned()) {
                Ok(())
            } else {
                Err(format!("{chosen:?}"))
            }
        });
    }
}

/// A matrix with this one CPI.
fn matrix(serial: u64, cpi: &str) -> Value {
    json!({"schemaVersion": 1, "serial": serial, "rows": [{
        "driver": "CPI", "release": cpi, "kubernetes": {"min": "1.30", "max": "1.40"}, "vsphere": {"min": "7.0"}}]})
}

fn url(path: &str) -> String {
    format!("https://{ADDRESS}{path}")
}

#[test]
fn the_source_is_switched_live_and_what_is_wrong_with_one_is_told() {
    let world = World::new();
    let mut operator = world.operator("first");
    world.chooses("1.36.0", "BuiltIn");

    world.config_map(&json!({"versionConfigContent": matrix(1, "1.35.0").to_string()}));
    world.chooses("1.35.0", "ConfigMap/comp-matrix-config");

    // To an address and back: the original stayed wedged here (B5).
    world.serve("/m.json", &matrix(1, "1.34.0"), "1");
    world.config_map(&json!({"versionConfigURL": url("/m.json")}));
    world.chooses("1.34.0", "ConfigMap/comp-matrix-config");
    world.config_map(&json!({"versionConfigContent": matrix(1, "1.35.0").to_string()}));
    world.chooses("1.35.0", "ConfigMap/comp-matrix-config");

    // A CompatibilityConfig, which the original never read (B4); beside a ConfigMap it is one too many.
    let config = |spec: Value| {
        json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "CompatibilityConfig",
            "metadata": {"name": "published", "namespace": NAMESPACE}, "spec": spec})
    };
    apply(&world.bed, &config(json!({"matrixURL": url("/m.json")}))).unwrap();
    world.said(|said| said.reason == "TwoMatrices");
    world.no_config_map();
    world.chooses("1.34.0", "CompatibilityConfig/published");

    for (address, words) in [
        ("http://matrix.example.com/m", "must be https"),
        ("file:///etc/shadow", "must be https"),
        ("https://user@matrix.example.com/m", "without a user"),
        ("https://matrix.example.com/m#part", "without a user, a fragment"),
        ("https://169.254.169.254/m", "not of the node itself"),
        ("https://127.0.0.1/m", "not of the node itself"),
        ("https://[::1]/m", "not of the node itself"),
        ("https://2130706433/m", "not of the node itself"),
        ("https://0x7f.1/m", "not of the node itself"),
    ] {
        refused(&world.bed, &config(json!({"matrixURL": address})), words)
            .unwrap_or_else(|error| panic!("{address}: {error:#}"));
    }
    for address in ["https://matrix.example.com/m", "https://10.0.0.1:8443/m?x=1", "https://[fd00::1]/m"] {
        let accepted = config(json!({"matrixURL": address}));
        world.bed.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &accepted.to_string()).unwrap();
    }
    world.bed.kubectl(&["delete", "compatibilityconfig", "published", "-n", NAMESPACE]).unwrap();
    world.chooses("1.36.0", "BuiltIn");

    // What a server may do. The copy counts, and the message says why it is not read anew.
    world.serve("/hostile.json", &matrix(5, "1.34.0"), "5");
    world.config_map(&json!({"versionConfigURL": url("/hostile.json")}));
    world.chooses("1.34.0", "ConfigMap/comp-matrix-config");
    let old = serde_json::to_vec(&matrix(4, "1.35.0")).unwrap();
    let wrong = |bytes: &[u8]| Answer::Document { bytes: bytes.to_vec(), etag: "x".to_owned() };
    for (answer, reason, words) in [
        (Answer::Status(503), "MatrixFetchFailed", "503"),
        (Answer::Status(404), "MatrixFetchFailed", "404"),
        (Answer::Redirect("http://matrix.example.com/m".to_owned()), "MatrixFetchFailed", "redirects"),
        (Answer::Redirect("https://169.254.169.254/m".to_owned()), "MatrixFetchFailed", "redirects"),
        (
            Answer::Redirect("https://matrix.example.com/m".to_owned()),
            "MatrixFetchFailed",
            "another server, matrix.example.com:443",
        ),
        (Answer::Redirect(url("/hostile.json")), "MatrixFetchFailed", "TooManyRedirects"),
        (Answer::Endless, "MatrixFetchFailed", "TooLarge"),
        (Answer::Packed, "MatrixFetchFailed", "Encoding"),
        (Answer::Trickle, "MatrixFetchFailed", "TimedOut"),
        (wrong(b"{\"rows\": ["), "MatrixInvalid", "/hostile.json"),
        (wrong(&vec![b'['; 20_000]), "MatrixInvalid", "/hostile.json"),
        (wrong(&old), "MatrixOutdated", "serial 4"),
    ] {
        let what = format!("{answer:?}").chars().take(60).collect::<String>();
        world.web.answer("/hostile.json", answer);
        let said = world.said(|said| said.reason == reason && said.message.contains(words));
        assert_eq!(said.status, "True", "{what}: {said:?}");
        assert!(said.message.contains("the copy of"), "{what}: {said:?}");
        assert_eq!(world.chosen().0, "1.34.0", "{what}");
    }
    world.serve("/hostile.json", &matrix(6, "1.35.0"), "6");
    world.chooses("1.35.0", "ConfigMap/comp-matrix-config");

    // The source is down, and the operator starts anew. One that is told to end leaves its lease to the next.
    world.web.answer("/hostile.json", Answer::Status(503));
    operator.signal("TERM");
    assert!(operator.ended(SOON).success());
    let _operator = world.operator("second");
    world.said(|said| said.reason == "MatrixFetchFailed" && said.message.contains("503"));
    assert_eq!(world.chosen().0, "1.35.0");
    let copy = world.bed.get(&["configmap", COPY, "-n", NAMESPACE]).unwrap();
    assert_eq!(copy["data"]["url"], url("/hostile.json"));

    // Nothing is written while nothing changes.
    world.serve("/hostile.json", &matrix(6, "1.35.0"), "6");
    world.said(|said| said.reason == "ReleasesChosen");
    let version = |kind: &str, name: &str| {
        world.bed.get(&[kind, name, "-n", NAMESPACE]).unwrap()["metadata"]["resourceVersion"].clone()
    };
    let (config, copy, asked) = (version("vdo", "vdo"), version("configmap", COPY), world.web.asked());
    eventually(SOON, "it is asked for again", || {
        if world.web.asked() > asked { Ok(()) } else { Err("not yet") }
    });
    throughout(Duration::from_secs(3), "nothing is written", || {
        let now = (version("vdo", "vdo"), version("configmap", COPY));
        if now == (config.clone(), copy.clone()) { Ok(()) } else { Err(format!("{now:?}")) }
    });

    flapping(&world);
}

/// A matrix that comes and goes moves nothing, and one that no longer fits takes nothing away.
fn flapping(world: &World) {
    let installed = json!({"status": {"cpi": {"installed": {
        "release": "1.34.0", "revision": "r", "since": "2026-01-01T00:00:00Z"}}}});
    world
        .bed
        .kubectl(&[
            "patch",
            "vdo",
            "vdo",
            "-n",
            NAMESPACE,
            "--subresource=status",
            "--type=merge",
            "-p",
            &installed.to_string(),
        ])
        .unwrap();
    let with = |newest: &str| {
        let mut rows = matrix(1, "1.34.0");
        let more = matrix(1, newest)["rows"][0].clone();
        rows["rows"].as_array_mut().unwrap().push(more);
        json!({"versionConfigContent": rows.to_string(), "auto-upgrade": "latest"})
    };
    for round in 0..8 {
        world.config_map(&with(if round % 2 == 0 { "1.35.0" } else { "1.36.0" }));
        throughout(Duration::from_millis(500), "what is installed stays", || {
            let release = world.chosen().0;
            if ["1.34.0", "1.35.0"].contains(&release.as_str()) && (round == 0 || release == "1.34.0") {
                Ok(())
            } else {
                Err(format!("round {round}: {release}"))
            }
        });
    }
    world.config_map(&with("1.36.0"));
    world.chooses("1.36.0", "ConfigMap/comp-matrix-config");

    let mut narrow = matrix(1, "1.34.0");
    narrow["rows"][0]["kubernetes"] = json!({"max": "1.30"});
    world.config_map(&json!({"versionConfigContent": narrow.to_string()}));
    let said = world.said(|said| said.reason == "NoReleaseFits");
    assert_eq!(said.status, "False", "{said:?}");
    for words in ["CPI 1.34.0 needs Kubernetes 1.30 or older", "CPI 1.34.0 stays installed", "add a row"] {
        assert!(said.message.contains(words), "{words:?} is not in {said:?}");
    }
    let there = world.bed.get(&["vdo", "vdo", "-n", NAMESPACE]).unwrap();
    assert_eq!(there["status"]["cpi"]["installed"]["release"], "1.34.0");

    // No host is new enough; what was read last counts, also while the vCenter is away.
    let mut hosts = matrix(1, "1.34.0");
    hosts["rows"][0]["esxi"] = json!({"min": "8.0"});
    world.config_map(&json!({"versionConfigContent": hosts.to_string()}));
    let words = "CPI 1.34.0 needs ESXi 8.0 or newer, a host of vCenter vc runs 7.0.3";
    world.said(|said| said.reason == "NoReleaseFits" && said.message.contains(words));
    assert_eq!(
        world.bed.get(&["vdo", "vdo", "-n", NAMESPACE]).unwrap()["status"]["cpi"],
        there["status"]["cpi"]
    );
    world.config_map(&json!({"versionConfigContent": narrow.to_string()}));

    // How far the next Kubernetes is.
    let said =
        await_said(&world.bed, "vdo", "vdo", "Upgradeable", SOON, |said| said.reason == "NothingFitsNext");
    assert_eq!(said.status, "False", "{said:?}");
}
