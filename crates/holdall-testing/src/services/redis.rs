//! Redis, and a cluster of it.

use std::path::PathBuf;

use super::kind::{Kind, Origin, Place, installed, text, words};
use super::server::ask;
use super::{Authority, Result, files, process};

pub(super) struct Redis;

/// Three nodes, each with a replica.
pub(super) struct Cluster;

const NODES: u16 = 6;
/// Nodes talk to each other on ports of the same block.
const BUS: u16 = 10;

fn program() -> Result<PathBuf> {
    installed(&Redis, "/usr/bin/redis-server".into())
}

/// What has been answered survives: each write is synced.
const DURABLE: [&str; 6] = [
    "--appendonly",
    "yes",
    "--appendfsync",
    "always",
    "--save",
    "",
];

fn answers(port: u16) -> Result {
    let answer = ask(port, b"PING\r\n")?;
    if answer.starts_with(b"+PONG") {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&answer).trim().to_owned())
    }
}

impl Kind for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn product(&self) -> &'static str {
        "Redis"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["redis-server"])
    }

    fn program(&self) -> Result<PathBuf> {
        program()
    }

    fn port(&self) -> u16 {
        16379
    }

    fn prepare(&self, _: &Place) -> Result {
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>> {
        let authority = Authority::get()?;
        let (certificate, key) = authority.hand_out(place.certificate, &place.data(), None)?;
        let mut all = words([
            &text(&program()?),
            "--bind",
            "127.0.0.1",
            "--port",
            &place.port.to_string(),
            "--tls-port",
            &(place.port + 1).to_string(),
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &text(&authority.certificate_file()),
            "--tls-auth-clients",
            "no",
            "--dir",
            &place.data_text(),
        ]);
        all.extend(words(DURABLE));
        all.extend(place.arguments.clone());
        Ok(vec![all])
    }

    fn health(&self, place: &Place) -> Result {
        answers(place.port)
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        vec![
            ("redis", format!("redis://127.0.0.1:{}", place.port)),
            (
                "redis-tls",
                format!("rediss://127.0.0.1:{}", place.port + 1),
            ),
        ]
    }
}

impl Kind for Cluster {
    fn name(&self) -> &'static str {
        "redis-cluster"
    }

    fn product(&self) -> &'static str {
        "a Redis cluster"
    }

    fn origin(&self) -> Origin {
        Redis.origin()
    }

    fn program(&self) -> Result<PathBuf> {
        program()
    }

    fn port(&self) -> u16 {
        17000
    }

    fn prepare(&self, place: &Place) -> Result {
        for n in 0..NODES {
            files::make_folder(&place.data().join(n.to_string()))?;
        }
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>> {
        let program = text(&program()?);
        let nodes = (0..NODES).map(|n| {
            let mut all = words([
                &program,
                "--bind",
                "127.0.0.1",
                "--port",
                &(place.port + n).to_string(),
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &(place.port + n + BUS).to_string(),
                "--cluster-node-timeout",
                "2000",
                "--dir",
                &text(&place.data().join(n.to_string())),
            ]);
            all.extend(words(DURABLE));
            all.extend(place.arguments.clone());
            all
        });
        Ok(nodes.collect())
    }

    fn settle(&self, place: &Place) -> Result {
        let ports = place.port..place.port + NODES;
        for port in ports.clone() {
            process::until(|| answers(port))?;
        }
        let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
        let mut all = words(["redis-cli", "--cluster", "create"]);
        all.extend(addresses);
        all.extend(words(["--cluster-replicas", "1", "--cluster-yes"]));
        process::run(&all, None).map(drop)
    }

    fn health(&self, place: &Place) -> Result {
        for port in place.port..place.port + NODES {
            let answer = ask(port, b"CLUSTER INFO\r\n")?;
            let answer = String::from_utf8_lossy(&answer);
            if !answer.contains("cluster_state:ok") {
                return Err(format!("the node at port {port} has not found the others"));
            }
        }
        Ok(())
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        vec![("redis-cluster", format!("redis://127.0.0.1:{}", place.port))]
    }
}
