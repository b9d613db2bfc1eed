//! A proxy that breaks connections as it is told.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "it is a part of tests, and fails by panicking"
)]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What happens to the connection that brings the next request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// So many bytes of the request go on, then it ends.
    CutRequest(usize),
    /// The request goes on, and so many bytes of the answer come back.
    CutAnswer(usize),
    /// The request goes on when the permit is given, and then tells that the
    /// server answered; nothing comes back.
    Hold(Arc<Held>),
}

/// A request that is held up.
#[derive(Debug)]
pub struct Held {
    pub arrived: Semaphore,
    pub go: Semaphore,
    pub answered: Semaphore,
}

impl Held {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            arrived: Semaphore::new(0),
            go: Semaphore::new(0),
            answered: Semaphore::new(0),
        })
    }
}

/// Stands between clients and a server.
#[derive(Clone)]
pub struct Proxy {
    pub url: String,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    faults: Mutex<VecDeque<Fault>>,
    refuses: AtomicBool,
    open: AtomicUsize,
    most_open: AtomicUsize,
    broken: AtomicUsize,
}

impl Proxy {
    pub async fn before(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::new(State {
                server: server.strip_prefix("http://").unwrap().parse().unwrap(),
                faults: Mutex::default(),
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

    /// Connections that a fault has ended.
    pub fn broken(&self) -> usize {
        self.state.broken.load(Ordering::SeqCst)
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
    let mut server = TcpStream::connect(state.server).await?;
    client.set_nodelay(true)?;
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
                    fault = state.faults.lock().pop_front();
                }
                match &mut fault {
                    Some(Fault::CutRequest(left)) => {
                        count = count.min(*left);
                        *left -= count;
                        server.write_all(&from_client[..count]).await?;
                        if *left == 0 {
                            state.broken.fetch_add(1, Ordering::SeqCst);
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
                if let Some(Fault::CutAnswer(left)) = &mut fault {
                    count = count.min(*left);
                    *left -= count;
                    client.write_all(&from_server[..count]).await?;
                    if *left == 0 {
                        state.broken.fetch_add(1, Ordering::SeqCst);
                        return Ok(());
                    }
                } else {
                    client.write_all(&from_server[..count]).await?;
                }
            }
        }
    }
}
