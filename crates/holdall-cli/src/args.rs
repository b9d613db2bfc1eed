//! The arguments.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueHint};
use holdall::{ByteRange, CollectionName, Key, Timestamp, Version, WatchCursor};
use holdall_server::access::{Pattern, TokenId, Verb};

use crate::exit::CODES;

const EXAMPLES: &str = "\
Examples:
  holdall put books emma --doc '{\"author\":\"Austen\",\"year\":1815}'
  holdall put books emma --doc @emma.json --body emma.epub
  holdall get books emma --body --output emma.epub
  holdall query books '{\"year\":{\"$lt\":1900}}' --sort year:desc --limit 20
  holdall export books | holdall --store sqlite:copy.db import books -
";

const STORES: &str = "\
The store is the one of --store, else of the variable HOLDALL_STORE, else the
default of holdall.toml in the working folder, else sqlite:holdall.db. What has
a colon is a URL; anything else is a name in holdall.toml. For the URL of a
server, the variable HOLDALL_TOKEN is the token that lets in.

On a terminal, items are shown in tables, with control characters escaped. In a
pipe, or with --json, they are lines of JSON.";

/// Keeps what an application keeps: documents, bytes, records, in any store.
#[derive(Parser)]
#[command(
    name = "holdall",
    version,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n{STORES}\n\n{CODES}"),
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Args {
    /// The store: a URL like sqlite:holdall.db, or a name in holdall.toml
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,

    /// Prints lines of JSON on a terminal too
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Prints tables in a pipe too
    #[arg(long, global = true, conflicts_with = "json")]
    pub(crate) table: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Put(Put),
    Get(Get),
    /// Prints the entry of an item: version, times, size and digest of the body
    Head(One),
    /// Deletes an item
    Rm(One),
    Ls(Ls),
    Query(Query),
    Import(Import),
    Export(Whole),
    Index(Index),
    /// Lists the collections that have items
    Collections,
    Drop(Drop),
    Watch(Watch),
    Serve(Serve),
    Token(Token),
    Conformance(Conformance),
    Bench(Bench),
    /// Prints completions for a shell
    #[command(
        after_help = "Example: holdall completions bash > ~/.local/share/bash-completion/completions/holdall"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Writes the man pages into a folder, or prints the main one
    Man {
        /// The folder; made if it is not there
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Puts an item, in the place of all that was there
///
/// The item has the doc and the body that are given here, and nothing of what
/// was there before. A body is read as a stream, whatever its size.
#[derive(Group)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
#[command(after_help = "\
Examples:
  holdall put notes today --doc '{\"text\":\"rain\"}'
  holdall put photos cat.jpg --body cat.jpg --doc '{\"type\":\"image/jpeg\"}'
  tar c docs | holdall put backups docs.tar --body -
  holdall put locks job --doc '{}' --if-absent || echo taken")]
pub(crate) struct Put {
    #[command(flatten)]
    pub(crate) at: At,
    /// The doc: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON", group = "what")]
    pub(crate) doc: Option<String>,
    /// The body: a file, or - for stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "what")]
    pub(crate) body: Option<PathBuf>,
    /// Only if there is no such item
    #[arg(long, conflicts_with = "if_version")]
    pub(crate) if_absent: bool,
    /// Only if the item is of this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<Version>,
}

/// Prints an item, its doc or its body
///
/// Without --doc or --body it prints the entry and the doc. A body is written
/// as a stream, whatever its size; with --output into a temporary file beside
/// the target, which takes its place when it is complete and on disk.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall get notes today --doc
  holdall get photos cat.jpg --output cat.jpg
  holdall get logs big --range -1000        the last 1,000 bytes")]
pub(crate) struct Get {
    #[command(flatten)]
    pub(crate) at: At,
    /// The doc alone
    #[arg(long, conflicts_with_all = ["body", "range"])]
    pub(crate) doc: bool,
    /// The body alone, byte for byte
    #[arg(long)]
    pub(crate) body: bool,
    /// Writes the body, or with --doc the doc, to a file
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// A part of the body: A-B from byte A to byte B, both included; A- to the end; -N the last N
    #[arg(long, value_name = "A-B", value_parser = range, allow_hyphen_values = true)]
    pub(crate) range: Option<ByteRange>,
}

#[derive(Group)]
pub(crate) struct At {
    /// The collection
    pub(crate) collection: CollectionName,
    /// The key; behind -- if it starts with a dash
    pub(crate) key: Key,
}

#[derive(Group)]
pub(crate) struct One {
    #[command(flatten)]
    pub(crate) at: At,
    /// Only if the item is of this version
    #[arg(long, value_name = "VERSION")]
    pub(crate) if_version: Option<Version>,
}

/// Lists items by key
#[derive(Group)]
pub(crate) struct Ls {
    /// The collection
    pub(crate) collection: CollectionName,
    /// Keys that start so
    #[arg(long)]
    pub(crate) prefix: Option<String>,
    /// Keys behind this one
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// Finds items by a filter
///
/// A filter is a JSON object of paths and values, or of paths and operators:
/// $eq $ne $gt $gte $lt $lte $in $nin $exists $contains $startsWith $match
/// $not, joined by $and and $or. Paths go into docs (author.name, tags.0), and
/// $key $created $modified $size $version are the fields of the entry.
///
/// With --limit, where there is more, the cursor of the next page stands below
/// the table, or for JSON on stderr as `next: CURSOR`.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall query books '{\"author\":\"Austen\",\"year\":{\"$gte\":1815}}'
  holdall query books '{\"title\":{\"$match\":\"pride\"}}' --sort year,title:desc
  holdall query books '{}' --count author         how many of each author")]
pub(crate) struct Query {
    /// The collection
    pub(crate) collection: CollectionName,
    /// The filter: JSON, @FILE, or - for stdin; all items if it is left out
    pub(crate) filter: Option<String>,
    /// The order: paths, each with :desc or :asc, and :first for missing values first
    #[arg(long, value_name = "PATH[:desc],…")]
    pub(crate) sort: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Goes on behind the cursor of a page of the same query
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Counts, by the values at a path if one is given
    #[arg(long, value_name = "PATH", num_args = 0..=1, conflicts_with_all = ["sort", "limit", "after"])]
    #[allow(clippy::option_option, reason = "left out, without a value, with one")]
    pub(crate) count: Option<Option<String>>,
}

/// Puts the items of JSON lines
///
/// A line is what `holdall export` prints: {"key":…,"doc":{…},"body":…}, with
/// the body in base64. With --key, each line is a doc, and its key stands at
/// that path of it.
///
/// Lines are written in batches, all or nothing each. A line whose item is
/// there already and equal is skipped, so that an import that was interrupted
/// is resumed by running it again. A line that is not valid is named by its
/// number, and nothing of its batch is written.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall import packages packages.jsonl --key name
  zcat books.jsonl.gz | holdall import books -")]
pub(crate) struct Import {
    /// The collection
    pub(crate) collection: CollectionName,
    /// The file, or - for stdin
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Lines are docs with their keys at this path
    #[arg(long, value_name = "PATH")]
    pub(crate) key: Option<String>,
    /// Leaves out the lines before this one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from_line: u64,
}

/// Prints all items as JSON lines for `holdall import`
///
/// A line is {"key":…,"doc":{…}}, with the body in base64 and its digest where
/// there is one. A body of more than 1 MiB follows its line in lines of its own,
/// {"part":…}, as many as the line says.
#[derive(Group)]
#[command(after_help = "Example: holdall export books | gzip > books.jsonl.gz")]
pub(crate) struct Whole {
    /// The collection
    pub(crate) collection: CollectionName,
}

/// Declares an index
///
/// An index makes queries fast and never changes their answers; a unique one
/// also refuses a second item with the same values. Declaring it again changes
/// nothing.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall index books author,year
  holdall index users email --unique
  holdall index packages description --words     for $match")]
pub(crate) struct Index {
    /// The collection
    pub(crate) collection: CollectionName,
    /// The paths, separated by commas
    #[arg(value_name = "PATH[,PATH…]")]
    pub(crate) paths: String,
    /// Refuses a second item with the same values
    #[arg(long, conflicts_with = "words")]
    pub(crate) unique: bool,
    /// Holds the words of a text, for $match
    #[arg(long)]
    pub(crate) words: bool,
}

/// Drops a collection: its items and its indexes
#[derive(Group)]
pub(crate) struct Drop {
    /// The collection
    pub(crate) collection: CollectionName,
    /// Does not ask, which it else does on a terminal
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Prints changes as they happen, until Ctrl-C
///
/// `watching` on stderr tells that changes from then on will come. Each change
/// has a cursor; --from goes on behind it.
#[derive(Group)]
pub(crate) struct Watch {
    /// The collection; all if it is left out
    pub(crate) collection: Option<CollectionName>,
    /// Goes on behind the change with this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) from: Option<WatchCursor>,
    /// Ends after so many changes
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
}

/// Serves a store over HTTP, until Ctrl-C or SIGTERM
///
/// The store is made if it is not there. What is not given here is taken from a
/// variable (HOLDALL_LISTEN, HOLDALL_TLS_CERT, …, HOLDALL_LIMIT_MAX_BODY), else
/// from [server] in holdall.toml. Without tokens it listens on this machine
/// alone. To end, it finishes what is in flight.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall serve
  holdall serve --store sqlite:/var/lib/app.db --listen 127.0.0.1:8080
  holdall serve --limit max_body=64MiB --limit max_requests=100 --check")]
pub(crate) struct Serve {
    /// Where to listen: HOST:PORT, or unix:PATH [default: 127.0.0.1:4520]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Checks all that is checked at a start, and prints what is in force
    #[arg(long)]
    pub(crate) check: bool,
    /// A limit, like max_body=64MiB; --check lists them
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) limit: Vec<String>,
    /// The certificate of the server and those it stands on, in PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tls_key: Option<PathBuf>,
    /// Asks clients for certificates of these authorities, in PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) tls_client_ca: Option<PathBuf>,
    /// A site whose pages may call the server, like https://app.example
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,
    /// The store with the tokens; without one, every request may do all
    #[arg(long, value_name = "URL")]
    pub(crate) tokens: Option<String>,
    /// What is logged on stderr: off, error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
}

/// Makes, lists and revokes the tokens of a server
///
/// A server that is started where there are tokens asks for one with each
/// request. They are kept as hashes, in a store of their own: that of --tokens,
/// else of HOLDALL_TOKENS, else of [server] in holdall.toml, else
/// sqlite:holdall-tokens.db.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall token create --name reporter --verbs read --collections 'books,logs/*'
  holdall token list
  holdall token revoke 0123456789abcdef")]
pub(crate) struct Token {
    /// The store of the tokens
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) tokens: Option<String>,
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    Create(CreateToken),
    /// Lists the tokens, without their secrets
    List,
    /// Revokes a token, for good; servers know it within a second
    Revoke {
        /// The 16 characters behind hld_
        id: TokenId,
    },
}

/// Makes a token, and prints it: it is not shown again
///
/// Verbs are read, write, watch, admin (indexes and drops) and metrics. In the
/// names of collections, * stands for any characters.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall token create --name shop --verbs read,write,watch --collections 'books,logs/*'
  holdall token create --name prometheus --verbs metrics
  holdall token create --name guest --verbs read --collections '*' --expires 90d > guest.token")]
pub(crate) struct CreateToken {
    /// What it is for
    #[arg(long)]
    pub(crate) name: String,
    /// What it allows
    #[arg(
        long,
        value_name = "VERB[,VERB…]",
        required = true,
        value_delimiter = ','
    )]
    pub(crate) verbs: Vec<Verb>,
    /// Which collections it reaches; * in the place of a comma in a name
    #[arg(long, value_name = "PATTERN[,PATTERN…]", value_delimiter = ',')]
    pub(crate) collections: Vec<Pattern>,
    /// When it ends: 90d, 12h, or a time like 2027-01-31T00:00:00Z; never if it is left out
    #[arg(long, value_name = "TIME", value_parser = crate::commands::expiry)]
    pub(crate) expires: Option<Expiry>,
}

/// When a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    After(std::time::Duration),
    At(Timestamp),
}

/// Shows whether a store keeps the promises of the contract
///
/// The cases work in collections of their own, whose names start with `t` and
/// a number, and drop them. It exits with 1 if a promise is broken.
#[derive(Group)]
#[command(after_help = "\
Examples:
  holdall conformance memory:
  holdall conformance sqlite:test.db --only conditions --seed 7")]
pub(crate) struct Conformance {
    /// The store's URL
    pub(crate) url: String,
    /// Only cases whose name holds this
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Option<String>,
    /// Repeats the random part of the run that printed this seed
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Measures how fast a store is here and now; for information
#[derive(Group)]
pub(crate) struct Bench {
    /// The store's URL
    pub(crate) url: String,
}

/// Reads `A-B`, `A-` or `-N`.
fn range(text: &str) -> Result<ByteRange, String> {
    let rule = "write A-B for bytes A to B, both included, A- for all from A, or -N for the last N";
    let number = |text: &str| text.parse::<u64>().map_err(|_| rule.to_owned());
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((start, end)) if !digits(start) || !digits(end) => Err(rule.to_owned()),
        Some(("", count)) => Ok(ByteRange::Last(number(count)?)),
        Some((start, "")) => Ok(ByteRange::From(number(start)?)),
        Some((start, end)) => {
            let (start, end) = (number(start)?, number(end)?);
            if end < start {
                return Err(format!("byte {end} stands before byte {start}; {rule}"));
            }
            Ok(ByteRange::Bounded(start, end.saturating_add(1)))
        }
        None => Err(rule.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn ranges_are_inclusive_as_in_http() {
        assert_eq!(range("0-0"), Ok(ByteRange::Bounded(0, 1)));
        assert_eq!(range("5-9"), Ok(ByteRange::Bounded(5, 10)));
        assert_eq!(range("5-"), Ok(ByteRange::From(5)));
        assert_eq!(range("-5"), Ok(ByteRange::Last(5)));
        for wrong in [
            "",
            "-",
            "5",
            "a-b",
            "5-4",
            "+1-2",
            "1--2",
            "99999999999999999999-",
        ] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
