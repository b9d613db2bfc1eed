//! Each fault of the proxy is what it says, seen from both sides.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::ErrorKind;
use std::time::Duration;

use holdall_testing::proxy::{Fault, Plan, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy before a server that sends back what it is sent.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("echo://me:secret@{}/there", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Proxy::before(&url).await
}

async fn connect(proxy: &Proxy) -> TcpStream {
    let address = proxy.url.strip_prefix("echo://me:secret@").unwrap();
    let address = address.strip_suffix("/there").unwrap();
    TcpStream::connect(address).await.unwrap()
}

/// What comes back of `hello`, until the connection ends.
async fn hello(proxy: &Proxy) -> (String, std::io::Result<usize>) {
    let mut stream = connect(proxy).await;
    stream.write_all(b"hello").await.unwrap();
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all).await;
    (String::from_utf8(all).unwrap(), end)
}

#[tokio::test]
async fn nothing_is_changed_without_a_fault() {
    let proxy = echo().await;
    let mut stream = connect(&proxy).await;
    for text in [*b"hello", *b"world"] {
        let mut answer = [0; 5];
        stream.write_all(&text).await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, text);
    }
    assert_eq!((proxy.open(), proxy.broken()), (1, 0));
}

#[tokio::test]
async fn a_cut_is_an_end_and_a_reset_is_an_error() {
    let proxy = echo().await;
    proxy.arm([
        Fault::CutRequest(2),
        Fault::CutAnswer(3),
        Fault::ResetAnswer(0),
    ]);
    let (text, end) = hello(&proxy).await;
    // The server had two bytes, and their echo came too late.
    assert!(text.is_empty() && end.is_ok(), "{text} {end:?}");
    let (text, end) = hello(&proxy).await;
    assert!(text == "hel" && end.is_ok(), "{text} {end:?}");
    let (text, end) = hello(&proxy).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!((text.as_str(), proxy.broken()), ("", 3));
}

#[tokio::test]
async fn in_a_blackhole_nothing_moves_and_nothing_ends() {
    let proxy = echo().await;
    proxy.arm([Fault::Blackhole(3)]);
    let mut stream = connect(&proxy).await;
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hel");
    while proxy.broken() == 0 {
        tokio::task::yield_now().await;
    }
    stream.write_all(b"hello").await.unwrap();
    let more = stream.try_read(&mut answer);
    assert_eq!(more.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(proxy.open(), 1);
    drop(stream);
    while proxy.open() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_delayed_answer_is_whole() {
    let proxy = echo().await;
    proxy.arm([Fault::Delay(Duration::from_millis(5))]);
    let mut stream = connect(&proxy).await;
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

#[tokio::test]
async fn who_refuses_ends_connections_as_they_come() {
    let proxy = echo().await;
    proxy.refuse(true);
    let mut stream = connect(&proxy).await;
    let end = stream.read(&mut [0; 5]).await;
    assert!(!matches!(end, Ok(1..)), "{end:?}");
    proxy.refuse(false);
    let mut stream = connect(&proxy).await;
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(stream.read(&mut [0; 5]).await.unwrap(), 5);
}

#[tokio::test]
async fn a_seed_repeats_its_faults() {
    let faults = |seed| {
        let plan = Plan::seeded(seed, 3);
        let all: Vec<_> = (0..300).map(|_| format!("{:?}", plan.next())).collect();
        all
    };
    assert_eq!(faults(1), faults(1));
    assert_ne!(faults(1), faults(2));
    let all = faults(1).join(" ");
    for kind in [
        "None",
        "CutRequest",
        "CutAnswer",
        "ResetAnswer",
        "Blackhole",
        "Delay",
    ] {
        assert!(all.contains(kind), "no {kind} in 300 requests");
    }
}
