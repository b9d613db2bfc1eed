//! Requests out, answers in.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdall_core::{ByteStream, Error, Result};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::HttpOptions;
use super::address::{Address, Parameters};
use super::connect::Connector;
use super::failure::{self, Unanswered};
use super::upload::Upload;
use crate::files::read_file;
use crate::gate::closed_by_us;
use crate::tls::{self, TlsFiles};

/// The most bytes of an answer's headers.
const MAX_HEADERS: usize = 64 * 1024;

/// The most bytes of an answer that is one JSON value.
pub(super) const MAX_JSON: usize = 64 * 1024 * 1024;

/// The least bytes in a second of an answer that is read at once.
const LEAST_RATE: u64 = 16 * 1024;

/// A request, which can be made more than once.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    query: Parameters,
    headers: HeaderMap,
    content: Vec<Bytes>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Parameters::default(),
            headers: HeaderMap::new(),
            content: Vec::new(),
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.query.add(name, value);
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends pieces that are one content.
    pub(super) fn content(mut self, kind: &'static str, pieces: Vec<Bytes>) -> Self {
        self.content = pieces;
        self.header(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))
    }

    /// Sends a JSON value.
    pub(super) fn json(self, value: &impl serde::Serialize) -> Result<Self> {
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::other("the request cannot be written").because(error))?;
        Ok(self.content("application/json", vec![text.into()]))
    }
}

/// Talks to one server.
pub(super) struct Transport {
    pub(super) address: Address,
    pub(super) timeout: Duration,
    /// None once they were let go.
    clients: RwLock<Option<Arc<Clients>>>,
    authorization: Option<HeaderValue>,
    turns: Arc<Semaphore>,
}

struct Clients {
    pooled: Client<Connector, Upload>,
    /// Keeps no connections: what went wrong on one that was kept is tried
    /// again on one that is new.
    fresh: Client<Connector, Upload>,
}

/// Which connection a request takes.
#[derive(Clone, Copy)]
enum On {
    /// One that was kept, or a new one.
    Any,
    New,
}

impl Transport {
    /// Reads files, so it wants a thread that may wait.
    ///
    /// # Errors
    /// `Invalid`, naming the option and the rule; those of reading files.
    pub(super) fn new(options: &HttpOptions) -> Result<Self> {
        let address = Address::parse(&options.url)?;
        let token = match (&options.token, &options.token_file) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    "the options token and token_file are one too many; give one",
                ));
            }
            (Some(token), None) => Some(token.clone()),
            (None, Some(path)) => {
                let text = read_file("token_file", path)?;
                let text = String::from_utf8(text).map_err(|_| {
                    Error::invalid(format!(
                        "the file {path:?} of the option token_file is no text"
                    ))
                })?;
                Some(text)
            }
            (None, None) => None,
        };
        let authorization = token.map(|token| authorization(token.trim())).transpose()?;
        if authorization.is_some() && address.is_open_to_others() && !options.allow_plain {
            return Err(Error::invalid(format!(
                "the token would go to {address} in plain text, for everyone on the way to read; \
                 use https:, or say allow_plain=true if the network is safe by other means"
            )));
        }
        if !address.is_secure()
            && (options.ca.is_some() || options.cert.is_some() || options.key.is_some())
        {
            return Err(Error::invalid(
                "the options ca, cert and key are for https:",
            ));
        }
        let tls = tls::client_config(TlsFiles {
            ca: options.ca.as_deref(),
            cert: options.cert.as_deref(),
            key: options.key.as_deref(),
        })?;
        let connector = Connector::new(tls, options.connect_timeout);
        let client = |kept: usize| {
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(options.idle_timeout)
                .pool_max_idle_per_host(kept)
                .http1_max_buf_size(MAX_HEADERS)
                .build(connector.clone())
        };
        Ok(Self {
            address,
            timeout: options.timeout,
            clients: RwLock::new(Some(Arc::new(Clients {
                pooled: client(options.connections as usize),
                fresh: client(0),
            }))),
            authorization,
            turns: Arc::new(Semaphore::new(options.connections as usize)),
        })
    }

    /// Sends a request on a connection that was kept, or a new one, and waits
    /// for the start of the answer, whatever it says.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, Unanswered> {
        self.take_turn(call, On::Any).await
    }

    /// The same on a new connection.
    pub(super) async fn send_afresh(&self, call: &Call) -> Result<Answer, Unanswered> {
        self.take_turn(call, On::New).await
    }

    async fn take_turn(&self, call: &Call, on: On) -> Result<Answer, Unanswered> {
        // The semaphore is never closed.
        let turn = self.turns.clone().acquire_owned().await.ok();
        let upload = Upload::pieces(call.content.clone());
        let mut answer = self.start(call, upload, on).await?;
        answer.turn = turn;
        Ok(answer)
    }

    /// Sends a request whose content is a stream. It takes as long as the
    /// stream, so it waits for no turn.
    pub(super) async fn send_stream(
        &self,
        call: &Call,
        content: ByteStream,
    ) -> Result<Answer, Unanswered> {
        self.start(call, Upload::stream(content), On::Any).await
    }

    /// Sends a request whose answer lasts, so it waits for no turn.
    pub(super) async fn send_lasting(&self, call: &Call) -> Result<Answer, Unanswered> {
        let upload = Upload::pieces(call.content.clone());
        self.start(call, upload, On::New).await
    }

    async fn start(&self, call: &Call, upload: Upload, on: On) -> Result<Answer, Unanswered> {
        let progress = upload.progress();
        let request = self.request(call, upload).map_err(Unanswered::unsent)?;
        let clients = self.clients.read().clone();
        let clients = clients.ok_or_else(|| Unanswered::unsent(closed_by_us()))?;
        let mut response = match on {
            On::Any => clients.pooled.request(request),
            On::New => clients.fresh.request(request),
        };
        let response = loop {
            let deadline = progress.deadline(self.timeout);
            match tokio::time::timeout_at(deadline, &mut response).await {
                Ok(Ok(response)) => break response,
                Ok(Err(error)) => {
                    return Err(match progress.take_failure() {
                        Some(error) => Unanswered::unsent(error),
                        None => failure::of_client(error, &self.address),
                    });
                }
                Err(_) if progress.deadline(self.timeout) > Instant::now() => {}
                Err(_) => return Err(failure::of_silence(&self.address, self.timeout)),
            }
        };
        let (parts, content) = response.into_parts();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            content,
            timeout: self.timeout,
            begun: Some(Instant::now()),
            received: 0,
            turn: None,
        })
    }

    /// Lets the connections go that nobody uses; the others end with what is
    /// on them.
    pub(super) fn close(&self) {
        *self.clients.write() = None;
    }

    fn request(&self, call: &Call, upload: Upload) -> Result<Request<Upload>> {
        let mut request = Request::new(upload);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = self.address.url(&call.path, &call.query)?;
        let headers = request.headers_mut();
        *headers = call.headers.clone();
        let agent = concat!("holdall/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    /// Asks, and reads all of an answer of so many bytes at most. What breaks
    /// off is asked once more, so only for what changes nothing, or the same
    /// twice.
    ///
    /// # Errors
    /// What the server says; `Unavailable`, `Timeout`.
    pub(super) async fn ask(&self, call: &Call, limit: usize) -> Result<(HeaderMap, Bytes)> {
        let first = match whole(self.send(call).await, limit).await {
            Err(lost) if lost.breaks_off() => lost,
            result => return result.map_err(|lost| lost.error),
        };
        whole(self.send_afresh(call).await, limit)
            .await
            .map_err(|second| {
                // What is wrong now may hide what is wrong with the answer.
                if second.is_refusal() {
                    second.error
                } else {
                    first.error
                }
            })
    }

    /// Asks for one JSON value.
    ///
    /// # Errors
    /// As [`ask`](Self::ask); `Unavailable` if it is none.
    pub(super) async fn ask_json<T: serde::de::DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let (_, text) = self.ask(call, MAX_JSON).await?;
        serde_json::from_slice(&text).map_err(|error| failure::garbled("its JSON").because(error))
    }
}

async fn whole(
    answer: Result<Answer, Unanswered>,
    limit: usize,
) -> Result<(HeaderMap, Bytes), Unanswered> {
    let answer = answer?.success().await?;
    let headers = answer.headers.clone();
    Ok((headers, answer.all(limit).await?))
}

fn authorization(token: &str) -> Result<HeaderValue> {
    const MAX_TOKEN: usize = 4096;
    let fits = !token.is_empty()
        && token.len() <= MAX_TOKEN
        && token.bytes().all(|byte| byte.is_ascii_graphic());
    let value = fits
        .then(|| HeaderValue::from_str(&format!("Bearer {token}")).ok())
        .flatten();
    let mut value = value.ok_or_else(|| {
        Error::invalid("the token is 1 to 4096 letters, digits and signs, without blanks; give it as `holdall token create` showed it")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The start of an answer, and what is to come of it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    content: Incoming,
    timeout: Duration,
    /// When it began, unless it lasts as long as its reader likes.
    begun: Option<Instant>,
    received: u64,
    turn: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// The answer if it is one of success.
    ///
    /// # Errors
    /// What the answer says went wrong, if it does not break off before.
    pub(super) async fn success(self) -> Result<Self, Unanswered> {
        if self.status.is_success() {
            self.check_encoding()?;
            return Ok(self);
        }
        Err(failure::of_answer(self).await)
    }

    /// We ask for none; a compressed body must not be taken for the item's.
    fn check_encoding(&self) -> Result<()> {
        let encoding = self.headers.get(CONTENT_ENCODING);
        match encoding.is_none_or(|encoding| encoding == "identity") {
            true => Ok(()),
            false => Err(failure::garbled("an encoding that was not asked for")),
        }
    }

    /// Whether the content is of a type.
    pub(super) fn is_of_type(&self, wanted: &str) -> bool {
        let found = self.headers.get(http::header::CONTENT_TYPE);
        let found = found
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let found = found.split(';').next().unwrap_or_default();
        found.trim().eq_ignore_ascii_case(wanted)
    }

    /// The next piece; `None` at the end. Pieces are not empty.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Unanswered> {
        self.next_within(self.timeout).await
    }

    pub(super) async fn next_within(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Bytes>, Unanswered> {
        loop {
            let mut deadline = Instant::now() + timeout;
            if let Some(begun) = self.begun {
                // Else an answer of one byte now and then would never end.
                let by_size = Duration::from_secs(self.received / LEAST_RATE);
                deadline = deadline.min(begun + timeout + by_size);
            }
            let frame = tokio::time::timeout_at(deadline, self.content.frame()).await;
            let frame = frame.map_err(|_| failure::of_pause(timeout))?;
            match frame
                .transpose()
                .map_err(failure::of_content)?
                .map(http_body::Frame::into_data)
            {
                None => return Ok(None),
                Some(Ok(piece)) if !piece.is_empty() => {
                    self.received += piece.len() as u64;
                    return Ok(Some(piece));
                }
                // An empty piece, or trailers, which nobody sends.
                Some(_) => {}
            }
        }
    }

    /// All of the content.
    ///
    /// # Errors
    /// `TooLarge` beyond the limit.
    pub(super) async fn all(mut self, limit: usize) -> Result<Bytes, Unanswered> {
        let Some(first) = self.next().await? else {
            return Ok(Bytes::new());
        };
        let mut all = BytesMut::from(first);
        loop {
            if all.len() > limit {
                return Err(Unanswered::told(Error::too_large(format!(
                    "the server's answer has more than {limit} bytes; ask for less at once"
                ))));
            }
            match self.next().await? {
                Some(piece) => all.extend_from_slice(&piece),
                None => return Ok(all.freeze()),
            }
        }
    }

    /// Lets others have their turn: what is to come of this answer takes as
    /// long as its reader.
    pub(super) fn lasts(mut self) -> Self {
        self.turn = None;
        self.begun = None;
        self
    }
}
