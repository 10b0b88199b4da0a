//! The journal in its Secret: made once, written only over the version that was read.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{Api, Reply};
use vdo_plan::journal::Journal;
use vdo_runtime::KubeFault;
use vdo_runtime::journal::{JournalError, JournalStore};

const PATH: &str = "/api/v1/namespaces/vdo/secrets/vdo-cpi-journal";

fn store(api: &Api) -> JournalStore {
    JournalStore::new(&api.cluster(), "vdo", "cpi", "cpi-operator")
}

fn with(journal: &Journal, object: &str) -> Journal {
    let mut journal = journal.clone();
    journal.owned_fields.insert(object.to_owned(), "digest".into());
    journal
}

fn conflicts(error: &JournalError) -> bool {
    matches!(error.fault(), Some(KubeFault::Conflict { .. }))
}

#[tokio::test(start_paused = true)]
async fn without_a_secret_the_key_is_random_and_stays_until_it_is_stored() {
    let api = Api::new();
    let store_one = store(&api);
    let first = store_one.fetch().await.unwrap();
    assert!(!first.exists() && first.journal.is_clear() && first.journal.hmac_key.len() == 32);
    assert_eq!(store_one.fetch().await.unwrap(), first, "the same in every pass");
    assert_ne!(store(&api).fetch().await.unwrap().journal.hmac_key, first.journal.hmac_key);
    assert!(api.object(PATH).is_none(), "reading writes nothing");

    let stored = store_one.store(&first, &with(&first.journal, "one")).await.unwrap();
    assert!(stored.exists());
    let again = store(&api).fetch().await.unwrap();
    assert_eq!(again, stored);
    let secret = api.object(PATH).unwrap();
    assert_eq!(secret["type"], "vdo.vmware.com/journal");
    assert!(secret["metadata"]["labels"]["vdo.vmware.com/driver"].is_null(), "never an orphan of the driver");
    assert!(api.log().iter().all(|seen| seen.method == "GET" || seen.query["timeout"] == "5s"));
}

#[tokio::test(start_paused = true)]
async fn of_two_writers_the_second_must_read_again() {
    let api = Api::new();
    let (one, two) = (store(&api), store(&api));
    let (seen_by_one, seen_by_two) = (one.fetch().await.unwrap(), two.fetch().await.unwrap());
    one.store(&seen_by_one, &with(&seen_by_one.journal, "one")).await.unwrap();
    let late = two.store(&seen_by_two, &with(&seen_by_two.journal, "two")).await.unwrap_err();
    assert!(conflicts(&late), "both would have made it: {late:?}");

    let (seen_by_one, seen_by_two) = (one.fetch().await.unwrap(), two.fetch().await.unwrap());
    assert_eq!(seen_by_one, seen_by_two);
    two.store(&seen_by_two, &with(&seen_by_two.journal, "two")).await.unwrap();
    let late = one.store(&seen_by_one, &with(&seen_by_one.journal, "lost")).await.unwrap_err();
    assert!(conflicts(&late), "both would have replaced it: {late:?}");
    let stored = one.fetch().await.unwrap().journal;
    assert!(stored.owned_fields.contains_key("two") && !stored.owned_fields.contains_key("lost"));
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_somebody_deleted_is_not_written_as_if_it_were_there() {
    let api = Api::new();
    let one = store(&api);
    let seen = one.fetch().await.unwrap();
    let seen = one.store(&seen, &with(&seen.journal, "one")).await.unwrap();
    api.delete(PATH);
    assert!(conflicts(&one.store(&seen, &seen.journal.clone()).await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_journal_is_unreadable_and_never_empty() {
    for data in [json!(null), json!({}), json!({"journal": "bm8gZ3ppcA=="}), json!({"other": "eA=="})] {
        let api = Api::new();
        api.put(
            PATH,
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "vdo-cpi-journal", "namespace": "vdo"}, "data": data,
            }),
        );
        let error = store(&api).fetch().await.unwrap_err();
        assert!(matches!(error, JournalError::Unreadable { .. }), "{data}: {error:?}");
    }
    let api = Api::new();
    api.script(|_| Some(Reply::Refuse(403, "User \"x\" cannot get resource \"secrets\"")));
    let error = store(&api).fetch().await.unwrap_err();
    assert!(matches!(error.fault(), Some(KubeFault::Forbidden { .. })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_does_not_fit_is_refused_before_it_is_sent() {
    let api = Api::new();
    let one = store(&api);
    let seen = one.fetch().await.unwrap();
    let mut large = seen.journal.clone();
    // Numbers that do not compress: a multiplicative sequence in hexadecimal.
    let mut number = 1u64;
    for _ in 0..150_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        large.owned_fields.insert(format!("{number:016x}"), String::new());
    }
    let error = one.store(&seen, &large).await.unwrap_err();
    assert!(matches!(error, JournalError::TooLarge { .. }), "{error}");
    assert!(api.log().iter().all(|seen| seen.method == "GET"));
}
