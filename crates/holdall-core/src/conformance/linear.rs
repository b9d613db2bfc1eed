//! Each key is a linearizable register: a published checker searches an order
//! of all operations that explains every answer.

use std::fmt::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::RngExt;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

use super::helpers::key;
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, CollectionName, Condition, Conditions, DynBackend, Key, Put, Version,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "races/linearizable",
            "Reads, writes and conditional writes of one key by many tasks can be explained as if they had been made one after the other.",
            linearizable,
        )
        .needs(Need::Conditions(Conditions::Full)),
    ]
}

/// An operation, with its answer once it has one.
#[derive(Clone, Debug)]
enum Call {
    Read(Option<Version>),
    Put(Version),
    Delete,
    /// Puts if the condition holds, and whether it did.
    PutIf(Condition, Version, bool),
    DeleteIf(Version, bool),
}

/// One item: its version, or nothing.
struct Register;

impl Specification for Register {
    type State = Option<Version>;
    type Operation = Call;

    fn init() -> Self::State {
        None
    }

    fn apply(call: &Call, state: &Self::State) -> (bool, Self::State) {
        match call {
            Call::Read(seen) => (seen == state, *state),
            Call::Put(version) => (true, Some(*version)),
            Call::Delete => (true, None),
            Call::PutIf(condition, version, done) => {
                let holds = condition.holds(*state);
                (holds == *done, if holds { Some(*version) } else { *state })
            }
            Call::DeleteIf(wanted, done) => {
                let holds = *state == Some(*wanted);
                (holds == *done, if holds { None } else { *state })
            }
        }
    }
}

type Events = Arc<Mutex<Vec<(usize, Action<Call>)>>>;

const TASKS: usize = 4;
const CALLS: usize = 12;
const ROUNDS: usize = 15;

async fn linearizable(context: Context) -> Check {
    let items = context.collection("items")?;
    for round in 0..ROUNDS {
        let events: Events = Arc::default();
        let name = key(&format!("k{round}"))?;
        // Some by a handle of their own, where that is on the same store.
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                tokio::spawn(client(
                    context.clone(),
                    items.clone(),
                    name.clone(),
                    events.clone(),
                    task,
                    round,
                ))
            })
            .collect();
        for task in tasks {
            task.await
                .map_err(|error| Failure::here(error.to_string()))??;
        }
        let events = std::mem::take(&mut *events.lock());
        let history = History::from_actions(events.clone());
        if !WGLChecker::<Register>::is_linearizable(history) {
            let saved = save(&events, context.seed(), round);
            return Err(Failure::here(format!(
                "no order of {} operations explains their answers; the history is in {saved}",
                events.len() / 2
            )));
        }
    }
    Ok(())
}

async fn client(
    context: Context,
    items: CollectionName,
    name: Key,
    events: Events,
    task: usize,
    round: usize,
) -> Check {
    let store = context.store();
    let mut rng = context.rng((round * TASKS + task) as u64);
    let mut seen: Option<Version> = None;
    for _ in 0..CALLS {
        let version = context.env().version();
        let call = match rng.random_range(0..10) {
            0..4 => Call::Read(None),
            4 | 5 => Call::Put(version),
            6 => Call::Delete,
            7 => Call::PutIf(Condition::Absent, version, false),
            8 => seen.map_or(Call::Read(None), |seen| {
                Call::PutIf(Condition::Version(seen), version, false)
            }),
            _ => seen.map_or(Call::Read(None), |seen| Call::DeleteIf(seen, false)),
        };
        events.lock().push((task, Action::Call(call.clone())));
        let answered = make(store, &items, &name, call).await?;
        if let Call::Read(found) = &answered {
            seen = *found;
        }
        events.lock().push((task, Action::Response(answered)));
        if rng.random_bool(0.5) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Makes the call and answers it with what came of it.
async fn make(
    store: &DynBackend,
    items: &CollectionName,
    name: &Key,
    call: Call,
) -> Result<Call, Failure> {
    let done = |result: crate::Result<crate::Written>| match result {
        Ok(_) => Ok(true),
        Err(error) if error.is_conflict() => Ok(false),
        Err(error) => Err(Failure::from(error)),
    };
    let put =
        |version, condition| Batch::with_id(version).put(items, name, condition, Put::default());
    Ok(match call {
        Call::Read(_) => Call::Read(store.head(items, name).await?.map(|entry| entry.version)),
        Call::Put(version) => {
            store.write(put(version, Condition::Any)).await?;
            call
        }
        Call::Delete => {
            store.delete(items, name, Condition::Any).await?;
            call
        }
        Call::PutIf(condition, version, _) => Call::PutIf(
            condition,
            version,
            done(store.write(put(version, condition)).await)?,
        ),
        Call::DeleteIf(version, _) => {
            let batch = Batch::new().delete(items, name, Condition::Version(version));
            Call::DeleteIf(version, done(store.write(batch).await)?)
        }
    })
}

/// Writes a history to a file, and says where that is.
fn save(events: &[(usize, Action<Call>)], seed: u64, round: usize) -> String {
    let mut text = format!(
        "seed {seed}, round {round}; one line an event, in order: task, call or response\n"
    );
    for (task, event) in events {
        let _ = writeln!(text, "{task} {event:?}");
    }
    let path = std::env::temp_dir().join(format!("holdall-history-{seed}-{round}.txt"));
    match std::fs::write(&path, text) {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("no file ({}: {error})", path.display()),
    }
}
