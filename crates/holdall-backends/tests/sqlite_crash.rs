//! Processes that are killed, disks that are full, files that cannot be
//! written: what was acknowledged is there, and nothing is half.
//!
//! The binary runs itself as the process to be killed (`writer FILE SEED`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests without a harness"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use futures_util::TryStreamExt;
use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, DynBackend, Env, GetOptions, Key,
    Outcome, Put, Scan, SystemClock, byte_stream, json,
};
use holdall_testing::full_disk::{SmallDisk, fill};
use holdall_testing::services::not_run;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        [_, "writer", file, seed] => runtime().block_on(writer(file, seed.parse().unwrap())),
        [_, "unsynced", file] => runtime().block_on(unsynced(file)),
        [_, "opener", file] => runtime().block_on(opener(file)),
        _ => {
            let tests = vec![
                Trial::test("acknowledged_writes_survive_a_kill", kills),
                Trial::test(
                    "a_failed_sync_is_an_unknown_outcome_and_ends_writing",
                    failed_sync,
                ),
                Trial::test("a_full_disk_is_an_error_that_passes", full_disk),
                Trial::test("a_file_that_cannot_be_written_is_denied_at_open", read_only),
            ];
            return libtest_mimic::run(&Arguments::from_args(), tests).exit_code();
        }
    }
    ExitCode::SUCCESS
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn pairs() -> CollectionName {
    CollectionName::new("pairs").unwrap()
}

fn key(text: impl AsRef<str>) -> Key {
    Key::new(text).unwrap()
}

/// Eight writers. Each batch puts two items with one number, sometimes a large
/// staged body, and is announced before it is written and acknowledged after.
async fn writer(file: &str, seed: u64) {
    let store = SqliteBackend::open(SqliteOptions::new(file)).await.unwrap();
    let env = Env::seeded(SystemClock, seed);
    let writers = (0..8_u64).map(|task| {
        let (store, env) = (&store, env.clone());
        async move {
            for number in 0_u64.. {
                let id = env.version();
                let doc =
                    Doc::from_value(&json!({"number": number, "id": id.to_string()})).unwrap();
                let mut left = Put::doc(doc.clone());
                if number % 7 == task % 7 {
                    let body = vec![u8::try_from(number % 251).unwrap(); 150_000];
                    let staged = store.stage(&pairs(), byte_stream(body)).await.unwrap();
                    left = Put::staged(staged).with_doc(doc.clone());
                }
                println!("try {task} {number} {id}");
                let batch = Batch::with_id(id)
                    .put(&pairs(), &key(format!("{task}-left")), Condition::Any, left)
                    .put(
                        &pairs(),
                        &key(format!("{task}-right")),
                        Condition::Any,
                        Put::doc(doc),
                    );
                store.write(batch).await.unwrap();
                println!("ack {task} {number} {id}");
            }
        }
    });
    futures_util::future::join_all(writers).await;
}

fn kills() -> Result<(), Failed> {
    const ROUNDS: u64 = 25;
    let seed = Env::system().below(u64::MAX);
    println!("seed {seed}");
    let env = Env::seeded(SystemClock, seed);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("store.db");
    let mut acknowledged = BTreeMap::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe()?)
            .args([
                "writer",
                file.to_str().unwrap(),
                &(seed ^ round).to_string(),
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        // Killed after a random number of lines, so at a random place.
        let lines = 1 + env.below(300);
        let mut tried = Vec::new();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        for at in 0.. {
            if at == lines {
                child.kill()?;
            }
            // What it had written to the pipe before the kill counts too.
            let Some(Ok(line)) = output.next() else { break };
            let words: Vec<&str> = line.split(' ').collect();
            let [what, task, number, id] = words.as_slice() else {
                continue;
            };
            match *what {
                "ack" => drop(acknowledged.insert((*task).to_owned(), number.parse::<u64>()?)),
                _ => tried.push((*task).to_owned() + " " + number + " " + id),
            }
        }
        child.wait()?;
        runtime()
            .block_on(inspect(&file, &acknowledged, &tried))
            .map_err(|why| format!("seed {seed}, round {round}: {why}"))?;
        // The next process starts its numbers anew.
        acknowledged.clear();
        std::fs::remove_file(&file)?;
        for tail in ["-wal", "-shm"] {
            let _absent = std::fs::remove_file(folder.path().join(format!("store.db{tail}")));
        }
    }
    Ok(())
}

async fn inspect(
    file: &Path,
    acknowledged: &BTreeMap<String, u64>,
    tried: &[String],
) -> Result<(), String> {
    let text = |error: holdall_core::Error| error.to_string();
    let store = SqliteBackend::open(SqliteOptions::new(file))
        .await
        .map_err(text)?;
    let mut numbers = BTreeMap::new();
    let items: Vec<_> = store
        .scan(&pairs(), Scan::all())
        .try_collect()
        .await
        .map_err(text)?;
    for item in items {
        let doc = item.doc.as_ref().unwrap().value().map_err(text)?;
        let number = doc
            .get("number")
            .and_then(|number| number.as_u64())
            .unwrap();
        let (task, side) = item.key.as_str().split_once('-').unwrap();
        if doc.get("id").and_then(|id| id.as_str()) != Some(&item.entry.version.to_string()) {
            return Err(format!("{:?} has the doc of another version", item.key));
        }
        if let Some(other) = numbers
            .insert(task.to_owned(), number)
            .filter(|other| *other != number)
        {
            return Err(format!(
                "half a batch: task {task} has {other} and {number} ({side})"
            ));
        }
        let whole = store
            .get(&pairs(), &item.key, GetOptions::default())
            .await
            .map_err(text)?
            .unwrap();
        if let Some(body) = whole.body {
            let bytes = body.bytes(usize::MAX).await.map_err(text)?;
            if bytes.len() != 150_000 || bytes.iter().any(|byte| u64::from(*byte) != number % 251) {
                return Err(format!("{:?} has the body of another version", item.key));
            }
        }
    }
    for (task, number) in acknowledged {
        if numbers.get(task).is_none_or(|found| found < number) {
            return Err(format!(
                "task {task} lost number {number}, has {:?}",
                numbers.get(task)
            ));
        }
    }
    // Each batch that was tried either took effect or never will.
    for line in tried {
        let words: Vec<&str> = line.split(' ').collect();
        let (task, number) = (words[0], words[1].parse::<u64>().unwrap());
        let id = words[2].parse().map_err(text)?;
        let committed = match store.resolve(id, None).await.map_err(text)? {
            Outcome::Committed(_) => true,
            Outcome::Aborted => false,
            Outcome::Unknown => return Err(format!("the outcome of {line} is unknown")),
        };
        let there = numbers.get(task).is_some_and(|found| *found >= number);
        if committed != there {
            return Err(format!(
                "{line} is said to be committed: {committed}, and is there: {there}"
            ));
        }
    }
    store.close().await.map_err(text)
}

/// Writes until something fails, then once more; says what came of each.
async fn unsynced(file: &str) {
    let store = SqliteBackend::open(SqliteOptions::new(file)).await.unwrap();
    let env = Env::system();
    for number in 0..200 {
        let id = env.version();
        let batch = Batch::with_id(id).put(
            &pairs(),
            &key(number.to_string()),
            Condition::Absent,
            Put::default(),
        );
        match store.write(batch).await {
            Ok(_) => println!("ack {number} {id}"),
            Err(error) => {
                println!("{:?} {:?} {number} {id}", error.kind(), error.retry());
                let again = store
                    .put(&pairs(), &key("again"), Condition::Any, Put::default())
                    .await;
                println!("then {:?}", again.unwrap_err().kind());
                let read = store.get(&pairs(), &key("0"), GetOptions::default()).await;
                println!("read {}", read.unwrap().is_some());
                return;
            }
        }
    }
}

/// From some sync on, all of them fail. What is on disk then is not known, so
/// the store must not say that the batch failed, nor build on it.
fn failed_sync() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("store.db");
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
        ])
        .args(["-e", "inject=fsync,fdatasync:error=EIO:when=20+"])
        .arg(std::env::current_exe()?)
        .args(["unsynced", file.to_str().unwrap()])
        .output()
        .map_err(|error| {
            format!("not run: strace makes syncs fail, and does not start: {error}")
        })?;
    let said = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = said.lines().collect();
    let Some(at) = lines.iter().position(|line| !line.starts_with("ack")) else {
        return Err(format!("no sync failed: {said}").into());
    };
    if at == 0 || lines.get(at + 1..) != Some(&["then Closed", "read true"]) {
        return Err(format!("after a failed sync it said: {said}").into());
    }
    let words: Vec<&str> = lines[at].split(' ').collect();
    let [_, "Unknown", number, id] = words.as_slice() else {
        return Err(format!("a failed sync was called: {}", lines[at]).into());
    };
    runtime().block_on(async {
        let store = SqliteBackend::open(SqliteOptions::new(&file)).await?;
        for line in &lines[..at] {
            let number = line.split(' ').nth(1).unwrap();
            if store.head(&pairs(), &key(number)).await?.is_none() {
                return Err(Failed::from(format!(
                    "number {number} was acknowledged and is gone"
                )));
            }
        }
        let there = store.head(&pairs(), &key(number)).await?.is_some();
        let committed = match store.resolve(id.parse()?, None).await? {
            Outcome::Committed(_) => true,
            Outcome::Aborted => false,
            Outcome::Unknown => return Err(Failed::from("its outcome cannot be resolved")),
        };
        if committed != there {
            return Err(Failed::from(format!(
                "it is said to be committed: {committed}, and is there: {there}"
            )));
        }
        Ok(())
    })
}

/// A disk of a few MiB is filled to the end, then gets room again.
fn full_disk() -> Result<(), Failed> {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir()?;
    let disk = match SmallDisk::mount(folder.path(), 16) {
        Ok(disk) => disk,
        Err(why) => {
            not_run("a small disk", &why);
            return Ok(());
        }
    };
    runtime().block_on(async {
        let options = SqliteOptions::new(folder.path().join("store.db"));
        let store = DynBackend::from(SqliteBackend::open(options).await?);
        fill(&disk, &store, 6 * MIB, || Ok(())).await?;
        store.close().await?;
        Ok(())
    })
}

/// Root may write everywhere, so the opening is done by another user.
async fn opener(file: &str) {
    match SqliteBackend::open(SqliteOptions::new(file)).await {
        Ok(_) => println!("opened"),
        Err(error) => println!("{:?} {error}", error.kind()),
    }
}

fn read_only() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("store.db");
    runtime().block_on(async {
        let store = SqliteBackend::open(SqliteOptions::new(&file)).await?;
        store
            .put(&pairs(), &key("a"), Condition::Any, Put::default())
            .await?;
        store.close().await
    })?;
    // A copy that the other user can reach and run.
    let program = folder.path().join("opener");
    std::fs::copy(std::env::current_exe()?, &program)?;
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode));
    mode(&program, 0o755)?;
    mode(&file, 0o444)?;
    mode(folder.path(), 0o555)?;
    let mut command = Command::new(&program);
    command.arg("opener").arg(&file);
    if is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output()?;
    mode(folder.path(), 0o755)?;
    let said = String::from_utf8(output.stdout)?;
    if said.starts_with("Denied") && said.contains("cannot be written") {
        Ok(())
    } else {
        Err(format!("opening a file without write permission said: {said}").into())
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}
