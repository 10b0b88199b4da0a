//! The releases that VDO builds and the images that a mirror has to hold, from the built-in matrix and the facts of each
//! release.

use anyhow::{Context, Result};
use vdo_compat::{Bound, Driver, Grade, Row, Version, builtin};

use crate::docs::cell;
use crate::values;

/// Each release of the cloud provider, newest first.
pub fn cpi() -> String {
    let mut text = "| CPI | Kubernetes | vSphere | Digest of its image |\n|---|---|---|---|\n".to_owned();
    for row in rows(Driver::Cpi) {
        let facts = cpi_operator::releases::of(row.release);
        let digest = facts.and_then(|facts| facts.digest);
        let digest = digest.map_or("by tag".to_owned(), |digest| format!("`{digest}`"));
        let (kubernetes, vsphere) = (graded(row.kubernetes.window()), graded(row.vsphere.window()));
        text.push_str(&format!("| {} | {kubernetes} | {vsphere} | {digest} |\n", row.release));
    }
    text
}

/// Each release of the storage driver, newest first.
pub fn csi() -> String {
    let mut text = "| CSI | Kubernetes | vSphere | Driver | Syncer |\n|---|---|---|---|---|\n".to_owned();
    for row in rows(Driver::Csi) {
        let Some(facts) = csi_operator::releases::facts(&row.release) else { continue };
        let digest = |sha256: Option<&str>| sha256.map_or("by tag".into(), |hex| format!("`sha256:{hex}`"));
        let kubernetes = graded(row.kubernetes.window());
        text.push_str(&format!(
            "| {} | {kubernetes} | {} | {} | {} |\n",
            row.release,
            graded(row.vsphere.window()),
            digest(facts.driver.sha256),
            digest(facts.syncer.sha256)
        ));
    }
    text
}

/// Tags of the sidecars of each release, newest first.
pub fn sidecars() -> String {
    let mut text =
        "| CSI | attacher | provisioner | resizer | snapshotter | livenessprobe | node-driver-registrar |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    for facts in csi_operator::releases::all().iter().rev() {
        let it = &facts.sidecars;
        let tags = [it.attacher, it.provisioner, it.resizer, it.snapshotter, it.liveness, it.registrar];
        let tags: Vec<&str> = tags.iter().map(|image| image.tag).collect();
        text.push_str(&format!("| {} | {} |\n", facts.release, tags.join(" | ")));
    }
    text
}

/// The operators' images as the chart asks for them.
pub fn operators() -> Result<String> {
    let mut text = "```text\n".to_owned();
    for (name, defaults, _) in values::PARTS {
        let rows = values::read(defaults)?;
        let value = |path: &str| {
            let row = rows.iter().find(|row| row.path == path).with_context(|| format!("{name}: no {path}"));
            row.map(|row| row.default.clone())
        };
        let version = env!("CARGO_PKG_VERSION");
        text.push_str(&format!("{}/{}:{version}\n", value("image.registry")?, value("image.repository")?));
    }
    text.push_str("```\n");
    Ok(text)
}

/// Every image of every driver release, once, by tag.
pub fn list() -> String {
    let releases = builtin::matrix().rows.iter().filter(|row| row.driver == Driver::Cpi);
    let mut all: Vec<String> = releases
        .map(|row| {
            format!("{}/{}:v{}", cpi_operator::releases::REGISTRY, cpi_operator::releases::IMAGE, row.release)
        })
        .collect();
    for facts in csi_operator::releases::all() {
        all.extend(
            facts.images().iter().map(|image| format!("{}/{}:{}", image.registry, image.path, image.tag)),
        );
    }
    all.sort();
    all.dedup();
    format!("```text\n{}\n```\n", all.join("\n"))
}

/// The rows of one driver, newest release first.
pub fn rows(driver: Driver) -> impl Iterator<Item = &'static Row> {
    builtin::matrix().rows.iter().rev().filter(move |row| row.driver == driver)
}

/// A range that nobody wrote down bears a mark.
fn graded<V: Version>(bound: &Bound<V>) -> String {
    let mark = match bound.evidence.grade {
        Grade::Stated | Grade::Inferred => " (inferred)",
        Grade::Documented | Grade::Tested => "",
    };
    cell(&format!("{}{mark}", bound.range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_of_the_matrix_has_one_row() {
        let text = format!("{}{}", cpi(), csi());
        for row in &builtin::matrix().rows {
            assert_eq!(text.matches(&format!("\n| {} | ", row.release)).count(), 1, "{}", row.release);
        }
        let lines = text.lines().filter(|line| line.starts_with("| ")).count() - 2;
        assert_eq!(lines, builtin::matrix().rows.len());
    }

    #[test]
    fn every_image_of_every_release_is_in_the_list_once() {
        let list = list();
        let listed: Vec<&str> = list.lines().filter(|line| !line.starts_with("```")).collect();
        let mut wanted: Vec<String> = Vec::new();
        for row in builtin::matrix().rows.iter().filter(|row| row.driver == Driver::Cpi) {
            let image = cpi_operator::releases::of(row.release).unwrap().image(None);
            wanted.push(image.split('@').next().unwrap().to_owned());
        }
        for facts in csi_operator::releases::all() {
            for image in [facts.driver, facts.syncer, facts.sidecars.snapshotter, facts.sidecars.registrar] {
                wanted.push(format!("{}/{}:{}", image.registry, image.path, image.tag));
            }
        }
        assert!(wanted.len() > 40);
        for image in wanted {
            assert_eq!(listed.iter().filter(|it| **it == image).count(), 1, "{image}");
        }
    }
}
