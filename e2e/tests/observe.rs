//! What a real Prometheus sees of the operators: the chart's Services found, every metric, the alerts and the dashboard; and
//! what is logged, which is changed while they run. And, on the same bed, that a vCenter beyond the matrix moves nothing.

#![allow(clippy::unwrap_used)]

#[path = "daytwo/house.rs"]
#[allow(dead_code, reason = "each story uses some of it")]
mod house;
// Told last: one bed with both drivers is enough.
#[path = "daytwo/beyond.rs"]
mod z_beyond;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::checkout;
use e2e::crd::NAMESPACE;
use e2e::http::ask_operator;
use e2e::plot::{Axis, Panel, draw};
use e2e::prometheus::{Prometheus, Series};
use e2e::stand::{
    CONFIG, OPERATORS, VCENTER, apply_secret, await_condition, operator_pods, rendered_objects,
};
use serde_json::{Value, json};
use testbed::bed::Bed;
use testbed::wait::eventually;

use crate::house::{CPI, CSI, NEW, SOON, applied, chapter, installed, passes, patch, pods, put_back};

const VALUES: &[&str] = &["cpi-operator.rolloutSoakSeconds=4", "csi-operator.rolloutSoakSeconds=4"];
/// How long an alert has to be true in this bed: nobody waits for an hour here.
const FOR: &str = "3s";
const A_WHILE: Duration = Duration::from_secs(60);

/// Prometheus as docs/metrics.md says and with the rules of the chart, started once.
fn prometheus(bed: &Bed) -> &'static Prometheus {
    static PROMETHEUS: OnceLock<Prometheus> = OnceLock::new();
    PROMETHEUS.get_or_init(|| {
        Prometheus::start(bed, &scrape(bed), &rules(bed)).unwrap_or_else(|error| panic!("{error:#}"))
    })
}

/// What is scraped, as the configuration of docs/metrics.md finds it. Debian builds Prometheus without the discovery in
/// Kubernetes, so the rules of the page are applied here, to the EndpointSlices and Services that there are.
fn scrape(bed: &Bed) -> Value {
    let page = fs::read_to_string(checkout("docs/metrics.md")).unwrap();
    let block = page.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let block: Value = serde_saphyr::from_str(block).unwrap();
    let job = &block["scrape_configs"][0];
    assert_eq!(job["kubernetes_sd_configs"][0]["role"], "endpointslice");
    let namespace = job["kubernetes_sd_configs"][0]["namespaces"]["names"][0].as_str().unwrap();
    let keeps = |label: &str, value: &str| {
        let rules = job["relabel_configs"].as_array().unwrap().iter();
        let mut rules = rules.filter(|it| it["source_labels"][0] == label && it["action"] == "keep");
        rules.next().unwrap_or_else(|| panic!("no rule for {label}"))["regex"] == value
    };
    let items = |kind: &str| bed.get(&[kind, "-n", namespace]).unwrap()["items"].as_array().unwrap().clone();
    let services = items("services");
    let service = |name: &Value| services.iter().find(|it| it["metadata"]["name"] == *name);
    let mut targets = Vec::new();
    for slice in items("endpointslices") {
        let owner = service(&slice["metadata"]["labels"]["kubernetes.io/service-name"]);
        let part_of = owner.and_then(|it| it["metadata"]["labels"]["app.kubernetes.io/part-of"].as_str());
        let port = &slice["ports"][0];
        if !keeps("__meta_kubernetes_service_label_app_kubernetes_io_part_of", part_of.unwrap_or_default())
            || !keeps("__meta_kubernetes_endpointslice_port_name", port["name"].as_str().unwrap_or_default())
        {
            continue;
        }
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let address = format!("{}:{}", endpoint["addresses"][0].as_str().unwrap(), port["port"]);
            targets.push(json!({"targets": [address], "labels": {"pod": endpoint["targetRef"]["name"]}}));
        }
    }
    json!({"scrape_configs": [{"job_name": "vdo", "static_configs": targets}]})
}

/// The rules as the chart makes them, with a shorter patience.
fn rules(bed: &Bed) -> Value {
    let rendered = rendered(bed, "PrometheusRule");
    let mut groups = rendered["spec"].clone();
    for rule in groups["groups"][0]["rules"].as_array_mut().unwrap() {
        rule["for"] = FOR.into();
    }
    groups
}

/// The one object of a kind that the chart makes with everything switched on.
fn rendered(bed: &Bed, kind: &str) -> Value {
    let all = ["--set", "alerts.enabled=true,dashboard.enabled=true"];
    let objects = rendered_objects(bed, "vdo", &all).unwrap();
    objects.into_iter().find(|object| object["kind"] == kind).unwrap()
}

/// The names of all metrics, from the tables of the page.
fn documented() -> Vec<(String, String)> {
    let page = fs::read_to_string(checkout("docs/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').to_owned();
        Some((name, cells.next()?.to_owned()))
    });
    rows.collect()
}

/// Waits until exactly these alerts fire.
fn firing(bed: &Bed, wanted: &[&str]) {
    let prometheus = prometheus(bed);
    eventually(A_WHILE, &format!("exactly {wanted:?} fire"), || {
        let now = prometheus.firing()?;
        ensure!(now == wanted, "{now:?}");
        Ok(())
    });
}

#[test]
fn prometheus_finds_every_operator_and_answers_for_every_documented_metric() {
    chapter(NEW, |bed| {
        let prometheus = prometheus(bed);
        eventually(A_WHILE, "both replicas of every operator are scraped", || {
            let targets = prometheus.targets()?;
            ensure!(targets.len() == 6 && targets.iter().all(|(_, up)| *up), "{targets:?}");
            Ok(())
        });
        for operator in OPERATORS {
            let seen = prometheus.query(&format!("vdo_build_info{{operator=\"{operator}\"}}")).unwrap();
            assert_eq!(seen.len(), 2, "{operator}: {seen:?}");
            let leading = prometheus.query(&format!("sum(vdo_leading{{operator=\"{operator}\"}})")).unwrap();
            assert_eq!(leading[0].1, 1.0, "{operator}");
        }
        // Something to tell: a repair, a node that is no machine of the vCenter, an event for each.
        patch(
            bed,
            CPI,
            "daemonset/vsphere-cloud-controller-manager",
            "somebody",
            &json!({
            "metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}}),
        );
        let stranger = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "stranger"},
            "spec": {"taints": [{"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}]}});
        bed.kubectl_with(&["apply", "-f", "-"], &stranger.to_string()).unwrap();
        let pause = "vdo.vmware.com/paused-until";
        let all = documented();
        assert!(all.len() >= 25, "{all:?}");
        // What is found, and what is repaired, is seen one after the other.
        let mut silent: BTreeSet<String> = all
            .iter()
            .map(|(name, kind)| if kind == "histogram" { format!("{name}_count") } else { name.clone() })
            .collect();
        let mut look = |what: &str, is_enough: &dyn Fn(&BTreeSet<String>) -> bool| {
            eventually(SOON, what, || {
                let mut answered = Vec::new();
                for name in &silent {
                    if !prometheus.query(name)?.is_empty() {
                        answered.push(name.clone());
                    }
                }
                silent.retain(|name| !answered.contains(name));
                ensure!(is_enough(&silent), "nothing of {silent:?}");
                Ok(())
            });
        };
        look("a repair and a finding about a node are seen", &|left| {
            !left.contains("vdo_drift_repairs_total") && !left.contains("vdo_node_findings")
        });
        bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, &format!("{pause}=2100-01-01T00:00:00Z")])
            .unwrap();
        look("every documented metric is answered", &BTreeSet::is_empty);
        bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, &format!("{pause}-")]).unwrap();
        println!("{} metrics answered", all.len());
        bed.kubectl(&["delete", "node", "stranger"]).unwrap();
        installed(bed, NEW);
    });
}

#[test]
fn nothing_that_is_scraped_grows_with_the_cluster_or_is_undocumented() {
    chapter(NEW, |bed| {
        let pods = bed.get(&["pods", "-n", NAMESPACE]).unwrap();
        let documented: BTreeSet<String> = documented().into_iter().map(|(name, _)| name).collect();
        let nodes = bed.get(&["nodes"]).unwrap();
        let nodes = nodes["items"].as_array().unwrap().iter();
        let mut private: Vec<&str> = nodes.map(|node| node["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(private.len(), 3, "{private:?}");
        private.push(&bed.vcenter(1).user);
        for pod in pods["items"].as_array().unwrap() {
            let address = pod["status"]["podIP"].as_str().unwrap();
            let text = ask_operator(address, "/metrics", Duration::from_secs(5)).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
                let name = line.split(' ').next().unwrap();
                assert!(documented.contains(name), "{name} is not in docs/metrics.md");
            }
            let series = text.lines().filter(|line| !line.starts_with('#')).count();
            assert!(series < 250, "{series} series of one pod");
            let unwanted: Vec<&&str> = private.iter().filter(|name| text.contains(**name)).collect();
            assert!(unwanted.is_empty(), "{unwanted:?} are in {text}");
        }
    });
}

#[test]
fn a_refused_password_fires_its_alert_and_a_good_one_ends_it() {
    chapter(NEW, |bed| {
        let prometheus = prometheus(bed);
        let all = rendered(bed, "PrometheusRule")["spec"]["groups"][0]["rules"].as_array().unwrap().len();
        eventually(A_WHILE, "the rules are loaded", || {
            let rules = prometheus.rules()?;
            ensure!(rules == all, "{rules} of {all}");
            Ok(())
        });
        firing(bed, &[]);
        let vcenter = bed.vcenter(1).clone();
        let password = vcenter.password().unwrap();
        apply_secret(bed, &vcenter.user, "of yesterday");
        await_condition(bed, "vcc", VCENTER, "CredentialsValid", "False", SOON);
        // What is installed has the good password and works on, and will not for ever; and nothing new is rolled out. With the
        // patience of the chart the others follow after ten minutes and after an hour.
        firing(bed, &["VDOCredentialsRejected", "VDODegraded", "VDOHeldForLong"]);
        apply_secret(bed, &vcenter.user, &password);
        await_condition(bed, "vcc", VCENTER, "CredentialsValid", "True", SOON);
        firing(bed, &[]);
    });
}

/// The name of a line, as the panel's legend makes it.
fn legend(pattern: &str, labels: &Value) -> String {
    let mut text = pattern.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        text = text.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
    }
    // A label that is empty is none.
    while let Some((before, rest)) = text.split_once("{{") {
        text = format!("{before}{}", rest.split_once("}}").map_or("", |(_, after)| after));
    }
    text
}

#[test]
fn the_dashboard_asks_what_prometheus_answers_and_is_drawn() {
    chapter(NEW, |bed| {
        let prometheus = prometheus(bed);
        let map = rendered(bed, "ConfigMap");
        let dashboard: Value = serde_json::from_str(map["data"]["vdo.json"].as_str().unwrap()).unwrap();
        // A rate needs some scrapes.
        let began = passes(bed, "vdo-core").unwrap();
        eventually(SOON, "an operator went on working meanwhile", || {
            bed.kubectl(&[
                "annotate",
                "vdo",
                CONFIG,
                "-n",
                NAMESPACE,
                "--overwrite",
                "neighbour.example/knock=1",
            ])?;
            bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "neighbour.example/knock-"])?;
            let now = passes(bed, "vdo-core")?;
            ensure!(now > began + 10, "{now} passes after {began}");
            Ok(())
        });
        let mut panels = Vec::new();
        let mut empty = Vec::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap().to_owned();
            let mut lines: Vec<(String, Series)> = Vec::new();
            for target in panel["targets"].as_array().unwrap() {
                let query = target["expr"].as_str().unwrap();
                let found = prometheus.range(query, 240).unwrap_or_else(|error| panic!("{title}: {error:#}"));
                let pattern = target["legendFormat"].as_str().unwrap();
                lines.extend(found.into_iter().map(|it| (legend(pattern, &it.labels), it)));
            }
            if lines.is_empty() {
                empty.push(title.clone());
            }
            panels.push(Panel { title, lines });
        }
        let picture = draw(&panels, Axis::Time).unwrap();
        let file = checkout("target/ci/dashboard.svg");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, picture).unwrap();
        println!("{} panels are drawn in {}", panels.len(), file.display());
        // Nothing is wrong here, so what shows only faults may be empty.
        let may_be: Vec<&str> =
            vec!["What holds or is to be seen to", "Answers that are none", "Drift repairs"];
        empty.retain(|title| !may_be.contains(&title.as_str()));
        assert!(empty.is_empty(), "nothing to see: {empty:?}");
    });
}

/// What the operators of a name have printed.
fn logs(bed: &Bed, operator: &str) -> Result<String> {
    let mut text = String::new();
    for pod in operator_pods(bed, operator)? {
        text.push_str(&bed.container_log(NAMESPACE, pod["metadata"]["name"].as_str().unwrap(), operator)?);
    }
    Ok(text)
}

#[test]
fn what_is_logged_is_changed_by_an_annotation_and_back_without_a_restart() {
    chapter(NEW, |bed| {
        let before = pods(bed, NAMESPACE);
        // Whoever sends what is no request is told of at the level debug, and at no other.
        let knock = |operator: &str| {
            for pod in operator_pods(bed, operator).unwrap() {
                let mut stream =
                    TcpStream::connect((pod["status"]["podIP"].as_str().unwrap(), 8080)).unwrap();
                stream.write_all(b"this is no request\r\n\r\n").unwrap();
                stream.read_to_end(&mut Vec::new()).ok();
            }
        };
        let told =
            |operator: &str| Ok::<_, anyhow::Error>(logs(bed, operator)?.matches("connection ended").count());
        let changes = |operator: &str| {
            Ok::<_, anyhow::Error>(logs(bed, operator)?.matches("what is logged was changed").count())
        };
        for (argument, wanted) in [("vdo.vmware.com/log=debug", 1), ("vdo.vmware.com/log-", 2)] {
            for operator in OPERATORS {
                let quiet = told(operator).unwrap();
                knock(operator);
                assert!(
                    wanted == 2 || told(operator).unwrap() == quiet,
                    "{operator} says more than it was asked to"
                );
            }
            bed.kubectl(&["annotate", "vdo", CONFIG, "-n", NAMESPACE, "--overwrite", argument]).unwrap();
            for operator in OPERATORS {
                eventually(A_WHILE, &format!("{operator} follows {argument}"), || {
                    let said = changes(operator)?;
                    ensure!(said == wanted, "{said} changes of {wanted}");
                    Ok(())
                });
                if wanted == 1 {
                    eventually(A_WHILE, &format!("{operator} says more"), || {
                        knock(operator);
                        ensure!(told(operator)? > 0, "nothing");
                        Ok(())
                    });
                }
            }
        }
        assert_eq!(pods(bed, NAMESPACE), before);
    });
}

/// The events about the VDOConfig with this reason and these words.
fn events(bed: &Bed, reason: &str, words: &[&str]) -> Result<Vec<Value>> {
    let all = bed.get(&["events.events.k8s.io", "-n", NAMESPACE])?;
    let all = all["items"].as_array().into_iter().flatten();
    let about = all.filter(|it| it["regarding"]["name"] == CONFIG && it["reason"] == reason);
    let has =
        |it: &&Value| words.iter().all(|word| it["note"].as_str().is_some_and(|note| note.contains(word)));
    Ok(about.filter(has).cloned().collect())
}

/// Its name puts it after the others: what was told in all of them is looked at, too.
#[test]
fn words_that_are_told_again_are_one_event_that_counts_and_none_failed_to_be_written() {
    chapter(NEW, |bed| {
        let before = applied(bed, "csi");
        let words = ["vsphere-csi-node", "the-other-tool"];
        for time in 1..=2 {
            let label = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "the-other-tool"}}});
            patch(bed, CSI, "daemonset/vsphere-csi-node", "the-other-tool", &label);
            put_back(bed, "csi", &before);
            eventually(A_WHILE, "it is told, once", || {
                let events = events(bed, "DriftRepaired", &words)?;
                let [event] = &events[..] else { bail!("{events:#?}") };
                // The first time it stands alone.
                let series = &event["series"];
                let count = if series.is_null() { 1 } else { series["count"].as_i64().unwrap_or_default() };
                ensure!(count == time, "{event:#}");
                ensure!(time == 1 || series["lastObservedTime"].is_string(), "{event:#}");
                Ok(())
            });
        }
        for result in ["written", "counted"] {
            assert!(results(bed, result).unwrap() > 0, "no event was {result}");
        }
        assert_eq!(results(bed, "failed").unwrap(), 0);
    });
}

/// Of how many events this became, as all operators count.
fn results(bed: &Bed, result: &str) -> Result<u64> {
    let start = format!("vdo_events_total{{result=\"{result}\",");
    let mut sum = 0;
    let pods = OPERATORS.iter().map(|operator| operator_pods(bed, operator));
    for pod in pods.collect::<Result<Vec<_>>>()?.concat() {
        let address = pod["status"]["podIP"].as_str().context("a pod without an address")?;
        let text = ask_operator(address, "/metrics", Duration::from_secs(5))?;
        let counters = text.lines().filter(|line| line.starts_with(&start));
        sum += counters.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(sum)
}
