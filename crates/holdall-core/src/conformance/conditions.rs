//! Conditions are checked at commit.

use super::case::refused;
use super::helpers::{doc, get, key, put, value};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    Action, BackendExt, Batch, Condition, Conditions, ErrorKind, GetOptions, Operation, Version,
    json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "conditions/hold-as-declared",
            "Conditions are checked at commit: each of the four, on an item that is there and on one that is not, for puts, deletes and checks.",
            hold_as_declared,
        ),
        Case::new(
            "conditions/of-an-old-version",
            "A write that wants a version fails once there is another, though the item was deleted and created again with the same content.",
            of_an_old_version,
        )
        .needs(Need::Conditions(Conditions::Full)),
        Case::new(
            "conditions/get-if-version",
            "A get that asks for a version answers that one, or Conflict; nothing where there is nothing.",
            get_if_version,
        ),
        Case::new(
            "conditions/failed-names-the-item",
            "A condition that failed is a Conflict that names collection and key, and says that a retry does not help.",
            failed_names_the_item,
        )
        .needs(Need::Conditions(Conditions::CreateOnly)),
    ]
}

async fn hold_as_declared(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let can = context.can().conditions;
    let foreign = context.env().version();
    for there in [false, true] {
        for name in ["put", "delete", "check"] {
            for wanted in ["any", "absent", "present", "its version", "another version"] {
                let a = key(&format!("{there}-{name}-{wanted}"))?;
                let current = if there {
                    Some(put(store, &items, &a, json!({"n": 0})).await?.version)
                } else {
                    None
                };
                let condition = match wanted {
                    "any" => Condition::Any,
                    "absent" => Condition::Absent,
                    "present" => Condition::Present,
                    "its version" => Condition::Version(current.unwrap_or(foreign)),
                    _ => Condition::Version(foreign),
                };
                let action = match name {
                    "put" => Action::Put(doc(json!({"n": 1}))?),
                    "delete" => Action::Delete,
                    _ => Action::Check,
                };
                let told = format!(
                    "a {name} that wants {wanted}, of an item that is {}",
                    if there { "there" } else { "not there" }
                );
                let mut batch = Batch::new();
                batch.push(Operation {
                    collection: items.clone(),
                    key: a.clone(),
                    condition,
                    action,
                });
                let answer = store.write(batch).await;
                let supported = match condition {
                    Condition::Any => true,
                    Condition::Absent => can >= Conditions::CreateOnly,
                    Condition::Present | Condition::Version(_) => can == Conditions::Full,
                };
                let took_effect = supported && condition.holds(current);
                if !supported {
                    refused(answer, ErrorKind::Unsupported, &told)?;
                } else if took_effect {
                    let written = answer.map_err(|error| Failure::from(error).during(&told))?;
                    ensure_eq!(written.entries.len(), 1, "entries answered to {told}");
                } else {
                    refused(answer, ErrorKind::Conflict, &told)?;
                }
                let before = there.then(|| json!({"n": 0}));
                let after = match name {
                    "put" if took_effect => Some(json!({"n": 1})),
                    "delete" if took_effect => None,
                    _ => before,
                };
                ensure_eq!(
                    value(store, &items, &a).await?,
                    after,
                    "the item after {told}"
                );
            }
        }
    }
    Ok(())
}

async fn of_an_old_version(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let first = put(store, &items, &a, json!({"n": 1})).await?;
    let second = put(store, &items, &a, json!({"n": 1})).await?;
    ensure!(
        first.version != second.version,
        "two puts of the same content have one version"
    );
    let stale = |version: Version| {
        store.put(
            &items,
            &a,
            Condition::Version(version),
            crate::Put::default(),
        )
    };
    refused(
        stale(first.version).await,
        ErrorKind::Conflict,
        "a put over a version that was replaced",
    )?;
    store
        .delete(&items, &a, Condition::Version(second.version))
        .await?;
    let third = put(store, &items, &a, json!({"n": 1})).await?;
    ensure!(
        third.version != second.version,
        "a version came back after delete and create"
    );
    refused(
        stale(second.version).await,
        ErrorKind::Conflict,
        "a put over a version that was deleted, with an equal item there again",
    )?;
    stale(third.version).await?;
    Ok(())
}

async fn get_if_version(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let other = context.env().version();
    let wanted = |version| GetOptions::default().if_version(version);
    ensure!(
        store.get(&items, &a, wanted(other)).await?.is_none(),
        "an absent item asked for at a version should be absent"
    );
    let entry = put(store, &items, &a, json!({})).await?;
    ensure!(
        store
            .get(&items, &a, wanted(entry.version))
            .await?
            .is_some(),
        "an item asked for at its version should be answered"
    );
    let error = refused(
        store.get(&items, &a, wanted(other)).await,
        ErrorKind::Conflict,
        "a get at another version",
    )?;
    ensure_eq!(error.key(), Some(&a), "the key that the error names");
    Ok(())
}

async fn failed_names_the_item(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a\nforged: line")?;
    put(store, &items, &a, json!({})).await?;
    let answer = store
        .write(Batch::new().put(&items, &a, Condition::Absent, doc(json!({}))?))
        .await;
    let error = refused(answer, ErrorKind::Conflict, "a create of what is there")?;
    ensure_eq!(
        error.collection(),
        Some(&items),
        "the collection that the error names"
    );
    ensure_eq!(error.key(), Some(&a), "the key that the error names");
    ensure_eq!(error.retry(), crate::Retry::No, "whether a retry helps");
    ensure!(
        !error.to_string().contains('\n'),
        "a key forged a line of the error: {error}"
    );
    ensure!(
        get(store, &items, &a).await?.is_some(),
        "a refused create took the item away"
    );
    Ok(())
}
