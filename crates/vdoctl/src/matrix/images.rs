//! The images of the built-in matrix, from the tables by which the operators render. Pure.

use vdo_compat::{Driver, Matrix, Release};

/// The same matrix, with the images that the operators run where a row names none. No operator reads them from a matrix: they
/// are for whoever makes one from this, for a mirror or for other ranges.
pub fn with_those_of_the_operators(mut matrix: Matrix) -> Matrix {
    for row in matrix.rows.iter_mut().filter(|row| row.images.is_empty()) {
        row.images = of(row.driver, row.release);
    }
    matrix
}

fn of(driver: Driver, release: Release) -> Vec<String> {
    match driver {
        Driver::Cpi => {
            cpi_operator::releases::of(release).map(|facts| facts.image(None)).into_iter().collect()
        }
        Driver::Csi => csi_operator::releases::facts(&release)
            .map(|facts| facts.images().map(|image| image.reference(None)).to_vec())
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vdo_compat::{Source, builtin};
    use vdo_matrix::{Level, Rule, lint};

    use super::*;

    #[test]
    fn every_built_in_row_has_the_images_that_its_operator_runs() {
        let matrix = with_those_of_the_operators(builtin::matrix().clone());
        for row in &matrix.rows {
            let own = match row.driver {
                Driver::Cpi => 1,
                Driver::Csi => 8,
            };
            assert_eq!(row.images.len(), own, "{} {}", row.driver, row.release);
            let tag = format!(":v{}", row.release);
            assert!(row.images[0].contains(&tag), "{:?}", row.images);
        }
        let digests = matrix.rows.iter().flat_map(|row| &row.images).filter(|it| it.contains("@sha256:"));
        // Ten of CPI, and of CSI the driver and the syncer of fourteen.
        assert_eq!(digests.count(), 10 + 2 * 14);
        let of = |driver: Driver, release: &str| matrix.row(driver, release.parse().unwrap()).unwrap();
        let syncer = "registry.k8s.io/csi-vsphere/syncer:v3.7.2@sha256:8d588681a982718af39cdb4964aa9449cc213d34142a4971f45ec36d25326c60";
        assert_eq!(of(Driver::Csi, "3.7.2").images[1], syncer);
        let plain = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0";
        assert_eq!(of(Driver::Cpi, "1.36.0").images, [plain]);
    }

    #[test]
    fn what_is_written_down_with_images_is_read_back_as_it_was_and_has_no_error() {
        let matrix = with_those_of_the_operators(builtin::matrix().clone());
        let text = vdo_matrix::write(&matrix);
        assert_eq!(vdo_matrix::parse(Source::ConfigMap, &text).unwrap().matrix.rows, matrix.rows);
        let linted = lint::lint(&text, &BTreeMap::new(), Some("2026-08-31"));
        let serious: Vec<Rule> =
            linted.findings.iter().filter(|it| it.level != Level::Note).map(|it| it.rule).collect();
        assert_eq!(serious, [Rule::EndOfSupport]);
    }

    #[test]
    fn images_that_a_row_names_itself_stay() {
        let mut matrix = builtin::matrix().clone();
        let mine = "mirror.example.org/csi-vsphere/driver:v1".to_owned();
        matrix.rows[0].images = vec![mine.clone()];
        assert_eq!(with_those_of_the_operators(matrix).rows[0].images, [mine]);
    }
}
