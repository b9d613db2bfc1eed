//! A proxy that breaks connections as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is a part of tests, and fails by panicking"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdall_core::{Env, SystemClock};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What happens to the connection that brings the next request: the first bytes
/// from the client, or the first behind an answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// So many bytes of the request go on, then the connection ends.
    CutRequest(usize),
    /// The request goes on, and so many bytes of the answer come back.
    CutAnswer(usize),
    /// The same, and the connection does not end but breaks: both sides are told
    /// so by RST.
    ResetAnswer(usize),
    /// The request goes on and so many bytes of the answer come back, and then
    /// nothing, in neither direction, while the connection stays open.
    Blackhole(usize),
    /// The answer comes so much later.
    Delay(Duration),
    /// The request goes on when the permit is given, and then tells that the
    /// server answered; nothing comes back.
    Hold(Arc<Held>),
}

/// A request that is held up.
#[derive(Debug)]
pub struct Held {
    /// A permit for the test, when the request has come.
    pub arrived: Semaphore,
    /// A permit for the proxy, when the request is to go on.
    pub go: Semaphore,
    /// A permit for the test, when the server has answered.
    pub answered: Semaphore,
}

impl Held {
    /// Without permits.
    #[allow(clippy::new_ret_no_self, reason = "it is shared with the proxy")]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            arrived: Semaphore::new(0),
            go: Semaphore::new(0),
            answered: Semaphore::new(0),
        })
    }
}

/// Faults from a seed.
#[derive(Clone)]
pub struct Plan {
    env: Env,
    one_in: u64,
}

impl Plan {
    /// One of so many requests meets a fault.
    pub fn seeded(seed: u64, one_in: u64) -> Self {
        Self {
            env: Env::seeded(SystemClock, seed),
            one_in,
        }
    }

    /// What the next request meets.
    pub fn next(&self) -> Option<Fault> {
        if self.env.below(self.one_in) != 0 {
            return None;
        }
        // Most requests and answers have some hundred bytes.
        let bytes = || {
            let most = [1, 16, 100, 1000, 20_000];
            let most = most[self.env.below(most.len() as u64) as usize];
            self.env.below(most) as usize
        };
        Some(match self.env.below(10) {
            0..=2 => Fault::CutRequest(bytes()),
            3 | 4 => Fault::CutAnswer(bytes()),
            5..=7 => Fault::ResetAnswer(bytes()),
            8 => Fault::Blackhole(bytes()),
            _ => Fault::Delay(Duration::from_millis(self.env.below(50))),
        })
    }
}

/// Stands between clients and a server.
#[derive(Clone)]
pub struct Proxy {
    /// The URL of the server, but for the proxy's own address.
    pub url: String,
    state: Arc<State>,
}

struct State {
    server: String,
    faults: Mutex<VecDeque<Fault>>,
    plan: Mutex<Option<Plan>>,
    refuses: AtomicBool,
    open: AtomicUsize,
    most_open: AtomicUsize,
    broken: AtomicUsize,
}

impl Proxy {
    /// Before the server of a URL, whatever protocol it speaks. It runs until the
    /// runtime ends.
    ///
    /// # Panics
    /// If the URL has no host and port.
    pub async fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let (start, rest) = url.split_once("://").unwrap();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (format!("{user}@"), server),
            None => (String::new(), authority),
        };
        let proxy = Self {
            url: format!("{start}://{user}{own}{path}"),
            state: Arc::new(State {
                server: server.to_owned(),
                faults: Mutex::default(),
                plan: Mutex::default(),
                refuses: AtomicBool::new(false),
                open: AtomicUsize::new(0),
                most_open: AtomicUsize::new(0),
                broken: AtomicUsize::new(0),
            }),
        };
        let state = proxy.state.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(state.clone(), client));
            }
        });
        proxy
    }

    /// The next requests meet these, one after the other.
    pub fn arm(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.state.faults.lock() = faults.into_iter().collect();
    }

    /// Requests that meet no armed fault meet those of a plan; `None` ends it.
    pub fn follow(&self, plan: Option<Plan>) {
        *self.state.plan.lock() = plan;
    }

    /// Faults that no request has met.
    pub fn left(&self) -> usize {
        self.state.faults.lock().len()
    }

    /// Ends connections as they come.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
    }

    /// The most connections that were open at once.
    pub fn most_open(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Connections that a fault has ended, or has cut off.
    pub fn broken(&self) -> usize {
        self.state.broken.load(Ordering::SeqCst)
    }
}

impl State {
    fn next(&self) -> Option<Fault> {
        let armed = self.faults.lock().pop_front();
        armed.or_else(|| self.plan.lock().as_ref().and_then(Plan::next))
    }

    fn breaks(&self) {
        self.broken.fetch_add(1, Ordering::SeqCst);
    }
}

async fn pass(state: Arc<State>, client: TcpStream) {
    if state.refuses.load(Ordering::SeqCst) {
        return;
    }
    let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
    state.most_open.fetch_max(open, Ordering::SeqCst);
    let _ = pass_on(&state, client).await;
    state.open.fetch_sub(1, Ordering::SeqCst);
}

async fn pass_on(state: &State, mut client: TcpStream) -> std::io::Result<()> {
    let mut server = TcpStream::connect(&state.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
    let mut fault: Option<Fault> = None;
    // A request that met its fault too late for it takes it along.
    let mut answering = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let mut count = read?;
                if count == 0 {
                    return Ok(());
                }
                if std::mem::take(&mut answering) {
                    fault = None;
                }
                if fault.is_none() {
                    fault = state.next();
                }
                match &mut fault {
                    Some(Fault::CutRequest(left)) => {
                        count = count.min(*left);
                        *left -= count;
                        server.write_all(&from_client[..count]).await?;
                        if *left == 0 {
                            state.breaks();
                            return Ok(());
                        }
                    }
                    Some(Fault::Hold(held)) => {
                        held.arrived.add_permits(1);
                        held.go.acquire().await.unwrap().forget();
                        server.write_all(&from_client[..count]).await?;
                        // All of the answer to a small request comes at once.
                        let _ = server.read(&mut from_server).await?;
                        held.answered.add_permits(1);
                        return Ok(());
                    }
                    _ => server.write_all(&from_client[..count]).await?,
                }
            }
            read = server.read(&mut from_server) => {
                let mut count = read?;
                if count == 0 {
                    return Ok(());
                }
                answering = true;
                let left = match &mut fault {
                    Some(
                        Fault::CutAnswer(left) | Fault::ResetAnswer(left) | Fault::Blackhole(left),
                    ) => {
                        count = count.min(*left);
                        *left -= count;
                        *left
                    }
                    Some(Fault::Delay(time)) => {
                        tokio::time::sleep(std::mem::take(time)).await;
                        usize::MAX
                    }
                    _ => usize::MAX,
                };
                client.write_all(&from_server[..count]).await?;
                if left > 0 {
                    continue;
                }
                state.breaks();
                match fault {
                    Some(Fault::ResetAnswer(_)) => {
                        client.set_zero_linger()?;
                        server.set_zero_linger()?;
                    }
                    Some(Fault::Blackhole(_)) => {
                        // Until the client gives up; the server learns nothing.
                        while client.read(&mut from_client).await? > 0 {}
                    }
                    _ => {}
                }
                return Ok(());
            }
        }
    }
}
