//! `api-fuzz`: made-up requests against a server, as its own document
//! describes them.

use std::path::{Path, PathBuf};

use crate::shell::{Result, cargo, root, shell};
use crate::tools;

/// What must hold for every answer.
///
/// Left out are those that cannot hold: `positive_data_acceptance`, as ids must
/// be of now and conditions may fail; `ensure_resource_availability`, as a
/// commit ends a transaction as a deletion does; and those about tokens, as the
/// server has none here.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      negative_data_rejection,missing_required_header,unsupported_method,\
                      allow_header_conformance,use_after_free";

/// Serves a fresh store and lets schemathesis at it, for some seconds.
pub(crate) fn run(arguments: &[String]) -> Result {
    let number = |at: usize, what: &str, default: u64| {
        arguments.get(at).map_or(Ok(default), |text| {
            text.parse()
                .map_err(|_| format!("{text:?} is not a {what}"))
        })
    };
    let seconds = number(0, "number of seconds", 60)?;
    let seed = number(1, "seed", 1)?;

    let python = tools::SCHEMATHESIS.path()?;
    // With all that the tests have, so that it is built once for both.
    cargo(["build", "--workspace", "--all-features", "--bin", "holdall"]).run()?;
    let holdall = built("holdall");

    let folder = Folder::new()?;
    let store = format!("sqlite:{}", folder.0.join("fuzz.db").display());
    // What the examples of the document name.
    let put = ["put", "notes", "hello", "--doc", r#"{"text":"hi"}"#];
    holdall_with(&holdall, &store).args(put).run()?;
    let index = ["index", "notes", "text"];
    holdall_with(&holdall, &store).args(index).run()?;

    let mut serving = holdall_with(&holdall, &store)
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--limit",
            "max_rate=10000000",
        ])
        .within(&folder.0)
        .start()?;
    let url = serving
        .find(|line| {
            let (_, rest) = line.split_once(" on http://")?;
            Some(format!("http://{}", rest.split_whitespace().next()?))
        })
        .ok_or("the server ended before it listened; what it said stands above")?;

    let document = format!("{url}/openapi.json");
    let valid = "import json, sys, urllib.request as u, openapi_spec_validator as v; \
                 v.OpenAPIV31SpecValidator(json.load(u.urlopen(sys.argv[1]))).validate()";
    shell(&python).args(["-c", valid, &document]).run()?;

    let fuzzed = shell(&python)
        .args(["-m", "schemathesis.cli"])
        .args(["--config-file"])
        .args([root().join("xtask/schemathesis.toml")])
        .args(["run", &document, "--checks", CHECKS])
        // Its answer has no end; stories test it.
        .args(["--exclude-path", "/v1/watch"])
        .args(["--max-time", &seconds.to_string()])
        .args(["--seed", &seed.to_string()])
        .args(["--max-examples", "100", "--request-timeout", "10"])
        .args(["--continue-on-failure", "--warnings", "off"])
        .env("SCHEMATHESIS_HOOKS", root().join("xtask/schemathesis.py"))
        .env("PYTHONUNBUFFERED", "1")
        .within(&folder.0)
        .run();

    let (ended, said) = serving.end()?;
    let panics: Vec<_> = said
        .iter()
        .filter(|line| line.contains("panicked") || line.contains(" ERROR "))
        .collect();
    for line in &panics {
        eprintln!("the server said: {line}");
    }
    fuzzed.map_err(|_| {
        format!("an answer is not as /openapi.json says; `cargo xtask api-fuzz {seconds} {seed}` asks the same again")
    })?;
    if !ended || !panics.is_empty() {
        return Err("the server did not come through; what it said stands above".into());
    }
    Ok(())
}

fn holdall_with(holdall: &Path, store: &str) -> crate::shell::Shell {
    shell(holdall).env("HOLDALL_STORE", store)
}

fn built(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root().join("target"), PathBuf::from);
    root().join(target).join("debug").join(name)
}

/// A folder that is gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("holdall-api-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _tidied = std::fs::remove_dir_all(&self.0);
    }
}
