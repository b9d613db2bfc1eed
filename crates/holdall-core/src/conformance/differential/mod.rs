//! The same random steps on the backend and on the memory reference: every
//! answer has to be the same.

mod generate;
mod twins;

use rand::RngExt;

use self::generate::Generator;
use self::twins::Twins;
use super::{Case, Check, Context};
use crate::{CollectionName, DynBackend, MemoryBackend};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "differential/without-indexes",
            "Random batches and queries are answered as the reference answers them.",
            |context| run(context, Indexes::None),
        ),
        Case::new(
            "differential/with-indexes",
            "Random batches and queries are answered as the reference answers them, with random indexes declared.",
            |context| run(context, Indexes::Any),
        ),
        Case::new(
            "differential/with-unique-indexes",
            "Random batches and queries are answered as the reference answers them, with unique indexes that refuse many of them.",
            |context| run(context, Indexes::Unique),
        ),
    ]
}

/// Which indexes a run declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Indexes {
    None,
    Any,
    Unique,
}

/// How many steps are made on one pair of collections, before the next begins
/// with none: what goes wrong at the start is tried as often as the rest.
const ROUND: usize = 250;

async fn run(context: Context, indexes: Indexes) -> Check {
    let reference: DynBackend = MemoryBackend::with_env(context.env().clone()).into();
    let steps = context.options().steps / 3;
    for round in 0..steps.div_ceil(ROUND) {
        let names = [context.collection("one")?, context.collection("two")?];
        let generator = Generator::new(context.rng(round as u64), context.can());
        let twins = Twins::new(&context, reference.clone(), names.to_vec());
        rounds(twins, generator, indexes, ROUND.min(steps - round * ROUND))
            .await
            .map_err(|failure| failure.during(format!("round {round}, indexes {indexes:?}")))?;
        for name in &names {
            context.store().drop_collection(name).await?;
        }
    }
    Ok(())
}

async fn rounds(mut twins: Twins, mut make: Generator, indexes: Indexes, steps: usize) -> Check {
    // Sometimes before there is an item, so that indexes are kept up by every
    // write from the first on.
    let first = match indexes {
        Indexes::None => 0.0,
        Indexes::Any => 0.7,
        Indexes::Unique => 1.0,
    };
    if make.rng().random_bool(first) {
        for collection in [twins.collections(), twins.collections()].concat() {
            twins
                .define(&collection, make.index(indexes == Indexes::Unique)?)
                .await?;
        }
    }
    for step in 0..steps {
        let collection: CollectionName = twins.any_collection(make.rng());
        let done = match make.rng().random_range(0..100) {
            0..40 => twins.write(&mut make).await,
            40..70 => twins.query(&collection, &mut make).await,
            70..76 => twins.pages(&collection, &mut make).await,
            76..82 => twins.count(&collection, &mut make).await,
            82..87 => twins.count_by(&collection, &mut make).await,
            87..91 => twins.scan(&collection, &mut make).await,
            91..94 => twins.gets(&collection, &mut make).await,
            94..96 if indexes != Indexes::None => {
                let unique = indexes == Indexes::Unique && make.rng().random_bool(0.6);
                twins.define(&collection, make.index(unique)?).await
            }
            96..98 => twins.resolve(&mut make).await,
            98 if make.rng().random_bool(0.3) => twins.drop_collection(&collection).await,
            _ => twins.list().await,
        };
        done.map_err(|failure| failure.during(format!("step {step}")))?;
    }
    twins.compare_all().await
}
