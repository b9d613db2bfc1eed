//! What goes wrong on the way, as errors with a sentence.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use holdall_core::{Error, ErrorKind, Retry};
use holdall_wire::{Problem, kind_of_status};

use super::address::Address;
use super::connect::TimedOut;
use super::transport::Answer;

/// The most bytes of an answer that tells of an error.
const MAX_PROBLEM: usize = 64 * 1024;

/// A request without an answer that says what became of it, or whose answer
/// says that it was refused.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: Error,
    fate: Fate,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It did not leave.
    Unsent,
    /// The server answered, and the error is what it said.
    Told,
    /// The connection broke off: it may have been done or not.
    BrokenOff,
    /// Nothing was heard in time, or something between here and the server
    /// answered in its place: it may have been done or not.
    Lost,
}

impl Unanswered {
    pub(super) fn unsent(error: Error) -> Self {
        Self {
            error,
            fate: Fate::Unsent,
        }
    }

    pub(super) fn told(error: Error) -> Self {
        Self {
            error,
            fate: Fate::Told,
        }
    }

    pub(super) fn lost(error: Error) -> Self {
        Self {
            error,
            fate: Fate::Lost,
        }
    }

    /// An answer that ends before it should.
    pub(super) fn cut() -> Self {
        Self::broken_off(Error::unavailable(
            "the server's answer ends before it should; try again",
        ))
    }

    fn broken_off(error: Error) -> Self {
        Self {
            error,
            fate: Fate::BrokenOff,
        }
    }

    /// Whether what was asked may have been done.
    pub(super) fn may_be_done(&self) -> bool {
        matches!(self.fate, Fate::BrokenOff | Fate::Lost)
    }

    /// Whether the connection broke off, so that a new one may do better.
    pub(super) fn breaks_off(&self) -> bool {
        self.fate == Fate::BrokenOff
    }

    /// Whether the server refused it.
    pub(super) fn is_refusal(&self) -> bool {
        self.fate == Fate::Told
    }
}

/// No answer, by what the client says.
pub(super) fn of_client(error: hyper_util::client::legacy::Error, address: &Address) -> Unanswered {
    let cause = Cause::of(&error);
    if let Some(tls) = &cause.tls {
        let failed = of_tls(tls, address);
        return if error.is_connect() {
            Unanswered::unsent(failed)
        } else {
            Unanswered::broken_off(failed)
        };
    }
    if error.is_connect() {
        return Unanswered::unsent(Error::unavailable(format!(
            "cannot reach the Holdall server at {address}: {}",
            cause.of_connecting()
        )));
    }
    if cause.unsent {
        return Unanswered::unsent(Error::unavailable(format!(
            "the connection to the server at {address} was gone before the request was sent; try again"
        )));
    }
    if cause.unreadable {
        return Unanswered::lost(
            garbled("what is no HTTP/1.1, or headers beyond all bounds").while_doing(address),
        );
    }
    Unanswered::broken_off(Error::unavailable(format!(
        "the connection to the server at {address} broke off before it answered: {}",
        cause.text
    )))
}

/// What lies at the bottom of an error of the client.
struct Cause {
    tls: Option<rustls::Error>,
    io: Option<io::ErrorKind>,
    timed_out: Option<String>,
    dns: bool,
    unsent: bool,
    unreadable: bool,
    text: String,
}

impl Cause {
    fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut cause = Self {
            tls: None,
            io: None,
            timed_out: None,
            dns: false,
            unsent: false,
            unreadable: false,
            text: String::new(),
        };
        let mut next = Some(error);
        // A chain of errors ends; whoever makes one that does not is cut off.
        for _ in 0..16 {
            let Some(error) = next else { break };
            cause.text = error.to_string();
            cause.dns |= cause.text.starts_with("dns error");
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                cause.tls = Some(tls.clone());
            }
            if let Some(late) = error.downcast_ref::<TimedOut>() {
                cause.timed_out = Some(late.to_string());
            }
            if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
                cause.unsent |= hyper.is_canceled();
                cause.unreadable |= hyper.is_parse();
            }
            next = match error.downcast_ref::<io::Error>() {
                Some(io) => {
                    cause.io = Some(io.kind());
                    // Its source is that of what it wraps, which is passed over.
                    io.get_ref().map(|inner| {
                        let inner: &(dyn StdError + 'static) = inner;
                        inner
                    })
                }
                None => error.source(),
            };
        }
        cause
    }

    fn of_connecting(&self) -> String {
        if self.dns {
            return format!("its name is not known ({}). Is it spelt right?", self.text);
        }
        if let Some(late) = &self.timed_out {
            return format!("{late}. Is it running, and does a firewall let you through?");
        }
        match self.io {
            Some(io::ErrorKind::ConnectionRefused) => {
                "connection refused. Is it running? `holdall serve` starts one".to_owned()
            }
            _ => format!("{}. Is it running, and is the address right?", self.text),
        }
    }
}

fn of_tls(error: &rustls::Error, address: &Address) -> Error {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
    };
    let what = match error {
        InvalidCertificate(_) => {
            "its certificate is not to be trusted. If it comes from an authority of your own, name that by the option ca"
        }
        InvalidMessage(_) => "it does not speak TLS. Should the URL start with http:?",
        AlertReceived(_) | NoCertificatesPresented => {
            "it wants no connection from here. If it asks for a client certificate, give one by the options cert and key"
        }
        _ => "TLS failed",
    };
    let message = format!("there is no safe connection to the server at {address}: {what}");
    let kind = match error {
        AlertReceived(_) | NoCertificatesPresented => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, Retry::No, message).because(error.clone())
}

/// No answer in time.
pub(super) fn of_silence(address: &Address, timeout: Duration) -> Unanswered {
    Unanswered::lost(Error::timeout(format!(
        "the server at {address} did not answer within {timeout:?}; it may be overloaded, or allow it more by the option timeout"
    )))
}

/// An answer that stands still.
pub(super) fn of_pause(timeout: Duration) -> Unanswered {
    Unanswered {
        error: Error::timeout(format!(
            "the server's answer came too slowly: for {timeout:?} nothing, or less than 16 KiB in a second; the rest is lost"
        )),
        fate: Fate::BrokenOff,
    }
}

/// An answer that breaks off.
pub(super) fn of_content(error: hyper::Error) -> Unanswered {
    Unanswered::broken_off(
        Error::unavailable("the server's answer broke off; try again").because(error),
    )
}

/// An answer that is not what it should be.
pub(super) fn garbled(what: impl fmt::Display) -> Error {
    Error::unavailable(format!(
        "the server's answer cannot be read: it has {what}. Is it a Holdall server, and does nothing on the way change what it says?"
    ))
}

/// An answer without success: what the server says, if it is the server that
/// says it.
pub(super) async fn of_answer(answer: Answer) -> Unanswered {
    let status = answer.status;
    let is_problem = answer.is_of_type(Problem::TYPE);
    let after = answer.headers.get(http::header::RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let content = match answer.all(MAX_PROBLEM).await {
        Err(lost) if lost.may_be_done() => return lost,
        content => content,
    };
    if let Ok(content) = &content
        && is_problem
        && let Ok(problem) = serde_json::from_slice::<Problem>(content)
        && problem.uri.starts_with("urn:holdall:error:")
    {
        return Unanswered::told(of_problem(problem));
    }
    let (kind, retry) = kind_of_status(status);
    let again = match after {
        Some(seconds) if retry == Retry::Yes => format!(" after {seconds} seconds"),
        _ => String::new(),
    };
    let next = match (kind, retry) {
        _ if status.is_redirection() => {
            "redirects are not followed; give the URL that it leads to".to_owned()
        }
        _ if status.as_u16() == 404 => {
            "no Holdall server answers there; is its path right?".to_owned()
        }
        (_, Retry::Yes) => format!("try again{again}"),
        (ErrorKind::Denied, _) => "something between here and the server refuses you".to_owned(),
        _ => "ask whoever runs it".to_owned(),
    };
    let error = Error::new(
        if status.is_redirection() {
            ErrorKind::Unavailable
        } else {
            kind
        },
        retry,
        format!("the server, or a proxy in front of it, answered {status} and not why: {next}"),
    );
    // What is refused for its form or its sender was not passed on. All else
    // may have been, with the answer lost.
    if status.is_client_error() && kind != ErrorKind::Timeout {
        Unanswered::told(error)
    } else {
        Unanswered::lost(error)
    }
}

/// What the server says. That its store is closed does not mean that this
/// handle is: another attempt may meet a server that was started again.
pub(super) fn of_problem(problem: Problem) -> Error {
    let error = problem.into_error();
    if error.kind() != ErrorKind::Closed {
        return error;
    }
    let retry = match error.retry() {
        Retry::No => Retry::Yes,
        other => other,
    };
    let mut mapped = Error::new(
        ErrorKind::Unavailable,
        retry,
        format!("the server's store is closed: {}", error.message()),
    );
    if let Some(collection) = error.collection() {
        mapped = mapped.at(collection, error.key());
    }
    match error.batch() {
        Some(id) => mapped.for_batch(id),
        None => mapped,
    }
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self::told(error)
    }
}
