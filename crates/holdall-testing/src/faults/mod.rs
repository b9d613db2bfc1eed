//! What must hold of a backend whose connections break and whose server dies.
//!
//! Many clients write at once through a [`Proxy`] that follows a seeded
//! plan; where the server can be killed, it is, in every second run. Then, without
//! faults: every acknowledged write is there, none is that was told as failed,
//! unknown outcomes are resolved and are what was found, each version was told
//! by `watch` once, and no call took longer than it may.
//!
//! It is not a part of the conformance suite, which anyone's backend joins
//! without a network: this needs a server, a proxy before it, and a way to kill it.
//!
//! ```no_run
//! # use holdall_core::{DynBackend, Result};
//! # async fn open(url: String) -> Result<DynBackend> { unimplemented!() }
//! # async fn story() {
//! use holdall_testing::{faults, services};
//! let Some(server) = services::private("postgres") else { return };
//! faults::check(faults::Subject::new(server.url(), open).killed(server)).await;
//! # }
//! ```

mod client;
mod ledger;
mod telling;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdall_core::{
    CollectionName, DynBackend, Env, Error, ErrorKind, Result as Answer, SystemClock,
};
use tokio::sync::Notify;

use crate::proxy::{Plan, Proxy};
use crate::services::Private;

/// An answer; the error is a sentence.
type Result<T = ()> = std::result::Result<T, String>;

type Open = Arc<dyn Fn(String) -> BoxFuture<'static, Answer<DynBackend>> + Send + Sync>;

/// What is tried.
pub struct Subject {
    url: String,
    open: Open,
    beside: Option<DynBackend>,
    server: Option<Arc<Private>>,
}

impl Subject {
    /// A server's URL, and how a backend on it is opened. Its timeouts should be
    /// of a second or two, as some requests are never answered.
    pub fn new<F, Fut>(url: impl Into<String>, open: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer<DynBackend>> + Send + 'static,
    {
        Self {
            url: url.into(),
            open: Arc::new(move |url| Box::pin(open(url))),
            beside: None,
            server: None,
        }
    }

    /// Another way to the same store, to look at what became of it; without one,
    /// it is opened without the proxy.
    #[must_use]
    pub fn beside(mut self, store: DynBackend) -> Self {
        self.beside = Some(store);
        self
    }

    /// The server, which is killed and started again in every second run.
    #[must_use]
    pub fn killed(mut self, server: Private) -> Self {
        self.server = Some(Arc::new(server));
        self
    }
}

/// How it is tried.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often.
    pub runs: u64,
    /// The first run's seed; each has the next.
    pub seed: u64,
    /// How many write at once.
    pub clients: u64,
    /// How many writes of each are answered, in a run.
    pub writes: u64,
    /// How long a call may take at most.
    pub patience: Duration,
}

impl Options {
    /// 20 runs, or `HOLDALL_FAULT_RUNS`, from the seed in `HOLDALL_FAULT_SEED` or
    /// a random one.
    ///
    /// # Errors
    /// If one of them is not a number.
    pub fn from_environment() -> Result<Self> {
        let number = |name: &str| match std::env::var(name) {
            Ok(text) => match text.parse::<u64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("{name} is {text:?}; write a number")),
            },
            Err(_) => Ok(None),
        };
        Ok(Self {
            runs: number("HOLDALL_FAULT_RUNS")?.unwrap_or(20),
            seed: number("HOLDALL_FAULT_SEED")?
                .unwrap_or_else(|| Env::system().below(1_000_000_000)),
            clients: 16,
            writes: 10,
            patience: Duration::from_secs(20),
        })
    }
}

/// What came of all runs.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes that were told as failed.
    pub failed: u64,
    /// Writes whose outcome was unknown at first.
    pub unknown: u64,
    /// Connections that broke.
    pub broken: u64,
    /// How often the server was killed.
    pub kills: u64,
}

/// Tries it with the options of the environment, and prints what came of it.
///
/// # Panics
/// If something does not hold.
#[allow(clippy::panic, reason = "a test fails so")]
pub async fn check(subject: Subject) -> Summary {
    match Options::from_environment() {
        Ok(options) => match run(subject, options).await {
            Ok(summary) => summary,
            Err(why) => panic!("{why}"),
        },
        Err(why) => panic!("{why}"),
    }
}

/// Tries it, and answers what does not hold, with the seed of its run.
///
/// # Errors
/// What does not hold.
pub async fn run(subject: Subject, options: Options) -> Result<Summary> {
    eprintln!("{} runs from seed {}", options.runs, options.seed);
    let proxy = Proxy::before(&subject.url).await;
    let open = |url: &str| (subject.open)(url.to_owned());
    let direct = match &subject.beside {
        Some(store) => store.clone(),
        None => open(&subject.url).await.map_err(told("opening"))?,
    };
    // Handles last over all runs: each has to recover from what it met. Several
    // clients share one, as they share its pool.
    let mut handles = Vec::new();
    for _ in 0..options.clients.div_ceil(4) {
        handles.push(open(&proxy.url).await.map_err(told("opening"))?);
    }
    let mut summary = Summary::default();
    for seed in (options.seed..).take(usize::try_from(options.runs).unwrap_or(usize::MAX)) {
        let run = Run::new(&subject, &options, &direct, seed)?;
        let plan = Plan::seeded(seed, 12);
        proxy.follow(Some(plan));
        let result = run.all(&handles, &proxy, &mut summary).await;
        result.map_err(|why| {
            format!("{why} (again with HOLDALL_FAULT_RUNS=1 HOLDALL_FAULT_SEED={seed})")
        })?;
    }
    summary.broken = proxy.broken() as u64;
    eprintln!("{summary:?}");
    if summary.broken == 0 || summary.acknowledged == 0 {
        return Err(format!("nothing was tried: {summary:?}"));
    }
    Ok(summary)
}

fn told(what: &'static str) -> impl Fn(Error) -> String {
    move |error| format!("{what} failed as {}: {error}", error.kind().name())
}

/// One run.
struct Run {
    seed: u64,
    items: CollectionName,
    direct: DynBackend,
    server: Option<Arc<Private>>,
    options: Options,
    /// Writes that were answered, of all clients.
    answered: Arc<AtomicU64>,
    /// The server is killed after so many.
    kill_after: u64,
    kill: Arc<Notify>,
}

impl Run {
    fn new(subject: &Subject, options: &Options, direct: &DynBackend, seed: u64) -> Result<Self> {
        let env = Env::seeded(SystemClock, seed);
        // Not the names of an earlier run with this seed.
        let name = format!("faults-{seed}-{}", env.now().as_micros());
        let all = options.clients * options.writes;
        Ok(Self {
            seed,
            items: CollectionName::new(name).map_err(told("naming"))?,
            direct: direct.clone(),
            server: subject.server.clone().filter(|_| seed % 2 == 1),
            options: options.clone(),
            answered: Arc::default(),
            kill_after: all / 10 + env.below(all / 2 + 1),
            kill: Arc::default(),
        })
    }

    async fn all(self, handles: &[DynBackend], proxy: &Proxy, summary: &mut Summary) -> Result {
        let run = Arc::new(self);
        let watching = telling::Telling::start(&run).await?;
        let killing = tokio::spawn(run.clone().kill());
        let clients: Vec<_> = (0..run.options.clients)
            .zip(handles.iter().cycle())
            .map(|(number, handle)| {
                let client = client::Client::new(run.clone(), handle.clone(), number);
                tokio::spawn(client.write())
            })
            .collect();
        let mut tried = Vec::new();
        let mut failed = None;
        for client in clients {
            match client.await.map_err(|error| error.to_string()).flatten() {
                Ok(more) => tried.extend(more),
                Err(why) => failed = failed.or(Some(why)),
            }
        }
        proxy.follow(None);
        // All have written, so enough for the kill.
        run.kill.notify_one();
        if killing.await.map_err(|error| error.to_string())?? {
            summary.kills += 1;
        }
        if let Some(why) = failed {
            return Err(why);
        }
        let ledger = ledger::Ledger::settle(&run, tried, summary).await?;
        ledger.compare(&run).await?;
        watching.compare(&run, &ledger).await?;
        let direct = &run.direct;
        run.surely("dropping", || direct.drop_collection(&run.items))
            .await
    }

    /// Kills the server when it is time; answers whether it was.
    async fn kill(self: Arc<Self>) -> Result<bool> {
        self.kill.notified().await;
        let Some(server) = self.server.clone() else {
            return Ok(false);
        };
        let again = move || {
            server.kill()?;
            server.start()
        };
        tokio::task::spawn_blocking(again)
            .await
            .map_err(|error| error.to_string())??;
        Ok(true)
    }

    /// A write was answered.
    fn count(&self) {
        if self.answered.fetch_add(1, Ordering::SeqCst) == self.kill_after {
            self.kill.notify_one();
        }
    }

    /// A call beside the proxy. The connections that it finds may be of a server that
    /// was killed, so it may be told once or twice to try again.
    async fn surely<T, Fut>(&self, what: &'static str, mut call: impl FnMut() -> Fut) -> Result<T>
    where
        Fut: Future<Output = Answer<T>>,
    {
        const MOST: usize = 20;
        let mut tries = 1;
        loop {
            match self.in_time(what, call()).await? {
                Ok(answer) => return Ok(answer),
                Err(error) if error.kind() == ErrorKind::Unavailable && tries < MOST => tries += 1,
                Err(error) => return Err(told(what)(error)),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A call, which must not take longer than it may.
    async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T> {
        let patience = self.options.patience;
        tokio::time::timeout(patience, call)
            .await
            .map_err(|_| format!("{what} hangs: it took longer than {patience:?}"))
    }
}
