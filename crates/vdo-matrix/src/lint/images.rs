//! What the images are that a row runs. No operator pulls them by this list; their author may, and should
//! know.

use vdo_compat::{Driver, Release, Row};

use super::{Notes, rows_of};
use crate::known;
use crate::parse::Parsed;
use crate::rule::Rule;

pub(super) fn look(parsed: &Parsed, notes: &mut Notes) {
    for (row, at) in rows_of(parsed) {
        for (index, image) in row.images.iter().enumerate() {
            for (rule, words) in judge(row, image) {
                let message = format!("{} {} {words}", row.driver, row.release);
                notes.add(rule, &format!("{at}/images/{index}"), message);
            }
        }
    }
}

/// What is the matter with an image of a row. The words follow the name of whatever runs it.
pub(super) fn judge(row: &Row, image: &str) -> Vec<(Rule, String)> {
    let mut found = Vec::new();
    if let Some(retired) = known::retired(image) {
        let words = format!("runs {image}; {} {} ({})", retired.prefix, retired.fate, retired.source);
        found.push((Rule::RetiredRegistry, words));
    } else if registry(image) != known::LIVING {
        let words = format!("pulls {image} from {}, not from {}", registry(image), known::LIVING);
        found.push((Rule::OtherRegistry, words));
    }
    if !image.contains("@sha256:") {
        found.push((Rule::MissingDigest, format!("names {image} without a digest")));
    }
    if let Some(other) = release_of(row.driver, image).filter(|other| *other != row.release) {
        let words = format!("runs {} {other} ({image}), and the row is {}", row.driver, row.release);
        found.push((Rule::OtherImage, words));
    }
    found
}

/// Where an image is pulled from.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) | None => "docker.io",
    }
}

/// The release of the driver that an image is, if it is the driver's own.
fn release_of(driver: Driver, image: &str) -> Option<Release> {
    let image = image.split('@').next()?;
    let (repository, tag) = image.rsplit_once(':')?;
    let (folder, last) = repository.rsplit_once('/')?;
    let is_it = match driver {
        Driver::Cpi => {
            last == "cloud-provider-vsphere"
                || (last == "manager" && folder.contains("cloud-provider-vsphere"))
        }
        Driver::Csi => matches!(last, "driver" | "syncer") && folder.contains("csi"),
    };
    if is_it { tag.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_an_image_is_read_from_the_drivers_own_only() {
        let of = |driver, image: &str| release_of(driver, image).map(|it| it.to_string());
        let digest = "registry.k8s.io/csi-vsphere/syncer:v3.7.0@sha256:aa";
        assert_eq!(of(Driver::Csi, digest).as_deref(), Some("3.7.0"));
        assert_eq!(of(Driver::Csi, "registry.k8s.io/sig-storage/csi-attacher:v4.9.0"), None);
        let old = "gcr.io/cloud-provider-vsphere/cpi/release/manager:v1.2.1";
        assert_eq!(of(Driver::Cpi, old).as_deref(), Some("1.2.1"));
        let new = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0";
        assert_eq!(of(Driver::Cpi, new).as_deref(), Some("1.36.0"));
        assert_eq!(of(Driver::Cpi, "localhost:5000/cloud-provider-vsphere"), None);
    }

    #[test]
    fn an_image_without_a_host_comes_from_docker_hub() {
        for (image, from) in [
            ("registry.k8s.io/csi-vsphere/driver:v3.7.0", "registry.k8s.io"),
            ("localhost/driver", "localhost"),
            ("mirror:5000/driver:v1", "mirror:5000"),
            ("library/driver:v1", "docker.io"),
            ("driver", "docker.io"),
        ] {
            assert_eq!(registry(image), from);
        }
    }
}
