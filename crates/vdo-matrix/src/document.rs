//! Our own form of a matrix: a list of rows under a version, in YAML or JSON.
//!
//! [`shape`] has the types. They read the document, write it and are what its schema is made of. [`read`]
//! turns them into rows, and [`write`](self::write()) rows into them.

mod read;
mod shape;
mod write;

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use serde_json::Value;

pub(crate) use self::read::{read, stated};
pub use self::write::{to_json, write};

/// The version of the form that is written, and the newest that is read.
pub const SCHEMA_VERSION: u64 = 1;
/// The most images of one row. A driver has some ten containers.
pub const MAX_IMAGES: usize = 32;
/// The most cautions of one row.
pub const MAX_CAUTIONS: usize = 32;
/// The longest sentence for people. A condition has room for one of them.
pub const MAX_SENTENCE: usize = 512;
/// The longest address, or name of an image.
pub const MAX_ADDRESS: usize = 2_048;

/// The JSON Schema of the form, for editors and other programs. It is stricter than the reader in one thing:
/// a field that the form does not have is refused, where the reader only notes it, so that an editor shows
/// the misspelled one.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(without_null));
    let mut schema = generator.into_generator().into_root_schema_for::<shape::Document>();
    schema.insert("title".to_owned(), "Compatibility matrix of VDO".into());
    schema.to_value()
}

/// A field is left out, or it says something: none is null.
fn without_null(schema: &mut Schema) {
    if schema.get("default").is_some_and(Value::is_null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(ways)) = schema.get_mut("anyOf") {
        ways.retain(|way| way["type"] != "null");
        if let [Value::Object(only)] = ways.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (name, value) in only {
                schema.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
