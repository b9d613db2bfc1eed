//! Starting and ending programs.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::{Result, system};

/// How long a server may take to start or to end.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long a program runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// Until it is ended.
    Own,
    /// No longer than this process, however that ends.
    WithThis,
}

/// Whether this process may take another user's place.
pub(super) fn is_root() -> bool {
    system::owner(Path::new("/proc/self/")).is_ok_and(|owner| owner == 0)
}

/// A program that runs as another user where this is root, and perhaps ends with
/// this process: `setpriv` of util-linux does both.
fn command(words: &[String], user: Option<&str>, life: Life) -> Command {
    let user = user.filter(|_| is_root());
    let mut all: Vec<String> = Vec::new();
    if user.is_some() || life == Life::WithThis {
        all.push("setpriv".into());
        if let Some(user) = user {
            all.extend(["--reuid", user, "--regid", user, "--init-groups"].map(String::from));
        }
        if life == Life::WithThis {
            all.extend(["--pdeathsig", "KILL"].map(String::from));
        }
        all.push("--".into());
    }
    all.extend_from_slice(words);
    let mut all = all.into_iter();
    let mut command = Command::new(all.next().unwrap_or_default());
    command
        .args(all)
        .current_dir("/")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs a program to its end; it must succeed. Answers what it said.
pub(super) fn run(words: &[String], user: Option<&str>) -> Result<String> {
    let name = words.first().map_or("", String::as_str);
    let output = command(words, user, Life::Own)
        .output()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.push_str(&String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("{name} failed: {}", said.trim()))
    }
}

type Order = (Command, Sender<std::io::Result<u32>>);

/// The kernel ends a [`Life::WithThis`] with the thread that started it, so all
/// are started by one that never ends.
static STARTER: LazyLock<Sender<Order>> = LazyLock::new(|| {
    let (sender, orders) = channel::<Order>();
    std::thread::spawn(move || {
        for (mut command, answer) in orders {
            let started = command.spawn().map(|mut child| {
                let pid = child.id();
                // One that nobody waits for stays a process when it has ended, and
                // PostgreSQL takes it for one that still runs.
                std::thread::spawn(move || child.wait());
                pid
            });
            let _gone = answer.send(started);
        }
    });
    sender
});

/// Starts a program, whose output goes to the end of a file. Answers its id.
pub(super) fn start(words: &[String], user: Option<&str>, life: Life, log: &Path) -> Result<u32> {
    let name = words.first().map_or("", String::as_str);
    let cannot = |error: std::io::Error| format!("cannot start {name}: {error}");
    let log = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(cannot)?;
    let mut command = command(words, user, life);
    command.stdout(log.try_clone().map_err(cannot)?).stderr(log);
    system::keep_from_signals(&mut command);
    let (sender, started) = channel();
    STARTER
        .send((command, sender))
        .map_err(|_| format!("cannot start {name}: the thread that starts is gone"))?;
    started
        .recv()
        .map_err(|_| format!("cannot start {name}: the thread that starts is gone"))?
        .map_err(cannot)
}

/// Sends a signal; processes that are gone already are fine.
pub(super) fn signal(signal: &str, pids: &[u32]) {
    for pid in pids {
        // The shell's own, as not every machine has the program `kill`.
        let script = format!("kill -{signal} {pid}");
        let _gone = Command::new("sh")
            .args(["-c", &script])
            .stderr(Stdio::null())
            .status();
    }
}

/// What a process is called, and the one that started it; `None` if it has ended.
fn look(pid: u32) -> Option<(String, u32)> {
    let mut stat = String::new();
    // 1234 (the name) S 1 …
    File::open(format!("/proc/{pid}/stat"))
        .ok()?
        .read_to_string(&mut stat)
        .ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut rest = rest.split_whitespace();
    let state = rest.next()?;
    let parent = rest.next()?.parse().ok()?;
    // Ended, and nobody has asked how. A thread that still waits for the disk keeps what
    // the process had, its port for one.
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let has_ended = matches!(state, "Z" | "X") && threads <= 1;
    (!has_ended).then(|| (name.to_owned(), parent))
}

/// Whether a process runs that is called so. Numbers are used again.
pub(super) fn runs(pid: u32, program: &Path) -> bool {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    // Linux keeps 15 bytes of a name.
    look(pid).is_some_and(|(is, _)| name.starts_with(&is) || is == "setpriv")
}

/// Processes that these have started.
pub(super) fn children(pids: &[u32]) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| look(*pid).is_some_and(|(_, parent)| pids.contains(&parent)))
        .collect()
}

/// Tries again until it works, or has taken too long.
pub(super) fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Err(why) if start.elapsed() > PATIENCE => {
                return Err(format!("{why}, after {} s", PATIENCE.as_secs()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

/// Waits for the end of processes.
pub(super) fn await_end(pids: &[u32], limit: Duration) -> bool {
    // One that has ended is there until somebody waits for it, which not every
    // parent does.
    const WAITED_FOR: Duration = Duration::from_secs(2);
    let start = Instant::now();
    let is_gone = |pid: u32| {
        !Path::new("/proc").join(pid.to_string()).exists()
            || (start.elapsed() > WAITED_FOR && look(pid).is_none())
    };
    while !pids.iter().all(|pid| is_gone(*pid)) {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
