//! The program itself, as a person or kubectl starts it, against the scripted API server on a loopback port.
#![allow(clippy::unwrap_used)]

#[path = "../../vdo-runtime/tests/support/mod.rs"]
mod support;

mod asked;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use asked::{Aside, Folder, Said, VDOCTL, command, said};
use serde_json::{Value, json};
use support::{Api, Listening, Reply};

const NAMESPACE: &str = "vmware-system-vdo";
const CONFIG: &str = "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vdoconfigs/vdo";

/// An API server beside the test.
struct Server {
    api: Api,
    address: String,
    _listening: Aside<Listening>,
}

impl Server {
    fn start(api: Api) -> Server {
        let served = api.clone();
        let listening = Aside::start(async move || Listening::start(&served).await);
        let address = format!("http://{}", listening.servers.address);
        Server { api, address, _listening: listening }
    }
}

/// The program under another name.
fn link(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.0.join(name);
    symlink(VDOCTL, &path).unwrap();
    path
}

fn vdoctl(words: &[&str]) -> Said {
    said(command(VDOCTL).args(words))
}

fn ready(api: &Api, status: &str) {
    let condition = json!({"type": "Ready", "status": status, "reason": "AsWanted", "message": "CSI works",
        "observedGeneration": 1, "lastTransitionTime": "2026-03-01T11:50:00Z"});
    api.put(
        CONFIG,
        json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "vdo", "namespace": NAMESPACE, "generation": 1}, "spec": {},
            "status": {"conditions": [condition]}}),
    );
}

/// A kubeconfig with one context of each name, whose user has the name as its token.
fn kubeconfig(address: &str, names: &[&str], current: &str) -> String {
    let list = |entry: &dyn Fn(&str) -> Value| names.iter().map(|name| entry(name)).collect::<Vec<_>>();
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": current,
        "clusters": list(&|name| json!({"name": name, "cluster": {"server": address}})),
        "users": list(&|name| json!({"name": name, "user": {"token": name}})),
        "contexts": list(&|name| json!({"name": name, "context": {"cluster": name, "user": name}})),
    })
    .to_string()
}

/// As whom the last request asked.
fn asked_as(api: &Api) -> String {
    api.log().last().unwrap().authorization.clone()
}

#[test]
fn exit_codes_say_fine_no_and_unreadable() {
    let server = Server::start(Api::new());
    let ask = |command: &str| vdoctl(&[command, "--server", &server.address]);
    ready(&server.api, "True");
    let fine = ask("status");
    assert_eq!((fine.code, fine.err.as_str()), (Some(0), ""), "{}", fine.out);
    assert!(fine.out.starts_with("Ready: CSI works\n"), "{}", fine.out);
    ready(&server.api, "False");
    assert_eq!(ask("status").code, Some(1));
    assert_eq!(ask("nodes").code, Some(0), "there are none");
    server.api.script(|_| Some(Reply::Refuse(403, "you may not")));
    for command in ["status", "nodes", "release"] {
        let refused = ask(command);
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{command}");
        assert!(
            refused.err.starts_with("vdoctl: cannot read the ") && refused.err.contains("you may not"),
            "{}",
            refused.err
        );
    }
    for wrong in [
        &["status", "--wrong"][..],
        &["statu"],
        &[],
        &["explain"],
        &["nodes", "-o", "xml"],
        &["status", "--request-timeout", "soon"],
        &["status", "--server", "10.0.0.1:6443"],
        &["status", "--kubeconfig", "/nowhere/kubeconfig"],
        &["status"],
        &["completion", "tcsh"],
    ] {
        let said = vdoctl(wrong);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(!said.err.is_empty(), "{wrong:?}");
    }
    assert_eq!(vdoctl(&["--help"]).code, Some(0));
    assert_eq!(vdoctl(&["--version"]).out, format!("vdoctl {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(vdoctl(&["explain", "Installed"]).code, Some(0));
    assert_eq!(vdoctl(&["explain", "Unheard"]).code, Some(1));
}

#[test]
fn a_matrix_is_looked_through_and_the_exit_code_says_whether_it_can_work() {
    let folder = Folder::new("lint");
    let row = |range: &Value| {
        let entry =
            json!({"k8s": range, "vSphere": {"min": "7.0", "max": "9.0"}, "deploymentPath": ["x.yaml"]});
        json!({"CSI": {"3.7.0": entry}}).to_string()
    };
    let good = folder.file("good.json", &row(&json!({"min": "1.33", "max": "1.35"})));
    let clean = vdoctl(&["matrix", "lint", &good]);
    assert_eq!(clean.code, Some(0), "{}", clean.err);
    assert!(
        clean.out.contains("note: path-ignored at ") && clean.out.contains(": nothing is wrong; "),
        "{}",
        clean.out
    );
    let bad = folder.file("bad.json", &row(&json!({"min": "1.35", "max": "1.33"})));
    let found = vdoctl(&["matrix", "lint", &bad, "-o", "json"]);
    assert_eq!(found.code, Some(1));
    let found: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!((&found["errors"], &found["findings"][0]["rule"]), (&json!(1), &json!("inverted-range")));
    assert_eq!(found["findings"][0]["position"]["line"], 1);
    let missing = vdoctl(&["matrix", "lint", "/nowhere.json"]);
    assert_eq!((missing.code, missing.out.as_str()), (Some(2), ""));
}

#[test]
fn a_matrix_is_explained_and_shown_without_a_cluster() {
    let ask = |words: &[&str]| vdoctl(&[&["matrix", "explain", "--kubernetes", "1.34.1"], words].concat());
    let fits = ask(&["--vsphere", "8.0 U3,7.0.3"]);
    assert_eq!((fits.code, fits.err.as_str()), (Some(0), ""), "{}", fits.out);
    assert!(fits.out.starts_with("CPI: CPI 1.34.0 is the newest release that fits"), "{}", fits.out);
    let none = ask(&["--vsphere", "6.5", "--driver", "csi", "-o", "json"]);
    assert_eq!(none.code, Some(1));
    let answer: Value = serde_json::from_str(&none.out).unwrap();
    assert_eq!((&answer["fits"], &answer["drivers"][0]["driver"]), (&json!(false), &json!("CSI")));

    let folder = Folder::new("matrices");
    let entry = json!({"vSphere": {"min": "7.0.0", "max": "9.9.9"}, "k8s": {"min": "1.30", "max": "1.40"},
        "deploymentPath": ["https://example.com/csi.yaml"]});
    let mine = folder.file("mine.json", &json!({"CSI": {"3.7.0": entry}}).to_string());
    let chosen = ask(&["--vsphere", "8.0.3", "--driver", "csi", "--matrix", &mine]);
    assert_eq!(chosen.code, Some(0), "{}", chosen.err);
    assert!(chosen.out.contains("\n3.7.0    chosen  "), "{}", chosen.out);
    let column = std::fs::read_to_string(&mine).unwrap().find("\"deploymentPath\"").unwrap() + 1;
    let note = format!("note: {mine}:1:{column}: /CSI/3.7.0/deploymentPath is not applied");
    assert!(chosen.err.starts_with(&note), "{}", chosen.err);
    assert_eq!(vdoctl(&["matrix", "show", "--matrix", &mine]).out.lines().count(), 2);
    assert_eq!(vdoctl(&["matrix", "show"]).code, Some(0));
    let written = vdoctl(&["matrix", "show", "-o", "json"]).out;
    let written: Value = serde_json::from_str(&written).unwrap();
    for row in written["rows"].as_array().unwrap() {
        assert!(row["images"][0].as_str().is_some_and(|it| it.starts_with("registry.k8s.io/")), "{row}");
    }
    let mine = vdoctl(&["matrix", "show", "--matrix", &mine, "-o", "json"]).out;
    assert!(!mine.contains("\"images\""), "{mine}");

    let broken = folder.file("broken.json", "{\"CSI\": {");
    for wrong in [&["--vsphere", "8.0.3", "--matrix", &broken][..], &["--vsphere", "eight"], &[]] {
        let said = ask(wrong);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{wrong:?}");
        assert!(!said.err.is_empty(), "{wrong:?}");
    }
}

/// A cluster with CSI 3.7.0, whose matrix is named by this source.
fn with_matrix_of(source: &str) -> Server {
    let server = Server::start(Api::new());
    server.api.put(
        CONFIG,
        json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
            "metadata": {"name": "vdo", "namespace": NAMESPACE, "generation": 1},
            "spec": {"storageProvider": {"vsphereCloudConfig": "vc1"}},
            "status": {
                "gates": {"generation": 1, "kubernetes": "1.34.1", "matrix": {"source": source, "digest": "d"}},
                "csi": {"installed": {"release": "3.7.0", "revision": "r", "since": "2026-03-01T11:58:00Z"}}}}),
    );
    server.api.put(
        "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/vspherecloudconfigs/vc1",
        json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VsphereCloudConfig",
            "metadata": {"name": "vc1", "namespace": NAMESPACE, "generation": 1},
            "spec": {"vcIp": "vc1.example.com", "credentials": "c"},
            "status": {"verified": {"generation": 1, "server": "vc1.example.com", "port": 443, "version": "8.0.3",
                "apiVersion": "8.0.3.0", "build": "1", "datacenters": [],
                "secret": {"namespace": NAMESPACE, "name": "c", "uid": "u", "resourceVersion": "7"},
                "trust": {"mode": "CA", "sha256": "AB", "sha1": "CD"}}}}),
    );
    server
}

#[test]
fn a_cluster_whose_matrix_is_at_an_address_is_answered_for_from_the_copy_that_it_keeps() {
    const URL: &str = "https://matrix.example.com/m?token=hunter2";
    let rows = json!([{"driver": "CSI", "release": "3.7.0", "kubernetes": {"min": "1.30", "max": "1.40"},
        "vsphere": {"min": "7.0"}}]);
    let copy = |url: &str| vdo_core::sources::copy::Copy {
        url: url.to_owned(),
        known: vdo_fetch::Known::default(),
        fetched: "2026-01-02T03:04:05Z".to_owned(),
        is_settled: true,
        bytes: json!({"schemaVersion": 1, "rows": rows}).to_string().into_bytes(),
        signature: None,
    };
    let map = |name: &str| format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}");
    let sources = [
        (
            "ConfigMap/comp-matrix-config",
            map("comp-matrix-config"),
            json!({"data": {"versionConfigURL": URL},
            "apiVersion": "v1", "kind": "ConfigMap"}),
        ),
        (
            "CompatibilityConfig/mine",
            "/apis/vdo.vmware.com/v1alpha1/namespaces/vmware-system-vdo/compatibilityconfigs/mine".to_owned(),
            json!({"spec": {"matrixURL": URL}, "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "CompatibilityConfig"}),
        ),
    ];
    for (source, path, mut object) in sources {
        let server = with_matrix_of(source);
        let name = source.split('/').next_back().unwrap();
        object["metadata"] = json!({"name": name, "namespace": NAMESPACE});
        server.api.put(&path, object);
        let ask = || {
            vdoctl(&[
                "matrix",
                "may-upgrade",
                "--kubernetes",
                "1.39.0",
                "-o",
                "json",
                "--server",
                &server.address,
            ])
        };
        let missing = ask();
        assert_eq!((missing.code, missing.out.as_str()), (Some(2), ""), "{source}");
        assert!(missing.err.contains("give that with --matrix"), "{}", missing.err);
        let keep = |url: &str| {
            server.api.put(
                &map("vdo-matrix-copy"),
                serde_json::to_value(copy(url).to_config_map(NAMESPACE)).unwrap(),
            );
        };
        keep("https://matrix.example.com/other");
        let other = ask();
        assert!(
            other.code == Some(2) && other.err.contains("is the copy of another address"),
            "{}",
            other.err
        );
        keep(URL);
        let said = ask();
        let answer: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{}", said.err));
        assert_eq!((said.code, &answer["mayUpgrade"]), (Some(0), &json!(true)), "{}", said.out);
        let named = format!("{source}, the copy of https://matrix.example.com/m?… of 2026-01-02T03:04:05Z");
        assert_eq!(answer["matrix"], named);
        for said in [missing, other, said] {
            assert!(
                !said.out.contains("hunter2") && !said.err.contains("hunter2"),
                "{}{}",
                said.out,
                said.err
            );
        }
    }
}

#[test]
fn nodes_of_which_a_part_cannot_be_read_are_listed_and_not_called_fine() {
    let server = Server::start(Api::new());
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w-1"},
        "spec": {"providerID": "vsphere://4230a8f3-1c4e-7d21-9f60-0123456789ab"}});
    server.api.put("/api/v1/nodes/w-1", node);
    let ask = || vdoctl(&["nodes", "--server", &server.address]);
    assert_eq!(ask().code, Some(0));
    server.api.script(|seen| seen.path.ends_with("/csinodes").then_some(Reply::Refuse(403, "you may not")));
    let said = ask();
    assert_eq!(said.code, Some(2));
    assert!(
        said.out.contains("\nw-1 ") && said.err.starts_with("vdoctl: the CSINodes cannot be read"),
        "{}",
        said.err
    );
}

#[test]
fn files_contexts_and_users_are_chosen_as_kubectl_chooses_them() {
    let server = Server::start(Api::new());
    let folder = Folder::new("kubeconfigs");
    let first = folder.file("first", &kubeconfig(&server.address, &["a", "b"], "a"));
    let second = folder.file("second", &kubeconfig(&server.address, &["b", "c"], "c"));
    let unset = folder.file("unset", &kubeconfig(&server.address, &["a"], ""));
    let missing = folder.0.join("missing").display().to_string();
    let several = format!("{missing}:{first}::{second}");
    let ask = |listed: &str, more: &[&str]| {
        let asked = said(command(VDOCTL).env("KUBECONFIG", listed).arg("status").args(more));
        (asked.code, asked.err)
    };
    for (listed, more, expected) in [
        (&first, &[][..], "Bearer a"),
        (&several, &[], "Bearer a"),
        (&several, &["--context", "c"], "Bearer c"),
        (&several, &["--user", "b"], "Bearer b"),
        (&several, &["--kubeconfig", &second], "Bearer c"),
        (&several, &["--cluster", "c", "--user", "c"], "Bearer c"),
        (&unset, &["--cluster", "a", "--user", "a"], "Bearer a"),
        (&first, &["--token", "mine"], "Bearer mine"),
        (&missing, &["--server", &server.address, "--token", "mine"], "Bearer mine"),
        (&unset, &["--server", &server.address], ""),
    ] {
        let before = server.api.log().len();
        assert_eq!(ask(listed, more), (Some(1), String::new()), "{listed} {more:?}");
        assert!(server.api.log().len() > before);
        assert_eq!(asked_as(&server.api), expected, "{listed} {more:?}");
    }
    for (listed, more, expected) in [
        (&missing, &[][..], "none of the files that KUBECONFIG names is there"),
        (&first, &["--context", "nowhere"], "nowhere"),
        (&first, &["--cluster", "nowhere"], "nowhere"),
        (&first, &["--user", "nobody"], "the kubeconfig has no user \"nobody\""),
        (&unset, &[], "has no current context"),
        (&first, &["--server", "http://127.0.0.1:1"], "the API server is not available"),
    ] {
        let (code, err) = ask(listed, more);
        assert!(code == Some(2) && err.contains(expected), "{listed} {more:?}: {code:?} {err}");
    }
}

#[test]
fn an_answer_is_waited_for_as_long_as_was_asked() {
    let server = Server::start(Api::new());
    server.api.script(|_| Some(Reply::Hang));
    let begun = std::time::Instant::now();
    let said = vdoctl(&["status", "--server", &server.address, "--request-timeout", "200ms"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("no answer within 0.2 s"), "{}", said.err);
    assert!(begun.elapsed() < vdo_runtime::client::READ_DEADLINE);
}

#[test]
fn kubectl_finds_it_as_a_plug_in_that_speaks_of_itself_as_kubectl_vdo() {
    let folder = Folder::new("plugin");
    let plugin = link(&folder, "kubectl-vdo");
    let help = said(command(&plugin).arg("--help"));
    assert!(
        help.code == Some(0) && help.out.contains("Usage: kubectl vdo [OPTIONS] <COMMAND>"),
        "{}",
        help.out
    );
    assert!(!help.out.contains("vdoctl"), "{}", help.out);
    let help = said(command(&plugin).args(["status", "--help"]));
    assert!(help.out.contains("Usage: kubectl vdo status"), "{}", help.out);
    let wrong = said(command(&plugin).arg("statu"));
    assert!(wrong.code == Some(2) && wrong.err.contains("Usage: kubectl vdo"), "{}", wrong.err);
    let unread = said(command(&plugin).args(["status", "--kubeconfig", "/nowhere/kubeconfig"]));
    assert!(unread.code == Some(2) && unread.err.starts_with("kubectl vdo: "), "{}", unread.err);
    let script = said(command(&plugin).args(["completion", "bash"]));
    assert!(script.code == Some(2) && script.err.contains("kubectl_complete-vdo"), "{}", script.err);

    let server = Server::start(Api::new());
    server.api.put(
        CONFIG,
        json!({"apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig",
        "metadata": {"name": "vdo", "namespace": NAMESPACE, "generation": 1}, "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "reason": "AsWanted", "message": "all work",
                "observedGeneration": 1, "lastTransitionTime": "2026-03-01T11:50:00Z"}],
            "nodes": {"expected": 1, "initialised": 0, "findings": [
                {"reason": "WaitsForCloudProvider", "count": 1, "names": ["w-1"]}]},
        }}),
    );
    let status = said(command(&plugin).args(["status", "--server", &server.address]));
    assert!(status.out.ends_with("`kubectl vdo nodes`\n"), "{}", status.out);

    let completion = link(&folder, "kubectl_complete-vdo");
    let offered = said(command(&completion).args(["sta"]));
    let line = "status\tSays how the drivers of a cluster are, and what to do next. Exit code 0: ready; 1: not ready\n:4\n";
    assert_eq!((offered.code, offered.out.as_str()), (Some(0), line));
}

#[test]
fn bash_completes_with_the_script() {
    let folder = Folder::new("completion");
    let script = folder.file("vdoctl.bash", &vdoctl(&["completion", "bash"]).out);
    let complete = |words: &str, last: usize| {
        let line = format!(
            "source {script}; COMP_WORDS=({words}); COMP_CWORD={last}; _vdoctl vdoctl \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let said = said(Command::new("bash").args(["--norc", "-c", &line]));
        assert_eq!(said.err, "");
        said.out.trim().to_owned()
    };
    assert_eq!(complete("vdoctl stat", 1), "status");
    assert_eq!(complete("vdoctl status --wat", 2), "--watch");
    assert_eq!(complete("vdoctl nodes -o ''", 3), "wide json yaml");
}

#[test]
fn a_watch_ends_with_ctrl_c_and_answers_as_the_last_look_did() {
    for (status, code) in [("True", 0), ("False", 1)] {
        let server = Server::start(Api::new());
        ready(&server.api, status);
        let mut watch = command(VDOCTL)
            .args(["status", "--watch", "--server", &server.address])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("--- 20"), "when it was");
        assert!(lines.next().unwrap().unwrap().contains("eady: "));
        let interrupt = Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap();
        assert!(interrupt.success());
        assert_eq!(watch.wait().unwrap().code(), Some(code));
        let mut err = String::new();
        watch.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(err, "");
    }
}

#[test]
fn colours_and_progress_are_for_terminals_only() {
    let server = Server::start(Api::new());
    ready(&server.api, "True");
    let status =
        |more: &[&str]| said(command(VDOCTL).args(["status", "--server", &server.address]).args(more)).out;
    assert!(!status(&[]).contains('\u{1b}'));
    assert!(!status(&["--color", "never"]).contains('\u{1b}'));
    assert!(status(&["--color", "always"]).starts_with("\u{1b}[32mReady\u{1b}[0m: CSI works"));
    let json: Value = serde_json::from_str(&status(&["--color", "always", "-o", "json"])).unwrap();
    assert_eq!(json["ready"], true);
}
