//! The document out of rows.

use vdo_compat::{
    Bound, Bounds, Caution, Channel, Driver, End, Evidence, Grade, Matrix, Range, Row, Version,
};

use super::read::{stated, unbounded};
use super::{SCHEMA_VERSION, shape};

/// A matrix in YAML of our own form, for an author to begin with. What is read from it is equal, but for its
/// digest and its source; the manifests that the original's form lists have no place in it.
pub fn write(matrix: &Matrix) -> String {
    // A folded text would be the same for a parser, but not for a person.
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    serde_saphyr::to_string_with_options(&document(matrix), options)
        .expect("texts, lists and objects with texts as names can be written")
}

/// The same in JSON.
pub fn to_json(matrix: &Matrix) -> serde_json::Value {
    serde_json::to_value(document(matrix))
        .expect("texts, lists and objects with texts as names can be written")
}

fn document(matrix: &Matrix) -> shape::Document {
    shape::Document {
        schema_version: SCHEMA_VERSION,
        serial: matrix.serial,
        rows: matrix.rows.iter().map(row).collect(),
    }
}

fn row(row: &Row) -> shape::Row {
    shape::Row {
        driver: match row.driver {
            Driver::Cpi => shape::Driver::Cpi,
            Driver::Csi => shape::Driver::Csi,
        },
        release: row.release.to_string(),
        source: row.source.clone(),
        kubernetes: bounds(&row.kubernetes),
        vsphere: bounds(&row.vsphere),
        esxi: row.esxi.as_ref().map(bounds),
        upgrades_from: said(&row.upgrades_from),
        needs_cpi: match row.driver {
            Driver::Cpi => None,
            Driver::Csi => (!row.needs_cpi).then_some(false),
        },
        images: row.images.clone(),
        channel: match row.marks.channel {
            Channel::Stable => shape::Channel::Stable,
            Channel::Candidate => shape::Channel::Candidate,
        },
        end_of_support: row.marks.end_of_support.clone(),
        known_bad: row.marks.known_bad.clone(),
        cautions: row.marks.cautions.iter().map(caution).collect(),
    }
}

fn caution(caution: &Caution) -> shape::Caution {
    shape::Caution {
        kubernetes: said(&caution.kubernetes),
        vsphere: said(&caution.vsphere),
        leaving: caution.leaving.as_ref().map(range),
        text: caution.text.clone(),
    }
}

fn bounds<V: Version>(bounds: &Bounds<V>) -> shape::Bounds {
    let recommended = bounds.recommended.as_ref().map(bound);
    let is_given = bounds.hard != unbounded() || recommended.is_none();
    let hard = is_given.then(|| bound(&bounds.hard));
    shape::Bounds { hard, recommended, min: None, max: None, evidence: None }
}

fn bound<V: Version>(bound: &Bound<V>) -> shape::Bound {
    let shape::Range { min, max } = range(&bound.range);
    let given = Some(&bound.evidence).filter(|evidence| **evidence != stated());
    shape::Bound { min, max, evidence: given.map(evidence) }
}

fn evidence(evidence: &Evidence) -> shape::Evidence {
    let grade = match evidence.grade {
        Grade::Stated => shape::Grade::Stated,
        Grade::Inferred => shape::Grade::Inferred,
        Grade::Documented => shape::Grade::Documented,
        Grade::Tested => shape::Grade::Tested,
    };
    shape::Evidence { grade, reference: evidence.reference.clone() }
}

/// A range, unless it holds everything.
fn said<V: Version>(it: &Range<V>) -> Option<shape::Range> {
    (*it != Range::ANY).then(|| range(it))
}

fn range<V: Version>(range: &Range<V>) -> shape::Range {
    let end = |end: End<V>| match end {
        End::Open => None,
        End::At(line) => Some(line.to_string()),
    };
    shape::Range { min: end(range.from), max: end(range.to) }
}
