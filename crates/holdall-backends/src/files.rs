//! Files that options name.

use std::io::Read;
use std::path::Path;

use holdall_core::{Error, Result};

/// The most bytes of a file with certificates, a key or a secret.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads a file that an option names.
///
/// # Errors
/// `NotFound`, `Denied`, `TooLarge` or `Unavailable`, naming both.
pub(crate) fn read_file(option: &str, path: &Path) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| {
        let message = format!("the file {path:?} of the option {option} cannot be read");
        match error.kind() {
            std::io::ErrorKind::NotFound => Error::not_found(message),
            std::io::ErrorKind::PermissionDenied => Error::denied(message),
            _ => Error::unavailable(message),
        }
        .because(error)
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > MAX_FILE {
        return Err(Error::too_large(format!(
            "the file {path:?} of the option {option} has more than {MAX_FILE} bytes"
        )));
    }
    Ok(content)
}

/// The password of the options `password` and `password_file`, if there is one.
///
/// # Errors
/// `Invalid` for both, or for a file that is no text; those of [`read_file`].
#[cfg(any(feature = "mongodb", feature = "mysql", feature = "postgres"))]
pub(crate) fn password(given: Option<&str>, file: Option<&Path>) -> Result<Option<String>> {
    match (given, file) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "the options password and password_file exclude each other; give one",
        )),
        (Some(password), None) => Ok(Some(password.to_owned())),
        (None, Some(path)) => {
            let text = String::from_utf8(read_file("password_file", path)?).map_err(|_| {
                Error::invalid(format!(
                    "the file {path:?} of the option password_file is no text"
                ))
            })?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
    }
}
