//! Several processes on one store, where a backend declares that.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use serde::{Deserialize, Serialize};

use super::helpers::{key, value};
use super::jobs::{self, Account};
use super::{Case, Check, Context, Failure, Need, Target};
use crate::{BackendExt, CollectionName, Conditions, Filter, Result, Scope, json};

pub(super) fn cases() -> Vec<Case> {
    let shared = |case: Case| {
        case.needs(Need::Processes)
            .needs(Need::Reopen)
            .needs(Need::Conditions(Conditions::Full))
    };
    vec![
        shared(Case::new(
            "processes/increments",
            "Conditions are checked at commit, against other processes too: increments by several processes lose none.",
            increments,
        )),
        shared(Case::new(
            "processes/one-creator",
            "Of creates of one key by several processes, one succeeds.",
            one_creator,
        )),
        shared(Case::new(
            "processes/transfers",
            "Transfers by several processes keep the sum of the accounts.",
            transfers,
        ))
        .needs(Need::Scope(Scope::Collection))
        .needs(Need::Operations(2)),
        shared(Case::new(
            "processes/watched",
            "A watch tells the changes that other processes make, each once in its order.",
            watched,
        ))
        .needs(Need::Watch(crate::Watch::PerKey)),
    ]
}

/// The first argument of a worker, before its order.
const WORKER: &str = "holdall-conformance-worker";

const PROCESSES: u64 = 2;

/// What a worker is told to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    target: String,
    collection: String,
    job: Job,
    seed: u64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Job {
    Increment(u64),
    Create(u64),
    Transfer(u64),
}

/// Serves as a worker if the arguments, without the program's name, say so:
/// then the program has to end with this code. `main` calls it first thing.
pub fn serve(mut arguments: impl Iterator<Item = String>, target: &Target) -> Option<ExitCode> {
    if arguments.next()? != WORKER {
        return None;
    }
    let order = arguments.next().unwrap_or_default();
    Some(match work(&order, target) {
        Ok(answer) => say(&format!("done {answer}")),
        Err(why) => {
            say(&format!("failed {why}"));
            ExitCode::FAILURE
        }
    })
}

#[allow(clippy::print_stdout, reason = "a worker answers its parent so")]
fn say(line: &str) -> ExitCode {
    println!("{}", line.replace('\n', " "));
    ExitCode::SUCCESS
}

fn work(order: &str, target: &Target) -> Result<u64, String> {
    let order: Order = serde_json::from_str(order).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let answer = async {
            let store = target.open_as(order.target).await?;
            let items = CollectionName::new(&order.collection)?;
            // All workers begin when the last one is ready.
            say("ready");
            let _ = std::io::stdin().read_line(&mut String::new());
            let answer = match order.job {
                Job::Increment(times) => {
                    jobs::increment(&store, &items, &"counter".parse()?, times)
                        .await
                        .map(|()| times)
                }
                Job::Create(count) => jobs::create(&store, &items, count).await,
                Job::Transfer(times) => jobs::transfer(&store, &items, times, order.seed)
                    .await
                    .map(|()| times),
            };
            store.close().await?;
            answer
        };
        answer.await.map_err(|error| error.to_string())
    })
}

/// Has several processes do a job at one time; answers what each of them says.
async fn run(context: &Context, items: &CollectionName, job: Job) -> Result<Vec<u64>, Failure> {
    let Some((program, before)) = context.options().worker.clone() else {
        return Err(Failure::here("no worker was given"));
    };
    let mut orders = Vec::new();
    for number in 0..PROCESSES {
        let order = Order {
            target: context.target().describe().to_owned(),
            collection: items.as_str().to_owned(),
            job,
            seed: context.seed() ^ number,
        };
        orders
            .push(serde_json::to_string(&order).map_err(|error| Failure::here(error.to_string()))?);
    }
    let work = move || {
        let mut workers = Vec::new();
        for order in orders {
            let child = Command::new(&program)
                .args(&before)
                .arg(WORKER)
                .arg(order)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|error| format!("{} did not start: {error}", program.display()))?;
            workers.push(Worker::new(child)?);
        }
        workers
            .iter_mut()
            .try_for_each(|worker| worker.expect("ready").map(drop))?;
        workers.iter_mut().try_for_each(Worker::begin)?;
        workers
            .iter_mut()
            .map(|worker| {
                worker
                    .expect("done")
                    .and_then(|answer| answer.parse().map_err(|_| answer))
            })
            .collect::<Result<Vec<u64>, String>>()
    };
    let done = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::here(error.to_string()))?;
    done.map_err(|why| Failure::here(format!("a worker process: {why}")))
}

struct Worker {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn new(mut child: Child) -> Result<Self, String> {
        let stdout = child.stdout.take().ok_or("it has no output")?;
        Ok(Self {
            child,
            answers: BufReader::new(stdout),
        })
    }

    fn begin(&mut self) -> Result<(), String> {
        let mut stdin = self.child.stdin.take().ok_or("it takes no input")?;
        stdin.write_all(b"go\n").map_err(|error| error.to_string())
    }

    /// The next line that starts with a word, without that.
    fn expect(&mut self, word: &str) -> Result<String, String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        match line.trim_end().strip_prefix(word) {
            Some(rest) => Ok(rest.trim_start().to_owned()),
            None => Err(format!("said {:?} where {word:?} was due", line.trim_end())),
        }
    }
}

/// A worker outlives no case, whatever ended that.
impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn increments(context: Context) -> Check {
    const EACH: u64 = 100;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let counter = key("counter")?;
    // This process takes part too.
    let (own, others) = futures_util::join!(
        jobs::increment(&store, &items, &counter, EACH),
        run(&context, &items, Job::Increment(EACH))
    );
    own?;
    others?;
    let found = value(&store, &items, &counter).await?;
    ensure_eq!(
        found,
        Some(json!({"n": EACH * (PROCESSES + 1)})),
        "the counter after {} processes counted {EACH} times each",
        PROCESSES + 1
    );
    Ok(())
}

async fn one_creator(context: Context) -> Check {
    const COUNT: u64 = 150;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let created: u64 = run(&context, &items, Job::Create(COUNT))
        .await?
        .iter()
        .sum();
    ensure_eq!(
        created,
        COUNT,
        "creates that succeeded of {COUNT} keys, in {PROCESSES} processes together"
    );
    ensure_eq!(
        store.count(&items, &Filter::all()).await?,
        COUNT,
        "items that are there"
    );
    Ok(())
}

async fn transfers(context: Context) -> Check {
    const EACH: u64 = 80;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    jobs::open_accounts(&store, &items).await?;
    let (own, others) = futures_util::join!(
        jobs::transfer(&store, &items, EACH, context.seed()),
        run(&context, &items, Job::Transfer(EACH))
    );
    own?;
    others?;
    ensure_eq!(
        jobs::sum(&store, &items).await?,
        Account::TOTAL,
        "the sum of the accounts after transfers by {} processes",
        PROCESSES + 1
    );
    Ok(())
}

async fn watched(context: Context) -> Check {
    const EACH: u64 = 60;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let mut changes = store.watch(Some(&items), crate::WatchFrom::Now).await?;
    run(&context, &items, Job::Increment(EACH)).await?;
    let counter = key("counter")?;
    let last = store
        .head(&items, &counter)
        .await?
        .map(|entry| entry.version);
    let (mut told, mut before) = (0, None);
    loop {
        let change = super::watch::next(&context, &mut changes).await?;
        if change.version == before {
            continue;
        }
        ensure_eq!(
            change.previous,
            before,
            "the previous version that a change by another process names, against the change told before"
        );
        before = change.version;
        told += 1;
        if change.version == last {
            break;
        }
    }
    ensure_eq!(
        told,
        EACH * PROCESSES,
        "changes told of {EACH} increments by each of {PROCESSES} processes"
    );
    Ok(())
}
