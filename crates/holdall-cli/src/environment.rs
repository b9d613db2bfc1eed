//! The one place that reads the environment.

/// A variable; `None` if it is not set or empty.
#[allow(
    clippy::disallowed_methods,
    reason = "the program reads the environment, here alone, and hands settings to the library"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The sockets that systemd hands over, if it started the program with some.
#[cfg(unix)]
pub(crate) fn sockets() -> std::io::Result<Vec<std::net::TcpListener>> {
    let mut handed = listenfd::ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        sockets.extend(handed.take_tcp_listener(index)?);
    }
    Ok(sockets)
}

#[cfg(not(unix))]
pub(crate) fn sockets() -> std::io::Result<Vec<std::net::TcpListener>> {
    Ok(Vec::new())
}

/// Tells systemd that the server answers. Where no systemd waits for it,
/// nothing happens.
#[cfg(target_os = "linux")]
pub(crate) fn notify_ready() {
    notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd that the server is about to end.
#[cfg(target_os = "linux")]
pub(crate) fn notify_stopping() {
    notify(&[sd_notify::NotifyState::Stopping]);
}

#[cfg(target_os = "linux")]
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd was not told");
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn notify_ready() {}

#[cfg(not(target_os = "linux"))]
pub(crate) fn notify_stopping() {}
