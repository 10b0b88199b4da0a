//! What takes the place of things that could not be read, or that are not made yet. Pure.
//!
//! Some names carry a digest under a key that only the journal has. With another key the same rendering has other
//! names; so what follows from the key is known by rendering twice, and it is shown as `(derived)`.

use std::collections::BTreeMap;

use serde_json::Value;
use vdo_plan::driver::{Rendered, Row};
use vdo_plan::revision::Key;
use vdo_plan::{Object, ObjectRef, Revision};

use super::read::Own;

/// What stands in the place of a text that follows from the key.
pub const DERIVED: &str = "(derived)";

/// `one` with another text wherever one follows from the key: its name in `names`, else that it is derived. `twin` is the
/// same rendering under another key.
pub fn renamed(one: &Revision, twin: &Revision, names: &BTreeMap<String, String>) -> Revision {
    let as_value =
        |revision: &Revision| serde_json::to_value(revision).expect("a revision is made of JSON already");
    let (mut value, other) = (as_value(one), as_value(twin));
    rename(&mut value, &other, names);
    serde_json::from_value(value).unwrap_or_else(|_| one.clone())
}

/// `one` with nothing that follows from its key, but for the names of what is there already: the same content has the same
/// name under whatever key.
pub fn veiled(one: &Revision, twin: &Revision, own: &Own) -> Revision {
    let mut names = BTreeMap::new();
    for (object, other) in one.objects().zip(twin.objects()) {
        let (mine, theirs) = (object.reference(), other.reference());
        let same =
            |it: &ObjectRef| own.live.get(it).is_some_and(|live| live["data"] == object.value()["data"]);
        let there = || own.rows.keys().find(|it| is_namesake(it, mine, theirs) && same(it));
        if let Some(there) = (mine.name != theirs.name).then(there).flatten() {
            names.insert(mine.name.clone(), there.name.clone());
        }
    }
    renamed(one, twin, &names)
}

/// Whether an object has the name of this one, but for what follows from the key.
fn is_namesake(it: &ObjectRef, mine: &ObjectRef, theirs: &ObjectRef) -> bool {
    it.kind == mine.kind
        && it.namespace == mine.namespace
        && it.name.starts_with(stem(&mine.name, &theirs.name))
}

fn rename(value: &mut Value, twin: &Value, names: &BTreeMap<String, String>) {
    match (value, twin) {
        (Value::String(text), Value::String(twin)) if text != twin => {
            let name = names.get(text).cloned();
            *text = name.unwrap_or_else(|| format!("{}{DERIVED}", stem(text, twin)));
        }
        (Value::Array(list), Value::Array(twins)) => {
            list.iter_mut().zip(twins).for_each(|(value, twin)| rename(value, twin, names));
        }
        (Value::Object(map), Value::Object(twins)) => {
            for (name, value) in map {
                if let Some(twin) = twins.get(name) {
                    rename(value, twin, names);
                }
            }
        }
        (_, _) => {}
    }
}

/// What two texts have in common up to a mark between words: digests may begin with the same letters.
fn stem<'a>(one: &'a str, other: &str) -> &'a str {
    let same =
        one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b).map_or(one.len(), |((at, _), _)| at);
    let end = one[..same].rfind(|c: char| !c.is_alphanumeric()).map_or(0, |at| at + 1);
    &one[..end]
}

/// A rendering as the installed revision of this key, whose bytes are not known: with the names that are there, if what is
/// there by those names has the same content. `is_known` says whether the content of a kind is what the operator has.
pub fn adopted(
    one: &Revision,
    twin: &Revision,
    key: &Key,
    own: &Own,
    is_known: impl Fn(&Object) -> bool,
) -> Option<Revision> {
    let mut names = BTreeMap::from([(one.key.id.clone(), key.id.clone())]);
    for (object, other) in one.objects().zip(twin.objects()) {
        let (mine, theirs) = (object.reference(), other.reference());
        if mine.name == theirs.name {
            continue;
        }
        let is_it = |it: &ObjectRef, row: &Row| {
            is_namesake(it, mine, theirs) && row.revision.as_deref() == Some(key.id.as_str())
        };
        let found: Vec<&ObjectRef> =
            own.rows.iter().filter(|(it, row)| is_it(it, row)).map(|(it, _)| it).collect();
        match found.as_slice() {
            [there] => {
                let same = own.live.get(*there).is_some_and(|live| live["data"] == object.value()["data"]);
                if is_known(object) && !same {
                    return None;
                }
                names.insert(mine.name.clone(), there.name.clone());
            }
            [] if own.is_hidden(&mine.kind) => {}
            _ => return None,
        }
    }
    Some(renamed(one, twin, &names))
}

/// The rendering of this release, under its two keys.
pub fn of_release<'a>(
    key: &Key,
    rendered: &'a mut Rendered,
    twin: &'a Rendered,
) -> Option<(&'a mut Revision, &'a Revision)> {
    let pairs = [(&mut rendered.wanted, &twin.wanted), (&mut rendered.fallback, &twin.fallback)];
    let mut pairs = pairs.into_iter().filter_map(|(one, twin)| Some((one.as_mut()?, twin.as_ref()?)));
    pairs.find(|(one, _)| one.key.release == key.release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_that_begin_alike_are_cut_at_the_mark_before_them() {
        assert_eq!(stem("vdo-cpi-config-ab12", "vdo-cpi-config-ab34"), "vdo-cpi-config-");
        assert_eq!(stem("ab12", "ab34"), "");
        assert_eq!(stem("a/b-c1", "a/b-d1"), "a/b-");
    }

    #[test]
    fn what_follows_from_the_key_is_replaced_wherever_it_stands() {
        let text = |id: &str| serde_json::json!({"name": format!("config-{id}"), "list": [{"ref": format!("config-{id}")}], "same": "x"});
        let mut value = text("12");
        rename(&mut value, &text("34"), &BTreeMap::new());
        assert_eq!(value, text("(derived)"));
        let mut value = text("12");
        rename(&mut value, &text("34"), &BTreeMap::from([("config-12".to_owned(), "config-99".to_owned())]));
        assert_eq!(value, text("99"));
    }
}
