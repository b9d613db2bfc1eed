//! Connections to the server that has the store, and calls over them.
//!
//! All of a store lies in one slot of a cluster, so one server has it: the home.
//! Where a server says that the slot is elsewhere, that is the home from then on.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ProtocolVersion, RedisConnectionInfo,
    RedisError, Value,
};
use holdall_core::{Error, ErrorKind, Result, Retry};
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::address::{Address, Node};
use super::error;
use super::options::RedisOptions;
use crate::files::read_file;
use crate::tls::{TlsFiles, client_config};

/// How often a call is sent to another node in a row.
const MAX_HOPS: usize = 3;

/// The most nodes of a cluster that are remembered.
const MAX_NODES: usize = 64;

/// The way to the server.
pub(super) struct Link {
    maker: Maker,
    connect_timeout: Duration,
    timeout: Duration,
    replicas: u32,
    home: Mutex<Node>,
    /// Whom to ask where the home is gone.
    others: Mutex<Vec<Node>>,
    /// The first is for writing.
    lines: Vec<tokio::sync::Mutex<Option<Live>>>,
    next: AtomicUsize,
}

/// How a connection is made.
enum Maker {
    Own {
        tls: Option<TlsConnector>,
        login: RedisConnectionInfo,
    },
    Client(Client),
}

/// An open connection.
#[derive(Clone)]
pub(super) struct Live {
    connection: MultiplexedConnection,
    node: Node,
    driver: Option<Arc<JoinHandle<()>>>,
}

impl Live {
    fn ended(&self) -> bool {
        self.driver
            .as_ref()
            .is_some_and(|driver| driver.is_finished())
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// It never left, or was refused: nothing happened.
    Failed(Error),
    /// It was sent, and what became of it is not known.
    Lost(Error),
    /// The script of the call is not there. Nothing happened.
    NoScript,
}

impl Fault {
    /// The error of a call that changes nothing.
    pub(super) fn of_read(self) -> Error {
        match self {
            Self::Failed(error) | Self::Lost(error) => error,
            Self::NoScript => Error::other("Redis lost a script that it was just given"),
        }
    }

    /// The error of a call that changes something.
    pub(super) fn of_write(self) -> Error {
        match self {
            Self::Lost(error) => error.with_retry(Retry::Unknown),
            other => other.of_read(),
        }
    }
}

/// Which connection a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The one for writing: what is called first arrives first.
    Write,
    /// Any other.
    Read,
}

impl Link {
    /// Reads files that options name.
    pub(super) fn new(options: &RedisOptions) -> Result<Self> {
        let address = Address::parse(&options.url)?;
        let tls = match address.secure {
            true => {
                let config = client_config(TlsFiles {
                    ca: options.ca.as_deref(),
                    cert: options.cert.as_deref(),
                    key: options.key.as_deref(),
                })?;
                Some(TlsConnector::from(Arc::new(config)))
            }
            false if options.ca.is_some() || options.cert.is_some() || options.key.is_some() => {
                return Err(Error::invalid(
                    "the options ca, cert and key are for TLS; write rediss: in the URL",
                ));
            }
            false => None,
        };
        let from_file = match &options.password_file {
            None => None,
            Some(path) => {
                let text = String::from_utf8(read_file("password_file", path)?).map_err(|_| {
                    Error::invalid(format!(
                        "the file {path:?} of the option password_file is not UTF-8"
                    ))
                })?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        let passwords = [address.password, options.password.clone(), from_file];
        if passwords.iter().flatten().count() > 1 {
            return Err(Error::invalid(
                "there are several passwords: in the URL, or by the options password and password_file; give one",
            ));
        }
        let mut login = RedisConnectionInfo::default()
            .set_db(address.database.into())
            .set_protocol(ProtocolVersion::RESP2);
        if let Some(username) = address.username.or_else(|| options.username.clone()) {
            login = login.set_username(username);
        }
        if let Some(password) = passwords.into_iter().flatten().next() {
            login = login.set_password(password);
        }
        Ok(Self::with(Maker::Own { tls, login }, address.node, options))
    }

    pub(super) fn of_client(client: Client, options: &RedisOptions) -> Result<Self> {
        let node = match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => Node {
                host: host.clone(),
                port: *port,
            },
            _ => Node {
                host: "a socket".to_owned(),
                port: 0,
            },
        };
        Ok(Self::with(Maker::Client(client), node, options))
    }

    fn with(maker: Maker, home: Node, options: &RedisOptions) -> Self {
        let others = options.nodes.iter().filter_map(|node| Node::parse(node));
        Self {
            maker,
            connect_timeout: options.connect_timeout,
            timeout: options.timeout,
            replicas: options.replicas,
            others: Mutex::new(others.chain([home.clone()]).collect()),
            home: Mutex::new(home),
            lines: (0..options.connections.max(2))
                .map(|_| tokio::sync::Mutex::default())
                .collect(),
            next: AtomicUsize::new(0),
        }
    }

    /// Reads. A lost answer is asked for once more.
    pub(super) async fn read(&self, command: &Cmd) -> Result<Value, Fault> {
        match self.send(Line::Read, command).await {
            Err(Fault::Lost(error)) if error.kind() != ErrorKind::Timeout => {
                self.send(Line::Read, command).await
            }
            other => other,
        }
        .map(|(value, _)| value)
    }

    /// Writes, once. Answers when as many replicas as asked for have it.
    pub(super) async fn write(&self, line: Line, command: &Cmd) -> Result<Value, Fault> {
        let (value, live) = self.send(line, command).await?;
        if self.replicas > 0 {
            self.wait(&live).await?;
        }
        Ok(value)
    }

    /// Sends a call to wherever the store is. Answers the connection too.
    async fn send(&self, line: Line, command: &Cmd) -> Result<(Value, Live), Fault> {
        let slot = self.slot(line).map_err(Fault::Failed)?;
        for _ in 0..MAX_HOPS {
            let live = self.live(slot).await.map_err(Fault::Failed)?;
            match self.call_on(&live, command, self.timeout).await {
                Ok(value) => return Ok((value, live)),
                Err(Refusal::Fault(fault)) => {
                    if matches!(fault, Fault::Lost(_)) {
                        forget(slot, &live).await;
                    }
                    return Err(fault);
                }
                Err(Refusal::Elsewhere(node)) => *self.home.lock() = node,
                Err(Refusal::Replica(error)) => {
                    // Perhaps another server has its name by now.
                    forget(slot, &live).await;
                    return Err(Fault::Failed(error));
                }
            }
        }
        Err(Fault::Failed(
            Error::unavailable(
                "the nodes of the Redis cluster send calls from one to the other; try again",
            )
            .in_backend("redis"),
        ))
    }

    /// Waits until replicas have what was written on this connection.
    async fn wait(&self, live: &Live) -> Result<(), Fault> {
        let millis = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let mut wait = ::redis::cmd("WAIT");
        wait.arg(self.replicas).arg(millis);
        let longer = self.timeout.saturating_add(self.connect_timeout);
        let have = match self.call_on(live, &wait, longer).await {
            Ok(Value::Int(have)) => have,
            Err(Refusal::Fault(Fault::Failed(error) | Fault::Lost(error))) => {
                return Err(Fault::Lost(error));
            }
            _ => 0,
        };
        if have >= i64::from(self.replicas) {
            return Ok(());
        }
        Err(Fault::Lost(
            Error::unavailable(format!(
                "{} replicas were to have the write within {:?}, and {have} have it",
                self.replicas, self.timeout
            ))
            .in_backend("redis"),
        ))
    }

    /// Calls on a connection of one's own.
    pub(super) async fn call_alone(
        &self,
        live: &Live,
        command: &Cmd,
        timeout: Duration,
    ) -> Result<Value, Fault> {
        match self.call_on(live, command, timeout).await {
            Ok(value) => Ok(value),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Replica(error)) => Err(Fault::Failed(error)),
            Err(Refusal::Elsewhere(node)) => {
                *self.home.lock() = node;
                Err(Fault::Lost(
                    Error::unavailable("the store is on another node of the Redis cluster")
                        .in_backend("redis"),
                ))
            }
        }
    }

    async fn call_on(
        &self,
        live: &Live,
        command: &Cmd,
        timeout: Duration,
    ) -> Result<Value, Refusal> {
        let mut connection = live.connection.clone();
        let sent = tokio::time::timeout(timeout, connection.send_packed_command(command)).await;
        let Ok(answer) = sent else {
            return Err(Refusal::Fault(Fault::Lost(error::silence(
                &live.node, timeout,
            ))));
        };
        answer
            .and_then(Value::extract_error)
            .map_err(|error| refusal(&live.node, error))
    }

    /// A connection of one's own, for calls that take long.
    pub(super) async fn alone(&self) -> Result<Live> {
        self.connect().await
    }

    /// Other nodes of the cluster that may know where the store is.
    pub(super) fn learn(&self, nodes: impl IntoIterator<Item = Node>) {
        let mut others = self.others.lock();
        for node in nodes {
            if others.len() < MAX_NODES && !others.contains(&node) {
                others.push(node);
            }
        }
    }

    pub(super) fn home(&self) -> Node {
        self.home.lock().clone()
    }

    pub(super) async fn close(&self) {
        for slot in &self.lines {
            slot.lock().await.take();
        }
    }

    fn slot(&self, line: Line) -> Result<&tokio::sync::Mutex<Option<Live>>> {
        let readers = self.lines.len().saturating_sub(1).max(1);
        let at = match line {
            Line::Write => 0,
            Line::Read => 1 + self.next.fetch_add(1, Ordering::Relaxed) % readers,
        };
        self.lines
            .get(at)
            .ok_or_else(|| Error::other("there is no such connection"))
    }

    async fn live(&self, slot: &tokio::sync::Mutex<Option<Live>>) -> Result<Live> {
        let mut slot = slot.lock().await;
        let home = self.home();
        if let Some(live) = slot
            .as_ref()
            .filter(|live| !live.ended() && live.node == home)
        {
            return Ok(live.clone());
        }
        *slot = None;
        let live = self.connect().await?;
        *slot = Some(live.clone());
        Ok(live)
    }

    /// Connects to the home, or where that is gone to another node, which says
    /// where the store is now.
    async fn connect(&self) -> Result<Live> {
        let home = self.home();
        let first = match self.connect_to(&home).await {
            Ok(live) => return Ok(live),
            Err(error) if error.retry() == Retry::No => return Err(error),
            Err(error) => error,
        };
        let others = self.others.lock().clone();
        for node in others.into_iter().filter(|node| *node != home) {
            if let Ok(live) = self.connect_to(&node).await {
                *self.home.lock() = node;
                return Ok(live);
            }
        }
        Err(first)
    }

    async fn connect_to(&self, node: &Node) -> Result<Live> {
        match tokio::time::timeout(self.connect_timeout, self.greet(node)).await {
            Ok(connected) => connected,
            Err(_) => Err(error::no_connection(node, self.connect_timeout)),
        }
    }

    async fn greet(&self, node: &Node) -> Result<Live> {
        // Times are kept here; the library's own would not tell a call that was
        // sent from one that was not.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None);
        let (tls, login) = match &self.maker {
            Maker::Own { tls, login } => (tls, login),
            Maker::Client(client) => {
                let connection = at(client, node)?
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
                    .map_err(|error| error::greeted(node, &error))?;
                return Ok(Live {
                    connection,
                    node: node.clone(),
                    driver: None,
                });
            }
        };
        let failed = |error: io::Error| error::unreachable(node, &error);
        let tcp = TcpStream::connect((node.host.as_str(), node.port))
            .await
            .map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let (connection, driver) = match tls {
            None => start(login, tcp, config, node).await?,
            Some(tls) => {
                let name = ServerName::try_from(node.host.clone()).map_err(|error| {
                    Error::invalid(format!("{node} has no name that a certificate can be for"))
                        .because(error)
                })?;
                let stream = tls.connect(name, tcp).await.map_err(failed)?;
                start(login, stream, config, node).await?
            }
        };
        Ok(Live {
            connection,
            node: node.clone(),
            driver: Some(Arc::new(driver)),
        })
    }
}

async fn start(
    login: &RedisConnectionInfo,
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    config: AsyncConnectionConfig,
    node: &Node,
) -> Result<(MultiplexedConnection, JoinHandle<()>)> {
    let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config)
        .await
        .map_err(|error| error::greeted(node, &error))?;
    Ok((connection, tokio::spawn(driver)))
}

/// The client of a caller, for a node.
fn at(client: &Client, node: &Node) -> Result<Client> {
    let info = client.get_connection_info().clone();
    let address = match info.addr() {
        ConnectionAddr::Tcp(..) => ConnectionAddr::Tcp(node.host.clone(), node.port),
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host: node.host.clone(),
            port: node.port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => return Ok(client.clone()),
    };
    Client::open(info.set_addr(address)).map_err(|error| {
        Error::invalid("the client that was handed in cannot be used").because(error)
    })
}

/// Why a call on a connection has no answer.
enum Refusal {
    Fault(Fault),
    Elsewhere(Node),
    Replica(Error),
}

fn refusal(node: &Node, error: RedisError) -> Refusal {
    if error::is_cut(&error) {
        return Refusal::Fault(Fault::Lost(error::broken(node, &error)));
    }
    match error.code() {
        Some("MOVED") => {
            let told = error.redirect_node().map(|(address, _)| address);
            match told.and_then(|address| Node::redirected(address, node)) {
                Some(node) => Refusal::Elsewhere(node),
                None => Refusal::Fault(Fault::Failed(error::refused(&error))),
            }
        }
        Some("NOSCRIPT") => Refusal::Fault(Fault::NoScript),
        Some("READONLY") => Refusal::Replica(error::refused(&error)),
        _ => Refusal::Fault(Fault::Failed(error::refused(&error))),
    }
}

/// Leaves a connection that gave no answer; the next call makes another.
async fn forget(slot: &tokio::sync::Mutex<Option<Live>>, live: &Live) {
    let mut slot = slot.lock().await;
    let same = |kept: &Live| match (&kept.driver, &live.driver) {
        (Some(kept), Some(left)) => Arc::ptr_eq(kept, left),
        _ => true,
    };
    if slot.as_ref().is_some_and(same) {
        *slot = None;
    }
}
