//! What an operator would apply, worked out from a file and without a cluster.
//!
//! The VsphereCloudConfigs count as verified with what they say themselves. What only a cluster knows is assumed,
//! and each assumption is a flag.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use vdo_api::names::CLUSTER_ID_CONFIG_MAP;
use vdo_api::vcenter::{Trust, TrustMode, Verified};
use vdo_api::{VsphereCloudConfig, names};
use vdo_compat::{Driver, KubernetesVersion, Release};
use vdo_plan::credentials;
use vdo_plan::driver::reasons as driver;
use vdo_plan::vcenter::{VcenterFacts, reasons};
use vdo_plan::{Finding, Object, Reading, Revision, Verdict};
use vsphere_client::{Thumbprint, ThumbprintError};

use crate::bundle::Bundle;

/// The key of the ids in names. Offline there is no journal that could keep a secret one.
const OFFLINE_KEY: [u8; 32] = [0; 32];
/// What stands in the place of a value of a Secret.
const PLACEHOLDER: &str = "(not shown; use --show-secrets)";

/// What stands in the place of a user; a name that the drivers take.
const PLACEHOLDER_USER: &str = "not-shown@example.invalid";

/// What is rendered, and what is assumed about the cluster.
#[derive(Clone, Debug)]
pub struct Request {
    /// The driver.
    pub driver: Driver,
    /// Its release.
    pub release: Release,
    /// The version of the cluster, if the release shall be compared with it.
    pub kubernetes: Option<KubernetesVersion>,
    /// What kind of cluster it is.
    pub distribution: Option<String>,
    /// How many control-plane nodes there are.
    pub control_plane_nodes: usize,
    /// Whether the API of snapshots is served.
    pub snapshots: Reading<()>,
    /// Whether the cloud provider may delete nodes.
    pub node_deletion: cpi_operator::inputs::NodeDeletion,
    /// The UID of the namespace `kube-system`, which becomes CSI's cluster id unless one is recorded.
    pub cluster_uid: String,
    /// Whether what Secrets hold is rendered.
    pub secrets: Secrets,
}

/// A rendering, and what its reader should know.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The objects, in stages.
    pub revision: Revision,
    /// What was assumed, and what the operator would advise.
    pub notes: Vec<String>,
}

/// Renders, or says everything that stands in the way.
pub fn render(bundle: &Bundle, request: &Request) -> Result<Rendering, Vec<Finding>> {
    let spec = &bundle.config.spec;
    let (wanted, names) = match request.driver {
        Driver::Cpi => (spec.wants_cpi(), spec.cpi_vcenters()),
        Driver::Csi => (spec.wants_csi(), spec.csi_vcenters()),
    };
    if !wanted {
        let message =
            format!("the VDOConfig does not ask for {}; {}", request.driver, driver::NOT_WANTED.remedy);
        return Err(vec![Finding::hold(&driver::NOT_WANTED, message)]);
    }
    let mut notes: Vec<String> =
        bundle.unused.iter().map(|what| format!("{what} is not looked at")).collect();
    let mut findings = Vec::new();
    let mut facts = Vec::new();
    for name in names {
        match vcenter(bundle, name, request, &mut notes) {
            Ok(known) => facts.push(known),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    notes.extend(misfit(request));
    let mut revision = revision(bundle, request, &facts, &mut notes)?;
    if request.secrets == Secrets::Hidden {
        // Some names carry a digest of what is configured, and offline its key is no secret. So a hidden password
        // is not rendered either; that also keeps the placeholder from taking the name of the real thing.
        facts.iter_mut().for_each(mask);
        revision = self::revision(bundle, request, &facts, &mut Vec::new())?;
    }
    Ok(Rendering { revision, notes })
}

fn revision(
    bundle: &Bundle,
    request: &Request,
    vcenters: &[VcenterFacts],
    notes: &mut Vec<String>,
) -> Result<Revision, Vec<Finding>> {
    match request.driver {
        Driver::Cpi => cpi(bundle, request, vcenters),
        Driver::Csi => csi(bundle, request, vcenters, notes),
    }
}

/// Puts placeholders into the place of user and password.
fn mask(vcenter: &mut VcenterFacts) {
    if let Reading::Present(secret) = &mut vcenter.secret
        && let Ok(credentials) = &mut secret.content
    {
        credentials.username = PLACEHOLDER_USER.to_owned();
        credentials.password = PLACEHOLDER.to_owned().into();
    }
}

fn cpi(bundle: &Bundle, request: &Request, vcenters: &[VcenterFacts]) -> Result<Revision, Vec<Finding>> {
    let facts = cpi_operator::inputs::Facts {
        spec: &bundle.config.spec,
        vcenters,
        node_deletion: request.node_deletion,
    };
    let inputs = cpi_operator::inputs::Inputs::resolve(request.release, &facts)?;
    Ok(cpi_operator::render::render(&inputs, &OFFLINE_KEY))
}

fn csi(
    bundle: &Bundle,
    request: &Request,
    vcenters: &[VcenterFacts],
    notes: &mut Vec<String>,
) -> Result<Revision, Vec<Finding>> {
    use csi_operator::inputs::{Cluster, ClusterIdSources, Facts, Inputs};
    let recorded = bundle.text(CLUSTER_ID_CONFIG_MAP, csi_operator::inputs::cluster_id::DRIVERS_KEY);
    if recorded.is_none() {
        notes.push(format!(
            "the cluster id is assumed to be {}; in a cluster it is the UID of kube-system (--cluster-uid)",
            request.cluster_uid
        ));
    }
    let vcenter = vcenters.first().cloned().expect("a storage provider names one VsphereCloudConfig");
    let facts = Facts {
        release: request.release,
        spec: &bundle.config.spec,
        vcenter,
        cluster: Cluster {
            nodes: request.control_plane_nodes,
            control_plane_nodes: request.control_plane_nodes,
            kubelet_root: None,
            distribution: request.distribution.clone(),
            snapshot_api: request.snapshots.clone(),
            kept: None,
        },
        cluster_id: ClusterIdSources {
            recorded: Reading::from(recorded.map(str::to_owned)),
            drivers_own: Reading::Absent,
            earlier_secret: Reading::Absent,
            kube_system: Reading::Present(request.cluster_uid.clone()),
        },
    };
    let inputs = Inputs::resolve(&facts)?;
    notes.extend(inputs.advice.iter().map(|finding| finding.message.clone()));
    Ok(csi_operator::render::render(&inputs, &OFFLINE_KEY))
}

/// What vdo-core would have verified, taken from what the object says itself.
fn vcenter(
    bundle: &Bundle,
    name: &str,
    request: &Request,
    notes: &mut Vec<String>,
) -> Result<VcenterFacts, Finding> {
    let Some(config) = bundle.vcenter(name) else {
        return Ok(VcenterFacts {
            name: name.to_owned(),
            config: Reading::Absent,
            secret: Reading::Absent,
            ca: Reading::Absent,
        });
    };
    let mut config = config.clone();
    let generation = *config.metadata.generation.get_or_insert(1);
    let Some(secret) = bundle.credentials(&config.spec.credentials) else {
        return Err(Finding::hold(
            &vdo_core::reasons::SECRET_MISSING,
            format!(
                "VsphereCloudConfig {name} names Secret {}, which is not in the input; add it",
                config.spec.credentials
            ),
        ));
    };
    let secret = credentials::read(&secret);
    let trust = trust(&config, name, request.driver)?;
    let ca = trust.ca_ref.as_ref().and_then(|ca| bundle.text(&ca.name, &ca.key)).map(str::to_owned);
    if config.spec.datacenters.is_empty() && request.driver == Driver::Cpi {
        notes.push(format!(
            "VsphereCloudConfig {name} names no datacenter, so none is written; the operator writes all that it finds"
        ));
    }
    let verified = Verified {
        generation,
        server: config.spec.server(),
        port: i32::from(config.spec.effective_port()),
        secret: secret.version.clone(),
        trust,
        version: String::new(),
        api_version: String::new(),
        build: String::new(),
        datacenters: config.spec.datacenters.clone(),
    };
    config.status.get_or_insert_default().verified = Some(verified);
    Ok(VcenterFacts {
        name: name.to_owned(),
        config: Reading::Present(config),
        secret: Reading::Present(secret),
        ca: Reading::from(ca),
    })
}

/// How the object says that its vCenter is trusted.
fn trust(config: &VsphereCloudConfig, name: &str, driver: Driver) -> Result<Trust, Finding> {
    let spec = &config.spec;
    let mut trust =
        Trust { mode: TrustMode::Insecure, sha256: String::new(), sha1: String::new(), ca_ref: None };
    if spec.insecure {
        return Ok(trust);
    }
    match spec.thumbprint.as_deref().map(Thumbprint::parse) {
        None | Some(Err(ThumbprintError::Empty)) => {
            trust.mode = TrustMode::Ca;
            trust.ca_ref = spec.ca_ref.clone();
        }
        Some(Ok(thumbprint)) => {
            trust.mode = TrustMode::Thumbprint;
            (trust.sha1, trust.sha256) = both_forms(config, thumbprint);
        }
        Some(Err(error)) => {
            return Err(Finding::hold(
                &vdo_core::reasons::TRUST_SETTINGS_INVALID,
                format!("VsphereCloudConfig {name}: spec.thumbprint cannot be read: {error}; correct it"),
            ));
        }
    }
    let (form, wants) = match driver {
        Driver::Cpi => (&trust.sha1, "SHA-1"),
        Driver::Csi => (&trust.sha256, "SHA-256"),
    };
    if trust.mode != TrustMode::Thumbprint || !form.is_empty() {
        return Ok(trust);
    }
    Err(Finding::hold(
        &reasons::VCENTER_NOT_VERIFIED,
        format!(
            "VsphereCloudConfig {name}: {driver} compares the {wants} fingerprint, which vdo-core learns from the \
             vCenter; write it into spec.thumbprint, or give the object with its status.presented"
        ),
    ))
}

/// The SHA-1 and the SHA-256 form of a fingerprint. The spec has one; the other is known if the vCenter has shown that
/// very certificate.
fn both_forms(config: &VsphereCloudConfig, thumbprint: Thumbprint) -> (String, String) {
    let presented = config.status.as_ref().and_then(|status| status.presented.as_ref());
    let shown = presented.map(|it| (Thumbprint::parse(&it.sha1), Thumbprint::parse(&it.sha256)));
    match (thumbprint, shown) {
        (one, Some((Ok(sha1), Ok(sha256)))) if one == sha1 || one == sha256 => {
            (sha1.to_string(), sha256.to_string())
        }
        (Thumbprint::Sha1(_), _) => (thumbprint.to_string(), String::new()),
        (Thumbprint::Sha256(_), _) => (String::new(), thumbprint.to_string()),
    }
}

/// What the built-in matrix says about this release on this Kubernetes.
fn misfit(request: &Request) -> Option<String> {
    let kubernetes = request.kubernetes?;
    let row = vdo_compat::builtin::matrix().row(request.driver, request.release)?;
    let cluster = vdo_compat::Cluster { kubernetes, vcenters: Vec::new() };
    let misfit = vdo_compat::misfit(row, &cluster, row.marks.channel)
        // Offline no vCenter has a version.
        .filter(|misfit| misfit.why != vdo_compat::Why::NoVcenterKnown)
        .map(|misfit| vdo_compat::explain::misfit(&misfit));
    let outside = || vdo_compat::outside_of_recommended(row, &cluster);
    let said = misfit.or_else(|| Some(vdo_compat::explain::made_for(row, &outside()?)))?;
    Some(format!("{said}; the operator would not choose it by itself"))
}

/// Whether the values of Secrets are rendered and printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// As they are applied.
    Shown,
    /// Each replaced by a placeholder that still applies.
    Hidden,
}

/// The objects as YAML that `kubectl apply` takes, in the order in which the operator applies them.
pub fn manifest(revision: &Revision, driver: Driver, secrets: Secrets) -> anyhow::Result<String> {
    let mut text = format!("# {driver} {}, as {} would apply it\n", revision.key.release, operator(driver));
    let stages = revision.stages.len();
    for (number, stage) in revision.stages.iter().enumerate() {
        text.push_str(&format!("# Stage {} of {stages}: {}\n", number + 1, stage.name));
        for object in &stage.objects {
            text.push_str("---\n");
            text.push_str(&crate::yaml::write(&shown(object, secrets))?);
        }
    }
    Ok(text)
}

fn operator(driver: Driver) -> &'static str {
    match driver {
        Driver::Cpi => names::CPI_MANAGER,
        Driver::Csi => names::CSI_MANAGER,
    }
}

/// The content of an object. What may be shown of a Secret is decided where objects are made; here it only becomes
/// base64 again, so that it applies.
fn shown(object: &Object, secrets: Secrets) -> Value {
    if secrets == Secrets::Shown || object.reference().kind != "Secret" {
        return object.value().clone();
    }
    let mut redacted = object.redacted();
    for (part, placeholder) in
        [("data", STANDARD.encode(PLACEHOLDER)), ("stringData", PLACEHOLDER.to_owned())]
    {
        for (_, value) in redacted.get_mut(part).and_then(Value::as_object_mut).into_iter().flatten() {
            *value = Value::from(placeholder.as_str());
        }
    }
    redacted
}

/// A finding in words.
pub fn said(finding: &Finding) -> String {
    let word = match finding.verdict {
        Verdict::Advise => "note",
        Verdict::Hold | Verdict::HandsOff => finding.reason.name,
    };
    format!("{word}: {}", finding.message)
}
