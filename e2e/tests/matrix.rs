//! Where the compatibility matrix comes from: the built-in one, a text, an address of a ConfigMap or of a
//! CompatibilityConfig; and what a server of one may do.

#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::time::Duration;

use e2e::crd::{NAMESPACE, apply, install, refused, vcenter, vdo};
use e2e::operator::Replica;
use e2e::stand::{Said, await_said};
use e2e::web::{Answer, Web, bomb};
use rcgen::{KeyPair, SigningKey as _};
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
/// What vdo-core may have more in memory, whatever a server sends it.
const MORE_KIB: u64 = 8 * 1024;
/// In a document that cannot be read: no message repeats it.
const CANARY: &str = "canary-7f3a";

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

    /// Serves a document, and beside it what somebody signed it with, if anybody did.
    fn publish(&self, path: &str, matrix: &Value, etag: &str, signed: Option<(&KeyPair, &Value)>) {
        let signature = signed.map(|(key, signed)| key.sign(signed.to_string().as_bytes()).unwrap());
        let signature = signature
            .map_or(Answer::Status(404), |bytes| Answer::Document { bytes, etag: format!("{etag}-sig") });
        self.web.answer(&format!("{path}.sig"), signature);
        self.serve(path, matrix, etag);
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

    /// Waits until the matrix is not read anew for this reason, and the copy counts, which gives this release.
    fn keeps(&self, release: &str, reason: &str, words: &str, what: &str) {
        let said = self.said(|said| said.reason == reason && said.message.contains(words));
        assert_eq!(said.status, "True", "{what}: {said:?}");
        assert!(said.message.contains("the copy of"), "{what}: {said:?}");
        assert!(!said.message.contains(CANARY), "{what}: {said:?}");
        assert_eq!(self.chosen().0, release, "{what}");
    }

    fn copy(&self) -> Value {
        self.bed.get(&["configmap", COPY, "-n", NAMESPACE]).unwrap()
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

/// CPI 1.34.0 and a newer one. Without a serial, so that none of them is out of date.
fn offering(newest: &str) -> Value {
    let rows = [matrix(1, "1.34.0"), matrix(1, newest)].map(|matrix| matrix["rows"][0].clone());
    json!({"schemaVersion": 1, "rows": rows})
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

    hostile(&world, &operator);
    world.serve("/hostile.json", &matrix(7, "1.35.0"), "7");
    world.chooses("1.35.0", "ConfigMap/comp-matrix-config");

    // The source is down, and the operator starts anew. One that is told to end leaves its lease to the next.
    world.web.answer("/hostile.json", Answer::Status(503));
    operator.signal("TERM");
    assert!(operator.ended(SOON).success());
    let _operator = world.operator("second");
    world.said(|said| said.reason == "MatrixFetchFailed" && said.message.contains("503"));
    assert_eq!(world.chosen().0, "1.35.0");
    assert_eq!(world.copy()["data"]["url"], url("/hostile.json"));

    // Nothing is written while nothing changes.
    world.serve("/hostile.json", &matrix(7, "1.35.0"), "7");
    world.said(|said| said.reason == "ReleasesChosen");
    let version = |kind: &str, name: &str| {
        world.bed.get(&[kind, name, "-n", NAMESPACE]).unwrap()["metadata"]["resourceVersion"].clone()
    };
    let asked_again = || {
        let asked = world.web.asked();
        eventually(SOON, "it is asked for again", || {
            if world.web.asked() > asked { Ok(()) } else { Err("not yet") }
        });
    };
    eventually(SOON, "it was read twice", || {
        let copy = world.copy();
        if copy["data"]["readTwice"] == "true" { Ok(()) } else { Err(copy["data"].to_string()) }
    });
    asked_again();
    let (config, copy) = (version("vdo", "vdo"), version("configmap", COPY));
    asked_again();
    throughout(Duration::from_secs(3), "nothing is written", || {
        let now = (version("vdo", "vdo"), version("configmap", COPY));
        if now == (config.clone(), copy.clone()) { Ok(()) } else { Err(format!("{now:?}")) }
    });

    signed(&world);
    flapping(&world);
    changing(&world);
    narrowed(&world);
}

/// What a server may do. The copy counts, and the message says why it is not read anew.
fn hostile(world: &World, operator: &Replica<'_>) {
    world.serve("/hostile.json", &matrix(5, "1.34.0"), "5");
    world.config_map(&json!({"versionConfigURL": url("/hostile.json")}));
    world.chooses("1.34.0", "ConfigMap/comp-matrix-config");
    let old = serde_json::to_vec(&matrix(4, "1.35.0")).unwrap();
    let wrong = |bytes: &[u8]| Answer::Document { bytes: bytes.to_vec(), etag: "x".to_owned() };
    let redirect = |to: &str| Answer::Redirect(to.to_owned());
    let utf_16: Vec<u8> =
        format!("\u{feff}{}", matrix(6, "1.35.0")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    operator.forget_peak();
    let before = operator.peak_kib();
    for (answer, reason, words) in [
        (Answer::Status(503), "MatrixFetchFailed", "503"),
        (Answer::Status(404), "MatrixFetchFailed", "404"),
        (redirect("http://matrix.example.com/m"), "MatrixFetchFailed", "RedirectRefused"),
        (redirect("https://169.254.169.254/m"), "MatrixFetchFailed", "AddressNotAllowed"),
        (redirect("file:///etc/shadow"), "MatrixFetchFailed", "RedirectRefused"),
        (
            redirect("https://matrix.example.com/m"),
            "MatrixFetchFailed",
            "another server, matrix.example.com:443",
        ),
        (redirect(&url("/hostile.json")), "MatrixFetchFailed", "TooManyRedirects"),
        (Answer::Endless, "MatrixFetchFailed", "TooLarge"),
        (bomb("gzip"), "MatrixFetchFailed", "sent the document as gzip"),
        (Answer::Announced(5 << 30), "MatrixFetchFailed", "TooLarge"),
        (bomb("deflate"), "MatrixFetchFailed", "sent the document as deflate"),
        (Answer::Trickle, "MatrixFetchFailed", "TimedOut"),
        (
            wrong(format!("{{\n  \"a\": \"{CANARY}\",\n  \"rows\": [").as_bytes()),
            "MatrixInvalid",
            "EOF while parsing a list in line 3, column 11; tell whoever publishes it",
        ),
        (Answer::Silence, "MatrixFetchFailed", "TimedOut"),
        (wrong(&vec![b'['; 20_000]), "MatrixInvalid", "recursion limit exceeded in line 1"),
        (wrong(&utf_16), "MatrixInvalid", "it is no text in UTF-8"),
        (wrong(format!("{{\"a\": \"{CANARY}\0\"}}").as_bytes()), "MatrixInvalid", "control character"),
        (
            wrong(format!("schemaVersion: 1\nserial: 9\nserial: {CANARY}\n").as_bytes()),
            "MatrixInvalid",
            "/serial (line 3, column ",
        ),
        (wrong(&old), "MatrixOutdated", "serial 4"),
    ] {
        let what = format!("{answer:?}").chars().take(60).collect::<String>();
        world.web.answer("/hostile.json", answer);
        world.keeps("1.34.0", reason, words, &what);
    }
    world.web.reset(true);
    world.keeps("1.34.0", "MatrixFetchFailed", "Interrupted", "connections are reset");
    world.web.reset(false);
    let more = operator.peak_kib().saturating_sub(before);
    println!("{more} KiB more in memory");
    assert!(more <= MORE_KIB, "{before} KiB and {more} more");

    // The mark that some editors put at the front is no fault.
    let marked = format!("\u{feff}{}", matrix(6, "1.36.0")).into_bytes();
    world.web.answer("/hostile.json", Answer::Document { bytes: marked, etag: "marked".to_owned() });
    world.chooses("1.36.0", "ConfigMap/comp-matrix-config");
}

/// What is not signed as it has to be, or not what was pinned, takes the place of nothing.
fn signed(world: &World) {
    let (ours, theirs) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let (good, forged) = (matrix(1, "1.34.0"), matrix(2, "1.35.0"));
    let source = "ConfigMap/comp-matrix-config";
    let path = "/signed.json";
    let with_key = |key: &KeyPair| json!({"versionConfigURL": url(path), "versionConfigPublicKey": key.public_key_pem()});
    world.publish(path, &good, "good", Some((&ours, &good)));
    world.config_map(&with_key(&ours));
    world.chooses("1.34.0", source);
    let kept = world.copy();
    assert_eq!(kept["data"]["url"], url(path));

    let other = "the signature does not belong to this document and this public key";
    for (what, signed, words) in [
        ("other content under the old signature", Some((&ours, &good)), other),
        ("no signature", None, "/signed.json.sig answered with http status 404, so there is no signature"),
        ("a signature by another key", Some((&theirs, &forged)), other),
    ] {
        world.publish(path, &forged, what, signed);
        world.keeps("1.34.0", "MatrixNotTrusted", words, what);
        assert_eq!(world.copy()["binaryData"], kept["binaryData"], "{what}");
    }

    // Another key is asked for than the one that all this was signed with. Nothing that is there counts.
    world.publish(path, &good, "good", Some((&ours, &good)));
    world.config_map(&with_key(&theirs));
    let said = world.said(|said| said.reason == "MatrixNotTrusted" && said.message.contains(other));
    assert_eq!(said.status, "False", "{said:?}");
    assert_eq!(world.copy()["binaryData"], kept["binaryData"]);

    // The right one again, and the source is down: what was kept is accepted by it.
    world.web.answer(path, Answer::Status(503));
    world.config_map(&with_key(&ours));
    world.keeps("1.34.0", "MatrixFetchFailed", "503", "the copy is signed");

    // A pin, for a document that somebody replaces.
    let pin = |digest: &Value| json!({"versionConfigURL": url(path), "versionConfigSHA256": digest});
    world.publish(path, &good, "good", None);
    world.config_map(&pin(&kept["data"]["sha256"]));
    world.chooses("1.34.0", source);
    world.publish(path, &forged, "forged", None);
    world.keeps("1.34.0", "MatrixNotTrusted", "and not the pinned", "a document that is not the pinned one");
    world.publish(path, &good, "good", None);
    world.config_map(&pin(&json!("0".repeat(64))));
    let said = world.said(|said| said.status == "False" && said.reason == "MatrixNotTrusted");
    assert!(said.message.contains("and not the pinned 0000"), "{said:?}");
    assert_eq!(world.copy()["binaryData"]["matrix"], kept["binaryData"]["matrix"]);
}

/// A matrix that comes and goes moves nothing.
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
    let with = |newest: &str| json!({"versionConfigContent": offering(newest).to_string(), "auto-upgrade": "latest"});
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
}

/// An address that says something else each time moves nothing either, until it stands.
fn changing(world: &World) {
    let [one, other] = ["1.35.0", "1.36.0"].map(|newest| offering(newest).to_string().into_bytes());
    world.web.answer("/turns.json", Answer::InTurn(vec![one, other.clone()]));
    world.config_map(&json!({"versionConfigURL": url("/turns.json"), "auto-upgrade": "latest"}));
    world.chooses("1.34.0", "ConfigMap/comp-matrix-config");
    let asked = world.web.asked();
    eventually(A_FETCH, "it is read three times more", || {
        assert_eq!(world.chosen().0, "1.34.0");
        let more = world.web.asked() - asked;
        if more >= 3 { Ok(()) } else { Err(more) }
    });
    world.web.answer("/turns.json", Answer::Document { bytes: other, etag: "stands".to_owned() });
    world.chooses("1.36.0", "ConfigMap/comp-matrix-config");
}

/// A matrix that no longer fits takes nothing away.
fn narrowed(world: &World) {
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
