//! What the server says of itself: whether it keeps what it is given.

use std::collections::BTreeMap;

use ::redis::Value;
use holdall_core::{Error, Result};

use super::address::Node;
use super::answer;
use super::link::{Fault, Link};
use super::options::RedisOptions;

/// The first version with all that is used here.
const OLDEST: (u32, u32) = (6, 2);

/// Looks at the server, and refuses one that would lose what it is given. Answers
/// whether it is durable.
///
/// # Errors
/// `Unsupported`, naming the setting and what to do.
pub(super) async fn check(link: &Link, options: &RedisOptions) -> Result<bool> {
    let told = info(link).await?;
    let version = told.get("redis_version").map_or("", String::as_str);
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    if let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next())
        && (major, minor) < OLDEST
    {
        return Err(refuse(format!(
            "the server is Redis {version}; 6.2 or newer is needed"
        )));
    }
    let replicas = told.get("connected_slaves");
    let mut replicas = replicas.and_then(|number| number.parse::<usize>().ok());
    if told.get("redis_mode").is_some_and(|mode| mode == "cluster") {
        // One that is not connected right now may take over all the same.
        let cluster = Cluster::of(link).await?;
        replicas = cluster
            .as_ref()
            .map(|cluster| cluster.replicas.max(replicas.unwrap_or(0)));
        link.learn(cluster.into_iter().flat_map(|cluster| cluster.nodes));
    }
    let policy = match told.get("maxmemory_policy") {
        Some(policy) => Some(policy.clone()),
        None => setting(link, "maxmemory-policy").await?,
    };
    match policy.as_deref() {
        Some("noeviction") => {}
        Some(policy) => {
            return Err(refuse(format!(
                "the server removes keys when its memory is full (maxmemory-policy {policy}), and would take parts of \
                 items away. Set maxmemory-policy to noeviction, or use a server of its own"
            )));
        }
        None if options.durable => {
            return Err(unsure("whether it removes keys when its memory is full"));
        }
        None => return Ok(false),
    }
    let durable = durability(link, options, replicas).await;
    match durable {
        Err(error) if options.durable => Err(error),
        // Not claimed, as it was not to be.
        _ => Ok(options.durable),
    }
}

async fn durability(link: &Link, options: &RedisOptions, replicas: Option<usize>) -> Result<()> {
    let needs = [("appendonly", "yes"), ("appendfsync", "always")];
    for (name, wanted) in needs {
        match setting(link, name).await? {
            Some(value) if value == wanted => {}
            Some(value) => {
                return Err(refuse(format!(
                    "the server may lose what it has answered, as {name} is {value}. Set appendonly to yes and appendfsync \
                     to always, or open with durable=false if the last writes may be lost"
                )));
            }
            None => return Err(unsure(&format!("what {name} is"))),
        }
    }
    match replicas {
        Some(replicas) if replicas <= options.replicas as usize => Ok(()),
        Some(replicas) => Err(refuse(format!(
            "the server has {replicas} replicas, and one that takes over may not have the last writes. Open with \
             replicas={replicas}, so that they have each write before it is answered, or with durable=false"
        ))),
        None => Err(unsure("whether it has replicas")),
    }
}

fn refuse(why: String) -> Error {
    Error::unsupported(why).in_backend("redis")
}

fn unsure(what: &str) -> Error {
    refuse(format!(
        "the server does not say {what}, so it cannot be taken for durable. Allow CONFIG GET, or open with durable=false"
    ))
}

/// `INFO`, as names and values.
async fn info(link: &Link) -> Result<BTreeMap<String, String>> {
    let answer = link.read(&::redis::cmd("INFO")).await;
    let text = answer::word(answer.map_err(Fault::of_read)?)?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    Ok(lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect())
}

/// A setting; `None` if the server does not say.
async fn setting(link: &Link, name: &str) -> Result<Option<String>> {
    let mut get = ::redis::cmd("CONFIG");
    get.arg("GET").arg(name);
    let pair = match link.read(&get).await {
        Ok(answer) => answer::list(answer)?,
        // Not allowed, or not known to this server.
        Err(Fault::Failed(_)) => return Ok(None),
        Err(fault) => return Err(fault.of_read()),
    };
    pair.into_iter().nth(1).map(answer::word).transpose()
}

/// The cluster that a server belongs to.
struct Cluster {
    nodes: Vec<Node>,
    /// As many as any slot has.
    replicas: usize,
}

impl Cluster {
    /// `None` if the server does not say.
    async fn of(link: &Link) -> Result<Option<Self>> {
        let mut slots = ::redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let ranges = match link.read(&slots).await {
            Ok(answer) => answer::list(answer)?,
            Err(Fault::Failed(_)) => return Ok(None),
            Err(fault) => return Err(fault.of_read()),
        };
        let home = link.home();
        let (mut nodes, mut replicas) = (Vec::new(), 0);
        for range in ranges {
            // First and last slot, then a list for each node: host, port, …
            let members = answer::list(range)?.into_iter().skip(2);
            replicas = replicas.max(members.len().saturating_sub(1));
            for member in members {
                let mut member = answer::list(member)?.into_iter();
                let (host, port) = (member.next(), member.next());
                if let Some(Value::Int(port)) = port
                    && let Ok(port) = u16::try_from(port)
                {
                    let host = answer::text_or_none(host)?.filter(|host| !host.is_empty());
                    let host = host.unwrap_or_else(|| home.host.clone());
                    nodes.push(Node { host, port });
                }
            }
        }
        Ok(Some(Self { nodes, replicas }))
    }
}
