//! Servers that answer what they are told.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "it is a part of tests, and fails by panicking"
)]

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server that answers each request as a function of its first line says, and
/// then ends the connection. Answers are bytes as they are; `None` never ends.
pub async fn server_that_answers<F>(answer: F) -> String
where
    F: Fn(&str) -> Vec<u8> + Send + Sync + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut read = Vec::new();
                let mut buffer = vec![0; 65_536];
                while !read.windows(4).any(|four| four == b"\r\n\r\n") {
                    match client.read(&mut buffer).await {
                        Ok(count) if count > 0 => read.extend_from_slice(&buffer[..count]),
                        _ => return,
                    }
                }
                let text = String::from_utf8_lossy(&read).into_owned();
                let line = text.lines().next().unwrap_or_default();
                let reply = answer(line);
                // A client that has heard enough goes away.
                let _ = client.write_all(&reply).await;
                let _ = client.shutdown().await;
                // Whatever else it sends is read, so that the end is no reset.
                while matches!(client.read(&mut buffer).await, Ok(count) if count > 0) {}
            });
        }
    });
    url
}
