//! `e2e/bad-input.toml` as the story reads it: what is sent. The crate `generate` checks the table as a whole.

use e2e::checkout;
use e2e::crd::{compatibility, vcenter, vdo};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
pub struct Table {
    /// How many rows there are.
    pub rows: usize,
    pub row: Vec<Row>,
}

/// One thing that a user can get wrong.
#[derive(Deserialize)]
pub struct Row {
    pub id: String,
    pub kind: String,
    pub field: String,
    pub answer: String,
    #[serde(default)]
    pub says: String,
    /// What the API server refuses.
    #[serde(default)]
    pub case: Vec<Case>,
    /// What it accepts.
    #[serde(default)]
    pub fine: Vec<Case>,
}

/// A value, in one of several forms.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    value: Option<Value>,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    null: bool,
    long: Option<Long>,
    items: Option<usize>,
    networks: Option<usize>,
    /// Where the refusal points, if not to the field.
    pub at: Option<String>,
    /// The words of the refusal, if not those of the row.
    pub says: Option<String>,
    /// What no answer repeats.
    pub never: Option<String>,
    /// Further fields of the spec, of the good object and of the faulty one.
    #[serde(default)]
    pub also: Map<String, Value>,
}

/// A text with a part that is repeated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    #[serde(default)]
    start: String,
    of: String,
    times: usize,
    #[serde(default)]
    end: String,
}

impl Table {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(checkout("e2e/bad-input.toml")).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The kinds of answer, with how many rows have each.
    pub fn answers(&self) -> Vec<(&str, usize)> {
        let mut answers: Vec<(&str, usize)> = Vec::new();
        for row in &self.row {
            match answers.iter_mut().find(|(answer, _)| *answer == row.answer) {
                Some((_, count)) => *count += 1,
                None => answers.push((&row.answer, 1)),
            }
        }
        answers
    }
}

impl Row {
    /// An object of this kind without a fault, with the further fields of a case.
    pub fn good(&self, name: &str, case: &Case) -> Value {
        let mut object = match self.kind.as_str() {
            "VsphereCloudConfig" => vcenter(name, &good_vcenter()),
            "VDOConfig" => vdo(name, &good_vdo()),
            "CompatibilityConfig" => {
                compatibility(name, &json!({"matrixURL": "https://matrix.example.com/m"}))
            }
            kind => panic!("{}: no object of kind {kind} is sent", self.id),
        };
        object["spec"].as_object_mut().unwrap().extend(case.also.clone());
        object
    }

    /// The same object with the value of the case in the field.
    pub fn with(&self, mut object: Value, case: &Case) -> Value {
        let pointer = format!("/{}", self.field.replace('[', ".").replace(']', "").replace('.', "/"));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{}: no {parent}", self.id));
        match case.value(&self.id) {
            Some(value) => parent[key] = value,
            None => drop(parent.as_object_mut().unwrap().remove(key)),
        }
        object
    }
}

impl Case {
    /// The value, unless the field is left out.
    fn value(&self, id: &str) -> Option<Value> {
        let long = self.long.as_ref().map(|it| json!(it.start.clone() + &it.of.repeat(it.times) + &it.end));
        let names = |count| json!((0..count).map(|number| format!("DC{number}")).collect::<Vec<_>>());
        let network = |number| json!({"ips": format!("10.{number}.0.0/16"), "permissions": "READ_ONLY"});
        let networks = |count| json!((0..count).map(network).collect::<Vec<_>>());
        let forms = [
            self.value.clone(),
            self.null.then_some(Value::Null),
            long,
            self.items.map(names),
            self.networks.map(networks),
        ];
        let mut forms = forms.into_iter().flatten();
        let value = forms.next();
        assert!(forms.next().is_none() && value.is_none() == self.absent, "{id}: a case has one value");
        value
    }
}

pub fn good_vcenter() -> Value {
    json!({"vcIp": "vc.example.com", "insecure": false, "credentials": "vc-creds", "datacenters": ["DC0"]})
}

pub fn good_vdo() -> Value {
    json!({
        "cloudProvider": {"vsphereCloudConfigs": ["vc"], "topology": {"region": "k8s-region", "zone": "k8s-zone"}},
        "storageProvider": {"vsphereCloudConfig": "vc", "customKubeletPath": "/var/lib/kubelet", "fileVolumes": {
            "vsanDataStoreUrl": ["ds:///vmfs/volumes/vsan:52cdfa80721ff516-ea1e993113acfc77/"],
            "netPermissions": [{"ips": "10.0.0.0/8", "permissions": "READ_ONLY", "rootSquash": true}],
        }},
    })
}
